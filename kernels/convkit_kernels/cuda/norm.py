"""Normalisation, its statistics and its gradient, with the names of `cpu/norm.py`.

All see x, in channels-last memory or in planes, as x[a, r, b] with statistics or sums over r: a is an image (or all of them) and b a channel, or a
is a plane and b = 1, or a is a line of all channels of a group.  `lanes` threads of a block share a result (a, b), `lines` results a block, and
long r are cut to `parts`.  Neighbouring threads take neighbouring b, or neighbouring r where b = 1.  Orders of summation depend on shapes alone.

Statistics never meet float64: a mean is kept as a number of x and a small distance from it, so that a mean much larger than the deviation costs
no digits, and parts are put together as in T. F. Chan, G. H. Golub, R. J. LeVeque, 1979.
"""

from __future__ import annotations

import functools

import numpy as np

from . import driver
from . import mathfunctions as m
from .blocks import tree
from .copy import assign, contiguous
from .elementwise import fill, mul
from .launch import Family, cuda, kernel
from .memory import Array, asarray, empty, empty_like
from .reduce import sum

THREADS, LINES = (4, 2) if driver.is_simulated() else (256, 32)
TOGETHER = 4  # numbers that a thread reads before it writes: a read does not pass a write, so that only these are on their way at the same time
LEAST, BLOCKS = (2, 8) if driver.is_simulated() else (8, 2048)  # numbers that a thread takes at least, where it can; blocks that fill a GPU


