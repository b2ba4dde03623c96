"""The graph of operations and the walk back over it.

An operation is a `Function`: one class with `forward`, which works on arrays, and `backward`, which works on
tensors.  `Function.apply` runs forward and, if an input requires a gradient, leaves a node behind: the Function object
itself, with an edge to the node of each input.  `backward` visits the nodes from the newest to the oldest; a node is
always newer than its inputs, so a heap of ages is all the ordering it takes, and no recursion.

Because `backward` computes with tensors, its own work can be recorded (`create_graph=True`): second derivatives
are nothing special.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from ..tensor import Tensor

_age = itertools.count().__next__
_ndarray = np.ndarray  # what each operation asks for is one name to look up


class _Mode(threading.local):
    """What this thread does with operations."""

    recording = True  # into a graph
    waiting: list[weakref.ref] | None = None  # tensors of operations that wait (`fusion.py`); None outside modules


_mode = _Mode()


# ------------------------------------------------------------------------------------ recording
def is_grad_enabled() -> bool:
    """Are operations being recorded in this thread?"""
    return _mode.recording


F = TypeVar("F", bound=Callable)


class _SetRecording:
    """Context manager and decorator that sets recording to `value` for a while."""

    value = True

    def __init__(self) -> None:
        self.before: list[bool] = []  # one may be entered again inside itself

    def __enter__(self) -> None:
        self.before.append(_mode.recording)
        _mode.recording = self.value

    def __exit__(self, *_: Any) -> None:
        _mode.recording = self.before.pop()

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


class no_grad(_SetRecording):
    """Record nothing inside: `with no_grad(): ...` or `@no_grad()`.

    >>> import convkit
    >>> x = convkit.ones(2, requires_grad=True)
    >>> with convkit.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    value = False


class enable_grad(_SetRecording):
    """Record inside, also within `no_grad`."""

    value = True


# -------------------------------------------------------------------------------------- watching
_watch: Any = None


@contextlib.contextmanager
def observed(watch: Any) -> Iterator[None]:
    """Inside, in all threads, operations are run by `watch`: its `forward(ctx, arrays, options)` and `backward(node, grads)` call the Function's own.

    That is how profilers and exporters see what goes in and what comes out.
    """
    global _watch
    compute_waiting()
    before, _watch = _watch, watch
    try:
        yield
        compute_waiting()
    finally:
        _watch = before


def is_observed() -> bool:
    """Whether somebody sees each operation: then those that the user wrote should run."""
    return _watch is not None


def compute_waiting() -> None:
    """Compute all that waits in this thread; see `fusion.py`."""
    for reference in list(_mode.waiting or ()):
        tensor: Any = reference()
        if type(tensor) is TensorBase._waiting:
            tensor._work.compute()


# ----------------------------------------------------------------------------------------- nodes
class TensorBase:
    """What the graph knows of a tensor: its array, where it came from, and where its gradient goes.

    `node` and `index` name the operation, and which of its outputs, that made this tensor; None for a leaf.
    """

    __slots__ = ("array", "requires_grad", "grad", "node", "index", "_leaf", "_hooks", "_version", "_work", "__weakref__")
    result: type  # the class of results; `convkit.tensor` sets it to Tensor, which derives from this class
    _waiting: Any  # and this to the class of those that are not computed yet: see `fusion.py`

    def __init__(self, array: np.ndarray, requires_grad: bool = False):
        self.array = array if type(array) is _ndarray else _from_numpy(array)
        self.requires_grad = requires_grad
        self.grad: Any = None
        self.node: Function | None = None
        self.index = 0
        self._leaf: weakref.ref | None = None
        self._hooks: dict[int, Callable] | None = None
        self._version: list[int] | None = None  # [number of in-place changes], shared with views and detached copies

    if TYPE_CHECKING:  # the methods that Tensor adds

        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, key: Any) -> Any: ...


class _Leaf:
    """The node of a tensor that no operation made: its gradient ends here, in `tensor.grad`.  It lives as long as a graph uses it."""

    __slots__ = ("tensor", "age", "__weakref__")

    def __init__(self, tensor: TensorBase):
        self.tensor = tensor
        self.age = _age()


def _node(tensor: TensorBase) -> Any:
    """The node whose output `tensor` is; a leaf gets one on demand."""
    if tensor.node is not None:
        return tensor.node
    leaf = tensor._leaf() if tensor._leaf is not None else None
    if leaf is None:
        leaf = _Leaf(tensor)
        tensor._leaf = weakref.ref(leaf)
    return leaf


