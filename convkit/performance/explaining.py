"""`explain(layer, input)`: which algorithm each operation takes, what the others would have cost, and what was measured."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from convkit_kernels.algorithm import ALGORITHMS, choices, conv_algorithm, wanted

from ..autograd import Function, observed
from ..device import machine
from ..ops import checks
from ..ops.creation import ones_like
from ..tensor import Tensor
from ..threads import get_num_threads
from .clock import Clock, Ran


@dataclass
class Candidate:
    """An algorithm that was weighed: seconds by the cost model and by the clock, and why it was refused, if it was."""

    algorithm: str
    predicted: float
    measured: float
    refused: str
    taken: bool


@dataclass
class Step:
    """One operation: its class, whether forward or backward ran it, what came and went (shape and memory order), its seconds, the
    bytes of memory it took beyond its result, and the algorithms weighed for it (none where there is but one)."""

    operation: str
    phase: str
    inputs: tuple[str, ...]
    output: str
    seconds: float
    scratch: int
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class Explanation:
    """What `explain` found: `steps` for programs, `str(explanation)` for people."""

    steps: tuple[Step, ...]
    threads: int
    peak_gflops: float

    def __str__(self) -> str:
        lines = [f"on {self.threads} threads, {self.peak_gflops:.0f} GFLOP/s at most now"]
        for step in self.steps:
            lines.append(
                f"{step.operation}, {step.phase}: {1e3 * step.seconds:.3f} ms, {step.scratch / 1e6:.2f} MB of scratch memory"
                f"\n    {', '.join(step.inputs)} -> {step.output}"
            )
            for c in sorted(step.candidates, key=lambda c: not c.taken):
                if c.refused:
                    lines.append(f"    {c.algorithm:<9} cannot be used: {c.refused}")
                else:
                    why = "taken" if c.taken else "not taken"
                    lines.append(f"    {c.algorithm:<9} {why:<10} predicted {1e3 * c.predicted:8.3f} ms, measured {1e3 * c.measured:8.3f} ms")
        return "\n".join(lines)

    __repr__ = __str__


def explain(op: Callable[..., Any], *inputs: Any, repeats: int = 5) -> Explanation:
    """Run `op`, a layer or a function of tensors, on `inputs`, forward and backward, and tell how each operation was done.

    Convolutions weigh algorithms by a model of their costs (`convkit_kernels/cpu/choice.py`); each is measured too, so that a wrong
    prediction shows.  `repeats` runs of each are timed, after two that are not, and the fastest counts.  Inputs and parameters stay as they are.

    Raises TypeError if `op` cannot be called, ValueError for fewer than one repetition, RuntimeError for tensors on a GPU.

    >>> import convkit
    >>> from convkit import nn
    >>> found = convkit.explain(nn.Conv2d(3, 8, 5), convkit.ones(2, 3, 16, 16), repeats=1)
    >>> step = found.steps[1]  # the first brings the images to channels-last memory
    >>> step.operation, step.output, [(c.algorithm, c.taken, c.refused) for c in step.candidates]
    ('Conv', '2x8x12x12 channels-last', [('direct', True, ''), ('winograd', False, 'a window of 1x5x5 taps, not 1x3x3')])
    """
    if not callable(op):
        raise TypeError(f"explain: op must be a layer or a function, got {type(op).__name__}")
    if checks.whole("explain", "repeats", repeats) < 1:
        raise ValueError(f"explain: repeats must be at least 1, got {repeats}")
    for t in (*inputs, *(op.parameters() if hasattr(op, "parameters") else ())):
        if isinstance(t, Tensor) and t.device != "cpu":
            raise RuntimeError(
                f"explain: tells how the CPU's kernels choose, and a tensor is on {t.device}; use .cpu() here, or convkit.profile there"
            )
    tensors = [x.detach().requires_grad_(x.dtype.kind == "f") if isinstance(x, Tensor) else x for x in inputs]
    parameters = [(p, p.grad) for p in op.parameters()] if hasattr(op, "parameters") else []
    buffers = [(b, b.array.copy()) for b in op.buffers()] if hasattr(op, "buffers") else []
    measured: dict[str, list[Step]] = {}
    asked = wanted()
    try:
        for name in dict.fromkeys((asked, *ALGORITHMS[1:])):
            for repeat in range(-2, repeats):  # the first compiles, which takes memory too; the second tells the scratch memory
                trace = _Trace(scratch=repeat == -1)
                for x in (*tensors, *(p for p, _ in parameters)):
                    if isinstance(x, Tensor):
                        x.grad = None
                with conv_algorithm(name), observed(trace):
                    y = op(*tensors)
                    if isinstance(y, Tensor) and y.requires_grad:
                        trace.phase = "backward"
                        y.backward(ones_like(y))
                if repeat < 0:
                    measured[name] = trace.steps
                for step, again in zip(measured[name], trace.steps, strict=True):
                    step.seconds = again.seconds if repeat <= 0 else min(step.seconds, again.seconds)
    finally:
        for p, grad in parameters:
            p.grad = grad
        for b, array in buffers:
            b.array[...] = array
    peak = machine().peak_gflops()
    for i, step in enumerate(measured[asked]):
        for c in step.candidates:
            c.predicted = machine().seconds_of(c.predicted, peak)
            c.measured = step.seconds if c.taken else measured[c.algorithm][i].seconds
    return Explanation(tuple(measured[asked]), get_num_threads(), peak)


class _Trace(Clock):
    """Keeps of every operation its seconds, what it chose between, and, if `scratch`, the memory that it took."""

    def __init__(self, scratch: bool):
        super().__init__()
        self.scratch, self.phase = scratch, "forward"
        self.steps: list[Step] = []

    def forward(self, ctx: Function, arrays: list, options: dict) -> Any:
        """Run an operation's forward."""
        traced = self.scratch and not tracemalloc.is_tracing()
        if traced:
            tracemalloc.start()
        try:
            with choices() as told:
                result = super().forward(ctx, arrays, options)
            kept, peak = tracemalloc.get_traced_memory() if traced else (0, 0)
        finally:
            if traced:
                tracemalloc.stop()
        self.steps[-1].scratch, self.steps[-1].candidates = peak - kept, _candidates(told)
        return result

    def ran(self, found: Ran) -> None:
        """Keep a step; of backward, what is no operations."""
        if found.alone or not found.back:
            phase = "backward" if found.back else self.phase
            given, made = (tuple(map(_told, arrays)) for arrays in (found.given, found.made))
            self.steps.append(Step(type(found.node).__name__, phase, given, " and ".join(made), found.seconds, 0, ()))


def _candidates(told: list) -> tuple[Candidate, ...]:
    """The algorithms that an operation weighed; where it does several sums, their costs together."""
    found: dict[str, Candidate] = {}
    for estimates, taken in told:
        for e in estimates:
            c = found.setdefault(e.algorithm, Candidate(e.algorithm, 0.0, 0.0, e.refused, e.algorithm == taken))
            c.predicted += e.cost
    return tuple(found.values())


def _told(a: np.ndarray) -> str:
    """Shape and memory order."""
    shape = "x".join(map(str, a.shape)) or "a number"
    if a.flags.c_contiguous and not (a.ndim > 2 and a.shape[1] == 1):
        return f"{shape} in C order" if a.ndim > 1 else shape
    return f"{shape} channels-last" if a.ndim > 2 and np.moveaxis(a, 1, -1).flags.c_contiguous else f"{shape} strided"