# ---------------------------------------------------------------------------------------- the walk
# A walk is nine numbers: results, size of r, of b, strides of a and r; lanes and lines of a block, whether neighbours are across r, length of a part.
@functools.lru_cache(maxsize=1024)
def _walk(A: int, R: int, B: int) -> tuple[int, int, tuple[int, ...]]:
    """(blocks, parts, the walk) over x[A, R, B]."""
    if B > 1:
        lines = min(B, THREADS) if B < 2 * LINES else LINES
        lines = max(lines, THREADS // max(R, 1))
        lanes = THREADS // lines
    else:
        lanes = min(THREADS, max(1 << (-(-R // LEAST) - 1).bit_length(), min(LINES, 1 << (R - 1).bit_length())))
        lines = THREADS // lanes
    blocks = -(-A * B // lines)
    parts = max(1, min(-(-R // (lanes * LEAST)), -(-BLOCKS // blocks), 65535))
    length = -(-R // parts)
    return blocks, -(-R // length), (A * B, R, B, R * B, B, lanes, lines, int(B == 1), length)


@m.device
def _mine(walk):
    """(this thread's result, its lane); a lane that is none is as large as their number."""
    t, lanes, lines = cuda.threadIdx.x, walk[5], walk[6]
    line, lane = (t // lanes, t % lanes) if walk[7] else (t % lines, t // lines)
    o = cuda.blockIdx.x * lines + line
    return (o, lane) if o < walk[0] and line < lines and lane < lanes else (np.int64(0), lanes)


@m.device
def _range(walk, lane):
    """(first, end) of the r of this thread, which go in steps of the lanes; nothing for a lane that is none."""
    start = cuda.blockIdx.y * walk[8]
    end = min(walk[1], start + walk[8])
    return (start + lane, end) if lane < walk[5] else (end, end)


# --------------------------------------------------------------------------------------- statistics
# Of some numbers: their count n, their mean as hi + lo, where hi is one of them, and their variance v.
@m.device
def _joined(n, hi, lo, v, n2, hi2, lo2, v2):
    """Those of two sets together."""
    if n2 == type(hi)(0):
        return n, hi, lo, v
    if n == type(hi)(0):
        return n2, hi2, lo2, v2
    if abs(lo2) < abs(lo):  # what is nearer to its mean stays
        n, hi, lo, v, n2, hi2, lo2, v2 = n2, hi2, lo2, v2, n, hi, lo, v
    total = n + n2
    share = n2 / total
    away = (hi2 - hi) + (lo2 - lo)
    step = away * share
    low = lo + step
    low = low if low == low else lo + lo2  # an infinite mean is one
    return total, hi, low, (v * (n / total) + v2 * share) + step * (away - step)


def _join(shared, t, k):
    shared[0, t], shared[1, t], shared[2, t], shared[3, t] = _joined(
        shared[0, t], shared[1, t], shared[2, t], shared[3, t], shared[0, k], shared[1, k], shared[2, k], shared[3, k]
    )


def _add_two(shared, t, k):
    shared[0, t] += shared[0, k]
    shared[1, t] += shared[1, k]


_statistics_of_block, _sums_of_block = tree(_join), tree(_add_two)


@m.device
def _apart(walk):
    """How far from each other in a block two neighbouring lanes of a line are."""
    return 1 if walk[7] else walk[6]


@m.device
def _store(y, o, shared, walk, last):
    """y[4, parts, results], or, as the `last`, mean and variance [2, results]."""
    t, results = cuda.threadIdx.x, walk[0]
    if last:
        y[o] = shared[1, t] + shared[2, t]
        y[results + o] = shared[3, t]
    else:
        for i in range(4):
            y[(i * cuda.gridDim.y + cuda.blockIdx.y) * results + o] = shared[i, t]


@kernel("TiTiI")
def _moments(x, x0, y, last, walk):
    shared = cuda.shared.array((4, THREADS), x.dtype)
    zero, one = x.dtype.type(0), x.dtype.type(1)
    t, B, lanes = cuda.threadIdx.x, walk[2], walk[5]
    o, lane = _mine(walk)
    low, high = _range(walk, lane)
    place, step = x0 + o // B * walk[3] + o % B, walk[4]
    n, hi, lo, v = zero, zero, zero, zero
    for first in range(low, high, LEAST * lanes):
        end = min(high, first + LEAST * lanes)
        near = x[place + first * step]
        near = near if near - near == zero else zero
        count, mean, variance = zero, zero, zero
        for r in range(first, end, lanes):
            count += one
            mean += x[place + r * step] - near
        share = one / count
        mean *= share
        for r in range(first, end, lanes):
            away = (x[place + r * step] - near) - mean
            variance += away * (away * share)
        n, hi, lo, v = _joined(n, hi, lo, v, count, near, mean, variance)
    shared[0, t], shared[1, t], shared[2, t], shared[3, t] = n, hi, lo, v
    _statistics_of_block(shared, t, lane, lanes, _apart(walk))
    if lane == 0:
        _store(y, o, shared, walk, last)


@kernel("TiTiI")
def _merged(x, count, y, last, walk):
    # The same from statistics x[4, count].
    shared = cuda.shared.array((4, THREADS), x.dtype)
    zero = x.dtype.type(0)
    t, B, lanes = cuda.threadIdx.x, walk[2], walk[5]
    o, lane = _mine(walk)
    low, high = _range(walk, lane)
    place, step = o // B * walk[3] + o % B, walk[4]
    n, hi, lo, v = zero, zero, zero, zero
    for r in range(low, high, lanes):
        k = place + r * step
        n, hi, lo, v = _joined(n, hi, lo, v, x[k], x[count + k], x[2 * count + k], x[3 * count + k])
    shared[0, t], shared[1, t], shared[2, t], shared[3, t] = n, hi, lo, v
    _statistics_of_block(shared, t, lane, lanes, _apart(walk))
    if lane == 0:
        _store(y, o, shared, walk, last)


def norm_stats(x: Array, groups: int, batch: bool) -> tuple[Array, Array]:
    """(mean, variance), each [1, groups] over the whole batch or [N, groups], of x [N, C, *S] with its channels in `groups` groups.

    The variance is the biased one, divided by the count.
    """
    N, C = x.shape[:2]
    blocks = 1 if batch else N
    if not x.size:
        y = fill(empty((2, blocks, groups), x.dtype), np.nan)
        return y[0], y[1]
    memory, planes = _memory(x)
    each, S = C // groups, x.size // (N * C)
    if planes:
        stages = [(N * groups, each * S, 1), *([(1, N, groups)] if batch and N > 1 else [])]
    elif groups == 1:
        stages = [(blocks, x.size // blocks, 1)]
    else:
        stages = [(blocks, x.size // (blocks * C), C), *([(blocks * groups, each, 1)] if each > 1 else [])]
    run: Family = _moments
    place, source = memory.offset, memory
    while stages:
        grid, parts, walk = _walk(*stages.pop(0))
        if parts > 1:
            stages.insert(0, (1, parts, walk[0]))
        last = not stages
        y = empty((2 if last else 4, parts, walk[0]), x.dtype)
        run[x.dtype].blocks((grid, parts), THREADS, source.flat, place, y.flat, int(last), _plan(walk).flat)
        run, place, source = _merged, parts * walk[0], y
    return y[0].reshape(blocks, groups), y[1].reshape(blocks, groups)


@functools.lru_cache(maxsize=1024)
def _plan(numbers: tuple[int, ...]) -> Array:
    return asarray(np.array(numbers, np.int64))


# ------------------------------------------------------------------------------------- normalisation
# A plan is a walk and, from its tenth number on: channels, groups, whether there are several blocks of statistics and whether memory is planes, and
# whether there are a weight, a bias, a relu and a mean; for `norm` then, whether something is added.
CHANNELS, GROUPS, SEVERAL, PLANES, WEIGHT, BIAS, RELU, CENTRED, ADD = range(9, 18)


def _memory(x: Array) -> tuple[Array, bool]:
    """(contiguous memory, whether it is that of planes [N, C, *S] and not channels-last [N, *S, C])."""
    last = x.transpose(0, *range(2, x.ndim), 1)
    if x.flags.c_contiguous and not last.flags.c_contiguous:
        return x, True
    return contiguous(last), False


def _shaped(memory: Array, planes: bool) -> Array:
    """Memory as [N, C, *S]."""
    return memory if planes else memory.transpose(0, memory.ndim - 1, *range(1, memory.ndim - 1))


def _in_order(a: Array, memory: Array, planes: bool) -> Array:
    """The memory of a [N, C, *S] in the order of `memory`."""
    own = a if planes else a.transpose(0, *range(2, a.ndim), 1)
    return own if own.flags.c_contiguous else assign(empty_like(memory), own)


def _sizes(x: Array, planes: bool, blocks: int) -> tuple[int, int, int]:
    N, C = x.shape[:2]
    return (N * C, x.size // (N * C), 1) if planes else (blocks, x.size // (blocks * C), C)


@m.device
def _numbers(n, c, mean, m0, inv_std, v0, weight, w0, bias, b0, plan):
    """Of channel c in image n: the place of its statistics; mean, inv_std, weight and bias."""
    at = n * plan[SEVERAL] * plan[GROUPS] + c * plan[GROUPS] // plan[CHANNELS]
    center, rate = mean[m0 + at], inv_std[v0 + at]
    w = weight[w0 + c] if plan[WEIGHT] else type(rate)(1)
    return at, center, rate, w, bias[b0 + c] if plan[BIAS] else type(rate)(0)


@m.device
def _image_and_channel(o, plan):
    if plan[PLANES]:
        return o // plan[CHANNELS], o % plan[CHANNELS]
    return o // plan[2], o % plan[2]


@m.device
def _line(plan):
    """(first and end of this thread's r, its image and channel, the place of r = 0)."""
    o, lane = _mine(plan)
    low, high = _range(plan, lane)
    n, c = _image_and_channel(o, plan)
    return low, high, n, c, o // plan[2] * plan[3] + o % plan[2]


@m.device
def _affine(x, center, rate, w, b):
    # The same bits wherever it is computed.
    return m.fma(x - center, rate * w, b)


@kernel("TiTiTiTiTiTiTiI")
def _norm(x, x0, mean, m0, inv_std, v0, weight, w0, bias, b0, add, a0, y, y0, plan):
    # y = (x - mean) inv_std weight + bias + add
    here = cuda.local.array(TOGETHER, x.dtype)
    zero, lanes, step = x.dtype.type(0), plan[5], plan[4]
    low, high, n, c, place = _line(plan)
    if low < high:
        _, center, rate, w, b = _numbers(n, c, mean, m0, inv_std, v0, weight, w0, bias, b0, plan)
        for first in range(low, high, TOGETHER * lanes):
            for k in range(TOGETHER):
                here[k] = x[x0 + place + min(first + k * lanes, high - 1) * step]
            for k in range(TOGETHER):
                if first + k * lanes < high:
                    value = _affine(here[k], center, rate, w, b)
                    if plan[ADD]:
                        value += add[a0 + place + (first + k * lanes) * step]
                    y[y0 + place + (first + k * lanes) * step] = zero if plan[RELU] and value <= zero else value


def norm(
    x: Array, mean: Array, inv_std: Array, weight: Array | None, bias: Array | None, add: Array | None = None, relu: bool = False
) -> Array:  # fmt: skip
    """y = (x - mean) inv_std weight + bias for x [N, C, *S], mean and inv_std [1 or N, G], weight and bias [C] or None.

    Plus `add`, of y's shape, and then max(y, 0) with `relu`.  Channels-last, or in C order if x is.
    """
    memory, planes = _memory(x)
    y = empty_like(memory)
    if x.size:
        blocks, groups = mean.shape
        grid, parts, walk = _walk(*_sizes(x, planes, blocks))
        plan = _plan((*walk, x.shape[1], groups, int(blocks > 1), planes, weight is not None, bias is not None, relu, 1, add is not None))
        more = memory if add is None else _in_order(add, memory, planes)
        _norm[x.dtype].blocks((grid, parts), THREADS, *_pairs(memory, *_given(x, mean, inv_std, weight, bias), more, y), plan.flat)
    return _shaped(y, planes)


def _given(x: Array, *arrays: Array | None) -> list[Array]:
    """Small arrays as kernels take them; x stands for what is not there."""
    return [x if a is None else contiguous(a.astype(x.dtype, copy=False)) for a in arrays]


def _pairs(*arrays: Array) -> list:
    return [v for a in arrays for v in (a.flat, a.offset)]


# ------------------------------------------------------------------------------------------ gradient
# Where a thread's numbers have one image and channel; where r are the channels of a group; where r are images.
SAME, ROWS, COLUMNS = range(3)


def _sums_kernel(kind: int) -> Family:
    """y[2, parts, results] = (sum of gy, sum of gy xhat), xhat = (x - mean) inv_std; of ROWS, of gy weight."""

    def sums(gy, g0, x, x0, mean, m0, inv_std, v0, weight, w0, bias, b0, y, plan):
        shared = cuda.shared.array((2, THREADS), x.dtype)
        zero, t, lanes, step = x.dtype.type(0), cuda.threadIdx.x, plan[5], plan[4]
        o, lane = _mine(plan)
        low, high = _range(plan, lane)
        place = o // plan[2] * plan[3] + o % plan[2]
        n, c = _image_and_channel(o, plan)
        if kind == ROWS:
            n, c = o // plan[GROUPS], o % plan[GROUPS] * plan[1]
        first, second = zero, zero
        if low < high:
            _, center, rate, w, b = _numbers(n, c, mean, m0, inv_std, v0, weight, w0, bias, b0, plan)
            for r in range(low, high, lanes):
                if kind == ROWS:
                    _, center, rate, w, b = _numbers(n, c + r, mean, m0, inv_std, v0, weight, w0, bias, b0, plan)
                if kind == COLUMNS:
                    _, center, rate, w, b = _numbers(r, c, mean, m0, inv_std, v0, weight, w0, bias, b0, plan)
                here, g = x[x0 + place + r * step], gy[g0 + place + r * step]
                if plan[RELU] and _affine(here, center, rate, w, b) <= zero:
                    g = zero
                if kind == ROWS:
                    g *= w
                first += g
                second += g * ((here - center) * rate)
        shared[0, t], shared[1, t] = first, second
        _sums_of_block(shared, t, lane, lanes, _apart(plan))
        if lane == 0:
            for i in range(2):
                y[(i * cuda.gridDim.y + cuda.blockIdx.y) * plan[0] + o] = shared[i, t]

    sums.__name__ = sums.__qualname__ = ("_sums", "_sums_of_rows", "_sums_of_columns")[kind]
    return kernel("TiTiTiTiTiTiTI")(sums)


_SUMS = [_sums_kernel(kind) for kind in (SAME, ROWS, COLUMNS)]


@kernel("TiTiTiTiTiTiTitTiI")
def _grad(gy, g0, x, x0, mean, m0, inv_std, v0, weight, w0, bias, b0, sums, s0, share, gx, y0, plan):
    # gx = inv_std (gy weight - mean_g - xhat mean_gx), the means of gy weight and gy weight xhat: sums [2, blocks, G] times `share`, and times weight
    # where each channel is a group.
    here, g = cuda.local.array(TOGETHER, x.dtype), cuda.local.array(TOGETHER, x.dtype)
    zero, lanes, step = x.dtype.type(0), plan[5], plan[4]
    low, high, n, c, place = _line(plan)
    if low < high:
        at, center, rate, w, b = _numbers(n, c, mean, m0, inv_std, v0, weight, w0, bias, b0, plan)
        factor = share * w if plan[GROUPS] == plan[CHANNELS] else share
        mean_g = sums[s0 + at] * factor if plan[CENTRED] else zero
        mean_gx = sums[s0 + plan[CENTRED + 1] + at] * factor
        for first in range(low, high, TOGETHER * lanes):
            for k in range(TOGETHER):
                to = place + min(first + k * lanes, high - 1) * step
                here[k], g[k] = x[x0 + to], gy[g0 + to]
            for k in range(TOGETHER):
                if plan[RELU] and _affine(here[k], center, rate, w, b) <= zero:
                    g[k] = zero
                if first + k * lanes < high:
                    gx[y0 + place + (first + k * lanes) * step] = rate * (g[k] * w - mean_g - (here[k] - center) * rate * mean_gx)


def norm_grad(
    gy: Array, x: Array, mean: Array, inv_std: Array, weight: Array | None, bias: Array | None, centred: bool, relu: bool, given: bool = False
) -> tuple[Array, Array, Array]:  # fmt: skip
    """(gx, gweight [C], gbias [C]) of `norm` where mean and inv_std are the statistics of x itself.  gx has the memory order of `norm`.

    xhat    = (x - mean) inv_std
    gbias   = sum gy,   gweight = sum gy xhat
    gx      = inv_std (gy weight - mean(gy weight) - xhat mean(gy weight xhat))         means over what the statistics are over

    Without `centred`, mean is a constant 0, and the first mean is left out.  With `relu` gy counts as 0 where xhat weight + bias <= 0; bias is used
    for nothing else.  With `given` statistics, which are no functions of x, gx = inv_std gy weight (without `relu`).
    """
    memory, planes = _memory(x)
    gx, C = empty_like(memory), x.shape[1]
    if not x.size:
        both = fill(empty((2, C), x.dtype), 0)
        return _shaped(gx, planes), both[0], both[1]
    gmemory = _in_order(gy, memory, planes)
    blocks, groups = mean.shape
    numbers = _pairs(gmemory, memory, *_given(x, mean, inv_std, weight, bias))
    more = (C, groups, int(blocks > 1), planes, weight is not None, bias is not None and relu, relu, centred)

    def sums_of(kind: int, A: int, R: int, B: int) -> Array:
        grid, parts, walk = _walk(A, R, B)
        y = empty((2, parts, walk[0]), x.dtype)
        _SUMS[kind][x.dtype].blocks((grid, parts), THREADS, *numbers, y.flat, _plan((*walk, *more)).flat)
        return sum(y, (1,), False) if parts > 1 else y.reshape(2, -1)

    sizes = _sizes(x, planes, blocks)
    if not planes and sizes[1] == 1 and groups < C:
        both, sums = sums_of(COLUMNS, 1, x.shape[0], C), sums_of(ROWS, blocks * groups, C // groups, 1)
    else:
        sums = sums_of(SAME, *sizes).reshape(2, -1, C)
        both = sum(sums, (1,), False) if sums.shape[1] > 1 else sums.reshape(2, C)
        sums = both if blocks == 1 else sums
        if groups < C:
            sums = sum((sums if weight is None else mul(sums, weight)).reshape(2, blocks * groups, -1), (2,), False)
    if given:
        return norm(_shaped(gmemory, planes), fill(empty_like(mean), 0), inv_std, weight, None), both[1], both[0]
    sums = contiguous(sums)
    grid, parts, walk = _walk(*sizes)
    plan = _plan((*walk, *more, blocks * groups))
    _grad[x.dtype].blocks((grid, parts), THREADS, *numbers, *_pairs(sums), blocks * groups / x.size, *_pairs(gx), plan.flat)
    return _shaped(gx, planes), both[1], both[0]
