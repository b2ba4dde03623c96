"""`profile(model, x)`: time, work and memory of every layer, forward and backward, beside what the machine could do."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..autograd import Function, observed
from ..device import machine, waiting
from ..files import write_whole
from ..nn import Module
from ..ops import checks
from ..ops.creation import ones_like
from ..tensor import Tensor
from ..threads import get_num_threads
from .clock import Clock, Ran

# Multiply-adds by the class of an operation, from the arrays it got and gave.
MACS: dict[str, Callable[[tuple, np.ndarray], int]] = {
    "Conv": lambda given, y: y.size * given[1][0].size,
    "ConvInputGrad": lambda given, y: given[0].size * given[1][0].size,
    "ConvWeightGrad": lambda given, w: given[1].size * w[0].size,
    "Linear": lambda given, y: y.size * given[1].shape[-1],
    "LinearWeightGrad": lambda given, w: w.size * given[0].shape[0],
    "MatMul": lambda given, y: y.size * given[0].shape[-1],
}


@dataclass
class Work:
    """Seconds, multiply-adds, and bytes read and written once."""

    seconds: float = 0.0
    macs: int = 0
    bytes: int = 0

    def add(self, other: Work) -> None:
        """Add what another did."""
        self.seconds, self.macs, self.bytes = self.seconds + other.seconds, self.macs + other.macs, self.bytes + other.bytes


@dataclass
class Layer:
    """One layer's part of a step: `forward` and `backward` work, and the bytes of its results."""

    name: str
    kind: str
    output_shape: tuple[int, ...] = ()
    memory: int = 0
    forward: Work = dataclasses.field(default_factory=Work)
    backward: Work = dataclasses.field(default_factory=Work)


