"""Windows side by side, against plain loops; folding is the adjoint."""

import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from convkit_kernels import geometry
from tests.backend import SIMULATED, kernels, settings
from tests.helpers import LAYOUTS, numbers, relative_error, same, same_with_one_and_two_threads, tolerance
from tests.reference import unfold as reference

fold, unfold = kernels.fold, kernels.unfold
KINDS = sorted(set(LAYOUTS) - {"other byte order"})
MOST = 1 if SIMULATED else 5  # pixels more than a window covers


@st.composite
def cases(draw):
    """(window, x, y): an image and columns of its size."""
    rank = draw(st.integers(1, 3))

    def each(least, most):
        return tuple(draw(st.integers(least, most)) for _ in range(rank))

    padding = tuple((draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(rank))
    window = geometry.Window(each(1, 3), each(1, 3), padding, each(1, 3))
    inside = tuple(max(draw(st.integers(0, 1)), span - sum(p)) + draw(st.integers(0, MOST)) for span, p in zip(window.span, padding, strict=True))
    dtype, layout, seed = draw(st.sampled_from([np.float32, np.float64])), draw(st.sampled_from(KINDS)), draw(st.integers(0, 50))
    n, c = draw(st.integers(0, 3 - SIMULATED)), draw(st.integers(1, 4 - 2 * SIMULATED))
    x = LAYOUTS[layout](numbers(seed, (n, c, *inside), dtype))
    y = LAYOUTS[layout](numbers(seed + 1, (n, c * math.prod(window.size), math.prod(window.output_size(inside))), dtype))
    return window, x, y


EDGE = geometry.window("test", (3, 3), 1, 3)  # most windows see nothing but padding


@given(cases())
@example((EDGE, np.ones((1, 2, 1, 1), np.float32), np.ones((1, 18, 25), np.float32)))
@settings(max_examples=120)
def test_against_plain_loops(case):
    window, x, y = case
    got = unfold(x, window)
    assert got.dtype == x.dtype and got.flags.c_contiguous
    np.testing.assert_array_equal(got, reference.unfold(x, window).astype(x.dtype))
    got = fold(y, x.shape[2:], window)
    assert got.dtype == y.dtype and got.flags.c_contiguous
    assert relative_error(got, reference.fold(y, x.shape[2:], window)) < tolerance(y.dtype)


@given(cases())
@settings(max_examples=30)
def test_same_bits_for_any_number_of_threads(case):
    window, x, y = case
    assert same_with_one_and_two_threads(lambda: (unfold(x, window), fold(y, x.shape[2:], window)))


def test_layouts_and_nothing_given_is_written():
    window = geometry.window("test", (3, 2), (1, 2), 1)
    x, y = numbers(0, (2, 3, 6, 5), np.float32), numbers(1, (2, 18, 18), np.float32)
    for kind in KINDS:
        a, b = LAYOUTS[kind](x), LAYOUTS[kind](y)
        assert same((unfold(a, window), fold(b, (6, 5), window)), (unfold(x, window), fold(y, (6, 5), window)))
        assert same((a, b), (x, y))
    wide = np.broadcast_to(np.float32(2), x.shape)
    assert same(unfold(wide, window), unfold(wide.copy(), window))


def test_nan_and_infinity_stay_where_they_are():
    window = geometry.window("test", (2,), 1, 1)
    x = np.array([[[1, np.nan, np.inf]]], np.float32)
    np.testing.assert_array_equal(unfold(x, window), [[[0, 1, np.nan, np.inf], [1, np.nan, np.inf, 0]]])
    y = np.ones((1, 2, 4), np.float32)
    y[0, 0, 1], y[0, 1, 2] = np.nan, np.inf
    np.testing.assert_array_equal(fold(y, (3,), window), [[[np.nan, 2, np.inf]]])
