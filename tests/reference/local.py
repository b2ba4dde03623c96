"""Convolution with weights for each region of the output: for each place and each tap, a product of channels.  `window` is as in `conv`.

Weights are [*regions, *window, C, K]; place o of a dimension of n places and m regions belongs to region o * m // n.
"""

import numpy as np

from .conv import output_size, steps


def region(o, out, regions):
    return tuple(p * m // n for p, n, m in zip(o, out, regions, strict=True))


def local_forward(x, w, bias, window):
    rank = len(window.size)
    out = output_size(x.shape[2:], window)
    y = np.zeros((x.shape[0], w.shape[-1], *out))
    for o in np.ndindex(*out):
        y[(..., *o)] = 0 if bias is None else bias[region(o, out, w.shape[:rank])]
    for o, r, i in steps(x.shape[2:], out, window):
        y[(..., *o)] += x[(..., *i)].astype(np.float64) @ w[(*region(o, out, w.shape[:rank]), *r)].astype(np.float64)
    return y


def local_input_grad(gy, w, input_size, window):
    rank = len(window.size)
    out = gy.shape[2:]
    gx = np.zeros((gy.shape[0], w.shape[-2], *input_size))
    for o, r, i in steps(input_size, out, window):
        gx[(..., *i)] += gy[(..., *o)].astype(np.float64) @ w[(*region(o, out, w.shape[:rank]), *r)].astype(np.float64).T
    return gx


def local_weight_grad(x, gy, regions, window):
    out = gy.shape[2:]
    gw = np.zeros((*regions, *window.size, x.shape[1], gy.shape[1]))
    for o, r, i in steps(x.shape[2:], out, window):
        gw[(*region(o, out, regions), *r)] += x[(..., *i)].astype(np.float64).T @ gy[(..., *o)].astype(np.float64)
    return gw
