"""Matrix products against plain sums and NumPy, for every shape that tiles cut differently."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.backend import DEVICE, SIMULATED, kernels, settings
from tests.helpers import LAYOUTS, numbers, same, same_with_one_and_two_threads
from tests.reference import matmul as reference

KINDS = sorted(set(LAYOUTS) - {"other byte order", "channels-last", "read-only channels-last"})
SIZES = [0, 1, 2, 3, 7, 8, 13, 14, 15, 16, 17, *([20, 24] if SIMULATED else [31, 32, 33, 48])]


def error(got, expected, terms):
    """|got - expected| relative to what sums of `terms` products of normal numbers come to, or to |expected| if that is greater."""
    assert got.shape == expected.shape
    size = max(np.linalg.norm(expected), math.sqrt(max(1, terms) * max(1, expected.size)))
    return np.linalg.norm(got.astype(np.float64) - expected) / size


def small(dtype):
    return 2e-6 if dtype == np.float32 else 1e-13


@given(
    m=st.sampled_from(SIZES), n=st.sampled_from(SIZES), k=st.sampled_from(SIZES), dtype=st.sampled_from([np.float32, np.float64]),
    left=st.sampled_from(KINDS), right=st.sampled_from(KINDS), bias=st.booleans(), seed=st.integers(0, 50),
)  # fmt: skip
@example(m=3, n=4, k=0, dtype=np.float32, left="C order", right="C order", bias=True, seed=0)
@example(m=0, n=4, k=3, dtype=np.float32, left="C order", right="C order", bias=True, seed=0)
@example(m=3, n=0, k=3, dtype=np.float32, left="C order", right="C order", bias=True, seed=0)
@settings(max_examples=200)
def test_against_numpy(m, n, k, dtype, left, right, bias, seed):
    a, b = LAYOUTS[left](numbers(seed, (m, k), dtype)), LAYOUTS[right](numbers(seed + 1, (k, n), dtype))
    c = numbers(seed + 2, (n,), dtype) if bias else None
    y = kernels.matmul(a, b, c)
    assert y.dtype == dtype and y.flags.c_contiguous
    assert error(y, a.astype(np.float64) @ b.astype(np.float64) + (c if bias else 0), k) <= small(dtype)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.sampled_from([np.float32, np.float64]), st.booleans())
@settings(max_examples=30)
def test_against_plain_sums(m, n, k, dtype, bias):
    a, b, c = numbers(0, (m, k), dtype), numbers(1, (k, n), dtype), numbers(2, (n,), dtype) if bias else None
    assert error(kernels.matmul(a, b, c), reference.matmul(a, b, c), k) <= small(dtype)


@given(
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from([0, 3, 40 if SIMULATED else 300]),
    st.sampled_from([np.float32, np.float64]),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=30)
def test_what_is_added_and_cut_off_in_the_same_pass_has_the_same_bits(m, n, k, dtype, adds, relu):
    for shape in ((m, k), (3, m, k)):
        a, b, bias = numbers(0, shape, dtype), numbers(1, (k, n), dtype), numbers(2, (n,), dtype)
        add = numbers(3, (*shape[:-1], n), dtype) if adds else None
        for left in (a, a.swapaxes(-1, -2).copy().swapaxes(-1, -2)):
            y = kernels.matmul(left, b, bias)
            y = y if add is None else y + add
            assert np.array_equal(kernels.matmul(left, b, bias, add, relu), np.maximum(y, 0) if relu else y)
        if m < 4 and n < 4:
            assert error(kernels.matmul(a, b, bias, add, relu), reference.matmul(a, b, bias, add, relu), k) <= small(dtype)


BATCHES = [
    ((2, 3), (3, 4), (2, 3, 4)),
    ((5, 2, 3), (3, 4), ()),
    ((2, 3), (5, 3, 4), ()),
    ((5, 2, 3), (5, 3, 4), ()),
    ((5, 1, 2, 3), (6, 3, 4), ()),
    ((1, 6, 2, 3), (5, 1, 3, 4), ()),
    ((0, 2, 3), (0, 3, 4), ()),
    ((0, 2, 3), (3, 4), ()),
    ((3, 2, 0), (3, 0, 4), ()),
]


@pytest.mark.parametrize("shapes", BATCHES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_leading_dimensions_broadcast(shapes, dtype):
    a, b, c = numbers(0, shapes[0], dtype), numbers(1, shapes[1], dtype), numbers(2, (4,), dtype)
    assert error(kernels.matmul(a, b), reference.matmul(a, b), 3) <= small(dtype)
    assert error(kernels.matmul(a, b, c), reference.matmul(a, b, c), 3) <= small(dtype)


@pytest.mark.parametrize("m", [5, 18 if SIMULATED else 150])  # b read in place, b packed
@pytest.mark.parametrize("left", ["rows", "columns"])
@pytest.mark.parametrize("right", ["rows", "columns"])
def test_a_batch_is_what_its_products_are(m, left, right):
    k, n = (40, 12) if SIMULATED else (300, 37)
    a, b, c = numbers(0, (3, m, k), np.float32), numbers(1, (2, 1, k, n), np.float32), numbers(2, (n,), np.float32)
    a = a if left == "rows" else a.swapaxes(1, 2).copy().swapaxes(1, 2)
    b = b if right == "rows" else b.swapaxes(2, 3).copy().swapaxes(2, 3)
    y = kernels.matmul(a, b, c)
    assert y.shape == (2, 3, m, n)
    for i, j in np.ndindex(2, 3):
        assert same(y[i, j], kernels.matmul(a[j], b[i, 0], c))
    assert same_with_one_and_two_threads(lambda: kernels.matmul(a, b, c))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("m", [5, 18 if SIMULATED else 200])
def test_layouts_and_nothing_given_is_written(kind, m):
    a, b, c = numbers(0, (m, 19), np.float32), numbers(1, (19, 21), np.float32), numbers(2, (21,), np.float32)
    left, right = LAYOUTS[kind](a), LAYOUTS[kind](b)
    assert same(kernels.matmul(left, right, LAYOUTS[kind](c)), kernels.matmul(a, b, c))
    assert np.array_equal(left, a) and np.array_equal(right, b)


def test_broadcast_operands():
    a, b = np.broadcast_to(np.float32(2), (5, 7)), np.broadcast_to(np.arange(4, dtype=np.float32), (7, 4))
    assert same(kernels.matmul(a, b), kernels.matmul(a.copy(), b.copy()))


LARGE = [(600, 300, 70), (7, 500, 300), (64, 10, 2000), (1000, 1, 33), (1, 1000, 33)]
if SIMULATED:  # several tiles, and several parts of a sum
    LARGE = [(40, 24, 12), (7, 20, 60), (8, 4, 200), (70, 1, 9), (1, 70, 9)]


@pytest.mark.parametrize(("m", "n", "k"), LARGE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_products_with_any_number_of_threads(m, n, k, dtype):
    a, b = numbers(0, (m, k), dtype), numbers(1, (k, n), dtype)
    assert error(kernels.matmul(a, b), a.astype(np.float64) @ b.astype(np.float64), k) <= small(dtype)
    assert same_with_one_and_two_threads(lambda: kernels.matmul(a, b))


@pytest.mark.cpu
@pytest.mark.parametrize("left", ["rows", "columns"])
@pytest.mark.parametrize("right", ["rows", "columns"])
@pytest.mark.parametrize(
    ("m", "n", "k"), [(30, 37, 1100), (5, 300, 600), (1, 11, 33), (250, 21, 520), (700, 500, 300)]
)  # parts of sums, chunks, cut columns
def test_long_sums_start_with_the_bias_and_are_finished_once(m, n, k, left, right):
    for dtype in (np.float32, np.float64):
        a, b, bias, add = (numbers(i, shape, dtype) for i, shape in enumerate(((m, k), (k, n), (n,), (m, n))))
        a = a if left == "rows" else a.T.copy().T
        b = b if right == "rows" else b.T.copy().T
        y = kernels.matmul(a, b, bias)
        assert error(y, a.astype(np.float64) @ b + bias, k) <= small(dtype)
        assert np.array_equal(kernels.matmul(a, b, bias, add, True), np.maximum(y + add, 0))
        assert same_with_one_and_two_threads(lambda a=a, b=b, bias=bias, add=add: kernels.matmul(a, b, bias, add, True))


@pytest.mark.parametrize("m", [4, 18 if SIMULATED else 150])  # b read in place, b packed
def test_nan_and_inf_stay_in_their_row_and_column(m):
    a, b = numbers(0, (m, 9), np.float32), numbers(1, (9, 21), np.float32)
    clean = kernels.matmul(a, b)
    a[2, 5], b[3, 20] = np.nan, np.inf
    y = kernels.matmul(a, b)
    assert np.isnan(y[2]).all()
    others = np.delete(np.arange(m), 2)
    assert np.isinf(y[others, 20]).all() and np.array_equal(np.sign(y[others, 20]), np.sign(a[others, 3]))
    assert np.array_equal(y[others, :20], clean[others, :20])


@pytest.mark.cpu
def test_two_python_threads_at_once():
    pairs = [(numbers(i, (90, 40), np.float32), numbers(i + 1, (40, 50), np.float32)) for i in range(8)]
    expected = [kernels.matmul(*p) for p in pairs]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            assert all(same(y, e) for y, e in zip(pool.map(lambda p: kernels.matmul(*p), pairs), expected, strict=True))


@pytest.fixture
def precision():
    """`cuda.set_fp32_precision`, undone after the test."""
    if DEVICE == "cpu":
        pytest.skip("tensor cores are a GPU's")
    if SIMULATED:
        pytest.importorskip("greenlet", reason="tensor cores are simulated by greenlets, which are not installed")
    from convkit import cuda

    yield cuda.set_fp32_precision
    cuda.set_fp32_precision("ieee")


@pytest.mark.parametrize(("name", "most", "least"), [("tf32x3", 2e-6, 0), ("tf32", 1e-3, 1e-5)])
@pytest.mark.parametrize("left", ["rows", "columns"])
@pytest.mark.parametrize("right", ["rows", "columns"])
def test_tensor_cores(precision, name, most, least, left, right):
    m, k, n = (20, 24, 12) if SIMULATED else (200, 516, 132)
    a, b = numbers(0, (m, k), np.float32), numbers(1, (k, n), np.float32)
    expected = a.astype(np.float64) @ b
    a, b = (x if side == "rows" else np.asfortranarray(x) for x, side in ((a, left), (b, right)))
    precision(name)
    assert least <= np.linalg.norm(kernels.matmul(a, b) - expected) / np.linalg.norm(expected) <= most


def test_an_unknown_precision_is_named(precision):
    with pytest.raises(ValueError, match="one of ieee, tf32x3, tf32, got 'fp8'"):
        precision("fp8")
