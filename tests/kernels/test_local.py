"""Locally connected layers against plain loops, in every layout, on any number of threads."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from convkit_kernels import geometry
from tests.backend import SIMULATED, kernels, settings
from tests.helpers import LAYOUTS, memory_order, numbers, same, same_with_one_and_two_threads
from tests.reference import local as reference

KINDS = sorted(set(LAYOUTS) - {"other byte order"})
CHANNELS = [1, 3, 5] if SIMULATED else [1, 3, 10, 16, 33]


def error(got, expected, terms):
    """|got - expected| relative to what sums of `terms` products of normal numbers come to, or to |expected| if that is greater."""
    assert got.shape == expected.shape
    size = max(np.linalg.norm(expected.ravel()), np.sqrt(float(terms) * max(1, expected.size)))
    return np.linalg.norm((got.astype(np.float64) - expected).ravel()) / size


class Case:
    """A geometry and arrays for it; `regions` None gives each place its own."""

    def __init__(self, window, batch, inside, channels, filters, regions=None, dtype=np.float32, bias=True, layout="C order", seed=0):
        self.window, self.inside, self.dtype, self.layout = window, tuple(inside), np.dtype(dtype), layout
        self.out = window.output_size(inside)
        self.regions = self.out if regions is None else tuple(min(r, n) for r, n in zip(regions, self.out, strict=True))
        self.x = LAYOUTS[layout](numbers(seed, (batch, channels, *inside), dtype))
        self.w = LAYOUTS[layout](numbers(seed + 1, (*self.regions, *window.size, channels, filters), dtype))
        self.gy = LAYOUTS[layout](numbers(seed + 2, (batch, filters, *self.out), dtype))
        self.b = numbers(seed + 3, (*self.regions, filters), dtype) if bias else None

    def __repr__(self):
        return f"Case({self.window}, x {self.x.shape}, w {self.w.shape}, {self.dtype}, {self.layout}, bias {self.b is not None})"

    def run(self, kernels):
        """(y, gx, gw)."""
        return (
            kernels.local_forward(self.x, self.w, self.b, self.window),
            kernels.local_input_grad(self.gy, self.w, self.inside, self.window),
            kernels.local_weight_grad(self.x, self.gy, self.regions, self.window),
        )


@st.composite
def cases(draw):
    rank = draw(st.integers(1, 3))

    def each(least, most):
        return tuple(draw(st.integers(least, most)) for _ in range(rank))

    padding = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(rank))
    window = geometry.Window(each(1, 3), each(1, 3), padding, each(1, 2))
    inside = tuple(
        max(1, span - sum(p)) + draw(st.integers(0, ({1: 3, 2: 1, 3: 0} if SIMULATED else {1: 8, 2: 4, 3: 2})[rank]))
        for span, p in zip(window.span, padding, strict=True)
    )
    return Case(
        window, draw(st.sampled_from([0, 1, 2, 3 if SIMULATED else 15])), inside, draw(st.sampled_from(CHANNELS)), draw(st.sampled_from(CHANNELS)),
        draw(st.sampled_from([None, each(1, 3)])), draw(st.sampled_from([np.float32, np.float64])), draw(st.booleans()),
        draw(st.sampled_from(KINDS)), draw(st.integers(0, 50)),
    )  # fmt: skip


def window(size, stride=1, padding=0, dilation=1):
    return geometry.window("test", size, stride, padding, dilation)


@given(cases())
@example(Case(window((3, 3), 1, 3), 2, (1, 2), 3, 5))  # most windows see nothing but padding
@example(Case(window((1, 1), 3), 2, (5, 5), 3, 5))  # pixels that no window sees
@example(Case(window((3, 3), 1, 1), 2, (5, 7), 3, 9 if SIMULATED else 33, (2, 3)))
@settings(max_examples=80)
def test_against_plain_loops(case):
    for got, expected, name in zip(case.run(kernels), case.run(reference), ("y", "gx", "gw"), strict=True):
        assert got.dtype == case.dtype, name
        assert error(got, expected, 9) <= (2e-6 if case.dtype == np.float32 else 1e-13), name


@given(cases())
@settings(max_examples=25)
def test_same_bits_for_any_number_of_threads(case):
    assert same_with_one_and_two_threads(lambda: case.run(kernels))


@pytest.mark.parametrize("kind", KINDS)
def test_same_bits_for_any_layout_and_nothing_given_is_written(kind):
    plain, other = (Case(window((3, 2), (1, 2), 1), 2, (6, 5), 4, 8, (2, 2), layout=k) for k in ("C order", kind))
    before = other.x.copy(), other.w.copy(), other.gy.copy()
    assert same(other.run(kernels), plain.run(kernels))
    assert same((other.x, other.w, other.gy), before)


@pytest.mark.parametrize("inside", [(7,), (6, 7), (3, 3, 4) if SIMULATED else (5, 6, 7)])
def test_one_region_is_a_convolution(inside):
    rank = len(inside)
    case = Case(window((3,) * rank, 2, 1), 2, inside, 3, 4, (1,) * rank, np.float64)
    w = np.moveaxis(case.w.reshape(*(3,) * rank, 3, 4), (-1, -2), (0, 1))
    y = kernels.local_forward(case.x, case.w, case.b, case.window)
    np.testing.assert_allclose(y, kernels.conv_forward(case.x, w, case.b.reshape(-1), case.window), rtol=1e-12, atol=1e-12)
    assert memory_order(y) == (0, *range(2, 2 + rank), 1)


def test_nan_and_infinity_reach_only_what_sees_them():
    case = Case(window((3, 3), 1, 1), 2, (5, 6), 3, 4, (2, 2))
    clean = case.run(kernels)
    case.x[1, 2, 0, 0], case.gy[0, 1, 4, 5] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        got, expected = case.run(kernels), case.run(reference)
    for g, e, c in zip(got, expected, clean, strict=True):
        hit = ~np.isfinite(e)
        assert hit.any() and np.array_equal(g[hit], e[hit].astype(g.dtype), equal_nan=True)
        assert np.array_equal(g[~hit], c[~hit])
