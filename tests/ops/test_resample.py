import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import convkit
from convkit.nn import functional as F
from convkit.ops.resample import Resample, taken
from convkit_kernels import tables
from tests.backend import settings
from tests.helpers import LAYOUTS, channels_last_copy, dtypes, layouts, memory_order, numbers, relative_error, tolerance
from tests.ops import both_layouts, check_gradients, gradients, leaf, second_order_runs, seeds
from tests.reference import resample as reference

RANKS = {
    "nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "area": (1, 2, 3), "linear": (1,), "bilinear": (2,), "trilinear": (3,), "bicubic": (2,),
    "lanczos": (2,),
}  # fmt: skip
KINDS = {"bilinear": "linear", "trilinear": "linear", "bicubic": "cubic"}


@st.composite
def cases(draw, most=6):
    """(shape, arguments of interpolate, tables)."""
    mode = draw(st.sampled_from(sorted(RANKS)))
    rank = draw(st.sampled_from(RANKS[mode]))
    size = [draw(st.integers(1, most if rank < 3 else 4)) for _ in range(rank)]
    args = {"mode": mode}
    antialias = mode == "lanczos" or mode in ("bilinear", "bicubic") and draw(st.booleans())
    if antialias:
        args["antialias"] = True
    align = False
    if len(RANKS[mode]) == 1 and mode != "lanczos":
        args["align_corners"] = draw(st.sampled_from([None, False, True]))
        align = bool(args["align_corners"])
    factors = [None] * rank
    if draw(st.booleans()):
        args["size"] = output = tuple(draw(st.integers(1, 2 * n + 1)) for n in size)
    else:
        factors = [draw(st.sampled_from([1.0, 2.0, 1.5, 1.3, 2.7])) for _ in size]
        args["scale_factor"] = tuple(factors)
        output = [int(n * f) for n, f in zip(size, factors, strict=True)]
        if draw(st.booleans()):
            args["recompute_scale_factor"] = True
            factors = [None] * rank
    make = tables.antialiased if antialias else tables.interpolation
    walk = [make(KINDS.get(mode, mode), n, o, f, align) for n, o, f in zip(size, output, factors, strict=True)]
    return (draw(st.integers(1, 2)), draw(st.integers(1, 2)), *size), args, [None, None, *walk]


@settings(max_examples=60)
@given(case=cases(), dtype=dtypes, layout=layouts, seed=seeds)
def test_values(case, dtype, layout, seed):
    shape, args, walk = case
    x = numbers(seed, shape, dtype, mean=2)
    y = F.interpolate(convkit.from_numpy(LAYOUTS[layout](x)), **args).numpy()
    assert y.dtype == dtype and relative_error(y, reference.resample(x, walk)) < tolerance(dtype, 1e-6, 1e-14)


@settings(max_examples=80)
@given(case=cases(3).filter(lambda c: np.prod(c[0]) <= 18), layout=both_layouts, seed=seeds)
def test_gradients(case, layout, seed):
    shape, args, _ = case
    check_gradients(lambda x: F.interpolate(x, **args), leaf(seed, shape, layout))


@settings(max_examples=40)
@given(size=st.tuples(*[st.integers(1, 3)] * 2), outputs=st.tuples(*[st.integers(1, 4)] * 2), layout=both_layouts, seed=seeds)
def test_gradients_of_any_table(size, outputs, layout, seed):
    rng = np.random.default_rng(seed)
    walk = [tables.table(n, rng.integers(0, n, (o, 2)), rng.standard_normal((o, 2))) for n, o in zip(size, outputs, strict=True)]
    check_gradients(lambda x: Resample.apply(x, (None, None, *walk)), leaf(seed, (1, 2, *size), layout))


def test_bilinear_is_scipys_map_coordinates():
    x = numbers(1, (5, 7))
    places = np.meshgrid(np.linspace(0, 4, 9), np.linspace(0, 6, 4), indexing="ij")
    got = F.interpolate(convkit.from_numpy(x[None, None]), (9, 4), mode="bilinear", align_corners=True).numpy()[0, 0]
    np.testing.assert_allclose(got, ndimage.map_coordinates(x, places, order=1, mode="nearest"), atol=1e-12)


def test_area_is_the_mean_of_blocks():
    x = numbers(1, (2, 3, 4, 6))
    np.testing.assert_allclose(F.interpolate(convkit.from_numpy(x), (2, 2), mode="area").numpy(), x.reshape(2, 3, 2, 2, 2, 3).mean((3, 5)))


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 16, 4, 5), (2, 16, 4, 5, 2)])
def test_memory_order(shape):
    for x in (numbers(1, shape), channels_last_copy(numbers(1, shape))):
        for mode in ("nearest", "area"):
            y, gx = gradients(lambda x, mode=mode: F.interpolate(x, scale_factor=2, mode=mode), convkit.tensor(x, requires_grad=True))
            assert memory_order(y) == memory_order(x)


