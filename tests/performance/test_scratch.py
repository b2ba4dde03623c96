"""A convolution's memory beyond its result stays within what docs/performance.md says, however many images there are and however large they are."""

import tracemalloc

import numpy as np
import pytest

from convkit_kernels import cpu, geometry
from convkit_kernels.algorithm import conv_algorithm
from convkit_kernels.cpu.runtime import MOST_THREADS

TABLES = 1 << 17  # bytes: plans, tables of addresses, and Python's own
IMAGES = [(1, 64, 64), (32, 64, 64), (1, 512, 512), (1, 2048, 64), (1, 64, 2048), (3, 1000, 500)]  # N, H, W


def scratch(call):
    """The most bytes that were allocated at once, less those of the result, after the plans were made."""
    call()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = call()
        return tracemalloc.get_traced_memory()[1] - before - result.nbytes
    finally:
        tracemalloc.stop()


def calls(n, h, w, c, k, window):
    """Forward, input gradient and weight gradient, as functions without arguments."""
    p, q = window.output_size((h, w))
    x, gy = (np.ones((n, *size), np.float32).transpose(0, 3, 1, 2) for size in ((h, w, c), (p, q, k)))
    weights = np.ones((k, c, *window.size), np.float32)
    return (
        lambda: cpu.conv_forward(x, weights, None, window),
        lambda: cpu.conv_input_grad(gy, weights, None, (h, w), window),
        lambda: cpu.conv_weight_grad(x, gy, window),
    )


@pytest.mark.parametrize("size, stride, dilation", [(3, 1, 1), (5, 2, 1), (3, 1, 4)])
@pytest.mark.parametrize("image", IMAGES)
def test_direct_sums_take_a_band_of_rows(image, size, stride, dilation):
    c, k = 8, 16
    window = geometry.window("conv2d", (size, size), stride, dilation * (size // 2), dilation)
    weights = 4 * k * c * size * size
    around = dilation * (size - 1)
    with conv_algorithm("direct"):
        forward, input_grad, weight_grad = map(scratch, calls(*image, c, k, window))
    band = lambda channels: MOST_THREADS * max(1 << 17, 4 * channels * (around + 1) * (image[2] + around))
    assert forward <= band(c) + weights + TABLES
    assert input_grad <= band(k) + weights + TABLES
    assert weight_grad <= band(c) + 16 * weights + TABLES


def test_partial_sums_of_large_weights_are_two():
    c = k = 512
    *_, weight_grad = calls(16, 16, 16, c, k, geometry.window("conv2d", (3, 3), 1, 1))
    with conv_algorithm("direct"):
        assert scratch(weight_grad) <= 2 * 4 * 9 * c * k + MOST_THREADS * (1 << 17) + TABLES


@pytest.mark.parametrize("c, k, tiles", [(16, 32, 28), (48, 64, 14)])  # transformed weights of 72 and of 432 KB
@pytest.mark.parametrize("image", IMAGES)
def test_winograd_takes_transformed_weights_and_tiles(image, c, k, tiles):
    window = geometry.window("conv2d", (3, 3), 1, 1)
    with conv_algorithm("winograd"):
        forward, input_grad, weight_grad = map(scratch, calls(*image, c, k, window))
    # Places are padded to whole vectors and odd numbers of cache lines.
    weights, tile = 4 * 36 * c * k, 4 * 36 * (c + k)
    assert max(forward, input_grad) <= 1.25 * (weights + MOST_THREADS * tiles * tile) + TABLES
    assert weight_grad <= 1.25 * ((1 << 21) + MOST_THREADS * max(1 << 18, 56 * tile)) + TABLES
