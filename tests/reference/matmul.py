"""Matrix products, number by number."""

import math

import numpy as np


def matmul(a, b, bias=None, add=None, relu=False):
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a = np.broadcast_to(a, batch + a.shape[-2:]).astype(np.float64)
    b = np.broadcast_to(b, batch + b.shape[-2:]).astype(np.float64)
    y = np.zeros((*batch, a.shape[-2], b.shape[-1]))
    for place in np.ndindex(*y.shape):
        *where, m, n = place
        products = a[(*where, m)] * b[(*where, slice(None), n)]
        # fsum adds exactly, but refuses inf - inf.
        y[place] = (math.fsum(products) if np.isfinite(products).all() else products.sum()) + (0.0 if bias is None else float(bias[n]))
    y = y + (0 if add is None else add)
    return np.where(y <= 0, 0, y) if relu else y
