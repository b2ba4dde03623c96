"""Convolution and its gradients: for each output place and each tap, the product of the channels of one pixel with the weights.

`window` is anything with size, stride, padding ((before, after) pairs), dilation and groups.
"""

import itertools

import numpy as np


def output_size(input_size, window):
    """How often the window fits into each padded dimension."""
    sizes = []
    for size, r, stride, (before, after), dilation in zip(input_size, window.size, window.stride, window.padding, window.dilation, strict=True):
        start, count = 0, 0
        while start + dilation * (r - 1) + 1 <= before + size + after:
            start += stride
            count += 1
        sizes.append(count)
    return tuple(sizes)


def steps(input_size, out, window):
    """(output place, tap, input place) wherever the tap falls on the input."""
    for o in np.ndindex(*out):
        for r in itertools.product(*map(range, window.size)):
            i = tuple(p * s - before + t * d for p, s, (before, _), t, d in zip(o, window.stride, window.padding, r, window.dilation, strict=True))
            if all(0 <= a < n for a, n in zip(i, input_size, strict=True)):
                yield o, r, i


def grouped(a, groups, axis):
    """float64, with the channels of `axis` as (group, channel of the group)."""
    return a.astype(np.float64).reshape(*a.shape[:axis], groups, a.shape[axis] // groups, *a.shape[axis + 1 :])


def with_bias(bias, shape):
    bias = np.zeros(shape[1]) if bias is None else bias.astype(np.float64)
    return np.tile(bias.reshape(1, -1, *(1,) * (len(shape) - 2)), (shape[0], 1, *shape[2:]))


# Below: n image, g group, c input channel, k output channel of the group.
def conv_forward(x, w, bias, window, add=None, relu=False):
    out = output_size(x.shape[2:], window)
    y = grouped(with_bias(bias, (x.shape[0], w.shape[0], *out)), window.groups, 1)
    x, w = grouped(x, window.groups, 1), grouped(w, window.groups, 0)
    for o, r, i in steps(x.shape[3:], out, window):
        y[(..., *o)] += np.einsum("ngc,gkc->ngk", x[(..., *i)], w[(..., *r)])
    y = y.reshape(y.shape[0], y.shape[1] * y.shape[2], *out) + (0 if add is None else add)
    return np.where(y <= 0, 0, y) if relu else y


def conv_input_grad(gy, w, bias, input_size, window):
    gx = grouped(with_bias(bias, (gy.shape[0], w.shape[1] * window.groups, *input_size)), window.groups, 1)
    gy, w = grouped(gy, window.groups, 1), grouped(w, window.groups, 0)
    for o, r, i in steps(input_size, gy.shape[3:], window):
        gx[(..., *i)] += np.einsum("ngk,gkc->ngc", gy[(..., *o)], w[(..., *r)])
    return gx.reshape(gx.shape[0], gx.shape[1] * gx.shape[2], *input_size)


def conv_weight_grad(x, gy, window):
    x, gy = grouped(x, window.groups, 1), grouped(gy, window.groups, 1)
    gw = np.zeros((window.groups, gy.shape[2], x.shape[2], *window.size))
    for o, r, i in steps(x.shape[3:], gy.shape[3:], window):
        gw[(..., *r)] += np.einsum("ngk,ngc->gkc", gy[(..., *o)], x[(..., *i)])
    return gw.reshape(gw.shape[0] * gw.shape[1], *gw.shape[2:])
