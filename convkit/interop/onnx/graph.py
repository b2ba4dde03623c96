"""Loading: an ONNX graph as a module."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...nn.module import Module
from ...nn.parameter import Parameter
from ...tensor import Tensor, from_numpy
from .node import Node, UnsupportedError
from .operators import TABLE

OLDEST = 7  # the first operator set with today's broadcasting


def _library() -> Any:
    try:
        import onnx
    except ImportError:
        raise ImportError("ONNX models need the package onnx: pip install 'convkit[onnx]'") from None
    return onnx


class Step:
    """One operation, ready to run."""

    def __init__(self, node: Node, run: Callable, mode: bool):
        self.op, self.inputs, self.outputs, self.told = node.op, node.inputs, node.outputs, str(node)
        self.run, self.mode = run, mode
        self.last: tuple[str, ...] = ()  # values that nobody needs after this step


class Graph(Module):
    """An ONNX graph: called with the graph's inputs, in order, it gives the output, or a tuple of them.

    Floating initialisers are parameters, under their names in the file (a dotted name makes modules, as in torch); integers, running
    statistics and bounds are buffers.  It starts in evaluation mode, where it computes what the file says.  In training mode
    (`train()`) BatchNormalization uses the batch's statistics and moves the running ones, and Dropout drops, as layers here do.

    Attributes: `inputs` and `outputs`, the names of the graph's inputs and outputs in order.
    """

    def __init__(
        self, inputs: list[str], outputs: list[str], steps: list[Step], tensors: dict[str, tuple[Tensor, bool]], constants: dict[str, Tensor]
    ):
        super().__init__()
        self.inputs, self.outputs, self.steps = inputs, outputs, steps
        self._places: dict[str, tuple[Module, str]] = {}
        for name, (tensor, learnt) in tensors.items():
            module, last = self._place_for(name)
            if learnt:
                module.register_parameter(last, Parameter(tensor))
            else:
                module.register_buffer(last, tensor)
            self._places[name] = module, last
        for i, (name, tensor) in enumerate(constants.items()):
            self.register_buffer(f"constant_{i}", tensor, persistent=False)
            self._places[name] = self, f"constant_{i}"
        self._plan_release()
        self.eval()

    def _place_for(self, name: str) -> tuple[Module, str]:
        """The module and the attribute that bear a dotted name; names that Python or another tensor already uses get an underscore."""
        module: Module = self
        *path, last = name.split(".") if all(name.split(".")) else [name.replace(".", "_")]
        for part in path:
            child = module._modules.get(part)
            if child is None:
                while hasattr(module, part):
                    part += "_"
                child = module._modules.get(part) or Module()
                module.add_module(part, child)
            module = child
        while hasattr(module, last):
            last += "_"
        return module, last

    def _plan_release(self) -> None:
        """Values are dropped after their last use."""
        seen = set(self.outputs)
        for step in reversed(self.steps):
            names = {*step.inputs, *step.outputs} - {""}
            step.last = tuple(names - seen)
            seen |= names

    def forward(self, *inputs: Any) -> Any:
        """The graph's output, or a tuple of its outputs."""
        if len(inputs) != len(self.inputs):
            raise TypeError(f"the graph takes {len(self.inputs)} inputs ({', '.join(self.inputs)}), got {len(inputs)}")
        values: dict[str, Any] = {name: getattr(module, last) for name, (module, last) in self._places.items()}
        values.update(zip(self.inputs, inputs, strict=True))
        values[""] = None
        for step in self.steps:
            arguments = [values[name] for name in step.inputs]
            try:
                result = step.run(*arguments, training=self.training) if step.mode else step.run(*arguments)
            except Exception as error:
                error.add_note(f"in {step.told}")
                raise
            values.update(zip(step.outputs, result if isinstance(result, tuple) else (result,), strict=False))
            for name in step.last:
                del values[name]
        results = tuple(values[name] for name in self.outputs)
        return results[0] if len(results) == 1 else results

    def extra_repr(self) -> str:
        """Inputs, number of operations, outputs."""
        return f"{', '.join(self.inputs)} -> {len(self.steps)} operations -> {', '.join(self.outputs)}"


