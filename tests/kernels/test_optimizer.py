import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backend import SIMULATED, kernels, settings
from tests.helpers import LAYOUTS, channels_last_copy, dtypes, layouts, numbers, relative_error, same_with_one_and_two_threads, tolerance
from tests.reference import optimizer as reference

shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)
# Layouts that can be written to.
writable = st.sampled_from([name for name in LAYOUTS if "read-only" not in name])

# kind: (numbers after the sign and the decay, which of the states a, b and c are kept)
KINDS = {
    "sgd": [((0.1, 0.0, 1.0, 0), ""), ((0.1, 0.9, 0.7, 0), "a"), ((0.1, 0.9, 1.0, 1), "a")],
    "adam": [((0.99, 0.01, 0.9, 0.1, 0.99, 0.01, 1.3, 1e-8), "ab"), ((1.0, 0.01, 0.5, 0.5, 0.9, 0.1, 1.3, 1e-3), "abc")],
    "nadam": [((0.99, 0.01, 0.9, 0.1, 0.99, 0.01, 1.3, 1e-8, 0.02), "ab")],
    "radam": [((0.99, 0.01, 0.9, 0.1, 0.99, 0.01, 0.7, 1e-8, 1), "ab"), ((1.0, 0.01, 0.9, 0.1, 0.99, 0.01, 0.0, 1e-8, 1), "ab")],
    "adamax": [((1.0, 0.01, 0.9, 0.1, 0.99, 0.01, 0.0, 1e-8), "ab")],
    "rmsprop": [((0.01, 0.9, 0.1, 1e-8, m, c), "a" + c * "b" + (m > 0) * "c") for m in (0, 0.9) for c in (0, 1)],
    "adagrad": [((0.1, 1e-10), "a")],
    "adadelta": [((0.5, 0.9, 0.1, 1e-6), "ab")],
    "rprop": [((0.5, 1.2, 1e-6, 50.0, 1.0), "ab")],
    "asgd": [((0.99, 0.1, 1.0), "a"), ((0.99, 0.1, 0.25), "a")],
}
CASES = [(kind, n, kept) for kind, rows in KINDS.items() for n, kept in rows]


@settings(max_examples=150, deadline=None)
@given(
    case=st.sampled_from(CASES), sizes=st.lists(shapes, min_size=1, max_size=3), dtype=dtypes, layout=writable, other=layouts, third=writable,
    sign=st.sampled_from([1.0, -1.0]), decay=st.sampled_from([0.0, 0.01]), seed=st.integers(0, 99),
)  # fmt: skip
def test_steps(case, sizes, dtype, layout, other, third, sign, decay, seed):
    kind, n, kept = case
    n = (sign, 0.0 if kind == "rprop" else decay, *n)
    params = [LAYOUTS[layout](numbers(seed + i, shape, dtype)) for i, shape in enumerate(sizes)]
    states = [tuple(LAYOUTS[third](np.zeros(shape, dtype)) if s in kept else None for s in "abc") for shape in sizes]
    expected = [p.astype(np.float64) for p in params]
    expected_states = [tuple(None if s is None else np.zeros(s.shape) for s in state) for state in states]
    for step in range(3):
        grads = [LAYOUTS[other](numbers(seed + 7 * step + i + 1, shape, dtype)) for i, shape in enumerate(sizes)]
        kernels.optimizer_step(kind, params, grads, states, n)
        reference.optimizer_step(kind, expected, grads, expected_states, n)
    # Steps may cancel: three of them are of the size of the numbers drawn, which are of the size of 1.
    limit = tolerance(dtype, 1e-5, 1e-13)
    for got, wanted in zip(params, expected, strict=True):
        assert got.dtype == np.dtype(dtype).newbyteorder(got.dtype.byteorder) and relative_error(got, wanted, np.abs(wanted) + 1) < limit
    for state, wanted_state in zip(states, expected_states, strict=True):
        for got, wanted in zip(state, wanted_state, strict=True):
            assert (got is None) == (wanted is None)
            assert got is None or relative_error(got, wanted, np.abs(wanted) + 1) < limit


@pytest.mark.cpu
@pytest.mark.parametrize(("kind", "n", "kept"), CASES[:3] + CASES[3:5])
def test_many_large_arrays_and_threads(kind, n, kept):
    """Several chunks for each parameter: the same bits on one thread and on two, and as for each parameter alone."""

    def run(together):
        params = [channels_last_copy(numbers(1, (64, 33, 5, 5), np.float32)), *(numbers(i, (4097 * i,), np.float32) for i in range(4))]
        grads = [numbers(2, p.shape, np.float32) for p in params]
        states = [tuple(np.zeros_like(p) if s in kept else None for s in "abc") for p in params]
        if together:
            kernels.optimizer_step(kind, params, grads, states, (1.0, 0.01, *n))
        else:
            for p, g, s in zip(params, grads, states, strict=True):
                kernels.optimizer_step(kind, [p], [g], [s], (1.0, 0.01, *n))
        return (*params, *(s for state in states for s in state if s is not None))

    assert same_with_one_and_two_threads(lambda: run(True))
    for together, alone in zip(run(True), run(False), strict=True):
        np.testing.assert_array_equal(together, alone)


def test_nothing_beyond_the_arrays_is_touched():
    size = 100 if SIMULATED else 5000
    frame = np.full(size + 2, 7.0, np.float32)
    state = np.full(size + 2, 7.0, np.float32)
    kernels.optimizer_step("sgd", [frame[1:-1]], [np.ones(size, np.float32)], [(state[1:-1], None, None)], (1.0, 0.0, 1.0, 0.0, 1.0, 0))
    assert frame[0] == frame[-1] == state[0] == state[-1] == 7 and np.all(frame[1:-1] == 6) and np.all(state[1:-1] == 1)


def test_a_gradient_of_zero_and_of_nan():
    param, m, v = np.ones(3, np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32)
    n = (1, 0, 1, 0.1, 0.9, 0.1, 0.99, 0.01, 1, 1e-8)
    kernels.optimizer_step("adam", [param], [np.array([0, np.nan, np.inf], np.float32)], [(m, v, None)], n)
    assert param[0] == 1 and np.isnan(param[1:]).all()


def test_an_infinite_weight_without_decay_stays_infinite():
    param = np.array([np.inf, 1], np.float32)
    kernels.optimizer_step("sgd", [param], [np.ones(2, np.float32)], [(None, None, None)], (1, 0, 0.5, 0, 1, 0))
    assert param.tolist() == [np.inf, 0.5]
