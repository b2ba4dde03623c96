import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from convkit.ops.resample import Resample, taken
from convkit_kernels import tables
from tests.ops import both_layouts, check_gradients, leaf, second_order_runs, seeds


@settings(max_examples=40)
@given(size=st.tuples(*[st.integers(1, 3)] * 2), outputs=st.tuples(*[st.integers(1, 4)] * 2), layout=both_layouts, seed=seeds)
def test_gradients_of_any_table(size, outputs, layout, seed):
    rng = np.random.default_rng(seed)
    walk = [tables.table(n, rng.integers(0, n, (o, 2)), rng.standard_normal((o, 2))) for n, o in zip(size, outputs, strict=True)]
    check_gradients(lambda x: Resample.apply(x, (None, None, *walk)), leaf(seed, (1, 2, *size), layout))


def test_nothing():
    walk = (None, None, tables.padding("replicate", 2, 1, 1))
    for shape in ((0, 2, 2), (2, 0, 2)):
        second_order_runs(lambda x: Resample.apply(x * x, walk), leaf(1, shape))


def test_integers_are_taken():
    assert taken(np.arange(6).reshape(2, 3), (None, tables.padding("reflect", 3, 1, 0))).tolist() == [[1, 0, 1, 2], [4, 3, 4, 5]]