def load(model: str | os.PathLike | bytes | Any) -> Graph:
    """A module that computes what an ONNX model says, from a file's path, a file's bytes, or an `onnx.ModelProto`.

    Opsets 7 to the newest that the installed onnx package knows.  Weights that lie in files of their own are read from the model's folder
    and never from elsewhere.

    Raises:
        UnsupportedError: (a NotImplementedError) an operator, an attribute or a type that convkit does not have; it names the operator,
            the node and the opset.  Nothing has run then.
        ValueError: the bytes are no ONNX model, or external data lie outside the model's folder or are too short.
        FileNotFoundError: there is no such file.

    >>> import onnx.parser
    >>> from convkit.interop.onnx import load
    >>> import convkit
    >>> net = load(onnx.parser.parse_model('''
    ...     <ir_version: 8, opset_import: ["": 17]>
    ...     double (float[N, 2] x) => (float[N, 2] y) <float two = {2.0}> { y = Mul(x, two) }'''))
    >>> net(convkit.ones(1, 2)).tolist()
    [[2.0, 2.0]]
    >>> [name for name, _ in net.named_parameters()]
    ['two']
    """
    onnx = _library()
    folder = None
    if isinstance(model, (str, os.PathLike)):
        folder, model = Path(model).parent, Path(model).read_bytes()
    if isinstance(model, (bytes, bytearray, memoryview)):
        try:
            proto = onnx.ModelProto.FromString(bytes(model))
        except Exception as error:  # protobuf's DecodeError
            raise ValueError(f"load: no ONNX model: {error}") from None
    else:
        proto = model
    if not isinstance(proto, onnx.ModelProto):
        raise TypeError(f"load: needs a path, bytes or an onnx.ModelProto, got {type(model).__name__}")
    if not proto.graph.output:
        raise ValueError("load: no ONNX model: it has no graph with outputs")
    if proto.functions:
        import onnx.inliner

        proto = onnx.inliner.inline_local_functions(proto)
    return _graph(onnx, proto, folder)


def _graph(onnx: Any, proto: Any, folder: Path | None) -> Graph:
    versions = {o.domain: o.version for o in proto.opset_import}
    version, newest = versions.get("", versions.get("ai.onnx", 1)), onnx.defs.onnx_opset_version()
    if not OLDEST <= version <= newest:
        advice = "convert it with onnx.version_converter" if version < OLDEST else "a newer onnx package may know it"
        raise UnsupportedError(f"load: opset {version} is not supported, {OLDEST} to {newest} are; {advice}")
    graph = proto.graph
    if graph.sparse_initializer:
        raise UnsupportedError(f"load: sparse initialiser {graph.sparse_initializer[0].values.name!r} (opset {version})")

    def array_of(tensor: Any) -> np.ndarray:
        return _array(onnx, tensor, folder)

    def build(node: Any) -> tuple[Node, Step]:
        parsed = Node(node, version, array_of)
        entry = TABLE.get(parsed.op)
        if entry is None:
            raise parsed.refuse("is not supported")
        run = entry.build(parsed)
        parsed.check_read()
        return parsed, Step(parsed, run, entry.mode)

    nodes = [n for n in graph.node if n.op_type != "Constant"]
    built = [build(n) for n in nodes]
    initialisers = {t.name: t for t in graph.initializer}
    inputs = [i for i in graph.input if i.name not in initialisers]
    for value in inputs:
        _check_type(onnx, value, version)
    constants = {n.output[0]: _constant(Node(n, version, array_of)) for n in graph.node if n.op_type == "Constant"}
    settings = {node.inputs[i] for node, _ in built for i in TABLE[node.op].settings if node.has(i)}
    tensors = {}
    for name, tensor in initialisers.items():
        array = array_of(tensor)
        tensors[name] = from_numpy(array), array.dtype.kind == "f" and name not in settings
    steps = [step for _, step in built]
    _check_order(inputs, graph.output, steps, {*tensors, *constants})
    return Graph([i.name for i in inputs], [o.name for o in graph.output], steps, tensors, constants)


