"""Resampling: each output from the list of its taps, one axis after the other."""

import numpy as np


def along(x, axis, table):
    y = np.zeros((*x.shape[:axis], table.start.size - 1, *x.shape[axis + 1 :]))
    x, out = np.moveaxis(x, axis, 0), np.moveaxis(y, axis, 0)
    for o in range(out.shape[0]):
        for k in range(table.start[o], table.start[o + 1]):
            out[o] += float(table.weight[k]) * x[table.index[k]].astype(np.float64)
    return y


def resample(x, tables):
    y = np.array(x, np.float64)
    for axis, table in enumerate(tables):
        if table is not None:
            y = along(y, axis, table)
    return y
