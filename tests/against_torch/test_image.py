"""Padding, interpolation, shuffles and grids: torch's values, gradients and refusals."""

import numpy as np
import pytest

import convkit
from convkit.nn import functional as F

torch = pytest.importorskip("torch", reason="torch is not installed; it is no dependency of the tests")
T = torch.nn.functional
DTYPES = [np.float32, np.float64]
RANKS = {
    "nearest-exact": (1, 2), "area": (1, 2, 3), "linear": (1,), "bilinear": (2,), "trilinear": (3,), "bicubic": (2,), "nearest": (2,),
}  # fmt: skip


def agree(theirs, ours, arrays, seed=0):
    """Values and gradients of theirs(*tensors) and ours(*tensors)."""
    a, b = [torch.from_numpy(x.copy()).requires_grad_() for x in arrays], [convkit.tensor(x, requires_grad=True) for x in arrays]
    y, z = theirs(*a), ours(*b)
    assert tuple(y.shape) == z.shape
    g = np.random.default_rng(seed).standard_normal(z.shape).astype(arrays[0].dtype)
    y.backward(torch.from_numpy(g))
    z.backward(convkit.tensor(g))
    near = {"rtol": 1e-4, "atol": 3e-5} if arrays[0].dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-11}
    np.testing.assert_allclose(z.detach().numpy(), y.detach().numpy(), **near)
    for p, q in zip(a, b, strict=True):
        np.testing.assert_allclose(q.grad.numpy(), p.grad.numpy(), **near)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(30))
def test_pad(seed, dtype):
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 4))
    shape = [int(n) for n in rng.integers(3, 6, rank + int(rng.integers(1, 3)))]
    pad = [int(n) for n in rng.integers(-1, 3, 2 * rank)]
    for mode in ("constant", "reflect", "replicate") + (("circular",) if min(pad) >= 0 else ()):
        agree(lambda x: T.pad(x, pad, mode), lambda x: F.pad(x, pad, mode), [rng.standard_normal(shape).astype(dtype)])  # noqa: B023


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", RANKS)
def test_interpolate(mode, dtype):
    rng = np.random.default_rng(0)
    for _ in range(25):
        rank = int(rng.choice(RANKS[mode]))
        args = {"mode": mode}
        if mode in ("bilinear", "bicubic") and rng.random() < 0.4:
            args["antialias"] = True
        if len(RANKS[mode]) == 1 and mode != "nearest":
            args["align_corners"] = bool(rng.integers(2))
        if rng.random() < 0.5:
            args["size"] = tuple(int(n) for n in rng.integers(2, 12, rank))
        else:
            args["scale_factor"] = tuple(float(f) for f in rng.choice([2, 0.5, 1.5, 1.3, 2.7], rank))
            args["recompute_scale_factor"] = bool(rng.integers(2))
        x = rng.standard_normal((2, int(rng.choice([1, 3, 9])), *rng.integers(2, 8, rank))).astype(dtype)
        agree(lambda x: T.interpolate(x, **args), lambda x: F.interpolate(x, **args), [x])  # noqa: B023


@pytest.mark.parametrize("dtype", DTYPES)
def test_shuffles(dtype):
    x = np.random.default_rng(0).standard_normal((2, 8, 4, 6)).astype(dtype)
    for name, n in (("pixel_shuffle", 2), ("pixel_unshuffle", 2)):
        agree(lambda x: getattr(T, name)(x, n), lambda x: getattr(F, name)(x, n), [x])  # noqa: B023
    assert np.array_equal(torch.nn.ChannelShuffle(4)(torch.from_numpy(x)).numpy(), F.channel_shuffle(convkit.tensor(x), 4).numpy())


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grid_sample(mode, padding, align):
    rng = np.random.default_rng(0)
    for rank in (2,) if mode == "bicubic" else (2, 3):
        for channels in (3, 9):
            x, grid = rng.standard_normal((2, channels, *(4, 5, 3)[:rank])), rng.uniform(-2, 2, (2, *(3, 4, 2)[:rank], rank))
            agree(lambda x, g: T.grid_sample(x, g, mode, padding, align), lambda x, g: F.grid_sample(x, g, mode, padding, align), [x, grid])


@pytest.mark.parametrize("align", [False, True])
def test_affine_grid(align):
    for rank in (2, 3):
        theta, size = np.random.default_rng(0).standard_normal((2, rank, rank + 1)), (2, 3, 4, 2, 5)[: rank + 2]
        agree(lambda t: T.affine_grid(t, size, align), lambda t: F.affine_grid(t, size, align), [theta])  # noqa: B023


REFUSED = [
    lambda m, f: f.pad(m.ones(1, 1, 4), (4, 0), "reflect"), lambda m, f: f.pad(m.ones(1, 1, 4), (5, 0), "circular"),
    lambda m, f: f.pad(m.ones(4), (1, 1), "reflect"), lambda m, f: f.pad(m.ones(1, 1, 4), (1, 1), "reflect", 1.0),
    lambda m, f: f.pad(m.ones(4), (-2, -3)), lambda m, f: f.pad(m.ones(4), (1,)), lambda m, f: f.pad(m.ones(4), (1, 1), "mirror"),
    lambda m, f: f.interpolate(m.ones(1, 1, 4, 4), 2, 2.0), lambda m, f: f.interpolate(m.ones(1, 1, 4, 4), 2, align_corners=True),
    lambda m, f: f.interpolate(m.ones(1, 1, 4, 4), 2, mode="linear"), lambda m, f: f.interpolate(m.ones(1, 1, 4, 4), 0),
    lambda m, f: f.interpolate(m.ones(1, 1, 4, 4), 2, antialias=True), lambda m, f: f.pixel_shuffle(m.ones(1, 5, 2, 2), 2),
    lambda m, f: f.grid_sample(m.ones(1, 1, 4, 4), m.ones(1, 2, 2, 3), align_corners=False),
    lambda m, f: f.grid_sample(m.ones(1, 1, 4, 4), m.ones(2, 2, 2, 2), align_corners=False),
    lambda m, f: f.affine_grid(m.ones(1, 2, 3), (1, 1, 4), align_corners=False),
]  # fmt: skip


@pytest.mark.parametrize("call", REFUSED)
def test_both_refuse(call):
    with pytest.raises((RuntimeError, ValueError, NotImplementedError)):
        call(torch, T)
    with pytest.raises((ValueError, TypeError)):
        call(convkit, F)