def test_nothing_and_one():
    for shape, args in [((0, 2, 3), {"mode": "linear"}), ((0, 1, 2, 2), {"mode": "bicubic"}), ((1, 1, 1, 1), {"mode": "bilinear"})]:
        f = lambda x, args=args: F.interpolate(x, scale_factor=2, **args)
        gradients(f, leaf(1, shape))
        second_order_runs(lambda x, f=f: f(x * x), leaf(1, shape))
    walk = (None, None, tables.padding("replicate", 2, 1, 1))
    second_order_runs(lambda x: Resample.apply(x * x, walk), leaf(1, (2, 0, 2)))


def test_nan_and_infinity():
    x = np.zeros((1, 1, 1, 5), np.float32)
    x[..., 1], x[..., 4] = np.nan, np.inf
    t = convkit.from_numpy(x)
    at = lambda **args: np.flatnonzero(np.isnan(F.interpolate(t, **args).numpy())).tolist()
    assert at(size=(1, 10)) == [2, 3] and at(size=(1, 10), mode="bilinear") == [0, 1, 2, 3, 4]
    assert np.isposinf(F.interpolate(t, (1, 10), mode="bilinear").numpy()[0, 0, 0, 7:]).all()
    assert at(size=(1, 9), mode="bilinear", align_corners=True) == [0, 1, 2, 3, 6, 8]  # a tap of weight 0 is a tap all the same


def test_integers_are_taken():
    assert taken(np.arange(6).reshape(2, 3), (None, tables.padding("reflect", 3, 1, 0))).tolist() == [[1, 0, 1, 2], [4, 3, 4, 5]]


X = convkit.zeros(1, 1, 4, 4)
WRONG = {
    r"mode must be one of 'nearest', .*, got 'x'": (ValueError, lambda: F.interpolate(X, 2, mode="x")),
    r"mode 'linear' takes input of 3 dimensions \[N, C, \*\], got shape \[1, 1, 4, 4\]": (ValueError, lambda: F.interpolate(X, 2, mode="linear")),
    r"mode 'nearest' takes input of 3 or 4 or 5 dimensions \[N, C, \*\], got shape \[4, 4\]": (ValueError, lambda: F.interpolate(X[0, 0], 2)),
    r"mode 'nearest' has no align_corners, got False": (ValueError, lambda: F.interpolate(X, 2, align_corners=False)),
    r"antialias is for modes 'bilinear', 'bicubic' and 'lanczos', got 'nearest'": (ValueError, lambda: F.interpolate(X, 2, antialias=True)),
    r"antialias is for modes .*, got 'linear'": (ValueError, lambda: F.interpolate(X[0], 2, mode="linear", antialias=True)),
    r"mode 'lanczos' needs antialias=True and no align_corners": (ValueError, lambda: F.interpolate(X, 2, mode="lanczos")),
    r"needs either size or scale_factor, got size=2, scale_factor=2.0": (ValueError, lambda: F.interpolate(X, 2, 2.0)),
    r"needs either size or scale_factor, got size=None, scale_factor=None": (ValueError, lambda: F.interpolate(X)),
    r"recompute_scale_factor has no meaning with a size": (ValueError, lambda: F.interpolate(X, 2, recompute_scale_factor=True)),
    r"size needs 2 numbers, one a spatial dimension, got \[2, 2, 2\]": (ValueError, lambda: F.interpolate(X, (2, 2, 2))),
    r"scale_factor needs 2 numbers": (ValueError, lambda: F.interpolate(X, scale_factor=(2, 2, 2))),
    r"size must be a number or 2 numbers, got 2.5": (TypeError, lambda: F.interpolate(X, 2.5)),
    r"size must be a number or 2 numbers, got \(True, 2\)": (TypeError, lambda: F.interpolate(X, (True, 2))),
    r"scale_factor must be finite, got nan": (ValueError, lambda: F.interpolate(X, scale_factor=float("nan"))),
    r"channels and sizes must be at least 1, got input \[1, 1, 4, 4\] and .* \[0, 0\]": (ValueError, lambda: F.interpolate(X, scale_factor=0.1)),
    r"channels and sizes must be at least 1, got input \[1, 1, 4, 4\] and .* \[-4": (ValueError, lambda: F.interpolate(X, scale_factor=-1.0)),
    r"channels and sizes must be at least 1, got input \[1, 0, 4, 4\]": (ValueError, lambda: F.interpolate(X[:, :0], 2)),
    r"needs float32 or float64, got int64": (TypeError, lambda: F.interpolate(X.long(), 2)),
}


@pytest.mark.parametrize("match", WRONG)
def test_errors(match):
    error, call = WRONG[match]
    with pytest.raises(error, match="^interpolate: " + match):
        call()
