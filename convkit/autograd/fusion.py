"""Operations that wait for the one behind them and run with it as one: passes over memory less.

While a module is called, some operations only say what they will give (`later`): a tensor of the class `TensorBase._waiting`, which knows its
shape and dtype, and is computed when somebody reads it.  A sum or a ReLU of such a tensor takes the operation over (`added`, `cut_off`): its
Function runs once, with the last two of its arguments, `add` and `relu`, and what stood between is never computed.

Nobody can tell:

- What stood between and is read after all, or whose gradient is asked for, is computed then; the node of the operation that took it over becomes
  the node of the sum or the ReLU alone, so that gradients pass through what stood between.
- Before memory is changed in place or exchanged, operations that read it run (`settle`): whoever writes says so.  Before the outermost module
  returns, and before a graph is walked, all do that still wait.
- They run as they would have when they were called: recorded or not, with what needed a gradient then, by the algorithm that was asked for.
- Watchers see what runs; a module with hooks hands out what is computed.

Only arrays that are changed behind the tensors' back, or by another thread, in the middle of a `forward`, would be read too late.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from convkit_kernels import algorithm

from . import graph
from .graph import TensorBase, _age, _mode, _node, _owner, compute_waiting, enable_grad, is_observed, no_grad

_set_requires_grad = TensorBase.__dict__["requires_grad"].__set__  # which the class of those that wait hides


class Work:
    """An operation that waits: `function` of `args`, the last two of which are `add` and `relu`.

    Or what it makes of the tensor `before` it `alone`, if that waited too and was computed after all.
    """

    alone: Callable | None = None
    before: Any = None
    node: Any = None  # a reference to its node, once there is one
    taker: Work | None = None  # what has taken it over
    tensor: Any = None  # a reference to the tensor that waits
    inputs: Sequence = ()
    other: Any = None  # what it adds
    done = False

    def __init__(self, function: Any, args: tuple, shape: tuple[int, ...], dtype: Any) -> None:
        self.function, self.args, self.shape, self.dtype = function, args, shape, dtype
        self.recording = _mode.recording
        if self.recording:  # nodes are older than those of what is made of them
            self.inputs = [_node(a) if a.node is None else a.node for a in args if isinstance(a, TensorBase) and a.requires_grad]
        self.records, self.age = bool(self.inputs), _age()
        self.needs = [(a, a.requires_grad) for a in args if isinstance(a, TensorBase)]
        self.algorithm = algorithm.wanted()
        self.lock = threading.RLock()

    def _made(self) -> Any:
        # As it would have been recorded when the operation was called.
        if self.recording is not _mode.recording:
            with (enable_grad if self.recording else no_grad)():
                return self._made()
        if self.algorithm != algorithm.wanted():
            with algorithm.conv_algorithm(self.algorithm):
                return self._made()
        changed = [(a, need) for a, need in self.needs if a.requires_grad is not need]
        if changed:  # parameters that were frozen or thawed since
            for a, need in changed:
                a.requires_grad = need
            try:
                return self._made()
            finally:
                for a, need in changed:
                    a.requires_grad = not need
        made = self.function.apply(*self.args) if self.before is None else self.alone(self.before)  # type: ignore[misc]
        if self.records:
            made.node.age = self.age
        return made

    def compute(self) -> Any:
        """Its result, which the tensor that waits for it gets too."""
        with self.lock:  # several threads may read it
            return None if self.done else self._compute()

    def _compute(self) -> Any:
        made = self._made()
        if self.records:
            self.node = weakref.ref(made.node)
        tensor = None if self.tensor is None else self.tensor()
        if tensor is not None:
            tensor.array, tensor.node, tensor.index, tensor._version = made.array, made.node, made.index, made._version
            _set_requires_grad(tensor, self.records)
            tensor.__class__ = TensorBase._waiting.__base__  # last: other threads see all of it
            made = tensor
        taker, self.taker, self.args, self.inputs, self.needs, self.done = self.taker, None, (), [], [], True
        if taker is not None and taker.records and self.records:
            taker.follow(made)
        self.before = None
        return made

    def follow(self, before: Any) -> None:
        """`before`, which this has taken over, is there: from now on this is what it makes of that alone."""
        self.before, self.args = before, ()
        if self.node is None:
            if self.taker is not None:  # it was not computed itself, but what took it over was
                self.compute()
        elif (node := self.node()) is not None:
            _become(node, self._made().node)


def _become(node: Any, other: Any) -> None:
    """Make a node, which others point to, what `other` is."""
    freed, age, hooks = node._saved is None, node.age, node._hooks
    node.__class__ = other.__class__
    node.__dict__.clear()
    node.__dict__.update(other.__dict__)
    node.age, node._hooks = age, hooks
    if freed:
        node._release()


def _tensor(work: Work) -> Any:
    """The tensor that waits for it."""
    tensor = TensorBase._waiting.__new__(TensorBase._waiting)
    tensor._work, tensor.grad, tensor._leaf, tensor._hooks, tensor._version = work, None, None, None, None
    work.tensor = weakref.ref(tensor)
    if _mode.waiting is not None:
        _mode.waiting.append(work.tensor)
    return tensor


def later(function: Any, shape: tuple[int, ...], *args: Any) -> Any:
    """function.apply(*args, None, False), of `shape` and of the dtype of args[0]; inside a module when it is needed."""
    if _mode.waiting is None:
        return function.apply(*args, None, False)
    if graph._elsewhere:  # refused where it is called
        graph._one_device(function.__name__, args)
    return _tensor(Work(function, (*args, None, False), shape, args[0].array.dtype))


def work_of(tensor: Any) -> Any:
    """The work of a tensor that waits and that nothing has taken over, recorded as now; or None."""
    if type(tensor) is not TensorBase._waiting:
        return None
    work = tensor._work
    return work if work.taker is None and work.before is None and work.recording is _mode.recording else None


def taken(work: Work, function: Any, args: Sequence, alone: Callable | None = None) -> Work:
    """What takes `work` over."""
    work.taker = taker = Work(function, tuple(args), work.shape, work.dtype)
    taker.alone, taker.algorithm = alone, work.algorithm
    return taker


def cut_off(tensor: Any, alone: Callable) -> Any:
    """max(tensor, 0), which `alone` would make of a tensor, as one operation with that which makes the tensor; None if it cannot be."""
    work = work_of(tensor)
    if work is None:
        return None
    return taken(work, work.function, (*work.args[:-1], True), alone).compute()


def added(tensor: Any, other: Any, alone: Callable) -> Any:
    """tensor + other, which waits, as `cut_off`."""
    work = work_of(tensor)
    if work is None or work.args[-2] is not None or is_observed() or not isinstance(other, TensorBase):
        return None
    array = other.array
    if array.shape != work.shape or array.dtype != work.dtype or work_of(tensor) is None:  # the other may be the same, or made of it
        return None
    if type(array) is not type(work.args[0].array):  # on another device, which the sum refuses
        return None
    taker = taken(work, work.function, (*work.args[:-2], other, False), alone)
    taker.other = other
    return _tensor(taker)


def instead(work: Work, *args: Any) -> Any:
    """The same function of other arguments, which waits, in place of the work and what is made of it."""
    return _tensor(taken(work, work.function, (*args, *work.args[-2:])))


def _reads(work: Work) -> list:
    """The arrays that it, or what it will become part of after all, reads."""
    found = [a.array for a in (*work.args, work.before, work.other) if isinstance(a, TensorBase)]
    return found + (_reads(work.taker) if work.taker is not None and work.records else [])


def settle(array: Any = None) -> None:
    """Compute what waits in this thread and nothing has taken over; or what reads the memory of `array`."""
    if not _mode.waiting:
        return
    _mode.waiting[:] = [r for r in _mode.waiting if type(r()) is TensorBase._waiting]
    owner = None if array is None else _owner(array)
    for reference in list(_mode.waiting):
        tensor: Any = reference()
        if type(tensor) is TensorBase._waiting:
            work = tensor._work
            if work.taker is None if owner is None else any(_owner(a) == owner for a in _reads(work)):
                work.compute()


def run(forward: Callable, args: Sequence, kwargs: dict[str, Any]) -> Any:
    """forward(*args, **kwargs) of a module; whatever waits is computed before the outermost returns."""
    if _mode.waiting is not None:
        return forward(*args, **kwargs)
    _mode.waiting = []
    try:
        result = forward(*args, **kwargs)
        compute_waiting()
        return result
    except MemoryError:  # what nobody reads shall take no more
        raise
    except Exception:
        with contextlib.suppress(Exception):
            compute_waiting()
        raise
    finally:
        _mode.waiting = None
