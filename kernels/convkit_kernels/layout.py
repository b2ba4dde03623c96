"""Memory order of arrays, written once for every backend.

The API speaks NCHW; memory is channels-last.  Strides carry the layout: an activation is an array
whose shape is [N, C, *spatial] and whose strides are those of [N, *spatial, C].  Nothing else says so.

Functions here read `shape`, `strides` and `itemsize` only, which NumPy and device arrays share.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def normal(a: np.ndarray) -> np.ndarray:
    """`a` itself if kernels can read it, else a copy that is aligned, in native byte order and writable.

    Arrays pass here once, when they become tensors: Numba may read a byte-swapped array as a native one, and compiles
    each kernel anew for read-only arrays.
    """
    if not a.dtype.isnative:
        return a.astype(a.dtype.newbyteorder("="))
    return a if a.flags.behaved else np.array(a, order="K")  # aligned and writable; also of a NumPy number


@lru_cache(maxsize=1024)
def dense_order(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[int, ...] | None:
    """The axes from outermost to innermost in memory if the elements fill one block of memory without gaps, else None.

    Axes of size 1 take part in no order; they are listed where they stand, so that equal layouts give equal orders.
    """
    axes = sorted((i for i, n in enumerate(shape) if n != 1), key=lambda i: -strides[i])
    step = itemsize
    for i in reversed(axes):
        if strides[i] != step:
            return None
        step *= shape[i]
    return tuple(axes)


def order_of(a: np.ndarray) -> tuple[int, ...] | None:
    """`dense_order` of an array; arrays of the same shape and order can be walked together, flat."""
    return dense_order(a.shape, a.strides, a.itemsize)


def flat(a: np.ndarray) -> np.ndarray | None:
    """A 1-D view of `a` in memory order, or None if its memory has gaps, a negative stride or an order no view can express."""
    if a.flags.c_contiguous:
        return a.ravel()  # a view too, in half the time of a reshape
    order = order_of(a)
    if order is None:
        return None
    rest = tuple(i for i in range(a.ndim) if i not in order)
    return a.transpose(rest + order).reshape(-1)


def unsigned(a: np.ndarray) -> np.ndarray:
    """The bits of 64-bit integers as numbers without a sign: what is negative is very large."""
    return (a.view if type(a) is np.ndarray else a.view_as)(np.uint64)  # type: ignore[attr-defined]


def is_channels_last(a: np.ndarray) -> bool:
    """Does an array [N, C, *spatial] lie in memory as [N, *spatial, C], without gaps?  Where C = 1 or every size of an image is 1, both orders do."""
    return a.transpose(0, *range(2, a.ndim), 1).flags.c_contiguous


def in_c_order(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> bool | None:
    """Whether images [N, C, *spatial] lie in C order; False for channels-last memory, also where both are one, and None for any other."""
    if 0 in shape:
        return False

    def order(*axes: int) -> tuple[int, ...]:
        return tuple(i for i in axes if shape[i] != 1)

    found = dense_order(shape, strides, itemsize)
    if found == order(0, *range(2, len(shape)), 1):
        return False
    return True if found == order(*range(len(shape))) else None


def from_channels_last(a: np.ndarray, rank: int) -> np.ndarray:
    """[N, D, H, W, C] -> the [N, C, *spatial] view of the same memory with `rank` spatial dimensions."""
    return a.reshape(a.shape[0], *a.shape[4 - rank : 4], a.shape[4]).transpose(0, rank + 1, *range(1, rank + 1))
