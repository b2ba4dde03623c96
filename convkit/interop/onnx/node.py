"""One operation of an ONNX graph, and the table that says what each operator is here.

A row of the table is a function `row(node) -> run`, called when the model is loaded: it reads the node's attributes, refuses what it does
not support, and gives the function of tensors that runs later.  What an operator means in each version of ONNX is decided in its row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...tensor import Tensor

Run = Callable[..., Any]  # tensors (None for an input left out) to a tensor, or a tuple of them


class UnsupportedError(NotImplementedError):
    """A model uses what convkit does not have; the message names the operator, the node and the version of the operator set."""


class Node:
    """An operation: its operator, names of inputs and outputs ('' for one left out), and attributes.

    `version` is the version of the operator set that the model asks for.  Attributes are read by `get`; one that the row never read
    is an error.
    """

    def __init__(self, proto: Any, version: int, array_of: Callable[[Any], np.ndarray]):
        self.op = f"{proto.domain}.{proto.op_type}" if proto.domain not in ("", "ai.onnx") else proto.op_type
        self.name, self.version = proto.name, version
        self.inputs, self.outputs = _names(proto.input), _names(proto.output)
        self._attributes = {a.name: a for a in proto.attribute}
        self._unread = set(self._attributes)
        self._array_of = array_of

    def __str__(self) -> str:
        return f"operator {self.op} in node {self.name or '->'.join(self.outputs)!r} (opset {self.version})"

    def get(self, name: str, default: Any = None) -> Any:
        """The attribute: a number, a string, a list of them, or an array; `default` if the node does not have it."""
        import onnx

        self._unread.discard(name)
        attribute = self._attributes.get(name)
        if attribute is None:
            return default
        if attribute.type == onnx.AttributeProto.TENSOR:
            return self._array_of(attribute.t)
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            return value.decode()
        if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
            return list(value)
        if attribute.type in (onnx.AttributeProto.INT, onnx.AttributeProto.FLOAT):
            return value
        raise UnsupportedError(f"{self}: attribute {name!r} is a {onnx.AttributeProto.AttributeType.Name(attribute.type)}")

    def has(self, i: int) -> bool:
        """Is input i given?"""
        return i < len(self.inputs) and bool(self.inputs[i])

    def makes(self, i: int) -> bool:
        """Is output i asked for?"""
        return i < len(self.outputs) and bool(self.outputs[i])

    def refuse(self, reason: str) -> UnsupportedError:
        """The error to raise for what the row does not support."""
        return UnsupportedError(f"{self}: {reason}")

    def one_of(self, name: str, choices: Sequence[Any], default: Any) -> Any:
        """The attribute, which must be one of `choices`."""
        value = self.get(name, default)
        if value not in choices:
            raise self.refuse(f"{name}={value!r}; {', '.join(map(repr, choices))} are supported")
        return value

    def check_read(self) -> None:
        """An attribute that nobody read would be passed over silently."""
        if self._unread:
            raise self.refuse(f"attribute {', '.join(sorted(self._unread))} is not supported")


def _names(names: Any) -> list[str]:
    names = list(names)
    while names and not names[-1]:
        names.pop()
    return names


@dataclass(frozen=True)
class Row:
    """What the table says of an operator.

    `settings`: positions of inputs that are numbers to compute with but not to learn (bounds, running statistics); `mode`: the
    function also takes `training`, whether the module is in training mode.
    """

    build: Callable[[Node], Run]
    settings: tuple[int, ...] = ()
    mode: bool = False


TABLE: dict[str, Row] = {}


def row(*names: str, settings: tuple[int, ...] = (), mode: bool = False) -> Callable[[Callable[[Node], Run]], Callable[[Node], Run]]:
    """Enter the decorated function into the table under these names."""

    def enter(build: Callable[[Node], Run]) -> Callable[[Node], Run]:
        TABLE.update({name: Row(build, settings, mode) for name in names})
        return build

    return enter


def plain(**functions: Run) -> None:
    """Enter operators without attributes that matter: their functions as they are."""
    for name, run in functions.items():
        TABLE[name] = Row(lambda node, run=run: run)  # type: ignore[misc]


# ------------------------------------------------------------------------------- small helpers of rows
def ints(x: Any) -> list[int]:
    """A tensor of integers (a shape, axes) as a list."""
    return [int(v) for v in np.atleast_1d(x.array)]


def is_float(x: Any) -> bool:
    """Does a tensor hold floating numbers?"""
    return x.array.dtype.kind == "f"


def made(array: Any) -> Tensor:
    """A tensor of NumPy's result: without a gradient, for integers and booleans."""
    return Tensor(np.asarray(array))


def axes_of(node: Node, position: int, since: int) -> Callable[[Any], list[int] | None]:
    """Where a node's axes are: in the attribute before version `since`, from then on in the input at `position`."""
    fixed = node.get("axes") if node.version < since else None
    return lambda given: fixed if given is None else ints(given)
