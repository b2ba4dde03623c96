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
