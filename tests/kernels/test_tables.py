import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convkit_kernels import tables


def matrix(table):
    """[outputs, inputs], what the table means."""
    m = np.zeros((table.output_size, table.size))
    for o in range(table.output_size):
        for k in range(table.start[o], table.start[o + 1]):
            m[o, table.index[k]] += table.weight[k]
    return m


@given(size=st.integers(1, 7), outputs=st.integers(0, 5), taps=st.integers(0, 4), seed=st.integers(0, 99))
def test_transposed(size, outputs, taps, seed):
    rng = np.random.default_rng(seed)
    table = tables.table(size, rng.integers(0, size, (outputs, taps)), rng.standard_normal((outputs, taps)))
    turned = table.transposed
    np.testing.assert_allclose(matrix(turned), matrix(table).T)
    assert turned.transposed is table and table.transposed is turned
    assert all((np.diff(turned.index[a:b]) >= 0).all() for a, b in zip(turned.start[:-1], turned.start[1:], strict=True))


@pytest.mark.parametrize("mode, numpys", [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")])
@given(data=st.data())
def test_padding(mode, numpys, data):
    size = data.draw(st.integers(1, 6))
    most = {"reflect": size - 1, "replicate": 9, "circular": size}[mode]
    before, after = data.draw(st.tuples(st.integers(0, most), st.integers(0, most)))
    assert tables.padding(mode, size, before, after).index.tolist() == np.pad(np.arange(size), (before, after), numpys).tolist()


def test_padding_that_crops():
    taken = lambda mode, before, after: tables.padding(mode, 5, before, after).index.tolist()
    assert taken("reflect", -1, 2) == [1, 2, 3, 4, 3, 2] and taken("reflect", -5, 4) == [3, 2, 1, 0]
    assert taken("replicate", -2, 1) == [2, 3, 4, 4] and taken("replicate", -6, 3) == [4, 4]
    assert taken("circular", -1, 2) == [1, 2, 3, 4, 1, 2] and taken("circular", 2, -2) == [1, 2, 0, 1, 2]


def test_equal_tables_are_one_object():
    assert tables.padding("reflect", 5, 1, 2) is tables.padding("reflect", 5, 1, 2)


# ---------------------------------------------------------------------------------- interpolation
def dense(table, size):
    return np.eye(size) if table is None else matrix(table)


sizes = st.integers(1, 9)


@given(size=sizes, output=sizes, align=st.booleans())
def test_linear_is_numpys_interp(size, output, align):
    src = np.linspace(0, size - 1, output) if align else (np.arange(output) + 0.5) * size / output - 0.5
    if align and output == 1:
        src = np.zeros(1)
    x = np.random.default_rng(0).standard_normal(size)
    got = dense(tables.interpolation("linear", size, output, None, align), size) @ x
    np.testing.assert_allclose(got, np.interp(src, np.arange(size), x), atol=1e-12)


@given(size=sizes, output=sizes, align=st.booleans(), mode=st.sampled_from(["linear", "cubic", "area", "nearest", "nearest-exact"]))
def test_constants_stay(size, output, align, mode):
    m = dense(tables.interpolation(mode, size, output, None, align), size)
    assert m.shape == (output, size)
    np.testing.assert_allclose(m.sum(1), 1, atol=1e-12)


@given(size=sizes, output=sizes, align=st.booleans(), mode=st.sampled_from(["linear", "cubic", "lanczos"]))
def test_antialiased(size, output, align, mode):
    m = dense(tables.antialiased(mode, size, output, None, align), size)
    np.testing.assert_allclose(m.sum(1), 1, atol=1e-12)
    assert mode != "linear" or (m >= 0).all()


def test_cubic_filters():
    x = np.arange(12.0)
    y = dense(tables.antialiased("cubic", 12, 24, None, False), 12) @ x  # Keys' a = -1/2 reproduces straight lines
    np.testing.assert_allclose(y[4:-4], ((np.arange(24) + 0.5) / 2 - 0.5)[4:-4], atol=1e-12)
    assert tables.cubic(np.array([0.0, 1.0, 2.0, 2.5]), -0.75).tolist() == [1, 0, 0, 0]
    m = matrix(tables.interpolation("cubic", 12, 24, None, False))
    np.testing.assert_allclose(m[5, 1:5], [-0.10546875, 0.87890625, 0.26171875, -0.03515625])


def test_area_counts_what_it_touches():
    m = matrix(tables.interpolation("area", 5, 3, None, False))
    np.testing.assert_allclose(m, [[1 / 2, 1 / 2, 0, 0, 0], [0, 1 / 3, 1 / 3, 1 / 3, 0], [0, 0, 0, 1 / 2, 1 / 2]])


def test_nearest_places():
    taken = lambda mode, *args: tables.interpolation(mode, *args, False).index.tolist()
    assert taken("nearest", 3, 5, None) == [0, 0, 1, 1, 2] and taken("nearest-exact", 3, 5, None) == [0, 0, 1, 2, 2]
    assert taken("nearest", 4, 2, None) == [0, 2] and taken("nearest-exact", 4, 2, None) == [1, 3]
    assert taken("nearest", 2, 4, 2.3) == [0, 0, 1, 1]  # twice the size is always each element twice
    assert taken("nearest", 4, 5, 1.3) == [0, 0, 1, 2, 3] and taken("nearest", 4, 5, None) == [0, 0, 1, 2, 3]
    assert tables.interpolation("nearest", 4, 4, 1.2, False) is None and tables.interpolation("linear", 4, 4, 1.2, False) is None


def test_a_factor_is_what_coordinates_are_divided_by():
    by_size, by_factor = tables.interpolation("linear", 3, 4, None, False), tables.interpolation("linear", 3, 4, 1.5, False)
    x = np.arange(3.0)
    np.testing.assert_allclose(matrix(by_size) @ x, np.clip((np.arange(4) + 0.5) * 0.75 - 0.5, 0, 2))
    np.testing.assert_allclose(matrix(by_factor) @ x, np.clip((np.arange(4) + 0.5) / 1.5 - 0.5, 0, 2))
