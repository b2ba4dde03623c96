"""How much more or less than by the constants of `choice.py` the algorithms of a convolution cost on this machine.

`convkit warmup` measures the factors and keeps them beside the compiled kernels, one file for each kind of processor; `choice.py` reads
them when the first convolution is planned.  Without a file, or with one that makes no sense, all of them are 1.  The environment variable
CONVKIT_CALIBRATION=off has the same effect, and keeps `warmup` from measuring.
"""

from __future__ import annotations

import functools
import json
import math
import os
import pathlib

import numpy as np

from .. import algorithm
from ..geometry import window
from . import runtime
from .microkernel import isa

Factors = dict[str, dict[str, float]]  # of an algorithm, of one of the two sums: what multiplies its cost

BUILT_IN: Factors = {"direct": {"sums": 1.0, "outer": 1.0}, "winograd": {"sums": 1.0, "outer": 1.0}}
MOST = 8.0  # a machine does not differ more: such a factor, or 1 / MOST, is a mistake
# (images, channels and filters, height and width) that are measured: both algorithms are in question there, and take milliseconds.
SHAPES = ((16, 16, 32), (16, 32, 28), (16, 64, 14), (32, 128, 7))


def wished() -> bool:
    """Whether factors of this machine are to be used, and to be measured."""
    return os.environ.get("CONVKIT_CALIBRATION", "") != "off"


def path() -> pathlib.Path:
    """The file of this processor and these kernels."""
    import llvmlite.binding as llvm

    from . import conv

    return runtime.cache_folder() / f"costs-{llvm.get_host_cpu_name()}-{isa().name}-{runtime.state(conv.__file__)}.json"


@functools.cache
def factors() -> Factors:
    """The factors in use, the same for the whole process: those of the file, or `BUILT_IN`."""
    if not wished():
        return BUILT_IN
    try:
        return parsed(path().read_bytes())
    except (OSError, ValueError):
        return BUILT_IN


def parsed(content: bytes) -> Factors:
    """The factors in a file; ValueError if it is damaged."""
    found = json.loads(content)
    try:
        read = {name: {sum_: float(found[name][sum_]) for sum_ in sums} for name, sums in BUILT_IN.items()}
    except (KeyError, TypeError) as error:
        raise ValueError(f"calibration: not a file of factors: {error!r}") from None
    if not all(1 / MOST <= value <= MOST for sums in read.values() for value in sums.values()):  # NaN is not
        raise ValueError(f"calibration: factors must be {1 / MOST} to {MOST}, got {read}")
    return read


def measured(seconds: float = 0.1) -> Factors:
    """The factors of this machine, `seconds` for each algorithm, sum and shape: about two seconds in all."""
    from .conv import conv_forward, conv_weight_grad  # which ask `choice.py`, which asks here
    from .machine import best_seconds, peak_gflops, seconds_of

    now = factors()
    logs: dict[tuple[str, str], list[float]] = {}
    kind = window("calibration", (3, 3), padding=1)
    for images, channels, size in SHAPES:
        x = np.ones((images, size, size, channels), np.float32).transpose(0, 3, 1, 2)
        peak = peak_gflops(seconds=seconds)  # beside what is measured: clocks of processors change
        w = np.full((channels, channels, 3, 3), 0.5, np.float32)
        for sum_, call in (("sums", lambda x=x, w=w: conv_forward(x, w, None, kind)), ("outer", lambda x=x: conv_weight_grad(x, x, kind))):
            for name in BUILT_IN:
                with algorithm.conv_algorithm(name):
                    with algorithm.choices() as told:
                        call()
                    found, taken = told[0]
                    cost = next(e.cost for e in found if e.algorithm == name) / now[name][sum_]
                    logs.setdefault((name, sum_), []).append(math.log(best_seconds(call, seconds) / seconds_of(cost, peak)))
    return {name: {sum_: round(math.exp(float(np.mean(logs[name, sum_]))), 2) for sum_ in sums} for name, sums in BUILT_IN.items()}


def told(used: Factors) -> str:
    """The factors as text."""
    return ", ".join(f"{name} {' and '.join(f'{value:g} ({sum_})' for sum_, value in sums.items())}" for name, sums in used.items())
