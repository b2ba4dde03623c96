"""What `fit` does with a batch before the optimiser's step: forward, loss and backward; on a GPU replayed where it repeats.

A GPU is done with a small net before Python has launched the next kernel.  So `Replayed` records the launches of a step, by
`convkit_kernels.cuda.graph`, and makes the following steps by replays, as long as nothing has changed that Python would have seen:

- Batches have the shape, dtype and memory order of the one that was recorded; others run as ever.
- Two recordings in a row were the same, launch by launch; and so is one of the first such batch of each epoch.
- What forward finds in Python is what it was: attributes of modules, tensors and their memory, what it names outside, settings (`surroundings.py`).

A step that reads from the device, changes attributes, draws random numbers from elsewhere or keeps tensors for later is never replayed.
"""

from __future__ import annotations

import gc
import itertools
import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import cuda, device
from ..autograd import TensorBase, is_observed, version_of
from ..nn import Module
from ..optim import Optimizer
from ..random import default_generator
from .surroundings import Surroundings

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
        making = cuda.recordings().making
        if not making.acquire(blocking=False):  # another thread is at it
            return super().__call__(batch)
        try:
            return self._recorded(case, batch)
        finally:
            making.release()

    def _recorded(self, case: _Case, batch: Any) -> Step:
        *inputs, targets = self._fill(case, batch)
        case.forget()
        case.found = Surroundings(self.model, self.loss)
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
        case.step = Step(inputs, targets, _without_graph(step.outputs), _without_graph(step.loss))
        if case.step.outputs is not None:
            step = case.step  # what is kept for the graph is let go
        trouble = self._trouble(case)
        difference = None if trouble is not None or old is None else old.difference(case.recording)
        difference = difference and f"two steps were not the same: {difference}"
        if trouble is not None:
            case.recording.drop(trouble)
            case.recording, case.arrays = None, []  # so that the step's are its own
            case.forget()
        case.checked = trouble is None and old is not None and difference is None
        if case.checked:
            try:
                case.recording.prepare()
            except RuntimeError as error:
                self._give_up(f"the driver does not take them: {error}")
        if trouble is not None or difference is not None:
            self._fail(trouble or difference or "")
        return step if trouble is not None else self._given(step)

    def _trouble(self, case: _Case) -> str | None:
        """Why the step that was just recorded cannot be replayed."""
        recording, found, step = case.recording, case.found, case.step
        if recording.trouble is not None:
            return recording.trouble
        if found.hooked is not None:
            return f"{found.hooked} has hooks"
        if found.trouble is not None:
            return found.trouble
        changed = found.changed() or found.drawn()
        if changed is not None:
            return f"{changed} in the step"
        if default_generator.seed != recording.seed or recording.draws > case.drawn:
            return "it draws random numbers from a generator of its own"
        if recording.draws < case.drawn:
            return "random numbers were drawn on the host, or by another thread"
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
        offset = default_generator.offset
        default_generator.offset += case.drawn
        case.recording.replay(offset)
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
