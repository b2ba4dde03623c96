"""Export: a module run on an example, its operations written down as ONNX.

Two runs are recorded, on the example and on a changed one with a larger batch.  They must do the same operations; sizes that differ
between them are the batch's.  `emitters.TABLE` says what each operation is in ONNX.  In the end the graph is checked, loaded again, and must
compute what the module computes: so values that no recorded operation made cannot slip in as constants.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...autograd import Function, TensorBase, no_grad, observed
from ...files import write_whole
from ...nn.module import Module
from ...tensor import Tensor
from .emitters import TABLE
from .graph import _library, load

OPSET = 18


@dataclass
class Call:
    """One operation as it ran, `function.forward(ctx, *args, **options)`, its results, and the same call of the other run."""

    function: type
    args: tuple
    options: dict
    outputs: tuple[np.ndarray, ...]
    twin: Any = None


class _Record:
    """Runs operations, for `observed`, and keeps the calls of this thread in order."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.thread = threading.get_ident()

    def forward(self, ctx: Function, arrays: Sequence, options: dict) -> Any:
        """Run an operation's forward; the graph calls it in place of the operation."""
        result = type(ctx).forward(ctx, *arrays, **options)
        outputs = tuple(np.asarray(y) for y in (result if isinstance(result, tuple) else (result,)))
        if threading.get_ident() == self.thread:
            self.calls.append(Call(type(ctx), tuple(arrays), options, outputs))
        return outputs if isinstance(result, tuple) else outputs[0]


def _run(module: Module, inputs: Sequence[Tensor]) -> tuple[list[Call], tuple[Tensor, ...]]:
    record = _Record()
    with no_grad(), observed(record):
        result = module(*inputs)
    outputs = tuple(result) if isinstance(result, (tuple, list)) else (result,)
    if not all(isinstance(y, TensorBase) for y in outputs):
        raise TypeError("export: the module must give a tensor or a tuple of tensors")
    return record.calls, outputs


def _changed(inputs: Sequence[Tensor], longer: bool) -> list[Tensor]:
    """Other numbers of the same kind: elements in another order, floats a little scaled; with one image more if `longer`."""
    out = []
    for x in inputs:
        array = x.array
        if longer:
            array = np.concatenate([array, array[:1]])
        array = np.roll(array.reshape(-1)[::-1], 1).reshape(array.shape)
        out.append(Tensor(array * array.dtype.type(0.9) - array.dtype.type(0.05) if array.dtype.kind == "f" else array.copy()))
    return out


