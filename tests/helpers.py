"""What several test files need: errors by norm, arrays in awkward memory, thread counts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st


def relative_error(got: np.ndarray, expected: np.ndarray, scale: np.ndarray | None = None) -> float:
    """|got - expected| / |expected| by the Euclidean norm, in float64; shapes must agree.

    `scale` takes the place of `expected` below the line where sums may cancel: the same sum over absolute values.
    """
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape, (got.shape, expected.shape)
    size = np.linalg.norm(np.ravel(expected if scale is None else scale))
    return float(np.linalg.norm((got - expected).ravel()) / (size or 1.0))


def ulps(got: np.ndarray, expected: np.ndarray) -> float:
    """The largest |got - expected| in units of the last place of `got`'s type at `expected` (float64)."""
    spacing = np.spacing(np.abs(expected).astype(got.dtype)).astype(np.float64)
    return float(np.max(np.abs(got.astype(np.float64) - expected) / spacing))


def tolerance(dtype: Any, single: float = 1e-6, double: float = 1e-13) -> float:
    """What a relative error may be: `single` for float32, `double` for float64."""
    return single if np.dtype(dtype) == np.float32 else double


def same(got: Any, expected: Any) -> bool:
    """Whether two arrays, or tuples of arrays, agree bit by bit, NaN included."""
    if isinstance(got, tuple):
        return len(got) == len(expected) and all(same(g, e) for g, e in zip(got, expected, strict=True))
    return got.dtype == expected.dtype and got.shape == expected.shape and np.array_equal(got, expected, equal_nan=got.dtype.kind == "f")


def channels_last_copy(a: np.ndarray) -> np.ndarray:
    """`a` [N, C, *S] in the memory order [N, *S, C]."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) if a.ndim > 2 else np.asarray(a, order="C")


def memory_order(a: np.ndarray) -> tuple[int, ...]:
    """The axes longer than 1, outermost in memory first."""
    return tuple(sorted((i for i in range(a.ndim) if a.shape[i] > 1), key=lambda i: -a.strides[i]))


def _read_only(a: np.ndarray) -> np.ndarray:
    a = np.array(a, order="K")
    a.flags.writeable = False
    return a


def _reversed(a: np.ndarray) -> np.ndarray:
    return np.flip(np.flip(a).copy()) if a.ndim else a.copy()


def _spaced(a: np.ndarray) -> np.ndarray:
    wide = np.zeros([2 * n for n in a.shape], a.dtype)
    part = wide[(..., *(slice(None, None, 2) for _ in a.shape))]
    part[...] = a
    return part


def _unaligned(a: np.ndarray) -> np.ndarray:
    memory = np.zeros(a.nbytes + 1, np.uint8)
    view = memory[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


# The same values in other memory: what a user may hand in.
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "C order": lambda a: np.asarray(a, order="C"),
    "channels-last": channels_last_copy,
    "Fortran order": lambda a: np.asarray(a, order="F"),
    "read-only": _read_only,
    "read-only channels-last": lambda a: _read_only(channels_last_copy(a)),
    "negative strides": _reversed,
    "gaps": _spaced,
    "unaligned": _unaligned,
    "other byte order": lambda a: np.asarray(a).astype(a.dtype.newbyteorder()),
}

layouts = st.sampled_from(sorted(LAYOUTS))
dtypes = st.sampled_from([np.float32, np.float64])


def numbers(seed: int, shape: tuple[int, ...], dtype: Any = np.float64, scale: float = 1.0, mean: float = 0.0) -> np.ndarray:
    """Normal random numbers in C order."""
    return np.asarray(np.random.default_rng(seed).standard_normal(shape) * scale + mean, dtype)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Run kernels on `count` threads (or on as many as there are), however little there is to do."""
    import numba

    from convkit_kernels.cpu import runtime, tasks

    before, little = runtime.get_num_threads(), tasks.LITTLE
    runtime.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    tasks.LITTLE = 0
    try:
        yield
    finally:
        runtime.set_num_threads(before)
        tasks.LITTLE = little


def same_with_one_and_two_threads(run: Callable[[], Any]) -> bool:
    """Whether `run()` gives the same bits on one thread and on two."""
    with threads(1):
        one = run()
    with threads(2):
        two = run()
    return same(two, one)
