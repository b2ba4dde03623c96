"""Windows laid side by side, and their sum back, number by number.  `window` is as in `conv`."""

import math

import numpy as np

from .conv import output_size, steps


def unfold(x, window):
    out = output_size(x.shape[2:], window)
    y = np.zeros((*x.shape[:2], *window.size, *out))
    for o, r, i in steps(x.shape[2:], out, window):
        y[(..., *r, *o)] = x[(..., *i)]
    return y.reshape(x.shape[0], x.shape[1] * math.prod(window.size), math.prod(out))


def fold(y, input_size, window):
    out = output_size(input_size, window)
    channels = y.shape[1] // math.prod(window.size)
    y = y.astype(np.float64).reshape(y.shape[0], channels, *window.size, *out)
    x = np.zeros((y.shape[0], channels, *input_size))
    for o, r, i in steps(input_size, out, window):
        x[(..., *i)] += y[(..., *r, *o)]
    return x