class Function:
    """An operation with its gradient.  Derive from it to make an op of your own:

        class Exp(Function):
            @staticmethod
            def forward(ctx, x):            # arrays in, an array (or a tuple of arrays) out
                y = np.exp(x)
                ctx.save_for_backward(y)    # arrays that backward needs: inputs, outputs or others
                return y

            @staticmethod
            def backward(ctx, gy):          # one tensor for each output in, one (or None) for each argument of forward out
                y, = ctx.saved_tensors
                return gy * y

        y = Exp.apply(x)

    As in torch, except that `forward` sees arrays: an op is where arrays are handled.  Arguments of `apply` that are
    not tensors reach `forward` unchanged, and get no gradient.  `ctx.needs_input_grad` says, for each argument, whether its
    gradient is wanted; backward may return None for the others.  Where backward uses tensor operations, second
    derivatives work by themselves; decorate it with `once_differentiable` where it does not.
    """

    needs_input_grad: tuple[bool, ...] = ()
    _saved: tuple | None = ()
    _origins: Sequence = ()
    _edges: Sequence = ()
    _outputs: Sequence = ()
    _constant: Any = ()
    _hooks: dict[int, dict[int, Callable]] | None = None
    age = 0

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        """Arrays in, an array or a tuple of arrays out."""
        raise NotImplementedError("a Function needs a forward")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Gradients of the outputs in, gradients of forward's arguments out."""
        raise NotImplementedError("a Function that is differentiated needs a backward")

    def save_for_backward(self, *arrays: Any) -> None:
        """Keep arrays for backward; call it in forward."""
        self._saved = arrays

    def mark_non_differentiable(self, *arrays: Any) -> None:
        """Say in forward that these outputs have no gradient (integer outputs never have one)."""
        self._constant = {id(a) for a in arrays}

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]:
        """The saved arrays, as tensors; while a graph is recorded they stand for the inputs or outputs that they were."""
        if self._saved is None:
            raise RuntimeError(_FREED.format(type(self).__name__))
        out: list[Any] = []
        result, recording = TensorBase.result, _mode.recording
        for array, origin in zip(self._saved, self._origins):  # noqa: B905 - of one length
            tensor: Any = None if array is None else result(array)
            if origin is not None:
                source, index, versions, version = origin
                if versions[0] != version:
                    raise RuntimeError(
                        f"{type(self).__name__}.backward: a tensor that it needs was changed in place after it was used; "
                        "change a copy, or change it after backward()"
                    )
                if recording and source is not None:
                    if source is _SELF:
                        tensor.node, tensor.index, tensor.requires_grad = self, index, True
                    elif isinstance(source, _Leaf):
                        tensor = source.tensor
                    else:
                        tensor.node, tensor.index, tensor.requires_grad = source, index, True
            out.append(tensor)
        return tuple(out)

    @classmethod
    def apply(cls, *args: Any, **options: Any) -> Any:
        """Run forward on the arrays of `args` (keyword arguments go to forward as they are), recording it where a gradient is wanted."""
        ctx = cls()
        arrays: list[Any] = []
        record = False
        for a in args:
            if isinstance(a, TensorBase):
                arrays.append(a.array)
                record = record or a.requires_grad
            else:
                arrays.append(a)
        if record and _mode.recording:
            ctx.needs_input_grad = tuple([isinstance(a, TensorBase) and a.requires_grad for a in args])
        else:
            record, ctx.needs_input_grad = False, (False,) * len(arrays)
        if _elsewhere:
            _one_device(cls.__name__, args)
        result = cls.forward(ctx, *arrays, **options) if _watch is None else _watch.forward(ctx, arrays, options)
        if type(result) is _ndarray:  # mostly; this path and the next do the same
            tensor = TensorBase.result(result)
            if record:
                ctx._record(args, arrays, (result,), (tensor,))
            return tensor
        many = type(result) is tuple
        outputs = result if many else (result,)
        tensors = [r if isinstance(r, TensorBase) else TensorBase.result(_as_array(r)) for r in outputs]
        if record:
            ctx._record(args, arrays, outputs, tensors)
        return tuple(tensors) if many else tensors[0]

    def _record(self, args: Sequence, arrays: Sequence, outputs: Sequence, tensors: Sequence) -> None:
        # Plain loops: this runs once for each operation of a training step.
        self._edges = edges = [
            (_node(a) if a.node is None else a.node, a.index, array.shape, array.dtype) if need else None
            for a, array, need in zip(args, arrays, self.needs_input_grad)  # noqa: B905 - of one length
        ]
        self.age = _age()
        kinds = []
        for i, tensor in enumerate(tensors):
            array = tensor.array
            dtype = array.dtype
            kinds.append((array.shape, dtype))
            if dtype.kind in "fc" and not (self._constant and id(outputs[i]) in self._constant):
                tensor.node, tensor.index, tensor.requires_grad = self, i, True
        self._outputs = kinds
        if not self._saved:
            return
        # Where each saved array comes from: (node, output, versions, version) of an input, the same with _SELF of an output, or None.
        self._origins = origins = []
        for saved in self._saved:
            origin: tuple | None = None
            if saved is not None:
                for a, array, edge in zip(args, arrays, edges):  # noqa: B905 - of one length
                    if array is saved and isinstance(a, TensorBase):
                        versions = version_of(a)
                        origin = (None, 0, versions, versions[0]) if edge is None else (edge[0], edge[1], versions, versions[0])
                        break
                else:
                    for i, array in enumerate(outputs):
                        if array is saved:
                            versions = version_of(tensors[i])
                            origin = (_SELF if tensors[i].requires_grad else None, i, versions, versions[0])
                            break
            origins.append(origin)

    def _release(self) -> None:
        """Drop what backward needed."""
        self._saved = None