@dataclass(frozen=True)
class Profile:
    """What `profile` found: `layers` for programs, `str(profile)` for people, `save` and `plot` for files.

    `seconds` is a whole step, forward and backward; `overhead` what of it no operation accounts for: modules, graph and dispatch.
    `peak_gflops` and `copy_gbytes` are what this machine reached beside it, 10^9 operations (two a multiply-add) and bytes a second.
    """

    layers: tuple[Layer, ...]
    seconds: float
    overhead: float
    peak_gflops: float
    copy_gbytes: float
    threads: int
    dtype: str
    device: str = "cpu"

    def bound(self, work: Work) -> tuple[str, float]:
        """Which limit is nearer, "peak" or "copy", and the part of it that was reached (Winograd's algorithm may pass 1)."""
        peak, copy = 2e-9 * work.macs / self.peak_gflops, 1e-9 * work.bytes / self.copy_gbytes
        least = max(peak, copy)
        return ("peak" if peak > copy else "copy"), least / work.seconds if work.seconds else 0.0

    def __str__(self) -> str:
        head = ("layer", "output", "MMAC", "MB", "forward", "GFLOP/s", "GB/s", "of", "backward", "GFLOP/s", "GB/s", "of", "kept")
        table: list[tuple[str, ...]] = [head]
        total = Layer("total", "")
        for layer in self.layers:
            table.append((f"{layer.name} {layer.kind}".strip(), "x".join(map(str, layer.output_shape)), *self._cells(layer)))
            total.forward.add(layer.forward)
            total.backward.add(layer.backward)
            total.memory += layer.memory
        table.append(("total", "", *self._cells(total)))
        widths = [max(len(line[i]) for line in table) for i in range(len(head))]
        aligned = [[cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))] for line in table]
        lines = ["  ".join(line) for line in aligned]
        rule = "-" * len(lines[0])
        where = f"{self.threads} threads" if self.device == "cpu" else self.device
        tail = (
            f"a step: {1e3 * self.seconds:.2f} ms, of which {100 * self.overhead / self.seconds:.0f} % graph and dispatch; "
            f"{where}, {self.dtype}; this machine now: {self.peak_gflops:.0f} GFLOP/s, {self.copy_gbytes:.1f} GB/s"
        )
        return "\n".join([lines[0].rstrip(), rule, *lines[1:-1], rule, lines[-1], tail])

    def _cells(self, layer: Layer) -> Iterator[str]:
        yield f"{layer.forward.macs / 1e6:.1f}"
        yield f"{layer.forward.bytes / 1e6:.1f}"
        for work in (layer.forward, layer.backward):
            if not work.seconds:
                yield from ("", "", "", "")
                continue
            limit, reached = self.bound(work)
            yield f"{1e3 * work.seconds:.3f} ms"
            yield f"{2e-9 * work.macs / work.seconds:.0f}" if work.macs else ""
            yield f"{1e-9 * work.bytes / work.seconds:.1f}"
            yield f"{100 * reached:.0f} % {limit}"
        yield f"{layer.memory / 1e6:.1f} MB"

    __repr__ = __str__

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write all numbers as JSON: seconds, multiply-adds, bytes.  OSError where the file cannot be written."""
        write_whole(Path(path), json.dumps(dataclasses.asdict(self), indent=1).encode())
        return Path(path)

    def plot(self, path: str | os.PathLike[str]) -> Path:
        """Draw the roofline as a PNG: each layer's speed over its multiply-adds for each byte, under what the machine can do.

        RuntimeError if matplotlib is missing, OSError where the file cannot be written.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise RuntimeError("Profile.plot: drawing needs matplotlib (pip install 'convkit[train]')") from error
        figure = Figure(figsize=(8.4, 5.2), dpi=130, layout="constrained")
        axis = figure.subplots()
        points = [
            (2 * work.macs / work.bytes, 2e-9 * work.macs / work.seconds, 1e3 * work.seconds, f"{layer.name} {layer.kind}", colour)
            for layer in self.layers
            for work, colour in ((layer.forward, "#1f6fb4"), (layer.backward, "#e07b1a"))
            if work.macs and work.seconds
        ]
        ridge = self.peak_gflops / self.copy_gbytes
        low = min([p[0] for p in points] + [ridge / 8]) / 2
        high = max([p[0] for p in points] + [ridge * 8]) * 2
        axis.plot([low, ridge, high], [low * self.copy_gbytes, self.peak_gflops, self.peak_gflops], color="#444444", linewidth=1.6)
        axis.text(high, self.peak_gflops * 1.06, f"{self.peak_gflops:.0f} GFLOP/s", ha="right", va="bottom", fontsize=8)
        axis.text(low, low * self.copy_gbytes * 1.3, f" {self.copy_gbytes:.1f} GB/s", ha="left", va="bottom", fontsize=8)
        longest = max((p[2] for p in points), default=1.0)
        for x, y, milliseconds, _, colour in points:
            axis.scatter(x, y, s=16 + 140 * milliseconds / longest, color=colour, alpha=0.65, linewidths=0)
        named: list[tuple[float, float]] = []
        for x, y, _, name, _ in sorted(points, key=lambda p: -p[2]):  # the slowest are named, where there is room for a name
            at = math.log10(x), math.log10(y)
            if len(named) < 8 and all(abs(at[0] - a) > 0.35 or abs(at[1] - b) > 0.09 for a, b in named):
                axis.annotate(name, (x, y), textcoords="offset points", xytext=(7, -3), fontsize=7)
                named.append(at)
        for label, colour in (("forward", "#1f6fb4"), ("backward", "#e07b1a")):
            axis.scatter([], [], s=40, color=colour, alpha=0.65, linewidths=0, label=label)
        axis.set(xscale="log", yscale="log", xlabel="operations for each byte read or written", ylabel="GFLOP/s")
        axis.set_title("layers under the roofline; the area is the time", fontsize=10)
        axis.grid(alpha=0.25, which="both", linewidth=0.5)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, loc="lower right")
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        write_whole(Path(path), picture.getvalue())
        return Path(path)


