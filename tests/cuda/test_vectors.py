"""Four numbers at a time: the same results where memory allows it and where it does not."""

import numpy as np
import pytest

from tests import backend

backend.gpu()

from convkit_kernels import cpu, cuda, tables  # noqa: E402
from convkit_kernels.cuda import vectors  # noqa: E402
from convkit_kernels.cuda.memory import asarray  # noqa: E402
from convkit_kernels.geometry import Grid, window  # noqa: E402

WINDOWS = (window("pool", (3, 2), 2, 1), Grid((2, 3)))


def image(seed, shape, begin, dtype):
    """(on the host, on the device) in channels-last memory that begins `begin` elements behind a buffer."""
    n, c, *size = shape
    memory = np.random.default_rng(seed).normal(size=begin + np.prod(shape)).round(1).astype(dtype)
    order = (0, len(size) + 1, *range(1, len(size) + 1))
    return tuple(a[begin:].reshape((n, *size, c)).transpose(order) for a in (memory, asarray(memory)))


@pytest.mark.parametrize("channels, begin, fits", [(8, 0, True), (4, 4, True), (4, 1, False), (6, 0, False)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_images(channels, begin, fits, dtype):
    x, there = image(1, (2, channels, 4, 5), begin, dtype)
    assert vectors.fits(channels, there) == fits
    for win in WINDOWS:
        y, taps = cpu.max_pool(x, win)
        gy, gy_there = image(2, y.shape, begin, dtype)
        got = cuda.max_pool(there, win)
        pairs = [
            (y, got[0]), (taps, got[1]), (cpu.max_pool_grad(gy, taps, (4, 5), win), cuda.max_pool_grad(gy_there, got[1], (4, 5), win)),
            (cpu.average_pool(x, win, True, None), cuda.average_pool(there, win, True, None)),
            (cpu.average_pool_grad(gy, (4, 5), win, False, None), cuda.average_pool_grad(gy_there, (4, 5), win, False, None)),
        ]  # fmt: skip
        for expected, result in pairs:
            np.testing.assert_allclose(result.get(), expected, rtol=1e-6, atol=1e-6)
    walk = [None, None, *(tables.interpolation("linear", n, n + 2, None, False) for n in (4, 5))]
    np.testing.assert_allclose(cuda.resample(there, walk).get(), cpu.resample(x, walk), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("begin", [0, 4, 2, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_])
def test_elementwise(begin, dtype):
    x, there = image(3, (2, 8, 2, 3), begin, dtype)
    k, k_there = image(4, (2, 8, 2, 3), 0, np.float32)
    bias, few = k[:1, :, :1, :1], k[:, :, :1, :1]
    for expected, got in (
        (x * k, there * k_there), (x > k, there > k_there), (x + bias, there + k_there[:1, :, :1, :1]), (x * few, there * k_there[:, :, :1, :1]),
        (np.where(x > 0, k, few), cuda.where(there > 0, k_there, k_there[:, :, :1, :1])), (x.astype(np.int64), there.astype(np.int64)),
        (x.astype(np.float32), there.astype(np.float32)), (x == 1, there == 1),
        (x[:, 2:], there[:, 2:].copy()), (x[..., ::-1], there[..., ::-1].copy()),
    ):  # fmt: skip
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got.get(), expected, rtol=1e-6)