_SELF = object()
_FREED = "{}.backward: its saved arrays were freed by an earlier backward; pass retain_graph=True there if the same graph is to be walked again"


def version_of(tensor: TensorBase) -> list[int]:
    """The counter of in-place changes of a tensor's memory, shared by its views."""
    if tensor._version is None:
        tensor._version = [0]
    return tensor._version


def _from_numpy(value: Any) -> np.ndarray:
    # NumPy makes numbers of arrays without dimensions, as in `a + 1`; a number would count as a constant.
    if not isinstance(value, (np.ndarray, np.generic)):
        raise TypeError(f"Tensor: needs a NumPy array, got {type(value).__name__}; convkit.tensor takes other data")
    global _elsewhere
    _elsewhere = _elsewhere or isinstance(value, np.ndarray)
    return _as_array(value)


def _as_array(value: Any) -> np.ndarray:
    return value if isinstance(value, np.ndarray) else np.asarray(value)


# Has any tensor had an array that is not NumPy's own?  Then each operation looks whether its tensors are on one device: a kernel of the CPU that was
# given a GPU's memory would read at addresses that are not the host's.
_elsewhere = False


def _one_device(op: str, args: Sequence) -> None:
    """RuntimeError if tensors with dimensions live on several devices."""
    places = {a.array.device: None for a in args if isinstance(a, TensorBase) and a.array.ndim}
    if len(places) > 1:
        raise RuntimeError(f"{op}: its tensors are on {' and '.join(places)}; bring them to one device with .to(device)")