class Writer:
    """Builds the ONNX graph; emitters call `name`, `constant` and `node`.  Values are known by their arrays."""

    def __init__(self, onnx: Any, module: Module):
        self.onnx, self.module = onnx, module
        self.nodes: list[Any] = []
        self.initialisers: dict[str, np.ndarray] = {}
        self.names: dict[int, str] = {}
        self.kept: list[Any] = []  # arrays stay alive, so that their ids stay theirs
        self.state = {id(t.array): (name, t.array) for name, t in [*module.named_parameters(), *module.named_buffers()]}
        self.used: set[str] = {name for name, _ in self.state.values()}
        self.call: Call | None = None

    def fresh(self, stem: str) -> str:
        """A name that nothing bears yet."""
        name, i = stem, 0
        while name in self.used:
            i += 1
            name = f"{stem}_{i}"
        self.used.add(name)
        return name

    def bind(self, array: np.ndarray, name: str) -> None:
        """From now on, the array is called `name`."""
        self.names[id(array)] = name
        self.kept.append(array)

    def name(self, array: np.ndarray, twin: np.ndarray) -> str:
        """The name of an array: of what a recorded operation made, of a parameter or buffer, or of a constant."""
        known = self.names.get(id(array))
        if known is not None:
            return known
        if id(array) in self.state:
            name = self.state[id(array)][0]
            self.initialisers[name] = array
            self.names[id(array)] = name
            return name
        if not np.array_equal(array, twin, equal_nan=array.dtype.kind == "f"):
            raise NotImplementedError(
                f"export: {self.told()} uses a tensor that depends on the input, but which no recorded operation made "
                "(a comparison, argmax, or numbers taken out of a tensor)"
            )
        name = self.constant(array)
        self.bind(array, name)
        return name

    def argument(self, i: int) -> str:
        """The name of the array that is argument i of the current call."""
        call: Any = self.call
        return self.name(call.args[i], call.twin.args[i])

    def constant(self, value: Any, dtype: Any = None) -> str:
        """The name of a new initialiser."""
        name = self.fresh("constant")
        self.initialisers[name] = np.ascontiguousarray(np.asarray(value, dtype)).reshape(np.shape(value))
        return name

    def node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node with one output; gives its name."""
        name = self.fresh(op.lower())
        attributes = {k: v for k, v in attributes.items() if v is not None}
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def same(self, what: str, value: Any, twin: Any) -> Any:
        """A number, or numbers, that must not depend on the batch."""
        if value is not twin and not (type(value) is type(twin) and value == twin):
            raise NotImplementedError(f"export: {self.told()}: {what} is {value} here and {twin} for a larger batch; pass dynamic_batch=False")
        return value

    def told(self) -> str:
        """The operation being written, for errors."""
        return self.call.function.__name__ if self.call else "the graph"

    def write(self, call: Call) -> None:
        """The nodes for one call."""
        self.call = call
        emit = TABLE.get(call.function.__name__) if call.function.__module__.startswith("convkit.ops.") else None
        if emit is None:
            raise NotImplementedError(f"export: the operation {call.function.__name__} of {call.function.__module__} has no form in ONNX here")
        names = emit(self, call)
        names = names if isinstance(names, tuple) else (names,)
        for y, name in zip(call.outputs, names, strict=False):
            self.bind(y, name)
        for extra in call.outputs[len(names) :]:
            self.names.pop(id(extra), None)

    def dtype(self, array: np.ndarray) -> int:
        """ONNX's code of a dtype."""
        return self.onnx.helper.np_dtype_to_tensor_dtype(array.dtype)


def export(
    model: Module,
    example: Any,
    path: str | os.PathLike | None = None,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    dynamic_batch: bool = True,
) -> Any:
    """Write `model`, as it computes in evaluation mode on `example` (a tensor or a tuple of them), to an ONNX file; gives the `ModelProto`.

    The file has opset 18, parameters under their names in `state_dict()`, and, with `dynamic_batch`, a first dimension N of any size.  It holds the
    operations of this one run: what Python decided on the way (branches, loops) is fixed.  Without a path nothing is written.

    Raises:
        NotImplementedError: an operation that has no form in ONNX here (it is named), or a size or value that depends on the batch or
            on the input in a way that was not recorded.
        RuntimeError: the graph, loaded again, computes something else than the model.

    >>> import convkit
    >>> from convkit import nn
    >>> from convkit.interop import onnx
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    >>> proto = onnx.export(net, convkit.zeros(2, 1, 4, 4))
    >>> [node.op_type for node in proto.graph.node]
    ['Conv', 'Relu', 'Reshape', 'Gemm']
    """
    onnx = _library()
    if not isinstance(model, Module):
        raise TypeError(f"export: model must be a Module, got {type(model).__name__}")
    inputs = list(example) if isinstance(example, (tuple, list)) else [example]
    if not inputs or not all(isinstance(x, TensorBase) for x in inputs):
        raise TypeError("export: the example must be a tensor or a tuple of tensors")
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        proto = _export(onnx, model, inputs, input_names, output_names, dynamic_batch)
    finally:
        for module, mode in modes:
            module.training = mode
    if path is not None:
        write_whole(Path(path), proto.SerializeToString())
    return proto


