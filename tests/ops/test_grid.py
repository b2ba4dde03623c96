import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import convkit
from convkit import Tensor
from convkit.nn import functional as F
from tests.backend import SIMULATED, settings
from tests.helpers import numbers
from tests.ops import both_layouts, check_gradients, gradients, leaf, seeds


def grid_away_from_kinks(seed, batch, out, size, align):
    """Places whose coordinates are a quarter of a pixel from every pixel, where gradients jump."""
    rng = np.random.default_rng(seed)
    pixels = np.stack([rng.integers(-2, n + 1, (batch, *out)) + rng.choice([0.25, 0.75], (batch, *out)) for n in size[::-1]], -1)
    sizes = np.array(size[::-1])
    g = pixels * 2 / np.maximum(sizes - 1, 1) - 1 if align else (pixels * 2 + 1) / sizes - 1
    return Tensor(g, requires_grad=True)


@settings(max_examples=50)
@given(
    rank=st.integers(2, 3), mode=st.sampled_from(["nearest", "bilinear", "bicubic"]), padding=st.sampled_from(["zeros", "border", "reflection"]),
    align=st.booleans(), size=st.tuples(*[st.integers(2, 3)] * 3), out=st.tuples(*[st.integers(1, 2)] * 3), layout=both_layouts, seed=seeds,
)  # fmt: skip
def test_gradients(rank, mode, padding, align, size, out, layout, seed):
    rank = 2 if mode == "bicubic" else rank
    grid = grid_away_from_kinks(seed, 1, out[:rank], size[:rank], align)
    check_gradients(lambda x, g: F.grid_sample(x, g, mode, padding, align), leaf(seed, (1, 2, *size[:rank]), layout), grid, second=False)


@settings(max_examples=2 if SIMULATED else 20)
@given(size=st.tuples(*[st.integers(1, 2 if SIMULATED else 3)] * 3), rank=st.integers(2, 3), align=st.booleans(), seed=seeds)
def test_gradients_of_affine_grids(size, rank, align, seed):
    check_gradients(lambda t: F.affine_grid(t * t, (1, 1, *size[:rank]), align), leaf(seed, (1, rank, rank + 1)))


def test_scipys_map_coordinates():
    x, pixels = numbers(1, (5, 7)), np.random.default_rng(0).uniform(0, 4, (3, 4, 2))
    grid = (pixels * 2 + 1) / np.array([7, 5]) - 1
    got = F.grid_sample(convkit.from_numpy(x[None, None]), convkit.from_numpy(grid[None])).numpy()[0, 0]
    np.testing.assert_allclose(got, ndimage.map_coordinates(x, [pixels[..., 1], pixels[..., 0]], order=1), atol=1e-12)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_the_identity(mode, align):
    x = numbers(1, (2, 3, 4, 5))
    theta = convkit.from_numpy(np.stack([np.eye(2, 3)] * 2))
    grid = F.affine_grid(theta, x.shape, align_corners=align)
    np.testing.assert_allclose(F.grid_sample(convkit.from_numpy(x), grid, mode, "border", align).numpy(), x, atol=1e-12)


def test_the_second_derivative_is_refused():
    x, grid = leaf(1, (1, 1, 3, 3)), Tensor(np.zeros((1, 2, 2, 2)), requires_grad=True)
    (gx,) = convkit.autograd.grad(F.grid_sample(x, grid).sum(), [x], create_graph=True)
    with pytest.raises(RuntimeError, match="GridSample: this operation can be differentiated once only"):
        (gx * gx).sum().backward()


def test_nothing():
    for x, g in [((0, 2, 3, 3), (0, 2, 2, 2)), ((1, 0, 3, 3), (1, 2, 2, 2)), ((1, 2, 3, 3), (1, 0, 2, 2)), ((1, 1, 1, 1), (1, 1, 1, 2))]:
        gradients(F.grid_sample, leaf(1, x), leaf(2, g))


X, G = convkit.zeros(1, 2, 3, 3), convkit.zeros(1, 4, 4, 2)
WRONG = {
    r"grid_sample: mode must be 'bilinear', 'nearest' or 'bicubic', got 'x'": (ValueError, lambda: F.grid_sample(X, G, "x")),
    r"grid_sample: padding_mode must be 'zeros', 'border' or 'reflection', got 'x'": (ValueError, lambda: F.grid_sample(X, G, padding_mode="x")),
    r"grid_sample: needs input \[N, C, H, W\] and grid": (ValueError, lambda: F.grid_sample(X, G[0])),
    r"grid_sample: needs input \[N, C, H, W\] .* got \[2, 3, 3\]": (ValueError, lambda: F.grid_sample(X[0], G[0])),
    r"grid_sample: the places of .* 2 coordinates, .* size is 3": (ValueError, lambda: F.grid_sample(X, convkit.zeros(1, 4, 4, 3))),
    r"grid_sample: input and grid must have the same batch size, got 1 and 2": (ValueError, lambda: F.grid_sample(X, convkit.zeros(2, 4, 4, 2))),
    r"grid_sample: input must have pixels": (ValueError, lambda: F.grid_sample(X[:, :, :0], G)),
    r"grid_sample: mode 'bicubic' takes 4-D input only": (
        ValueError, lambda: F.grid_sample(convkit.zeros(1, 1, 2, 2, 2), convkit.zeros(1, 2, 2, 2, 3), "bicubic"),
    ),
    r"grid_sample: needs float32 or float64, the same for all": (TypeError, lambda: F.grid_sample(X, G.double())),
    r"grid_sample: needs float32 or float64, got int64": (TypeError, lambda: F.grid_sample(X.long(), G)),
    r"affine_grid: theta must have shape \[2, 2, 3\]": (ValueError, lambda: F.affine_grid(convkit.zeros(1, 2, 3), (2, 1, 4, 4))),
    r"affine_grid: size must be \[N, C, H, W\] or": (ValueError, lambda: F.affine_grid(convkit.zeros(1, 2, 3), (1, 1, 4))),
    r"affine_grid: sizes must be at least 1, got \[1, 1, 0, 4\]": (ValueError, lambda: F.affine_grid(convkit.zeros(1, 2, 3), (1, 1, 0, 4))),
    r"affine_grid: size must be a sequence of ints": (TypeError, lambda: F.affine_grid(convkit.zeros(1, 2, 3), (1, 1, 4.5, 4))),
    r"affine_grid: needs float32 or float64, got int64": (TypeError, lambda: F.affine_grid(convkit.zeros(1, 2, 3).long(), (1, 1, 4, 4))),
}  # fmt: skip


@pytest.mark.parametrize("match", WRONG)
def test_errors(match):
    error, call = WRONG[match]
    with pytest.raises(error, match="^" + match):
        call()
