"""A convolution from six plain loops to today's, one idea at a time: each step is checked against SciPy, then timed.

    python examples/ladder.py [--quick]

    y[n, k, p, q] = sum over c, r, s of  x[n, c, p + r, q + s] * w[k, c, r, s]        x has a frame of zeros, 1 wide

The steps that you can write yourself are here to read and to change; the last ones are the library's.  docs/performance.md says why each is
faster than the one before.
"""

import contextlib
import math
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from scipy.signal import correlate

import convkit
from convkit_kernels import cpu, geometry
from convkit_kernels.cpu import machine


# ------------------------------------------------------------------------------- steps of your own
def loops(x, w, y):
    """The formula, as it stands."""
    zero = x.dtype.type(0)
    for n in range(y.shape[0]):
        for k in range(y.shape[1]):
            for p in range(y.shape[2]):
                for q in range(y.shape[3]):
                    total = zero
                    for c in range(w.shape[1]):
                        for r in range(w.shape[2]):
                            for s in range(w.shape[3]):
                                total += x[n, c, p + r, q + s] * w[k, c, r, s]
                    y[n, k, p, q] = total


def planes(x, w, y):
    """NumPy: for each filter, channel and tap, all pixels of all images at once."""
    y[...] = 0
    P, Q = y.shape[2:]
    for k, c, r, s in np.ndindex(w.shape):
        y[:, k] += w[k, c, r, s] * x[:, c, r : r + P, s : s + Q]


def im2col(x, w, y):
    """NumPy: copy the pixels that each output sees into a row, 9 times the image; then one matrix product."""
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], (2, 3)).transpose(0, 2, 3, 1, 4, 5)  # [N, P, Q, C, R, S]
    rows = windows.reshape(-1, w[0].size)
    y[...] = (rows @ w.reshape(len(w), -1).T).reshape(y.transpose(0, 2, 3, 1).shape).transpose(0, 3, 1, 2)


def dots(x, w, y):
    """The loops over images [N, H, W, C] and weights [K, R, S, C], channels innermost: memory is read from one end to the other."""
    zero = x.dtype.type(0)
    for n in range(y.shape[0]):
        for p in range(y.shape[1]):
            for q in range(y.shape[2]):
                for k in range(y.shape[3]):
                    total = zero
                    for r in range(w.shape[1]):
                        for s in range(w.shape[2]):
                            for c in range(w.shape[3]):
                                total += x[n, p + r, q + s, c] * w[k, r, s, c]
                    y[n, p, q, k] = total


def filters(x, w, y):
    """Weights [R, S, C, K], filters innermost: one pixel times a row of weights, added to a row of sums.  No sum across a vector is left."""
    zero = x.dtype.type(0)
    for row in prange(y.shape[0] * y.shape[1]):  # a plain range, unless compiled with parallel=True
        n, p = row // y.shape[1], row % y.shape[1]
        for q in range(y.shape[2]):
            for k in range(y.shape[3]):
                y[n, p, q, k] = zero
            for r in range(w.shape[0]):
                for s in range(w.shape[1]):
                    for c in range(w.shape[2]):
                        pixel = x[n, p + r, q + s, c]
                        for k in range(y.shape[3]):
                            y[n, p, q, k] += pixel * w[r, s, c, k]


def input_gradient(gy, w, gx):
    """gx[n, c, p + r, q + s] += gy[n, k, p, q] * w[k, c, r, s], in the frame too."""
    gx[...] = gx.dtype.type(0)
    for n in range(gy.shape[0]):
        for k in range(gy.shape[1]):
            for c in range(w.shape[1]):
                for p in range(gy.shape[2]):
                    for q in range(gy.shape[3]):
                        for r in range(w.shape[2]):
                            for s in range(w.shape[3]):
                                gx[n, c, p + r, q + s] += gy[n, k, p, q] * w[k, c, r, s]


def weight_gradient(x, gy, gw):
    """gw[k, c, r, s] = sum over n, p, q of x[n, c, p + r, q + s] * gy[n, k, p, q]"""
    zero = x.dtype.type(0)
    for k in range(gw.shape[0]):
        for c in range(gw.shape[1]):
            for r in range(gw.shape[2]):
                for s in range(gw.shape[3]):
                    total = zero
                    for n in range(gy.shape[0]):
                        for p in range(gy.shape[2]):
                            for q in range(gy.shape[3]):
                                total += x[n, c, p + r, q + s] * gy[n, k, p, q]
                    gw[k, c, r, s] = total


