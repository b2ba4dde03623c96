"""Reductions: each result looks at the elements that share its place."""

import math

import numpy as np


def _groups(x, axes, keepdims):
    """(shape of the result, elements of each place in C order)."""
    kept = [1 if axis in axes else n for axis, n in enumerate(x.shape)]
    groups = {place: [] for place in np.ndindex(*kept)}
    for where in np.ndindex(*x.shape):
        groups[tuple(0 if axis in axes else i for axis, i in enumerate(where))].append(float(x[where]))
    shape = kept if keepdims else [n for axis, n in enumerate(x.shape) if axis not in axes]
    return tuple(shape), list(groups.values())


def _reduce(formula, x, axes, keepdims, dtype=np.float64):
    shape, groups = _groups(x, axes, keepdims)
    return np.array([formula(group) for group in groups], dtype).reshape(shape)


def _first(group, better):
    found = 0
    for i, value in enumerate(group):
        if math.isnan(value):
            return i
        if better(value, group[found]):
            found = i
    return found


def sum(x, axes, keepdims, terms="all"):
    term = {"all": lambda v: v, "squares": lambda v: v * v, "not nan": lambda v: 0.0 if v != v else v}[terms]
    return _reduce(lambda group: math.fsum(term(v) for v in group), x, axes, keepdims)


def nonzero(x):
    return np.array([where for where in np.ndindex(*x.shape) if x[where] != 0], np.int64).reshape(-1, x.ndim)


def amax(x, axes, keepdims):
    return _reduce(lambda group: group[_first(group, lambda a, b: a > b)], x, axes, keepdims)


def amin(x, axes, keepdims):
    return _reduce(lambda group: group[_first(group, lambda a, b: a < b)], x, axes, keepdims)


def argmax(x, axis):
    x, axis = (x.reshape(-1), 0) if axis is None else (x, axis)
    return _reduce(lambda group: _first(group, lambda a, b: a > b), x, (axis,), False, np.int64)


def argmin(x, axis):
    x, axis = (x.reshape(-1), 0) if axis is None else (x, axis)
    return _reduce(lambda group: _first(group, lambda a, b: a < b), x, (axis,), False, np.int64)


def prod(x, axes, keepdims):
    return _reduce(math.prod, x, axes, keepdims)


def scan(name, x, axis, backwards=False):
    step = {
        "sum": lambda so_far, v: so_far + v,
        "prod": lambda so_far, v: so_far * v,
        "logsumexp": lambda so_far, v: max(so_far, v) + math.log1p(math.exp(-abs(so_far - v))) if so_far == so_far and v == v else math.nan,
        "argmax": lambda so_far, v: so_far if v < so_far or math.isnan(so_far) and not math.isnan(v) else v,
        "argmin": lambda so_far, v: so_far if v > so_far or math.isnan(so_far) and not math.isnan(v) else v,
    }[name]
    x = np.flip(np.array(x, np.float64), axis) if backwards else np.array(x, np.float64)
    y, where = x.copy(), np.zeros(x.shape, np.int64)
    for place in np.ndindex(*x.shape):
        if place[axis]:
            before = tuple(i - (d == axis) for d, i in enumerate(place))
            y[place] = step(y[before], x[place])
            where[place] = place[axis] if same(y[place], x[place]) else where[before]
    return where if name.startswith("arg") else np.flip(y, axis) if backwards else y


def same(a, b):
    return a == b or math.isnan(a) and math.isnan(b)
