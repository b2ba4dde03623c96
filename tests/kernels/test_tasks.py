import numba
import numpy as np
import pytest

from convkit_kernels.cpu import tasks
from tests.helpers import same_with_one_and_two_threads

_room = tasks.stack(4)


def _scaled_sums(task, plan, index, x, y, c, d, e, f, g):
    """y[task] = (sum of four numbers of x from index[task] on) times plan[0], by memory of the task's own"""
    part = numba.carray(_room(x), 4)
    for i in range(4):
        part[i] = x[index[task] + i]
    y[task] = 0
    for i in range(4):
        y[task] += part[i] * plan[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_task_gets_its_operands(dtype):
    x, index = np.arange(100, dtype=dtype), np.arange(97)[::-1].copy()
    function = tasks.compiled(_scaled_sums, x.dtype.char)
    assert function == tasks.compiled(_scaled_sums, x.dtype.char)

    def result():
        y = np.empty(97, dtype)
        tasks.run(function, 97, np.array([3]), index, x, y)
        return y

    assert np.array_equal(result(), 3 * (4 * index + 6)) and same_with_one_and_two_threads(result)


def test_little_work_is_done_by_the_thread_that_asks(monkeypatch):
    alone = []
    monkeypatch.setattr(tasks, "_each", lambda function, count, alone_, *_: alone.append(alone_))
    y = np.ones(1, np.float32)
    for count, work in ((1, tasks.LITTLE), (2, tasks.LITTLE), (2, tasks.LITTLE - 1)):
        tasks.run(0, count, y, y, y, work=work)
    tasks.run(0, 2, y, y, y)
    assert alone == [True, False, True, False]


def test_no_task():
    y = np.ones(1, np.float32)
    tasks.run(tasks.compiled(_scaled_sums, "f"), 0, np.array([3]), np.array([0]), y, y)
    assert y[0] == 1


@pytest.mark.parametrize("shape, axis", [((3, 5), 0), ((700, 300), 0), ((700, 300), 1), ((2, 500, 300), 1), ((300_000,), 0), ((4, 0, 3), 1)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numpys_loops_by_lines(shape, axis, order):
    x = np.asarray(np.random.default_rng(0).standard_normal(shape), order=order)

    def result():
        return tasks.by_lines(np.sort, x, axis)

    assert np.array_equal(result(), np.sort(x, axis)) and same_with_one_and_two_threads(result)


@pytest.mark.parametrize("size", [0, 5, 5 * tasks.PART + 3])
def test_numpys_loops_by_elements(size):
    x = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    for ufunc in (np.cos, np.isnan, np.negative):
        y = tasks.by_elements(ufunc, x)
        assert y.dtype == ufunc(x).dtype and np.array_equal(y, ufunc(x))
    image = np.resize(x, (4, 9, 90, 90)).transpose(0, 3, 1, 2) if size else x
    assert np.array_equal(tasks.by_elements(np.sqrt, abs(image)), np.sqrt(abs(image)))
    assert tasks.by_elements(np.sqrt, abs(image)).strides == image.strides
    assert np.isnan(tasks.by_elements(np.sqrt, -abs(image[image != 0]))).all()  # without a warning, in helpers too


def test_an_error_in_a_helper_reaches_the_caller():
    def fails(lines):
        if lines[0, 0] > 0:
            raise ValueError("a late part")
        return lines

    x = np.arange(4 * tasks.PART).reshape(-1, 64) // tasks.PART
    with pytest.raises(ValueError, match="a late part"):
        tasks.by_lines(fails, x, 1)