FAST = {"contract", "reassoc", "nsz", "arcp"}  # what Numba may do to sums; NaN and Inf stay what they are


# ---------------------------------------------------------------------------------- what is measured
QUICK = "--quick" in sys.argv
N, C, SIDE, K = (2, 16, 12, 16) if QUICK else (8, 64, 28, 64)
ROUNDS, SECONDS = (1, 0.01) if QUICK else (5, 0.1)  # for each step: the fastest call counts
FLOP = 2 * N * K * SIDE * SIDE * C * 9
MANY = convkit.get_num_threads()
WINDOW = geometry.window("conv2d", (3, 3), 1, 1)  # stride 1, a frame of 1


class Step(NamedTuple):
    """A call that does 1/`part` of the work, on so many threads, and the number of the step that it improves."""

    name: str
    call: Callable
    threads: int
    over: int
    part: float
    algorithm: str


class Ladder:
    """Steps that were checked, and are then timed in turns: on a busy machine the same call takes twice as long from one second to the next."""

    worst = 0.0  # the largest error so far

    def __init__(self, expected):
        self.expected, self.steps = expected, []

    def step(self, name, call, threads=1, over=None, part=1.0, algorithm="auto", expected=None):
        """Add a step, which improves the one before or that of the number `over`, if its result is right."""
        step = Step(name, call, threads, over or len(self.steps), part, algorithm)
        expected = self.expected if expected is None else expected
        with step_settings(step):
            error = float(np.linalg.norm(call() - expected) / np.linalg.norm(expected))
        if not error < 1e-5:
            raise ArithmeticError(f"{name}: the relative error is {error:.1e}")
        Ladder.worst = max(Ladder.worst, error)
        self.steps.append(step)

    def library(self, call, over):
        """Add the library's own steps; the first improves your best on one thread."""
        self.step("convkit: register tiles", call, over=over, algorithm="direct")
        self.step("the same on all threads", call, MANY, algorithm="direct")
        self.step("Winograd F(4x4, 3x3)", call, MANY, algorithm="winograd")
        self.step("what convkit chooses", call, MANY)

    def show(self, title):
        """Time all steps and print the table: milliseconds of the fastest call, operations a second, and their share of what the machine can do."""
        best, peak = [math.inf] * len(self.steps), {1: 0.0, MANY: 0.0}
        for _ in range(ROUNDS):
            for threads in peak:
                convkit.set_num_threads(threads)
                peak[threads] = max(peak[threads], machine.peak_gflops("float32", SECONDS))
            for i, step in enumerate(self.steps):
                with step_settings(step):
                    stop = time.perf_counter() + SECONDS
                    while True:
                        start = time.perf_counter()
                        step.call()
                        end = time.perf_counter()
                        best[i] = min(best[i], (end - start) * step.part)
                        if end > stop:
                            break
        now = ", ".join(f"{gflops:.0f} GFLOP/s on {threads} thread{'s' * (threads > 1)}" for threads, gflops in peak.items())
        print(f"{title}; this machine's peak just now: {now}")
        print(f"{'':46} threads        ms  GFLOP/s   of peak   gain")
        for i, step in enumerate(self.steps):
            gflops = FLOP / best[i] / 1e9
            share, gain = 100 * gflops / peak[step.threads], f"   {best[step.over - 1] / best[i]:5.3g} x step {step.over}" if step.over else ""
            of_peak = f"{share:.0f}" if share >= 10 else f"{share:.2g}"
            print(f"{i + 1:>2} {step.name:<43} {step.threads:>7} {1e3 * best[i]:9.3g} {gflops:8.3g} {of_peak:>7} %{gain}")
        print(flush=True)


@contextlib.contextmanager
def step_settings(step):
    """Inside, the library uses the step's threads and algorithm."""
    convkit.set_num_threads(step.threads)
    with convkit.conv_algorithm(step.algorithm):
        yield


