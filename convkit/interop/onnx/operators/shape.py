"""Rearranging, indexing, joining, making and casting."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from convkit_kernels import tables

from ....nn import functional as F
from ....ops import indexing
from ....ops import shape as shapes
from ....ops.elementwise import where
from ....ops.resample import Resample, taken
from ..node import Node, Run, axes_of, ints, is_float, made, plain, row

plain(
    Identity=lambda x: x,
    Size=lambda x: made(np.int64(x.array.size)),
    Expand=lambda x, shape: shapes.expand(x, np.broadcast_shapes(x.shape, tuple(ints(shape)))),
    NonZero=lambda x: made(np.stack(np.nonzero(x.array)).astype(np.int64)),
    Range=lambda start, limit, delta: made(np.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)),
)


@row("Shape")
def shape(node: Node) -> Run:
    """The sizes of dimensions `start` to before `end`."""
    part = slice(node.get("start"), node.get("end"))
    return lambda x: made(np.array(x.shape[part], np.int64))


@row("Reshape", settings=(1,))
def reshape(node: Node) -> Run:
    """0 keeps a size (unless allowzero), and one -1 takes what is left."""
    keeps = not node.get("allowzero", 0)
    return lambda x, sizes: x.reshape([x.shape[i] if n == 0 and keeps else n for i, n in enumerate(ints(sizes))])


@row("Flatten")
def flatten(node: Node) -> Run:
    """Two dimensions: all before `axis`, and the rest."""
    axis = node.get("axis", 1)

    def run(x: Any) -> Any:
        rows = math.prod(x.shape[: axis % x.ndim if axis < 0 else axis])
        return x.reshape(rows, x.array.size // max(rows, 1))

    return run


@row("Transpose")
def transpose(node: Node) -> Run:
    """Dimensions in another order, by default reversed."""
    order = node.get("perm")
    return lambda x: x.permute(*(range(x.ndim - 1, -1, -1) if order is None else order))


@row("Squeeze", settings=(1,))
def squeeze(node: Node) -> Run:
    """Without the dimensions named, which have size 1; by default without all of that size."""
    axes = axes_of(node, 1, 13)

    def run(x: Any, given: Any = None) -> Any:
        gone = axes(given)
        gone = [i for i, n in enumerate(x.shape) if n == 1] if gone is None else [a % x.ndim for a in gone]
        if any(x.shape[a] != 1 for a in gone):
            raise ValueError(f"Squeeze: dimensions {gone} of shape {list(x.shape)} must have size 1")
        return x.reshape([n for i, n in enumerate(x.shape) if i not in gone])

    return run


@row("Unsqueeze", settings=(1,))
def unsqueeze(node: Node) -> Run:
    """With new dimensions of size 1, where the result has them."""
    axes = axes_of(node, 1, 13)

    def run(x: Any, given: Any = None) -> Any:
        new = axes(given) or []
        places, old = {a % (x.ndim + len(new)) for a in new}, iter(x.shape)
        return x.reshape([1 if i in places else next(old) for i in range(x.ndim + len(new))])

    return run


@row("Tile", settings=(1,))
def tile(node: Node) -> Run:
    """The whole repeated along each dimension."""

    def run(x: Any, repeats: Any) -> Any:
        times = ints(repeats)
        wide = shapes.expand(x.reshape([n for s in x.shape for n in (1, s)]), [n for t, s in zip(times, x.shape, strict=True) for n in (t, s)])
        return wide.reshape([t * s for t, s in zip(times, x.shape, strict=True)])

    return run


@row("Concat")
def concat(node: Node) -> Run:
    """Joined along `axis`."""
    axis = node.get("axis")
    return lambda *x: shapes.cat(x, axis)


@row("Split", settings=(1,))
def split(node: Node) -> Run:
    """Parts along `axis`: of the sizes given, or equal ones, the last smaller if they do not fill it."""
    axis, parts = node.get("axis", 0), node.get("num_outputs", len(node.outputs))
    fixed = node.get("split") if node.version < 13 else None

    def run(x: Any, sizes: Any = None) -> Any:
        n = x.shape[axis]
        each = -(-n // parts)
        cut = fixed if fixed is not None else ints(sizes) if sizes is not None else [max(0, min(each, n - i * each)) for i in range(parts)]
        return shapes.split(x, cut, axis)

    return run


@row("Slice", settings=(1, 2, 3, 4))
def slices(node: Node) -> Run:
    """Slices along some axes, as NumPy counts but for steps below zero, where an end before the first element is the largest negative number."""
    fixed = (node.get("starts"), node.get("ends"), node.get("axes")) if node.version < 10 else None

    def run(x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Any:
        if fixed:
            first, last, over = fixed
        else:
            first, last, over = ints(starts), ints(ends), None if axes is None else ints(axes)
        stride = [1] * len(first) if steps is None else ints(steps)
        key = [slice(None)] * x.ndim
        for a, b, axis, s in zip(first, last, range(len(first)) if over is None else over, stride, strict=True):
            n = x.shape[axis]
            if s < 0:
                a, b = min(a + n if a < 0 else a, n - 1), b + n if b < 0 else b
                key[axis] = slice(a, None if b < 0 else b, s) if a >= 0 else slice(0, 0)
            else:
                key[axis] = slice(a, b, s)
        return x[tuple(key)]

    return run


@row("Gather", settings=(1,))
def gather(node: Node) -> Run:
    """Entries along `axis`; negative indices count from the end."""
    axis = node.get("axis", 0)

    def run(x: Any, index: Any) -> Any:
        a, i = axis % x.ndim, index.array
        n = x.shape[a]
        if i.size and (i.min() < -n or i.max() >= n):
            raise IndexError(f"Gather: indices {i.min()} to {i.max()} leave dimension {a} of size {n}")
        i = np.where(i < 0, i + n, i)
        if a == 0 and x.ndim == 2 and is_float(x):
            return F.embedding(made(i), x)
        return x[(*[slice(None)] * a, i)]

    return run


@row("GatherElements", settings=(1,))
def gather_elements(node: Node) -> Run:
    """y[..., i, ...] = x[..., index[..., i, ...], ...]."""
    axis = node.get("axis", 0)
    return lambda x, index: indexing.gather(x, axis, made(np.where(index.array < 0, index.array + x.shape[axis], index.array)))


@row("ConstantOfShape", settings=(0,))
def constant_of_shape(node: Node) -> Run:
    """One value everywhere: by default 0 in float32."""
    value = node.get("value", np.zeros(1, np.float32))
    return lambda sizes: made(np.full(ints(sizes), value.item(), value.dtype))


@row("Cast", "CastLike")
def cast(node: Node) -> Run:
    """In another dtype; fractions are cut off towards zero."""
    import onnx

    from ..graph import check_dtype

    node.get("saturate")
    node.get("round_mode")
    if node.op == "CastLike":
        return lambda x, like: x.to(like.dtype)
    dtype = check_dtype(onnx, node.get("to"), str(node))
    return lambda x: x.to(dtype)


@row("DepthToSpace")
def depth_to_space(node: Node) -> Run:
    """[N, C b b, H, W] -> [N, C, H b, W b]: channels are (b, b, C) in mode DCR and (C, b, b) in mode CRD."""
    b, mode = node.get("blocksize"), node.one_of("mode", ("DCR", "CRD"), "DCR")

    def run(x: Any) -> Any:
        n, c, h, w = x.shape
        if mode == "DCR":
            y = x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2)
        else:
            y = x.reshape(n, c // b**2, b, b, h, w).permute(0, 1, 4, 2, 5, 3)
        return y.reshape(n, c // b**2, h * b, w * b)

    return run


@row("SpaceToDepth")
def space_to_depth(node: Node) -> Run:
    """[N, C, H b, W b] -> [N, C b b, H, W]: the inverse of DepthToSpace."""
    b, mode = node.get("blocksize"), node.one_of("mode", ("DCR", "CRD"), "DCR")

    def run(x: Any) -> Any:
        n, c, h, w = x.shape
        y = x.reshape(n, c, h // b, b, w // b, b).permute(*((0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)))
        return y.reshape(n, c * b * b, h // b, w // b)

    return run


PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@row("Pad", settings=(1, 2, 3))
def pad(node: Node) -> Run:
    """A frame around any of the dimensions; negative numbers crop."""
    mode = PAD_MODES[node.one_of("mode", tuple(PAD_MODES), "constant")]
    fixed = (node.get("pads"), node.get("value", 0.0)) if node.version < 11 else None

    def run(x: Any, pads: Any = None, value: Any = None, axes: Any = None) -> Any:
        numbers, fill = fixed or (ints(pads), 0.0 if value is None else value.item())
        over = range(x.ndim) if axes is None else [a % x.ndim for a in ints(axes)]
        pairs = dict(zip(over, zip(numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :], strict=True), strict=True))
        if mode == "constant":
            return F.pad(x, [n for i in range(x.ndim - 1, -1, -1) for n in pairs.get(i, (0, 0))], value=fill)
        # torch takes the last dimensions only here; the tables behind its pad take any.
        maps = tuple(tables.padding(mode, n, *pairs[i]) if any(pairs.get(i, (0, 0))) else None for i, n in enumerate(x.shape))
        return Resample.apply(x, maps) if is_float(x) else made(taken(x.array, maps))

    return run


@row("OneHot", settings=(1, 2))
def one_hot(node: Node) -> Run:
    """Two values: one at each index along a new axis, the other elsewhere."""
    axis = node.get("axis", -1)

    def run(index: Any, depth: Any, values: Any) -> Any:
        n, i = int(depth.item()), index.array.astype(np.int64)
        hot = np.expand_dims(np.where(i < 0, i + n, i), axis) == np.arange(n).reshape(
            [-1 if k == axis % (i.ndim + 1) else 1 for k in range(i.ndim + 1)]
        )
        return made(np.where(hot, values.array[1], values.array[0]))

    return run


@row("Trilu", settings=(1,))
def trilu(node: Node) -> Run:
    """The upper (or lower) triangle of the last two dimensions, zeros elsewhere."""
    cut = np.triu if node.get("upper", 1) else np.tril

    def run(x: Any, k: Any = None) -> Any:
        keep = made(cut(np.ones(x.shape[-2:], np.bool_), 0 if k is None else int(k.item())))
        return where(keep, x, 0.0) if is_float(x) else made(np.where(keep.array, x.array, x.array.dtype.type(0)))

    return run
