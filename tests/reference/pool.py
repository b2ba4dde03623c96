"""Pooling: for each output place, the list of the elements its window sees.

`window` is anything with size, stride, padding ((before, after) pairs), dilation and ceil_mode.
"""

import itertools
import math

import numpy as np


def output_size(input_size, window):
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


def taps(place, window):
    """(tap number, input place) of each tap of the window of output `place`, the padding included."""
    for number, tap in enumerate(itertools.product(*map(range, window.size))):
        yield (
            number,
            tuple(
                o * stride - before + r * dilation
                for o, r, stride, (before, _), dilation in zip(place, tap, window.stride, window.padding, window.dilation, strict=True)
            ),
        )


def inside(where, size):
    return all(0 <= i < n for i, n in zip(where, size, strict=True))


def max_pool(x, window):
    size = x.shape[2:]
    output = output_size(size, window)
    y = np.full((*x.shape[:2], *output), -np.inf)
    index = np.zeros(y.shape, np.int64)
    for n, c, *place in np.ndindex(*y.shape):
        first = True
        for number, where in taps(place, window):
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
        where = dict(taps(place, window))[int(index[(n, c, *place)])]
        if inside(where, input_size):
            gx[(n, c, *where)] += gy[(n, c, *place)]
    return gx


def max_pool_gather(x, index, window):
    y = np.zeros(index.shape)
    for n, c, *place in np.ndindex(*index.shape):
        where = dict(taps(place, window))[int(index[(n, c, *place)])]
        if inside(where, x.shape[2:]):
            y[(n, c, *place)] = x[(n, c, *where)]
    return y


def _divisor(place, size, window, count_include_pad, divisor_override):
    if divisor_override is not None:
        return divisor_override
    count = 0
    for _, where in taps(place, window):
        if count_include_pad:
            count += all(-before <= i < n + after for i, n, (before, after) in zip(where, size, window.padding, strict=True))
        else:
            count += inside(where, size)
    return max(count, 1)


def average_pool(x, window, count_include_pad, divisor_override):
    size = x.shape[2:]
    y = np.zeros((*x.shape[:2], *output_size(size, window)))
    for n, c, *place in np.ndindex(*y.shape):
        total = math.fsum(float(x[(n, c, *where)]) for _, where in taps(place, window) if inside(where, size))
        y[(n, c, *place)] = total / _divisor(place, size, window, count_include_pad, divisor_override)
    return y


def average_pool_grad(gy, input_size, window, count_include_pad, divisor_override):
    gx = np.zeros((*gy.shape[:2], *input_size))
    for n, c, *place in np.ndindex(*gy.shape):
        share = gy[(n, c, *place)] / _divisor(place, input_size, window, count_include_pad, divisor_override)
        for _, where in taps(place, window):
            if inside(where, input_size):
                gx[(n, c, *where)] += share
    return gx
