"""What `fit` does with a batch before the optimiser's step: forward, loss and backward; on a GPU replayed where it repeats.

A GPU is done with a small net before Python has launched the next kernel.  So `Replayed` records the launches of a step, by
`convkit_kernels.cuda.graph`, and makes the following steps by replays, as long as nothing has changed that Python would have seen:

- Batches have the shape, dtype and memory order of the one that was recorded; others run as ever.
- Two recordings in a row were the same, launch by launch; and so is one of the first such batch of each epoch.
- What forward finds in Python is what it was: attributes of modules, tensors and their memory, what it names outside, settings (`_Surroundings`).

A step that reads from the device, changes attributes, draws random numbers from elsewhere or keeps tensors for later is never replayed.
"""

from __future__ import annotations

import gc
import itertools
import logging
import operator
import random
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, cast

import numpy as np

from .. import cuda, device
from ..autograd import TensorBase, is_observed, version_of
from ..nn import Module
from ..optim import Optimizer
from ..random import default_generator

SHAPES = 4  # of batches that are recorded
BEFORE = 1  # batches of a shape in an epoch that run as ever, so that kernels are compiled and plans are on the device
TRIES = 4  # recordings in a row that came to nothing, before it is given up


class Step(NamedTuple):
    """What came of a batch."""

    inputs: list[Any]
    targets: Any
    outputs: Any
    loss: Any


def to_device(model: Module, batch: Any) -> tuple[list[Any], Any]:
    """The inputs and the targets of a batch, where the model is."""
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise ValueError("fit: a batch must be (inputs, ..., targets); the data set gives no targets")
    where = next((p.device for p in model.parameters()), "cpu")
    *inputs, targets = (part.to(where) for part in batch)
    return inputs, targets


class Plain:
    """Forward, loss and backward."""

    def __init__(self, model: Module, loss: Callable) -> None:
        self.model, self.loss = model, loss

    def __call__(self, batch: Any) -> Step:
        return self.run(*to_device(self.model, batch))

    def run(self, inputs: list[Any], targets: Any) -> Step:
        """The same of a batch that is where the model is."""
        outputs = self.model(*inputs)
        loss = self.loss(outputs, targets)
        loss.backward()
        return Step(inputs, targets, outputs, loss)

    def new_epoch(self) -> None:
        """To be called before an epoch's first batch."""

    def close(self) -> None:
        """To be called at the end."""


class _Case:
    """Batches of one shape."""

    def __init__(self) -> None:
        self.seen = 0  # in this epoch
        self.arrays: list[Any] = []  # inputs and targets, in memory that recordings read
        self.recording: Any = None
        self.found: Any = None  # the surroundings in which it was made
        self.checked = False  # was there another one that was the same?
        self.forget()

    def forget(self) -> None:
        """Let go of what the recorded step has made."""
        self.step: Any = None
        self.grads: list[tuple[Any, Any, Any]] = []  # parameter, gradient, its array
        self.drawn = 0  # random arrays
        self.versions: list[tuple[list[int], int]] = []  # counters of in-place changes, and how far they moved


