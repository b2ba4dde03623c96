"""`net.summary(input_size)`: what each layer gives, how large that is, and what it learns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import no_grad
from ..ops.creation import zeros
from ..tensor import Tensor

if TYPE_CHECKING:
    from .module import Module


@dataclass(frozen=True)
class Row:
    """One layer: its name in the net, its class, its output's shape without the batch and number of elements, its parameters."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    activations: int
    parameters: int


@dataclass(frozen=True)
class Summary:
    """The layers of a net in the order they ran: `rows` for programs, `str(summary)` for people."""

    input_shapes: tuple[tuple[int, ...], ...]
    rows: tuple[Row, ...]
    parameters: int
    trainable: int

    @property
    def activations(self) -> int:
        """Elements of all outputs together, for one image."""
        return sum(row.activations for row in self.rows)

    def __str__(self) -> str:
        table = [("layer", "output", "activations", "parameters")]
        table += [("input", _by(shape), f"{math.prod(shape):,}", "0") for shape in self.input_shapes]
        table += [(f"{r.name} {r.kind}".strip(), _by(r.output_shape), f"{r.activations:,}", f"{r.parameters:,}") for r in self.rows]
        total = ("total", "", f"{self.activations:,}", f"{self.parameters:,}")
        widths = [max(len(line[i]) for line in (*table, total)) for i in range(4)]
        rule = "-" * (sum(widths) + 6)
        head, *body = (f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}" for a, b, c, d in (*table, total))
        lines = [head, rule, *body[:-1], rule, body[-1]]
        if self.trainable != self.parameters:
            lines.append(f"{self.trainable:,} parameters are learnt, {self.parameters - self.trainable:,} are frozen")
        return "\n".join(lines)

    __repr__ = __str__


def summarize(net: Module, input_size: tuple[int, ...] | list[tuple[int, ...]], dtype: Any = None) -> Summary:
    """Run `net` once on zeros of `input_size` and tell what each layer gave.

    Args:
        net: the module; its mode, parameters and statistics stay as they are.
        input_size: shape of one input without the batch, such as (3, 32, 32); a list of shapes for a net with several inputs.
        dtype: of the inputs; int64 for one that starts with an embedding.  By default that of the net's parameters.

    A row is a module without modules inside, or one with parameters of its own.  One that runs several times has several
    rows and its parameters in the first.  Activations are counted for one image; parameters include biases.

    >>> from convkit import nn
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 14 * 14, 10))
    >>> print(net.summary((3, 32, 32)))
    layer        output       activations  parameters
    -------------------------------------------------
    input        3 x 32 x 32        3,072           0
    0 Conv2d     8 x 28 x 28        6,272         608
    1 MaxPool2d  8 x 14 x 14        1,568           0
    2 Flatten    1,568              1,568           0
    3 Linear     10                    10      15,690
    -------------------------------------------------
    total                           9,418      16,298
    """
    if not hasattr(net, "named_modules"):
        raise TypeError(f"summary: needs a module, got {type(net).__name__}")
    if not isinstance(input_size, (tuple, list)) or isinstance(input_size, list) and not all(isinstance(s, (tuple, list)) for s in input_size):
        raise TypeError(f"summary: input_size must be a tuple of ints, or a list of such tuples, got {input_size!r}")
    sizes = [tuple(s) for s in input_size] if isinstance(input_size, list) else [tuple(input_size)]
    if not all(isinstance(n, int | np.integer) and n > 0 for size in sizes for n in size):
        raise ValueError(f"summary: input_size must be the positive sizes of one input without the batch, got {input_size!r}")
    parameters = list(net.parameters())
    if dtype is None:
        dtype = parameters[0].dtype if parameters else np.float32
    inputs = [zeros(1, *size, dtype=dtype) for size in sizes]
    if parameters:
        inputs = [x.to(parameters[0].device) for x in inputs]

    rows: list[Row] = []
    counted: set[int] = set()

    def watch(name: str, module: Module) -> Any:
        def hook(_: Any, args: tuple, result: Any) -> None:
            own = [p for p in module.parameters(recurse=False) if id(p) not in counted]
            counted.update(map(id, own))
            outputs = list(_tensors(result))
            shape = tuple(outputs[0].shape[1:]) if outputs else ()
            elements = sum(math.prod(y.shape[1:]) for y in outputs)
            rows.append(Row(name, type(module).__name__, shape, elements, sum(p.numel() for p in own)))

        return module.register_forward_hook(hook)

    modes = [(module, module.training) for module in net.modules()]
    handles = [
        watch(name, module)
        for name, module in net.named_modules()
        if not any(True for _ in module.children()) or any(True for _ in module.parameters(recurse=False))
    ]
    try:
        net.eval()
        with no_grad():
            net(*inputs)
    finally:
        for module, training in modes:
            module.training = training
        for handle in handles:
            handle.remove()
    return Summary(
        tuple(sizes),
        tuple(rows),
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
    )


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for v in value.values():
            yield from _tensors(v)
    elif isinstance(value, tuple | list):
        for v in value:
            yield from _tensors(v)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{n:,}" for n in shape)