# -------------------------------------------------------------------------------------- the walk
def _walk(roots: Iterable[tuple[TensorBase, TensorBase]], retain: bool, create_graph: bool, wanted: dict[tuple[Any, int], int] | None) -> dict:
    """Carry the gradients of `roots` back; into leaves' .grad, or, with `wanted` {(node, output): key}, into the returned dict."""
    compute_waiting()  # a hook that reads what waits must not change the graph that is walked
    pending: dict[Any, list] = {}
    heap: list[tuple[int, Any]] = []
    found: dict[int, Any] = {}
    given: set[int] = set()

    def receive(node: Any, index: int, grad: Any) -> None:
        slots = pending.get(node)
        if slots is None:
            pending[node] = slots = [None] * (1 if type(node) is _Leaf else len(node._outputs))
            heappush(heap, (-node.age, node))
        slots[index] = grad if slots[index] is None else slots[index] + grad

    useful = None if wanted is None else _leading_to({node for node, _ in wanted}, [_node(t) for t, _ in roots])
    mode = enable_grad if create_graph else no_grad
    with mode():
        for tensor, grad in roots:
            given.add(_owner(grad.array))
            receive(_node(tensor), tensor.index, grad)
        while heap:
            _, node = heappop(heap)
            grads = pending.pop(node)
            leaf = type(node) is _Leaf
            hooks = node.tensor._hooks if leaf else node._hooks
            if hooks:
                for index, functions in ({0: hooks} if leaf else hooks).items():
                    for hook in list(functions.values()):
                        if grads[index] is not None:
                            given.add(_owner(grads[index].array))  # a hook may keep what it sees
                            changed = hook(grads[index])
                            if changed is not None:
                                _check_hook(changed, grads[index])
                                given.add(_owner(changed.array))
                                grads[index] = changed
            if wanted is not None:
                for index, grad in enumerate(grads):
                    key = wanted.get((node, index))
                    if key is not None and grad is not None:
                        found[key] = grad
            if leaf:
                if wanted is None:
                    _accumulate(node.tensor, grads[0], create_graph, given)
                continue
            if node._saved is None:
                raise RuntimeError(_FREED.format(type(node).__name__))
            if len(grads) > 1:  # a single one has come
                like = next(g.array for g in grads if g is not None)
                for i, (shape, dtype) in enumerate(node._outputs):
                    if grads[i] is None:
                        grads[i] = TensorBase.result(np.zeros(shape, dtype, like=like))
            edges = node._edges
            needs = node.needs_input_grad
            if useful is not None:
                node.needs_input_grad = tuple([e is not None and e[0] in useful for e in edges])
            try:
                results = type(node).backward(node, *grads) if _watch is None else _watch.backward(node, grads)
            finally:
                node.needs_input_grad = needs
            if not isinstance(results, tuple):
                results = (results,)
            if len(results) != len(edges):
                missing, surplus = edges[len(results) :], results[len(edges) :]
                if any(e is not None for e in missing) or any(r is not None for r in surplus):
                    raise RuntimeError(f"{type(node).__name__}.backward returned {len(results)} gradients for {len(edges)} arguments")
            saved = [_owner(s) for s in node._saved if isinstance(s, np.ndarray)]
            for edge, grad in zip(edges, results):  # noqa: B905 - missing ones are None
                if edge is None or grad is None or (useful is not None and edge[0] not in useful):
                    continue
                if not isinstance(grad, TensorBase):
                    raise TypeError(f"{type(node).__name__}.backward must return tensors or None, got {type(grad).__name__}")
                array = grad.array
                if array.shape != edge[2]:
                    raise RuntimeError(
                        f"{type(node).__name__}.backward returned a gradient of shape {list(array.shape)} for an argument of shape {list(edge[2])}"
                    )
                if saved and (owner := _owner(array)) in saved:
                    given.add(owner)
                if array.dtype is not edge[3] and array.dtype != edge[3]:
                    grad = grad.to(edge[3])  # type: ignore[attr-defined]
                receive(edge[0], edge[1], grad)
            if not retain and node._saved:  # what has saved nothing can be walked again, as in torch
                node._release()
    return found


def _leading_to(targets: set, roots: list) -> set:
    """The nodes between `roots` and `targets`, both included: the others' gradients are not asked for."""
    seen, stack = set(roots), list(roots)
    while stack:
        for edge in getattr(stack.pop(), "_edges", ()):
            if edge is not None and edge[0] not in seen:
                seen.add(edge[0])
                stack.append(edge[0])
    useful = set(targets)
    for node in sorted(seen, key=lambda n: n.age):  # inputs are older than what is made of them
        if any(edge is not None and edge[0] in useful for edge in getattr(node, "_edges", ())):
            useful.add(node)
    return useful


def _check_hook(changed: Any, grad: Any) -> None:
    if not isinstance(changed, TensorBase):
        raise TypeError(f"a gradient's hook must return a tensor or None, got {type(changed).__name__}")
    if changed.array.shape != grad.array.shape:
        raise RuntimeError(f"a gradient's hook returned shape {list(changed.array.shape)} for a gradient of shape {list(grad.array.shape)}")


def _owner(array: np.ndarray) -> int:
    """Identity of the memory that an array looks at."""
    while isinstance(array, _ndarray) and (base := array.base) is not None:
        array = base
    return id(array)


def _accumulate(tensor: TensorBase, grad: Any, create_graph: bool, given: set[int]) -> None:
    """Add `grad` to tensor.grad, which never shares memory with another tensor's gradient or with the caller's."""
    if tensor.grad is not None:
        tensor.grad = tensor.grad + grad
        return
    array = grad.array
    if not array.flags.writeable or _owner(array) in given:
        grad = grad.clone()
    given.add(_owner(grad.array))
    tensor.grad = grad if create_graph else TensorBase.result(grad.array)


