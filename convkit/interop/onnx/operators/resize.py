"""Resize and its forerunner Upsample: for each axis a table of which places of the input an output is made of.

For output place i, the scale s, n input and m output places (m is n * s, rounded down), the place in the input is

    half_pixel             (i + 1/2) / s - 1/2
    half_pixel_symmetric   the same, with the middle of the input at the middle of the output also where n * s is no whole number
    pytorch_half_pixel     the same, but -1/2 where the output has one place
    align_corners          i * (n - 1) / (n * s - 1)
    asymmetric             i / s
    tf_crop_and_resize     (start + i * (end - start) / (n * s - 1)) * (n - 1), for the region of interest start to end, as shares of n

and nearest, linear and cubic interpolation weigh its neighbours, which are repeated beyond the edges.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from convkit_kernels.tables import Table, table

from ....ops.elementwise import where
from ....ops.resample import Resample, taken
from ..node import Node, Run, UnsupportedError, ints, is_float, made, row

PLACES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize")


def _place(kind: str, i: np.ndarray, scale: float, n: int, roi: tuple[float, float]) -> np.ndarray:
    """Where output places i lie in the input."""
    width = scale * n
    if kind == "asymmetric":
        return i / scale
    if kind == "align_corners":
        return i * 0.0 if width == 1 else i * (n - 1) / (width - 1)
    if kind == "tf_crop_and_resize":
        start, end = roi
        return start * (n - 1) + (i * 0.0 + (end - start) * (n - 1) / 2 if width == 1 else i * (end - start) * (n - 1) / (width - 1))
    if kind == "pytorch_half_pixel" and width == 1:
        return i * 0.0 - 0.5
    shift = n / 2 * (1 - i.size / width) if kind == "half_pixel_symmetric" else 0.0
    return shift + (i + 0.5) / scale - 0.5


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic at distance x, with his parameter a."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


@functools.lru_cache(maxsize=256)
def _table(
    mode: str, nearest: str, kind: str, n: int, m: int, scale: float, roi: tuple[float, float], a: float, inside: bool, antialias: bool
) -> tuple[Table, np.ndarray | None]:
    """The table of one axis, and for tf_crop_and_resize which outputs lie within the input."""
    place = _place(kind, np.arange(m, dtype=np.float64), scale, n, roi)
    within = (place >= 0) & (place <= n - 1) if kind == "tf_crop_and_resize" else None
    left = np.ceil(place) - 1
    ratio = place - left  # in (0, 1]: a place that is a whole number is the right neighbour
    if mode == "nearest":
        up = {"round_prefer_floor": ratio > 0.5, "round_prefer_ceil": ratio >= 0.5, "floor": ratio == 1, "ceil": ratio > 0}[nearest]
        return table(n, np.clip(left + up, 0, n - 1)[:, None]), within
    shrink = min(scale, 1.0) if antialias else 1.0
    reach = 1 if mode == "linear" else 2
    first = math.floor(-reach / shrink) + 1
    steps = np.arange(first, 2 - first)
    distance = (steps - ratio[:, None]) * shrink
    weight = np.clip(1 - np.abs(distance), 0, None) if mode == "linear" else _cubic(distance, a)
    index = left[:, None] + steps
    if inside:
        weight = np.where((index >= 0) & (index < n), weight, 0.0)
    if inside or antialias:
        weight = weight / weight.sum(1, keepdims=True)
    return table(n, np.clip(index, 0, n - 1), weight), within


@row("Upsample", settings=(1,))
def upsample(node: Node) -> Run:
    """Resize of version 10: scales only, and places i / s, of which nearest takes the one before."""
    fixed: Any = node.get("scales") if node.version < 9 else None
    mode = node.one_of("mode", ("nearest", "linear"), "nearest")

    def run(x: Any, scales: Any = None) -> Any:
        factors = [float(s) for s in (fixed if scales is None else scales.array)]
        sizes = [math.floor(n * s) for n, s in zip(x.shape, factors, strict=True)]
        chosen = [_table(mode, "floor", "asymmetric", n, m, s, (0, 1), 0, False, False) for n, m, s in zip(x.shape, sizes, factors, strict=True)]
        return _apply(x, sizes, chosen, 0.0)

    return run


def _apply(x: Any, sizes: list[int], chosen: list[tuple[Table, np.ndarray | None]], outside: float) -> Any:
    unit = [t.weight.size == n == m and bool((t.index == np.arange(n)).all()) for (t, _), n, m in zip(chosen, x.shape, sizes, strict=True)]
    if not is_float(x) and any((t.weight != 1).any() for t, _ in chosen):
        raise UnsupportedError(f"Resize: integers ({x.dtype}) are resized by nearest neighbours only; cast them to float32 first")
    maps = tuple(None if same else t for (t, _), same in zip(chosen, unit, strict=True))
    y = Resample.apply(x, maps) if is_float(x) else made(taken(x.array, maps))
    masks = [w.reshape([-1 if k == i else 1 for k in range(x.ndim)]) for i, (_, w) in enumerate(chosen) if w is not None and not w.all()]
    return where(made(functools.reduce(np.logical_and, masks)), y, outside) if masks else y


@row("Resize", settings=(1, 2, 3))
def resize(node: Node) -> Run:
    """x at other sizes; version 10 is `upsample`."""
    if node.version < 11:
        return upsample(node)
    mode = node.one_of("mode", ("nearest", "linear", "cubic"), "nearest")
    kind = node.one_of("coordinate_transformation_mode", PLACES, "half_pixel")
    nearest = node.one_of("nearest_mode", ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"), "round_prefer_floor")
    a, inside, outside = node.get("cubic_coeff_a", -0.75), bool(node.get("exclude_outside", 0)), node.get("extrapolation_value", 0.0)
    antialias, axes = bool(node.get("antialias", 0)), node.get("axes")
    policy = node.one_of("keep_aspect_ratio_policy", ("stretch", "not_larger", "not_smaller"), "stretch")

    def run(x: Any, roi: Any = None, scales: Any = None, sizes: Any = None) -> Any:
        over = list(range(x.ndim)) if axes is None else [i % x.ndim for i in axes]
        factors, out, regions = [1.0] * x.ndim, list(x.shape), [(0.0, 1.0)] * x.ndim
        if scales is not None and scales.array.size:
            for i, s in zip(over, scales.array, strict=True):
                factors[i], out[i] = float(s), math.floor(x.shape[i] * float(s))
        elif sizes is not None:
            wanted = ints(sizes)
            ratios = [m / x.shape[i] for i, m in zip(over, wanted, strict=True)]
            if policy != "stretch":
                ratios = [(min if policy == "not_larger" else max)(ratios)] * len(over)
                wanted = [math.floor(r * x.shape[i] + 0.5) for i, r in zip(over, ratios, strict=True)]
            for i, m, r in zip(over, wanted, ratios, strict=True):
                factors[i], out[i] = r, m
        else:
            raise ValueError("Resize: needs scales or sizes")
        if kind == "tf_crop_and_resize":
            ends = roi.array.tolist()
            for k, i in enumerate(over):
                regions[i] = ends[k], ends[k + len(over)]
        chosen = [_table(mode, nearest, kind, n, m, s, r, a, inside, antialias) for n, m, s, r in zip(x.shape, out, factors, regions, strict=True)]
        return _apply(x, out, chosen, outside)

    return run