class Replayed(Plain):
    """Forward, loss and backward on a GPU.

    Args:
        must: raise a RuntimeError where steps cannot be replayed, instead of running them as ever.
        kept: may somebody keep outputs and targets?  Then they are copies: a replay overwrites what it gave before.
    """

    def __init__(self, model: Module, loss: Callable, optimizer: Optimizer, must: bool, kept: bool) -> None:
        super().__init__(model, loss)
        self.optimizer, self.must, self.kept = optimizer, must, kept
        self.cases: dict[Any, _Case] = {}
        self.reason: str | None = None  # why it was given up
        self.failed = 0  # recordings in a row that came to nothing
        self.replays = 0

    def __call__(self, batch: Any) -> Step:
        case = None if self.reason is not None or is_observed() else self._case(batch)
        if case is None:
            return super().__call__(batch)
        case.seen += 1
        if case.recording is None and case.seen <= BEFORE:
            return super().__call__(batch)
        if case.recording is not None and case.recording.trouble is not None:
            self._give_up(case.recording.trouble)
            return super().__call__(batch)
        if case.checked:
            self._fill(case, batch)
            changed = case.found.changed()
            if changed is None and case.recording.seed != default_generator.seed:
                changed = "another seed was set"
            if changed is None and case.recording.trouble is None:
                return self._replay(case)
            case.checked = False
            self._fail(changed or case.recording.trouble)
        return super().__call__(batch) if self.reason is not None else self._record(case, batch)

    def new_epoch(self) -> None:
        for case in self.cases.values():
            case.seen, case.checked = 0, False

    def close(self) -> None:
        for case in self.cases.values():
            if case.recording is not None:
                case.recording.drop("it ended")
        self.cases = {}

    # ----------------------------------------------------------------------------------- batches
    def _case(self, batch: Any) -> _Case | None:
        arrays: list[Any] = [getattr(part, "array", None) for part in batch] if isinstance(batch, tuple | list) and len(batch) > 1 else [None]
        if any(not isinstance(a, np.ndarray) for a in arrays) or any(part.requires_grad for part in batch):
            return None
        key = tuple((device.of(a), a.shape, a.strides, a.dtype) for a in arrays)
        if key not in self.cases and len(self.cases) < SHAPES:
            self.cases[key] = _Case()
        return self.cases.get(key)

    def _fill(self, case: _Case, batch: Any) -> list[Any]:
        """The batch, in the memory that recordings read."""
        if case.arrays:
            for array, part in zip(case.arrays, batch, strict=True):
                cuda.recordings().overwrite(array, part.array)
        else:
            where = next(p.device for p in self.model.parameters())
            case.arrays = [device.move(part.array, where) if part.device != where else part.array.copy("K") for part in batch]
        return [TensorBase.result(a) for a in case.arrays]

    # ---------------------------------------------------------------------------------- recording
    def _record(self, case: _Case, batch: Any) -> Step:
        *inputs, targets = self._fill(case, batch)
        case.forget()
        case.found = _Surroundings(self.model, self.loss)
        buffers = _tensors(self.model, "buffers") + _tensors(self.loss, "buffers")
        before = [(b, b.array, b.array.copy("K"), version_of(b)[0]) for b in buffers]
        seed, offset = default_generator.seed, default_generator.offset
        old, case.checked = case.recording, False
        case.recording = cuda.recordings().Recording(seed=seed, offset=offset) if old is None else old.again(seed, offset)
        step = None
        try:
            with case.recording:
                step = self.run(inputs, targets)
        except MemoryError:
            pass  # a traceback keeps what was made, so what is to be done is done below
        if step is None:
            # The recording's memory is its own; without it the step may succeed.  What it has changed is put back.
            self.optimizer.zero_grad()
            default_generator.seed, default_generator.offset = seed, offset
            for b, array, copy, _ in before:
                b.array = array
                array[...] = copy
            self._give_up("the device's memory does not suffice for a recording")
            *inputs, targets = self._fill(case, batch)
            return self.run(inputs, targets)
        case.drawn = default_generator.offset - offset
        case.versions = [(version_of(b), version_of(b)[0] - version) for b, _, _, version in before if version_of(b)[0] != version]
        owners = {id(p): p for group in self.optimizer.param_groups for p in group["params"]}
        owners.update((id(p), p) for p in _tensors(self.model, "parameters") + _tensors(self.loss, "parameters"))
        case.grads = [(p, p.grad, p.grad.array) for p in owners.values() if p.grad is not None and case.recording.made(p.grad.array)]
        case.step = step = Step(inputs, targets, _without_graph(step.outputs), _without_graph(step.loss))
        trouble = self._trouble(case)
        difference = None if trouble is not None or old is None else old.difference(case.recording)
        difference = difference and f"two steps were not the same: {difference}"
        if trouble is not None:
            case.recording.drop(trouble)
            case.recording = None
            case.forget()
        case.checked = trouble is None and old is not None and difference is None
        if case.checked:
            try:
                case.recording.prepare()
            except RuntimeError as error:
                self._give_up(f"the driver does not take them: {error}")
        if trouble is not None or difference is not None:
            self._fail(trouble or difference or "")
        return self._given(step)

    def _trouble(self, case: _Case) -> str | None:
        """Why the step that was just recorded cannot be replayed."""
        recording, found, step = case.recording, case.found, case.step
        if recording.trouble is not None:
            return recording.trouble
        if found.hooked is not None:
            return f"{found.hooked} has hooks"
        changed = found.changed() or found.drawn()
        if changed is not None:
            return f"{changed} in the step"
        if default_generator.seed != recording.seed or recording.draws > case.drawn:
            return "it draws random numbers from a generator of its own"
        if step.outputs is None:
            return "the model gives something else than tensors, or tuples, lists and dictionaries of them"
        known = [a for _, _, a in case.grads] + [t.array for t in _every((step.outputs, step.loss))]
        if recording.left(*known) and (gc.collect(), recording.left(*known))[1]:
            return "it keeps tensors for later steps"
        return None

    def _fail(self, reason: str) -> None:
        self.failed += 1
        if self.failed >= TRIES:
            self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        self.close()
        self.reason = reason
        if self.must:
            raise RuntimeError(f"fit: steps cannot be replayed as a CUDA graph: {reason}; graph=None runs them as ever")
        logging.getLogger("convkit").warning("fit: steps are not replayed as a CUDA graph: %s", reason)

    # ----------------------------------------------------------------------------------- replaying
    def _replay(self, case: _Case) -> Step:
        case.recording.replay(default_generator.offset)
        default_generator.offset += case.drawn
        for counter, n in case.versions:
            counter[0] += n
        for p, grad, array in case.grads:
            grad.array = array
            p.grad = grad
        self.failed = 0
        self.replays += 1
        return self._given(case.step)

    def _given(self, step: Step) -> Step:
        if not self.kept:
            return step
        targets = TensorBase.result(step.targets.array.copy("K"))
        return step._replace(targets=targets, outputs=_changed(step.outputs, lambda t: TensorBase.result(t.array.copy("K"))))


