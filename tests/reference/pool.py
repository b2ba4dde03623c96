"""Pooling: for each output place, the list of the elements its window sees.

`window` is anything with size, stride, padding ((before, after) pairs), dilation and ceil_mode; or with output, for adaptive windows.
"""

import itertools
import math

import numpy as np


def output_size(input_size, window):
    if hasattr(window, "output"):
        return tuple(window.output)
    sizes = []
    for size, r, stride, (before, after), dilation in zip(input_size, window.size, window.stride, window.padding, window.dilation, strict=True):
        start, count = 0, 0
        while start + dilation * (r - 1) + 1 <= before + size + after:
            start += stride
            count += 1
        covered = start - stride + dilation * (r - 1) + 1
        if window.ceil_mode and covered < before + size + after and start < before + size:
            count += 1
        sizes.append(count)
    return tuple(sizes)


def along(axis, o, size, window):
    """The input places that window o sees along an axis of `size` elements, the padding included."""
    if hasattr(window, "output"):
        n = window.output[axis]
        return list(range(math.floor(o * size / n), math.ceil((o + 1) * size / n)))
    start = o * window.stride[axis] - window.padding[axis][0]
    return [start + r * window.dilation[axis] for r in range(window.size[axis])]


def taps(place, size, window):
    """(tap number, input place) of each tap of the window of output `place`; windows number their taps as the largest one does."""
    numbers = [max(len(along(axis, o, n, window)) for o in range(m)) for axis, (n, m) in enumerate(zip(size, output_size(size, window), strict=True))]
    seen = [enumerate(along(axis, o, n, window)) for axis, (o, n) in enumerate(zip(place, size, strict=True))]
    for one in itertools.product(*seen):
        number = 0
        for (r, _), count in zip(one, numbers, strict=True):
            number = number * count + r
        yield number, tuple(i for _, i in one)


def inside(where, size):
    return all(0 <= i < n for i, n in zip(where, size, strict=True))


def max_pool(x, window):
    size = x.shape[2:]
    output = output_size(size, window)
    y = np.full((*x.shape[:2], *output), -np.inf)
    index = np.zeros(y.shape, np.int64)
    for n, c, *place in np.ndindex(*y.shape):
        first = True
        for number, where in taps(place, size, window):
            if not inside(where, size):
                continue
            value = float(x[(n, c, *where)])
            if first:
                index[(n, c, *place)] = number
                first = False
            if value > y[(n, c, *place)] or math.isnan(value):
                y[(n, c, *place)] = value
                index[(n, c, *place)] = number
    return y, index


def max_pool_grad(gy, index, input_size, window):
    gx = np.zeros((*gy.shape[:2], *input_size))
    for n, c, *place in np.ndindex(*gy.shape):
        where = dict(taps(place, input_size, window))[int(index[(n, c, *place)])]
        if inside(where, input_size):
            gx[(n, c, *where)] += gy[(n, c, *place)]
    return gx


def max_pool_places(index, input_size, window):
    places = np.full(index.shape, -1, np.int64)
    for n, c, *place in np.ndindex(*index.shape):
        where = dict(taps(place, input_size, window))[int(index[(n, c, *place)])]
        if inside(where, input_size):
            places[(n, c, *place)] = np.ravel_multi_index(where, input_size)
    return places


def max_unpool(x, places, output_size, add):
    y = np.zeros((*x.shape[:2], *output_size))
    for n, c, *place in np.ndindex(*x.shape):
        to = int(places[(n, c, *place)])
        if 0 <= to < math.prod(output_size):
            where = (n, c, *np.unravel_index(to, output_size))
            y[where] = y[where] + x[(n, c, *place)] if add else x[(n, c, *place)]
    return y


def max_unpool_grad(gy, places):
    gx = np.zeros(places.shape)
    size = gy.shape[2:]
    for n, c, *place in np.ndindex(*places.shape):
        to = int(places[(n, c, *place)])
        if 0 <= to < math.prod(size):
            gx[(n, c, *place)] = gy[(n, c, *np.unravel_index(to, size))]
    return gx


def _divisor(place, size, window, count_include_pad, divisor_override):
    if divisor_override is not None:
        return divisor_override
    count = 0
    for _, where in taps(place, size, window):
        if count_include_pad and not hasattr(window, "output"):
            count += all(-before <= i < n + after for i, n, (before, after) in zip(where, size, window.padding, strict=True))
        else:
            count += inside(where, size)
    return max(count, 1)


def average_pool(x, window, count_include_pad, divisor_override):
    size = x.shape[2:]
    y = np.zeros((*x.shape[:2], *output_size(size, window)))
    for n, c, *place in np.ndindex(*y.shape):
        total = math.fsum(float(x[(n, c, *where)]) for _, where in taps(place, size, window) if inside(where, size))
        y[(n, c, *place)] = total / _divisor(place, size, window, count_include_pad, divisor_override)
    return y


def average_pool_grad(gy, input_size, window, count_include_pad, divisor_override):
    gx = np.zeros((*gy.shape[:2], *input_size))
    for n, c, *place in np.ndindex(*gy.shape):
        share = gy[(n, c, *place)] / _divisor(place, input_size, window, count_include_pad, divisor_override)
        for _, where in taps(place, input_size, window):
            if inside(where, input_size):
                gx[(n, c, *where)] += share
    return gx