def filling(function, *operands, like, order=(0, 1, 2, 3)):
    """A call of `function` that fills an array like this one, and gives it with its axes in this order."""
    result = np.empty_like(like)

    def call():
        function(*operands, result)
        return result.transpose(order)

    return call


def in_memory(a, *order):
    """a with its axes in this order, in memory too."""
    return np.ascontiguousarray(a.transpose(order))


def framed(a):
    """a with a frame of zeros around each plane."""
    return np.pad(a, ((0, 0), (0, 0), (1, 1), (1, 1)))


def channels_last(a):
    """The same numbers, shape [N, C, H, W], in memory [N, H, W, C]."""
    return in_memory(a, 0, 2, 3, 1).transpose(0, 3, 1, 2)


def forward(x, w):
    """The ladder."""
    # A sum over channels and taps is a correlation of volumes, which fit into each other in one place along the channels.
    y = np.array([[correlate(image, kernel, "valid", "direct")[0] for kernel in w.astype("f8")] for image in framed(x).astype("f8")])
    ladder, like, frame, corner = Ladder(y), y.astype("f4"), framed(x), y[:1, :, :4, :4]
    call = filling(loops, frame[:1, :, :6, :6], w, like=corner.astype("f4"))
    ladder.step(f"Python loops, {corner.size} of {y.size} outputs", call, part=y.size / corner.size, expected=corner)
    ladder.step("NumPy: sums of planes", filling(planes, frame, w, like=like))
    ladder.step("NumPy: im2col and a matrix product", filling(im2col, frame, w, like=like), MANY)
    ladder.step("@njit, the loops of step 1", filling(njit(loops), frame, w, like=like), over=1)
    last, turned = in_memory(frame, 0, 2, 3, 1), {"like": in_memory(like, 0, 2, 3, 1), "order": (0, 3, 1, 2)}
    dot, row = in_memory(w, 0, 2, 3, 1), in_memory(w, 2, 3, 1, 0)
    ladder.step("channels last in memory", filling(njit(dots), last, dot, **turned))
    ladder.step("fastmath: sums in vectors", filling(njit(fastmath=FAST)(dots), last, dot, **turned))
    ladder.step("filters innermost", filling(njit(fastmath=FAST)(filters), last, row, **turned))
    ladder.step("prange: all threads", filling(njit(fastmath=FAST, parallel=True)(filters), last, row, **turned), MANY)
    pixels = channels_last(x)
    ladder.library(lambda: cpu.conv_forward(pixels, w, None, WINDOW), over=7)
    ladder.show("Forward")


def backward(x, w, gy):
    """Both gradients: plain loops, and the library."""
    pixels, gradients, mirrored = channels_last(x), channels_last(gy), w[:, :, ::-1, ::-1].astype("f8")
    xd, gd = framed(x).astype("f8"), gy.astype("f8")
    ladder = Ladder(np.array([[correlate(image, mirrored[:, c], "valid", "direct")[0] for c in range(C)] for image in framed(gd)]))
    call = filling(njit(input_gradient), gy, w, like=framed(x))
    ladder.step("@njit, plain loops", lambda: call()[:, :, 1:-1, 1:-1])
    ladder.library(lambda: cpu.conv_input_grad(gradients, w, None, x.shape[2:], WINDOW), over=1)
    ladder.show("Input gradient")

    ladder = Ladder(np.array([[correlate(xd[:, c], gd[:, k], "valid", "direct")[0] for c in range(C)] for k in range(K)]))
    ladder.step("@njit, plain loops", filling(njit(weight_gradient), framed(x), gy, like=w))
    ladder.library(lambda: cpu.conv_weight_grad(pixels, gradients, WINDOW), over=1)
    ladder.show("Weight gradient")


def main():
    """All tables."""
    print(f"{N} images of {C} channels, {SIDE} x {SIDE}, {K} filters of 3x3, float32: {FLOP / 1e6:.0f} million operations\n")
    rng = np.random.default_rng(0)
    x, gy, w = (rng.standard_normal(shape, dtype=np.float32) for shape in ((N, C, SIDE, SIDE), (N, K, SIDE, SIDE), (K, C, 3, 3)))
    forward(x, w)
    backward(x, w, gy)
    print(f"largest relative error against SciPy: {Ladder.worst:.0e}")


if __name__ == "__main__":
    main()