def _tensors(owner: Any, kind: str) -> list[Any]:
    return list(getattr(owner, kind)()) if isinstance(owner, Module) else []


def _every(value: Any) -> Iterator[Any]:
    """The tensors in tuples, lists and dictionaries."""
    if isinstance(value, TensorBase):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        yield from itertools.chain.from_iterable(map(_every, value.values() if isinstance(value, dict) else value))


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same tuples, lists and dictionaries with every tensor changed; None if there is anything else in them."""
    if isinstance(value, TensorBase):
        return change(value)
    if isinstance(value, dict):
        parts = {key: _changed(v, change) for key, v in value.items()}
        return None if type(value) is not dict or None in parts.values() else parts
    parts = [_changed(v, change) for v in value] if type(value) in (tuple, list) else [None]  # type: ignore[assignment]
    return None if any(p is None for p in parts) else type(value)(parts)


def _without_graph(value: Any) -> Any:
    return _changed(value, lambda t: TensorBase.result(t.array))


# -------------------------------------------------------------------------------- what Python sees
class _Surroundings:
    """What forward and the loss find in Python: attributes of modules, and what is in these; tensors and their memory; what they name outside.

    Compared by identity, which takes a tenth of a microsecond for each list or dictionary; numbers that are not the same object by value.
    """

    DEEP = 3  # lists in lists of an attribute, and so on
    LARGE = 1000  # what has more parts is not looked into

    def __init__(self, *roots: Any) -> None:
        self.hooked: str | None = None
        self._seen: dict[int, Any] = {}
        self._parts: list[tuple[str, Any, tuple]] = []  # what is changed then, a view of the parts of something, and the parts
        self._empty: list[Any] = []
        self._tensors: list[tuple[str, Any, Any, bool]] = []
        self._generators: list[Any] = []
        self._settings = _settings()
        for root in roots:
            self._look(type(root).__name__ if isinstance(root, Module) else getattr(root, "__name__", "the loss"), root, self.DEEP)
        self._random = self._states()

    def _look(self, told: str, value: Any, deep: int) -> None:
        if isinstance(value, (int, float, complex, str, bytes, type, ModuleType, np.generic, type(None))) or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if isinstance(value, TensorBase):
            self._tensors.append((told, value, value.array, value.requires_grad))
            if value._hooks:
                self.hooked = self.hooked or told
        elif isinstance(value, (np.random.Generator, random.Random)):
            self._generators.append(value)
        elif isinstance(value, (FunctionType, MethodType)):
            function: Any = getattr(value, "__func__", value)
            if deep == self.DEEP and not (function.__module__ or "").startswith("convkit."):
                self._add(f"what {function.__qualname__} names", _Outside(function), function.__qualname__, deep)
        elif isinstance(value, dict):
            self._add(told, value.values(), told, deep)
        elif isinstance(value, list):
            self._add(told, value, told, deep)
        elif isinstance(value, tuple):
            for part in value if deep else ():
                self._look(told, part, deep - 1)
        elif isinstance(value, Module):
            name = type(value).__name__
            if value._hooked():
                self.hooked = self.hooked or name
            self._look(name, type(value).forward, self.DEEP)
            for key, part in value.__dict__.items():
                self._look(f"{name}.{key}", part, self.DEEP)
            self._parts.append((name, value.__dict__.values(), tuple(value.__dict__.values())))
        elif deep and hasattr(value, "__dict__"):
            self._add(told, value.__dict__.values(), told, deep)

    def _add(self, told: str, view: Any, inside: str, deep: int) -> None:
        parts = tuple(view)
        if not parts:
            self._empty.append(view)
        elif len(parts) <= self.LARGE:
            self._parts.append((told, view, parts))
            for part in parts if deep else ():
                self._look(inside, part, deep - 1)

    def changed(self) -> str | None:
        """What is not as it was."""
        for told, view, parts in self._parts:
            if len(view) != len(parts) or not all(map(operator.is_, view, parts)):
                now = tuple(view)
                if len(now) != len(parts) or not all(map(_alike, now, parts)):
                    return f"{told}{_name(view, now, parts)} changed"
        for told, tensor, array, learnt in self._tensors:
            if tensor.array is not array or tensor.requires_grad is not learnt or tensor._hooks and self.hooked is None:
                return f"the tensor {told} changed"
        if any(map(len, self._empty)):
            return "a list or dictionary of a module, or its hooks, changed"
        return None if self._settings == _settings() else "a setting changed"

    def drawn(self) -> str | None:
        """Whether random numbers were drawn from Python's generators or NumPy's."""
        return None if self._random == self._states() else "random numbers were drawn on the host"

    def _states(self) -> list[Any]:
        _, key, *rest = cast(Any, np.random.get_state())
        own = [repr(g.bit_generator.state) if isinstance(g, np.random.Generator) else g.getstate() for g in self._generators]
        return [random.getstate(), key.tobytes(), rest, *own]


class _Outside:
    """The values of what a function names in its module, and of what it encloses."""

    def __init__(self, function: FunctionType) -> None:
        code, self.names = function.__code__, function.__globals__
        self.globals = [name for name in code.co_names if name in self.names]
        self.cells = function.__closure__ or ()

    def __len__(self) -> int:
        return len(self.globals) + len(self.cells)

    def __iter__(self) -> Iterator[Any]:
        for name in self.globals:
            yield self.names.get(name)
        for cell in self.cells:
            try:
                yield cell.cell_contents
            except ValueError:  # nothing is in it yet
                yield None


def _settings() -> tuple:
    return cuda.fp32_precision(), device.get_default_device()


def _alike(a: Any, b: Any) -> bool:
    plain = type(a) is type(b) and isinstance(a, (int, float, complex, str, bytes, np.generic))
    return a is b or plain and (a == b or a != a and b != b)


def _name(view: Any, now: Sequence, before: Sequence) -> str:
    """The key of the first value in a dictionary's view that is not what it was, to be put behind the dictionary's name."""
    if len(now) != len(before) or not hasattr(view, "mapping"):
        return ""
    at = next(i for i, (a, b) in enumerate(zip(now, before, strict=True)) if not _alike(a, b))
    return f".{list(view.mapping)[at]}"