def profile(model: Module, *inputs: Any, backward: bool = True, repeats: int = 5) -> Profile:
    """Run `model` on `inputs`, forward and (unless `backward` is False) backward, and tell what each layer cost.

    Args:
        model: any module, in the mode it is in; its statistics, and gradients of parameters and inputs, stay as they are.
        inputs: tensors, as the model takes them.
        backward: whether to walk back from the outputs too, with gradients of ones.
        repeats: steps that are timed, after one that is not; each layer's time is that of its fastest.

    A row is a module that ran operations of its own, in the order of the first; the operations that backward runs count for the layer
    whose forward made them.  Multiply-adds are those of direct sums; bytes are those of the arrays that operations read and write, once
    each; `of` says which part of the machine's peak or of a copy's bandwidth was reached, whichever is the nearer limit.  On a GPU each
    operation is waited for, so its time includes that of its launches, which otherwise run ahead; the peak is that of plain multiply-adds.

    Raises TypeError if `model` is no module, ValueError for fewer than one repetition.

    >>> import convkit
    >>> from convkit import nn
    >>> found = convkit.profile(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), convkit.ones(2, 3, 16, 16), repeats=1)
    >>> [(layer.name, layer.kind, layer.forward.macs) for layer in found.layers]
    [('0', 'Conv2d', 84672), ('1', 'ReLU', 0)]
    """
    if not isinstance(model, Module):
        raise TypeError(f"profile: model must be a Module, got {type(model).__name__}")
    if checks.whole("profile", "repeats", repeats) < 1:
        raise ValueError(f"profile: repeats must be at least 1, got {repeats}")
    device = next((t.device for t in (*model.parameters(), *inputs) if isinstance(t, Tensor)), "cpu")
    wait = waiting(device)
    gradients = [(t, t.grad) for t in (*model.parameters(), *inputs) if isinstance(t, Tensor)]
    buffers = [(b, b.array.copy()) for b in model.buffers()]
    best: dict[str, Layer] = {}
    seconds = overhead = math.inf
    try:
        for step in range(repeats + 1):
            watch = _Watch(model, wait)
            for t, _ in gradients:
                t.grad = None
            with watch.on():
                start = time.perf_counter()
                outputs = model(*inputs)
                if backward:
                    watch.back = True
                    _backward(outputs)
                wait()
                whole = time.perf_counter() - start
            if not step:  # the first compiles
                continue
            inside = sum(layer.forward.seconds + layer.backward.seconds for layer in watch.layers.values())
            seconds, overhead = min(seconds, whole), min(overhead, whole - inside)
            for name, layer in watch.layers.items():
                known = best.setdefault(name, layer)
                known.forward.seconds = min(known.forward.seconds, layer.forward.seconds)
                known.backward.seconds = min(known.backward.seconds, layer.backward.seconds)
    finally:
        for t, grad in gradients:
            t.grad = grad
        for b, array in buffers:
            b.array[...] = array
    dtype = next((str(p.dtype) for p in model.parameters()), "float32")
    peak, copy = machine(device).peak_gflops(dtype), machine(device).copy_gbytes()
    return Profile(tuple(best.values()), seconds, overhead, peak, copy, get_num_threads(), dtype, device)


def _backward(outputs: Any) -> None:
    """Walk back from all outputs that anything was learnt for."""
    tensors = [outputs] if isinstance(outputs, Tensor) else [t for t in outputs if isinstance(t, Tensor)]
    for i, y in enumerate(tensors):
        if y.requires_grad:
            y.backward(ones_like(y), retain_graph=i + 1 < len(tensors))


class _Watch(Clock):
    """Adds up every operation, for the module whose forward called it; in backward for the one whose forward made the node."""

    def __init__(self, model: Module, wait: Callable[[], None]):
        super().__init__(wait)
        self.model = model
        self.layers: dict[str, Layer] = {}
        self.path: list[Layer] = [Layer("", type(model).__name__)]
        self.of_node: dict[int, Layer] = {}
        self.back = False  # whether operations count for the walk back, which adds gradients up outside of any backward

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Watch inside."""
        handles = []
        for name, module in self.model.named_modules():
            layer = Layer(name, type(module).__name__)

            def enter(_: Any, args: tuple, layer: Layer = layer) -> None:
                self.path.append(layer)

            def leave(_: Any, args: tuple, result: Any, layer: Layer = layer) -> None:
                self.path.pop()

            handles += [module.register_forward_pre_hook(enter, prepend=True), module.register_forward_hook(leave, always_call=True)]
        try:
            with observed(self):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def forward(self, ctx: Function, arrays: list, options: dict) -> Any:
        """Run an operation's forward."""
        self.of_node[id(ctx)] = self.path[-1]
        return super().forward(ctx, arrays, options)

    def backward(self, node: Function, grads: list) -> Any:
        """Run an operation's backward."""
        self.path.append(self.of_node.get(id(node), self.path[0]))
        before, self.back = self.back, True
        try:
            return super().backward(node, grads)
        finally:
            self.back = before
            self.path.pop()

    def ran(self, found: Ran) -> None:
        """Add what an operation did to its layer."""
        given, made, macs, moved = found.given, found.made, 0, 0
        if found.back:
            given += tuple(a for a in found.node._saved or () if isinstance(a, np.ndarray))
        elif (count := MACS.get(type(found.node).__name__)) and made:
            macs = count(given, made[0])
        if found.alone and (found.back or not _is_view(given, made)):
            moved = sum(a.nbytes for a in (*given, *made))
        layer = self.layers.setdefault(self.path[-1].name, self.path[-1])
        (layer.backward if self.back else layer.forward).add(Work(found.seconds, macs, moved))
        if not self.back and made:
            layer.output_shape, layer.memory = made[0].shape, layer.memory + sum(m.nbytes for m in made if moved)


def _is_view(given: tuple, made: tuple) -> bool:
    """Whether nothing was copied."""
    return bool(made) and all(any(np.may_share_memory(m, g) for g in given) for m in made)