def listed(op: str, tensors: Any, optional: bool = False) -> tuple[Any, ...]:
    """One tensor or several as a tuple; None too, if `optional`; TypeError for anything else."""
    if isinstance(tensors, TensorBase) or optional and tensors is None:
        return (tensors,)
    found = tuple(tensors) if isinstance(tensors, Iterable) else (tensors,)
    for t in found:
        if not isinstance(t, TensorBase) and not (optional and t is None):
            raise TypeError(f"{op}: needs a tensor or several, got {type(t).__name__}")
    return found


def _roots(op: str, outputs: Sequence[Any], grad_outputs: Sequence[Any]) -> list[tuple[Any, Any]]:
    roots = []
    for y, g in zip(outputs, grad_outputs, strict=True):
        if not y.requires_grad:
            raise RuntimeError(f"{op}: the output does not require a gradient: nothing that made it did, or it was made under no_grad()")
        if g is None:
            if y.array.size != 1:
                raise RuntimeError(f"{op}: an output of shape {list(y.array.shape)} needs a gradient of that shape; only a single number does not")
            g = TensorBase.result(np.ones_like(y.array))
        elif g.array.shape != y.array.shape:
            raise ValueError(f"{op}: the gradient has shape {list(g.array.shape)} but the output has {list(y.array.shape)}")
        elif g.array.dtype != y.array.dtype:
            raise TypeError(f"{op}: the gradient is {g.array.dtype} but the output is {y.array.dtype}")
        roots.append((y, g))
    return roots


def backward(tensors: Any, grad_tensors: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
    """Add the gradients of `tensors` to the `.grad` of every leaf that requires one.

    `grad_tensors` weighs the outputs; a single number needs none.  The graph is freed on the way unless `retain_graph`.
    RuntimeError if an output requires no gradient or its graph was freed.
    """
    tensors, grad_tensors = listed("backward", tensors), listed("backward", grad_tensors, True)
    if len(grad_tensors) == 1:
        grad_tensors = grad_tensors * len(tensors) if grad_tensors[0] is None else grad_tensors
    _walk(_roots("backward", tensors, grad_tensors), create_graph if retain_graph is None else retain_graph, create_graph, None)


def grad(
    outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
    only_inputs: bool = True, allow_unused: bool | None = None, is_grads_batched: bool = False, materialize_grads: bool = False,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The gradients of `outputs` with respect to `inputs`, one tensor for each; leaves' `.grad` stays as it is.

    With `create_graph` the gradients can themselves be differentiated.  RuntimeError if an input is not part of the graph,
    unless `allow_unused` (then None stands in its place) or `materialize_grads` (then zeros).  `only_inputs` and `is_grads_batched` are
    torch's: ValueError for anything but their defaults.

    >>> import convkit
    >>> x = convkit.tensor([3.0], requires_grad=True)
    >>> (gx,) = convkit.autograd.grad(x * x * x, x, create_graph=True)
    >>> (ggx,) = convkit.autograd.grad(gx, x)
    >>> gx.item(), ggx.item()
    (27.0, 18.0)
    """
    if not only_inputs or is_grads_batched:
        raise ValueError("grad: only_inputs=False is deprecated, and is_grads_batched=True is not there; call grad for each of them")
    if materialize_grads and allow_unused is False:
        raise ValueError("grad: materialize_grads gives unused inputs zeros, so allow_unused must not be False")
    outputs, inputs, grad_outputs = listed("grad", outputs), listed("grad", inputs), listed("grad", grad_outputs, True)
    if len(grad_outputs) == 1 and grad_outputs[0] is None:
        grad_outputs = grad_outputs * len(outputs)
    for i, x in enumerate(inputs):
        if not x.requires_grad:
            raise RuntimeError(f"grad: input {i} does not require a gradient")
    nodes = [(_node(x), x.index) for x in inputs]  # the list keeps leaves' nodes alive
    wanted = {key: i for i, key in enumerate(nodes)}
    found = _walk(_roots("grad", outputs, grad_outputs), create_graph if retain_graph is None else retain_graph, create_graph, wanted)
    results = [found.get(wanted[key]) for key in nodes]
    for i, g in enumerate(results):
        if g is None and materialize_grads:
            results[i] = TensorBase.result(np.zeros_like(inputs[i].array))
        elif g is None and not allow_unused:
            raise RuntimeError(f"grad: input {i} is not part of the graph of the outputs; pass allow_unused=True to get None for it")
    return tuple(results)  # type: ignore[arg-type]