def _export(onnx: Any, model: Module, inputs: list[Tensor], input_names: Any, output_names: Any, dynamic: bool) -> Any:
    dynamic = dynamic and all(x.ndim and x.shape[0] == inputs[0].shape[0] > 0 for x in inputs)
    inputs = [Tensor(np.array(x.array, order="K")) for x in inputs]  # arrays of their own, so that none is a parameter or the same twice
    others = _changed(inputs, dynamic)
    calls, outputs = _run(model, inputs)
    twins, other_outputs = _run(model, others)
    if [c.function for c in calls] != [c.function for c in twins] or len(outputs) != len(other_outputs):
        raise NotImplementedError("export: the model does other operations for another input or batch; only one of its ways can be exported")
    g = Writer(onnx, model)
    make = onnx.helper.make_tensor_value_info
    wanted = list(input_names) if input_names else [f"input_{i}" if len(inputs) > 1 else "input" for i in range(len(inputs))]
    results = list(output_names) if output_names else [f"output_{i}" if len(outputs) > 1 else "output" for i in range(len(outputs))]
    if len(wanted) != len(inputs) or len(results) != len(outputs):
        raise ValueError(f"export: {len(inputs)} inputs and {len(outputs)} outputs need as many names, got {wanted} and {results}")
    named = []
    for x, other, want in zip(inputs, others, wanted, strict=True):
        name = g.fresh(want)
        g.bind(x.array, name)
        named.append(make(name, g.dtype(x.array), _sizes(x, other)))
    for call, twin in zip(calls, twins, strict=True):
        call.twin = twin
        g.write(call)
    g.call = None
    made = []
    for y, other, want in zip(outputs, other_outputs, results, strict=True):
        name = g.fresh(want)
        g.nodes.append(onnx.helper.make_node("Identity", [g.name(y.array, other.array)], [name], name=name))
        made.append(make(name, g.dtype(y.array), _sizes(y, other)))
    _join_identities(g.nodes)
    used = _drop_unused(g.nodes, {o.name for o in made})
    initialisers = [
        onnx.numpy_helper.from_array(np.ascontiguousarray(a).reshape(a.shape), name) for name, a in g.initialisers.items() if name in used
    ]
    graph = onnx.helper.make_graph(g.nodes, type(model).__name__, named, made, initialisers)
    opset = onnx.helper.make_opsetid("", OPSET)
    proto = onnx.helper.make_model(graph, producer_name="convkit", opset_imports=[opset], ir_version=onnx.helper.find_min_ir_version_for([opset]))
    onnx.checker.check_model(proto, full_check=True)
    _verify(proto, [(inputs, outputs), (others, other_outputs)])
    return proto


def _sizes(x: Any, other: Any) -> list[int | str]:
    """Sizes that differ between the runs get names: N for the batch."""
    return [a if a == b else "N" if i == 0 else f"N{i}" for i, (a, b) in enumerate(zip(x.shape, other.shape, strict=True))]


def _drop_unused(nodes: list[Any], wanted: set[str]) -> set[str]:
    """Leaves out the nodes whose results nobody needs; gives the names that are needed."""
    for node in reversed(list(nodes)):
        if wanted.isdisjoint(node.output):
            nodes.remove(node)
        else:
            wanted |= set(node.input)
    return wanted


def _join_identities(nodes: list[Any]) -> None:
    """An output that one node makes, and nobody else uses, takes the place of that node's output: no Identity between them."""
    users: dict[str, int] = {}
    for node in nodes:
        for name in node.input:
            users[name] = users.get(name, 0) + 1
    makers = {name: node for node in nodes for name in node.output}
    for node in [n for n in nodes if n.op_type == "Identity"]:
        source = node.input[0]
        if source in makers and users[source] == 1:
            maker = makers[source]
            maker.output[list(maker.output).index(source)] = node.output[0]
            makers[node.output[0]] = maker
            nodes.remove(node)


def _verify(proto: Any, runs: list[tuple[Sequence[Tensor], Sequence[Tensor]]]) -> None:
    again = load(proto)
    for inputs, outputs in runs:
        with no_grad():
            got = again(*inputs)
        for g, y in zip(got if isinstance(got, tuple) else (got,), outputs, strict=True):
            if g.shape != y.shape or g.dtype != y.dtype or not np.allclose(g.array, y.array, rtol=1e-3, atol=1e-4, equal_nan=True):
                raise RuntimeError(
                    "export: the exported graph computes something else than the model; does it use values in a way that is not recorded "
                    "(changes in place, numbers taken out of a tensor), or random numbers?"
                )