def _check_order(inputs: Any, outputs: Any, steps: list[Step], known: set[str]) -> None:
    known |= {"", *(i.name for i in inputs)}
    for step in steps:
        missing = set(step.inputs) - known
        if missing:
            raise ValueError(f"load: {step.told} needs {sorted(missing)[0]!r}, which nothing before it makes")
        known |= set(step.outputs)
    for value in outputs:
        if value.name not in known:
            raise ValueError(f"load: nothing makes the output {value.name!r}")


def _check_type(onnx: Any, value: Any, version: int) -> None:
    """Inputs are tensors of real numbers."""
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise UnsupportedError(f"load: input {value.name!r} is a {kind}, tensors are supported (opset {version})")
    check_dtype(onnx, value.type.tensor_type.elem_type, f"load: input {value.name!r} (opset {version})")


def check_dtype(onnx: Any, code: int, told: str) -> np.dtype:
    """NumPy's dtype for ONNX's code; UnsupportedError for one that convkit does not compute with."""
    name = onnx.TensorProto.DataType.Name(code)
    known = {"FLOAT": "f4", "DOUBLE": "f8", "BOOL": "?", **{f"{u}INT{8 * n}": f"{u[:1].lower() or 'i'}{n}" for u in ("U", "") for n in (1, 2, 4, 8)}}
    if name not in known:
        raise UnsupportedError(f"{told}: {name} is not supported; float32, float64, integers and booleans are")
    return np.dtype(known[name])


def _constant(node: Node) -> Tensor:
    """The value of a Constant node."""
    for name, dtype in (("value", None), ("value_float", "f4"), ("value_floats", "f4"), ("value_int", "i8"), ("value_ints", "i8")):
        value = node.get(name)
        if value is not None:
            node.check_read()
            return from_numpy(np.array(value, dtype))
    raise node.refuse("only values of numbers are supported")


# ----------------------------------------------------------------------------------------- weights
def _array(onnx: Any, tensor: Any, folder: Path | None) -> np.ndarray:
    """The numbers of a TensorProto, in the file or in one beside it."""
    dtype = check_dtype(onnx, tensor.data_type, f"load: tensor {tensor.name!r}")
    shape = tuple(tensor.dims)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        content = _external(tensor, folder)
        if len(content) != dtype.itemsize * int(np.prod(shape, dtype=object)):
            raise ValueError(f"load: tensor {tensor.name!r} of shape {list(shape)} has {len(content)} bytes of external data")
        return np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
    try:
        return np.array(onnx.numpy_helper.to_array(tensor), dtype).reshape(shape)
    except Exception as error:
        raise ValueError(f"load: tensor {tensor.name!r} of shape {list(shape)} is damaged: {error}") from None


def _external(tensor: Any, folder: Path | None) -> bytes:
    """The bytes of external data: of a regular file in the model's folder, also when every link has been followed."""
    told = {e.key: e.value for e in tensor.external_data}
    location = told.get("location", "")
    if folder is None:
        raise ValueError(f"load: tensor {tensor.name!r} lies in the file {location!r}; pass the model's path, so that its folder is known")
    home = folder.resolve()
    parts = Path(location.replace("\\", "/")).parts
    path = (home / location).resolve()
    if not parts or Path(location).is_absolute() or ".." in parts or not path.is_relative_to(home):
        raise ValueError(f"load: tensor {tensor.name!r} lies in {location!r}, which is outside the model's folder; it is not read")
    if not path.is_file():
        raise ValueError(f"load: tensor {tensor.name!r} lies in {location!r}, which is no file in the model's folder")
    try:
        offset, length = int(told.get("offset") or 0), told.get("length")
        count = path.stat().st_size - offset if length is None else int(length)
    except ValueError:
        raise ValueError(f"load: tensor {tensor.name!r}: offset and length must be numbers, got {told}") from None
    if offset < 0 or count < 0 or offset + count > path.stat().st_size:
        raise ValueError(f"load: tensor {tensor.name!r} needs bytes {offset} to {offset + count} of {location!r}, which has {path.stat().st_size}")
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(count)
