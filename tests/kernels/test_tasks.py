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


def test_no_task():
    y = np.ones(1, np.float32)
    tasks.run(tasks.compiled(_scaled_sums, "f"), 0, np.array([3]), np.array([0]), y, y)
    assert y[0] == 1
