import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from convkit_kernels import cpu as kernels
from tests.helpers import LAYOUTS, channels_last_copy, dtypes, layouts, numbers, relative_error, same_with_one_and_two_threads, tolerance
from tests.reference import optimizer as reference

shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)
# Layouts that can be written to.
writable = st.sampled_from([name for name in LAYOUTS if "read-only" not in name])


@settings(max_examples=50, deadline=None)
@given(
    shape=shapes, dtype=dtypes, layout=writable, other=layouts, third=writable, momentum=st.sampled_from([None, 0.0, 0.9]),
    dampening=st.sampled_from([0.0, 0.3]), weight_decay=st.sampled_from([0.0, 0.01]), nesterov=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_sgd(shape, dtype, layout, other, third, momentum, dampening, weight_decay, nesterov, seed):
    param = LAYOUTS[layout](numbers(seed, shape, dtype))
    buffer = None if momentum is None else LAYOUTS[third](np.full(shape, np.nan, dtype))  # the first step must not read it
    expected, expected_buffer = param.astype(np.float64), None if buffer is None else np.zeros(shape)
    for step in range(3):
        grad = LAYOUTS[other](numbers(seed + step + 1, shape, dtype))
        numbers_ = (0.1, momentum or 0.0, dampening, weight_decay, nesterov, step == 0)
        kernels.sgd_update(param, grad, buffer, *numbers_)
        reference.sgd_update(expected, grad.astype(np.float64), expected_buffer, *numbers_)
    # Steps may cancel: three of them are of the size of the numbers drawn, which are of the size of 1.
    assert relative_error(param, expected, np.abs(expected) + 1) < tolerance(dtype, 1e-6, 1e-14)
    if buffer is not None:
        assert relative_error(buffer, expected_buffer, np.abs(expected_buffer) + 1) < tolerance(dtype, 1e-6, 1e-14)


@settings(max_examples=50, deadline=None)
@given(
    shape=shapes, dtype=dtypes, layout=writable, other=layouts, third=writable, weight_decay=st.sampled_from([0.0, 0.05]),
    decoupled=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_adam(shape, dtype, layout, other, third, weight_decay, decoupled, seed):
    param = LAYOUTS[layout](numbers(seed, shape, dtype))
    m, v = LAYOUTS[third](np.zeros(shape, dtype)), LAYOUTS[third](np.zeros(shape, dtype))
    expected, expected_m, expected_v = param.astype(np.float64), np.zeros(shape), np.zeros(shape)
    for step in range(1, 4):
        grad = LAYOUTS[other](numbers(seed + step, shape, dtype))
        constants = (0.01, 0.9, 0.999, 1e-8, weight_decay, decoupled, step)
        kernels.adam_update(param, grad, m, v, *constants)
        reference.adam_update(expected, grad.astype(np.float64), expected_m, expected_v, *constants)
    limit = tolerance(dtype, 2e-6, 1e-14)
    for got, wanted in ((param, expected), (m, expected_m), (v, expected_v)):
        assert relative_error(got, wanted, np.abs(wanted) + 1) < limit


def test_large_arrays_and_threads():
    def run():
        param = channels_last_copy(numbers(1, (64, 33, 5, 5), np.float32))
        grad = numbers(2, param.shape, np.float32)
        m, v, b = (np.zeros_like(param) for _ in range(3))
        kernels.sgd_update(param, grad, b, 0.1, 0.9, 0.0, 0.01, True, True)
        kernels.adam_update(param, grad, m, v, 0.1, 0.9, 0.99, 1e-8, 0.01, True, 1)
        return param, m, v, b

    assert same_with_one_and_two_threads(run)


def test_a_gradient_of_zero_and_of_nan():
    param, m, v = np.ones(3, np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32)
    kernels.adam_update(param, np.array([0, np.nan, np.inf], np.float32), m, v, 0.1, 0.9, 0.99, 1e-8, 0.0, False, 1)
    assert param[0] == 1 and np.isnan(param[1:]).all()
