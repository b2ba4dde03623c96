"""Arrays beyond what 32 bits count: places in memory are counted by 64, and what a launch cannot number is refused by name before it."""

import types

import numpy as np
import pytest

from tests import backend

backend.gpu()

from convkit_kernels.cuda import conv, depthwise, indexing, memory, tiles  # noqa: E402
from convkit_kernels.cuda.vectors import require  # noqa: E402
from convkit_kernels.geometry import window  # noqa: E402
from tests.helpers import numbers  # noqa: E402
from tests.reference import conv as reference  # noqa: E402

FLOAT = np.dtype(np.float32)
WINDOW, NOTHING = window("test", (3, 3), 1, 1), (False, False, False)


def steps(shape):
    """Strides of [N, C, H, W] in channels-last memory."""
    n, c, h, w = shape
    return h * w * c, 1, w * c, c


def plan(x, w=(4, 3, 3, 3)):
    return conv._plan_forward(WINDOW, x, steps(x), w, (27, 9, 3, 1), FLOAT, False, NOTHING, 0)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: plan((70000, 3, 200, 200)), "convolution: 2800000000 rows are more than a launch numbers, 2147483647"),
        (lambda: plan((1, 3, 1, 2**31)), "convolution: 2147483648 rows"),
        (lambda: conv._plan_outer(WINDOW, (70000, 3, 200, 200), (1, 1, 1, 1), (70000, 200, 200, 4), FLOAT, False, 0), "convolution: 2800000000 rows"),
        (lambda: conv._plan_depthwise(window("test", (1, 1), 2**30, 0, 1, 3), (2, 3, 2**31, 1), (1, 1, 1, 1), (2, 2, 1, 3), 1),
         "convolution: 2147483648 pixels in a dimension"),
        (lambda: require("convolution", 2**32 - 1, results=2**32), "convolution: 4294967296 results"),
        (lambda: depthwise.run(types.SimpleNamespace(blocks=2**16), True, *[None] * 4, types.SimpleNamespace(size=2**17), 1, 1),
         "convolution: 65536 phases of strides"),
        (lambda: indexing._walk(types.SimpleNamespace(rest=types.SimpleNamespace(steps=(1, 0)), places=types.SimpleNamespace(steps=(1, 0))),
                                types.SimpleNamespace(shape=(2**31, 4), steps=(4, 1), size=2**33)),
         "indexing by arrays: 8589934592 elements"),
    ],
)  # fmt: skip
def test_what_a_launch_cannot_number_is_refused_by_name(call, told):
    with pytest.raises(ValueError, match=told):
        call()


def test_products_of_many_rows_are_refused_by_name():
    from convkit_kernels.cuda.matmul import _plan

    with pytest.raises(ValueError, match="matmul: 3000000000 rows"):
        _plan((3 * 10**9, 4), (4, 1), (4, 4), (4, 1), (3 * 10**9, 4), FLOAT, True, NOTHING, 0)


def test_a_weight_gradient_has_its_many_blocks_along_x(monkeypatch):
    """Of which a launch may have 2**31 - 1; along y and z 65535."""
    grids = []
    launches = types.SimpleNamespace(blocks=lambda grid, *_: grids.append(grid))
    monkeypatch.setattr(depthwise, "_outer", lambda unit: {FLOAT: launches})
    one = types.SimpleNamespace(dtype=FLOAT, flat=None, offset=0, shape=(1, 1, 1, 2))
    depthwise.run_outer(one, 3, 9, one, one, one, 8192, 1, 1)  # Conv2d(16384, 2, 3, groups=2)
    assert grids[0][0] == 9 * 8192 and max(grids[0][1:]) <= 65535


class Far:
    """An array of a few numbers that lie far apart in memory that is not there: element i of [N, C, H, W] is at place `steps` . i."""

    offset, dtype = 0, FLOAT

    def __init__(self, values, places):
        self.flat, self.at = self, {int(np.dot(i, places)): v for i, v in np.ndenumerate(values)}

    def __getitem__(self, i):
        return self.at[int(i)]


@pytest.mark.skipif(backend.DEVICE == "cuda", reason="memory that is not there")
@pytest.mark.parametrize("channels", [3, 8])
@pytest.mark.parametrize("far", [(2**40, 1, 2**33, 16), (2**31, 2**34, 2**32, 2**38)])
def test_images_may_lie_far_apart(channels, far):
    x, w = numbers(0, (2, channels, 3, 4), FLOAT), numbers(1, (4, channels, 3, 3), FLOAT)
    gy, there = numbers(2, (2, 4, 3, 4), FLOAT), Far(x, far)
    vector = channels == 8 and far[1] == 1
    y, w_there = memory.empty((2, 3, 4, 4), FLOAT), memory.asarray(w)
    made = conv._plan_forward(WINDOW, x.shape, far, w.shape, w_there.steps, FLOAT, vector, NOTHING, 0)
    tiles.run_and_finish(made.sums, there, conv._arranged(w_there, made.weights) if vector else w_there, None, None, False, y, 4)
    assert np.allclose(y.get().transpose(0, 3, 1, 2), reference.conv_forward(x, w, None, WINDOW), rtol=0, atol=1e-4)
    outer = conv._plan_outer(WINDOW, x.shape, far, (2, 3, 4, 4), FLOAT, vector, 0)
    sums = memory.empty((outer.parts, outer.each), FLOAT)
    tiles.run(outer, there, memory.asarray(np.ascontiguousarray(gy.transpose(0, 2, 3, 1))), None, None, sums)
    gw = sums.get().sum(0).reshape(9, channels, 4).transpose(2, 1, 0).reshape(w.shape)
    assert np.allclose(gw, reference.conv_weight_grad(x, gy, WINDOW), rtol=0, atol=1e-4)


@pytest.mark.skipif(backend.DEVICE == "cuda", reason="memory that is not there")
def test_images_of_groups_may_lie_far_apart():
    win, far = window("test", (3, 3), 1, 1, 1, 4), (2**40, 1, 2**33, 16)
    x, w = numbers(0, (2, 4, 3, 4), FLOAT), memory.asarray(numbers(1, (4, 1, 3, 3), FLOAT))
    made, y = conv._plan_forward(win, x.shape, far, w.shape, w.steps, FLOAT, True, NOTHING, 0), memory.empty((2, 3, 4, 4), FLOAT)
    depthwise.run(made.sums, True, Far(x, far), conv._arranged(w, made.weights), None, None, y, 1, 1)
    assert np.allclose(y.get().transpose(0, 3, 1, 2), reference.conv_forward(x, w.get(), None, win), rtol=0, atol=1e-4)
