"""Small calls of every public kernel, which together launch each kind of kernel there is: what the tests compile, and the GPU report begins with.

`CALLS[name]` are functions of (k, a): the module of kernels, and `Make`, which makes arrays of one dtype.  Sizes choose the way that a
kernel takes, so there are small and large ones; where nothing runs, memory costs nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from convkit_kernels import tables
from convkit_kernels.geometry import Grid, window

FLOATS = ("float32", "float64")
WHOLE = ("int64",)


class Make:
    """Arrays of zeros or of whatever was there, made by `empty(shape, dtype)`."""

    def __init__(self, empty: Callable, dtype: str):
        self.empty, self.dtype = empty, np.dtype(dtype)

    def __call__(self, *shape: int, dtype: Any = None) -> Any:
        """C order."""
        return self.empty(shape, self.dtype if dtype is None else np.dtype(dtype))

    def image(self, n: int, c: int, *size: int, dtype: Any = None) -> Any:
        """[n, c, *size], channels-last in memory."""
        x = self(n, *size, c, dtype=dtype)
        return x.transpose((0, len(size) + 1, *range(1, len(size) + 1)))

    def strided(self, *shape: int, dtype: Any = None) -> Any:
        """Every second column of an array twice as wide."""
        return self(*shape[:-1], 2 * shape[-1], dtype=dtype)[..., ::2]

    def index(self, *shape: int) -> Any:
        """int64 numbers."""
        return self(*shape, dtype=np.int64)


# ------------------------------------------------------------------------------------ elementwise
def _unary(name: str, k: Any, a: Make) -> None:
    k.unary(name, a(600))
    k.unary(name, a.strided(3, 40))


def _binary(name: str, k: Any, a: Make) -> None:
    k.binary(name, a(600), a(600))
    k.binary(name, a(30, 20), a(20))


def _one(name: str) -> tuple[Callable, ...]:
    return (lambda k, a: getattr(k, name)(a(600)), lambda k, a: getattr(k, name)(a.strided(3, 40)))


def _two(name: str) -> tuple[Callable, ...]:
    return (
        lambda k, a: getattr(k, name)(a(600), a(600)),
        lambda k, a: getattr(k, name)(a.image(2, 3, 5, 5), a(3, 1, 1)),
        lambda k, a: getattr(k, name)(a.image(2, 4, 5, 5), a(4, 1, 1)),
        lambda k, a: getattr(k, name)(a(600), 2),
    )


UNARY_FLOATS = (
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "exp2", "expm1", "floor", "frac", "isfinite", "isinf", "isnan",
    "log10", "log1p", "log2", "logical_not", "round", "rsqrt", "signbit", "sin", "sinh", "tan", "trunc",
)  # fmt: skip
UNARY_WHOLE = ("bitwise_not", "isfinite", "isinf", "isnan", "logical_not")
COMPARISONS = ("eq", "ge", "gt", "le", "lt", "ne", "logical_and", "logical_or", "logical_xor")
BINARY_FLOATS = (*COMPARISONS, "atan2", "div_trunc", "floor_divide", "fmod", "remainder")
BINARY_WHOLE = (
    *COMPARISONS, "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift", "div_trunc", "floor_divide", "fmod",
    "remainder",
)  # fmt: skip

ACTIVATIONS = (
    "threshold", "hardtanh", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "mish", "softplus", "softsign", "hardsigmoid", "hardswish", "sigmoid",
    "logsigmoid", "tanh", "hardshrink", "softshrink",
)  # fmt: skip
LOSSES = ("mse", "smooth_l1", "huber", "bce", "bce_with_logits", "kl_div", "kl_div_log", "soft_margin")


def _activations(k: Any, a: Make) -> None:
    for name in ACTIVATIONS:
        k.activation(name, a.image(2, 4, 5, 5), 0.5, 1.0, 2.0)
    k.activation("leaky_relu", a.image(2, 3, 5, 5), a(3, 1, 1))
    k.activation("gelu", a(4, 5)[:, 1:])


def _activation_grads(k: Any, a: Make) -> None:
    for name in ACTIVATIONS:
        k.activation_grad(name, a.image(2, 4, 5, 5), a.image(2, 4, 5, 5), 0.5, 1.0, 2.0)
    k.activation_grad("leaky_relu", a.image(2, 3, 5, 5), a.image(2, 3, 5, 5), a(3, 1, 1))
    k.activation_grad("gelu", a.image(2, 3, 5, 5), a(2, 3, 5, 5))


# ------------------------------------------------------------------------------------ convolution
# (x, w, groups, stride, padding, dilation): 3x3 and 1x1 with many channels, the first layer of a network, depthwise, groups, one and three
# dimensions, strides, dilation, a window as large as the image.
CONVOLUTIONS: tuple[tuple[tuple[int, ...], tuple[int, ...], int, int, int, int], ...] = (
    ((32, 64, 28, 28), (64, 64, 3, 3), 1, 1, 1, 1),
    ((32, 64, 28, 28), (128, 64, 1, 1), 1, 1, 0, 1),
    ((32, 64, 28, 28), (128, 64, 1, 1), 1, 2, 0, 1),
    ((64, 1, 28, 28), (32, 1, 5, 5), 1, 1, 2, 1),
    ((32, 3, 64, 64), (64, 3, 7, 7), 1, 2, 3, 1),
    ((32, 96, 28, 28), (96, 1, 3, 3), 96, 1, 1, 1),
    ((2, 3, 9, 9), (6, 1, 3, 3), 3, 2, 1, 1),
    ((8, 32, 14, 14), (32, 8, 3, 3), 4, 1, 1, 1),
    ((8, 64, 14, 14), (64, 32, 3, 3), 2, 1, 1, 1),
    ((8, 6, 14, 14), (9, 2, 3, 3), 3, 2, 1, 1),
    ((2, 5, 9, 9), (7, 5, 3, 2), 1, 2, 1, 2),
    ((4, 16, 100), (32, 16, 3), 1, 1, 1, 1),
    ((2, 8, 8, 8, 8), (16, 8, 3, 3, 3), 1, 1, 1, 1),
    ((64, 64, 7, 7), (10, 64, 7, 7), 1, 1, 0, 1),
)


def _window(w: tuple[int, ...], groups: int, stride: int, padding: int, dilation: int) -> Any:
    return window("conv", w[2:], stride, padding, dilation, groups)


def _forward(case: tuple, k: Any, a: Make) -> None:
    x, w, *rest = case
    win = _window(w, *rest)
    k.conv_forward(a.image(*x), a(*w), None, win)
    y = (x[0], w[0], *win.output_size(x[2:]))
    k.conv_forward(a.image(*x), a(*w), a(w[0]), win, a.image(*y), True)


def _input_grad(case: tuple, k: Any, a: Make) -> None:
    x, w, *rest = case
    win = _window(w, *rest)
    k.conv_input_grad(a.image(x[0], w[0], *win.output_size(x[2:])), a(*w), None, x[2:], win)


def _weight_grad(case: tuple, k: Any, a: Make) -> None:
    x, w, *rest = case
    win = _window(w, *rest)
    k.conv_weight_grad(a.image(*x), a.image(x[0], w[0], *win.output_size(x[2:])), win)


def _each_convolution(call: Callable) -> tuple[Callable, ...]:
    return tuple(functools.partial(call, case) for case in CONVOLUTIONS)


# ------------------------------------------------------------------------------ windows and images
POOLS = (
    ((4, 8, 12, 12), window("pool", (2, 2), 2)), ((4, 8, 12, 12), window("pool", (3, 3), 2, 1, ceil_mode=True)),
    ((2, 3, 20), window("pool", (3,), 1)), ((2, 3, 6, 6, 6), window("pool", (2, 2, 2), 2)), ((4, 8, 12, 12), Grid((5, 5))),
    ((4, 64, 7, 7), Grid((1, 1))), ((1, 4, 40, 40), window("pool", (20, 20), 1)), ((1, 2, 40, 40), window("pool", (20, 20), 1)),
)  # fmt: skip


def _each_pool(call: Callable) -> tuple[Callable, ...]:
    return tuple(lambda k, a, shape=shape, win=win: call(k, a, shape, win) for shape, win in POOLS)


def _taps(a: Make, shape: tuple, win: Any) -> Any:
    return a.image(*shape[:2], *win.output_size(shape[2:]), dtype=np.int32 if win == POOLS[-1][1] else np.uint8)


def _average_pools(k: Any, a: Make) -> None:
    for shape, win in POOLS:
        for divisor in (None, 3):
            k.average_pool(a.image(*shape), win, False, divisor)
    k.average_pool(a(*POOLS[0][0]), POOLS[0][1], True, None)


def _average_pool_grads(k: Any, a: Make) -> None:
    for shape, win in POOLS:
        for divisor in (None, 3):
            k.average_pool_grad(a.image(*shape[:2], *win.output_size(shape[2:])), shape[2:], win, False, divisor)
    k.average_pool_grad(a(4, 8, 6, 6), (12, 12), POOLS[0][1], True, None)


def _resamples(k: Any, a: Make) -> None:
    larger = [tables.interpolation("linear", 7, 14, None, False), tables.interpolation("cubic", 9, 20, None, True)]
    for walk in (larger, [None, larger[1]], [larger[0], None], [tables.interpolation("nearest", 7, 14, None, False), None]):
        k.resample(a.image(2, 3, 7, 9), [None, None, *walk])
        k.resample(a(2, 3, 7, 9), [None, None, *walk])
    k.resample(a.image(2, 16, 14, 20), [None, None, *(t.transposed for t in larger)])
    k.resample(a(2, 3, 8), [None, None, tables.padding("reflect", 8, 2, 3)])


def _samples(call: Callable) -> tuple[Callable, ...]:
    def run(k: Any, a: Make) -> None:
        for mode in ("nearest", "bilinear", "bicubic"):
            for padding in ("zeros", "border", "reflection"):
                for align in (False, True):
                    call(k, a, a.image(2, 3, 8, 9), a(2, 5, 6, 2), mode, padding, align)
        for mode in ("nearest", "bilinear"):
            call(k, a, a.image(2, 3, 4, 5, 6), a(2, 3, 4, 5, 3), mode, "zeros", False)
        call(k, a, a.image(2, 32, 8, 9), a(2, 5, 6, 2), "bilinear", "zeros", False)

    return (run,)


def _folds(k: Any, a: Make) -> None:
    win = window("fold", (3, 2), 2, 1)
    k.fold(a(2, 3 * 6, 4 * 5), (7, 8), win)
    k.fold(a(2, 3 * 3, 8), (10,), window("fold", (3,), 1))


LOCAL = ((2, 3, 6, 6), (4, 4, 3, 3, 3, 8), window("local", (3, 3)))  # a place a region
LOCAL_REGIONS = ((2, 3, 6, 6), (2, 2, 3, 3, 3, 8), window("local", (3, 3)))


def _locals(k: Any, a: Make, which: str) -> None:
    for x, w, win in (LOCAL, LOCAL_REGIONS):
        gy = a.image(x[0], w[-1], *win.output_size(x[2:]))
        if which == "forward":
            k.local_forward(a.image(*x), a(*w), a(*w[:2], w[-1]), win)
        elif which == "input":
            k.local_input_grad(gy, a(*w), x[2:], win)
        else:
            k.local_weight_grad(a.image(*x), gy, w[:2], win)


# ------------------------------------------------------------------------------------- statistics
AXES = ((0,), (1,), (0, 2, 3), (2, 3), (0, 1, 2, 3))


def _reductions(name: str, *extra: Any) -> Callable:
    def run(k: Any, a: Make) -> None:
        for axes in AXES:
            getattr(k, name)(a.image(4, 8, 6, 6), axes, False, *extra)
        getattr(k, name)(a(1 << 20), (0,), True, *extra)

    return run


def _scans(k: Any, a: Make) -> None:
    for name in ("sum", "prod", "argmax", "argmin"):
        for shape, axis in (((3, 50, 4), 1), ((6, 5000), 1), ((1 << 17,), 0)):
            k.scan(name, a(*shape), axis)
            if not name.startswith("arg"):
                k.scan(name, a(*shape), axis, True)


NORMS = ((8, 16, 6, 6), 16, True), ((4, 16, 6, 6), 4, False), ((6, 40), 1, False), ((64, 128, 28, 28), 128, True)


def _norms(k: Any, a: Make) -> None:
    for shape, groups, batch in NORMS:
        for x in (a.image(*shape), a(*shape)):
            mean = a(1 if batch else shape[0], groups)
            for weight, bias, add, relu in ((None, None, None, False), (a(shape[1]), a(shape[1]), None, True), (a(shape[1]), None, x, True)):
                k.norm(x, mean, mean, weight, bias, add, relu)


def _norm_grads(k: Any, a: Make) -> None:
    for shape, groups, batch in NORMS:
        for x in (a.image(*shape), a(*shape)):
            mean = a(1 if batch else shape[0], groups)
            for weight, bias, centred, relu in ((None, None, True, False), (a(shape[1]), a(shape[1]), True, True), (a(shape[1]), None, False, False)):
                k.norm_grad(x, x, mean, mean, weight, bias, centred, relu)


def _softmaxes(name: str) -> Callable:
    def run(k: Any, a: Make) -> None:
        for shape, axis in (((32, 10), 1), ((8, 5000), 1), ((4, 7, 6, 6), 1)):
            getattr(k, name)(*[a(*shape)] * (2 if name.endswith("grad") else 1), axis)
        getattr(k, name)(*[a.image(4, 7, 6, 6)] * (2 if name.endswith("grad") else 1), 1)

    return run


def _cross_entropies(k: Any, a: Make) -> None:
    for shape in ((32, 10), (8, 5000), (4, 7, 6, 6)):
        for weight in (None, a(shape[1])):
            k.cross_entropy(a(*shape), a.index(shape[0], *shape[2:]), weight, -100, 0.1)
            k.cross_entropy(a(*shape), a.index(shape[0], *shape[2:]), weight, -100, 0.0)


def _cross_entropy_grads(k: Any, a: Make) -> None:
    for shape in ((32, 10), (8, 5000), (4, 7, 6, 6)):
        for weight in (None, a(shape[1])):
            k.cross_entropy_grad(a(shape[0], *shape[2:]), a(*shape), a.index(shape[0], *shape[2:]), weight, -100, 0.1)
            k.cross_entropy_grad(a(shape[0], *shape[2:]), a(*shape), a.index(shape[0], *shape[2:]), weight, -100, 0.0)


def _losses(k: Any, a: Make) -> None:
    for kind in LOSSES:
        k.pointwise_loss(kind, a(600), a(600), 1.0)


def _loss_grads(k: Any, a: Make) -> None:
    for kind in LOSSES:
        k.pointwise_loss_grad(kind, a(600), a(600), a(600), 1.0)


# ----------------------------------------------------------------------------------------- others
# kind: (states that are kept, how many numbers)
STEPS = {
    "sgd": (("", 6), ("a", 6)), "adam": (("ab", 10), ("abc", 10)), "nadam": (("ab", 11),), "radam": (("ab", 11),), "adamax": (("ab", 11),),
    "rmsprop": (("a", 11), ("abc", 11)), "adagrad": (("a", 8),), "adadelta": (("ab", 8),), "rprop": (("ab", 8),), "asgd": (("a", 8),),
}  # fmt: skip


def _steps(k: Any, a: Make) -> None:
    from convkit_kernels.cpu.optimizer import FORMULAS

    for kind in FORMULAS:
        for kept, count in STEPS.get(kind, (("abc", 11),)):
            params, grads = [a(64, 32, 3, 3), a(10)], [a(64, 32, 3, 3), a(10)]
            states = [tuple(a(*p.shape) if s in kept else None for s in "abc") for p in params]
            k.optimizer_step(kind, params, grads, states, [0.5] * count)


def _bags(k: Any, a: Make) -> None:
    for mode in ("sum", "mean", "max"):
        k.embedding_bag(a(50, 40), a.index(300), a.index(31), None, mode)
    k.embedding_bag(a(50, 40), a.index(300), a.index(31), a(300), "sum")


def _bag_grads(k: Any, a: Make) -> None:
    for mode in ("sum", "mean", "max"):
        k.embedding_bag_grad(a(30, 40), a.index(300), a.index(31), None, a.index(30, 40) if mode == "max" else a.index(0), 50, mode)
    k.embedding_bag_grad(a(30, 40), a.index(300), a.index(31), a(300), a.index(0), 50, "sum")


def _scatters(k: Any, a: Make) -> None:
    for put in (False, True):
        k.scatter(a(30, 8), a.index(30, 8), 0, 50, None, put)
        k.scatter(a(30, 8), a.index(30), 0, 50, a(50, 8), put)
        k.scatter(a(5, 30), a.index(5, 30), 1, 50, None, put)
        k.scatter(a(3, 5, 1 << 14), a.index(3, 5, 1 << 14), 1, 7, None, put)
    a(50)[a.index(7)] = 1


def _sorts(k: Any, a: Make) -> None:
    for shape, axis in (((6, 40), 1), ((40, 6), 0), ((3, 5000), 1), ((1 << 17,), 0)):
        for descending in (False, True):
            k.argsort(a(*shape), axis, descending)
        k.argsort(a(*shape), axis, True, 3)


def _found(k: Any, a: Make) -> None:
    # What follows where there is something: how much, only a kernel that runs could tell.
    from convkit_kernels.cuda import reduce

    mask, places, shape, y = a(600, dtype=bool), a.index(600), a.index(2), a.index(600)
    reduce._numbered[reduce._ANY](600, 600, mask.flat, mask.offset, places.flat, places.offset, y.flat)
    reduce._unraveled[reduce._ANY](300, 300, places.flat, shape.flat, 2, y.flat)


CALLS: dict[str, tuple[Callable[[Any, Make], Any], ...]] = {
    "abs": _one("abs"),
    "activation": (_activations,),
    "activation_grad": (_activation_grads,),
    "add": _two("add"),
    "amax": (_reductions("amax"),),
    "amin": (_reductions("amin"),),
    "argmax": tuple(lambda k, a, s=s: k.argmax(a(*s[0]), s[1]) for s in (((6, 5, 4), 1), ((6, 5000), 1), ((1 << 17,), None))),
    "argmin": tuple(lambda k, a, s=s: k.argmin(a(*s[0]), s[1]) for s in (((6, 5, 4), 1), ((6, 5000), 1), ((1 << 17,), None))),
    "argsort": (_sorts,),
    "average_pool": (_average_pools,),
    "average_pool_grad": (_average_pool_grads,),
    "binary": tuple(functools.partial(_binary, name) for name in BINARY_FLOATS),
    "channels_last": (lambda k, a: k.channels_last(a(2, 3, 4, 5)), lambda k, a: k.channels_last(a.image(2, 3, 4, 5))),
    "clamp": (lambda k, a: k.clamp(a(600), 0, None), lambda k, a: k.clamp(a.strided(3, 40), 0, 1)),
    "clamp_grad": (lambda k, a: k.clamp_grad(a(600), a(600), 0, None), lambda k, a: k.clamp_grad(a(4, 5), a.strided(4, 5), 0, 1)),
    "concatenate": (lambda k, a: k.concatenate([a(2, 3), a.strided(2, 4)], 1), lambda k, a: k.concatenate([a(2, 3), a(4, 3)], 0)),
    "contiguous": (
        lambda k, a: k.contiguous(a.strided(2, 3)),
        lambda k, a: k.contiguous(a.image(2, 3, 4, 5)),
        lambda k, a: k.contiguous(a.image(2, 40, 7, 7)),
    ),
    "conv_forward": _each_convolution(_forward),
    "conv_input_grad": _each_convolution(_input_grad),
    "conv_weight_grad": _each_convolution(_weight_grad),
    "cross_entropy": (_cross_entropies,),
    "cross_entropy_grad": (_cross_entropy_grads,),
    "div": _two("div"),
    "dropout": (lambda k, a: k.dropout(a.image(2, 3, 5, 5), 0.5, 1, 2), lambda k, a: k.dropout(a(40, 30), 0.5, 1, 2)),
    "embedding": (lambda k, a: k.embedding(a(50, 40), a.index(6, 7)), lambda k, a: k.embedding(a(50, 3), a.index(6))),
    "embedding_bag": (_bags,),
    "embedding_bag_grad": (_bag_grads,),
    "embedding_grad": (lambda k, a: k.embedding_grad(a(6, 7, 40), a.index(6, 7), 50),),
    "exp": _one("exp"),
    "fold": (_folds,),
    "gather": (
        lambda k, a: k.gather(a(50, 8), a.index(30, 8), 0),
        lambda k, a: k.gather(a(50, 8), a.index(30), 0),
        lambda k, a: k.gather(a(5, 30), a.index(5, 7), 1),
    ),
    "gather_sum": (lambda k, a: k.gather_sum(a(50, 8), a.index(50)),),
    "grid_sample": _samples(lambda k, a, x, grid, *how: k.grid_sample(x, grid, *how)),
    "grid_sample_grid_grad": _samples(lambda k, a, x, grid, *how: k.grid_sample_grid_grad(a.image(*x.shape[:2], *grid.shape[1:-1]), x, grid, *how)),
    "grid_sample_input_grad": _samples(
        lambda k, a, x, grid, *how: k.grid_sample_input_grad(a.image(*x.shape[:2], *grid.shape[1:-1]), grid, x.shape[2:], *how)
    ),
    "inside": (
        lambda k, a: k.inside(a(600), 0, 1, ValueError, ""),
        lambda k, a: k.inside(a.index(600), 0, 9, IndexError, "", -1),
        lambda k, a: k.inside(a.strided(3, 40), 0, 1, ValueError, ""),
    ),
    "lerp": (lambda k, a: k.lerp(a(600), a(600), 0.5), lambda k, a: k.lerp(a(4, 5), a.strided(4, 5), a(4, 5))),
    "local_forward": (lambda k, a: _locals(k, a, "forward"),),
    "local_input_grad": (lambda k, a: _locals(k, a, "input"),),
    "local_weight_grad": (lambda k, a: _locals(k, a, "weight"),),
    "log": _one("log"),
    "log_softmax": (_softmaxes("log_softmax"),),
    "log_softmax_grad": (_softmaxes("log_softmax_grad"),),
    "matmul": (
        lambda k, a: k.matmul(a(128, 256), a(256, 512), a(512), a(128, 512), True),
        lambda k, a: k.matmul(a(7, 5), a(5, 3)),
        lambda k, a: k.matmul(a(128, 256), a(512, 256).T),
        lambda k, a: k.matmul(a(256, 128).T, a(256, 512)),
        lambda k, a: k.matmul(a(256, 128).T, a(512, 256).T),
        lambda k, a: k.matmul(a(4, 1, 7, 5), a(3, 5, 9)),
        lambda k, a: k.matmul(a(64, 4096), a(4096, 10), a(10)),
        lambda k, a: k.matmul(a(1, 40), a(40, 1)),
    ),
    "max_pool": _each_pool(lambda k, a, shape, win: (k.max_pool(a.image(*shape), win), k.max_pool(a(*shape), win))),
    "max_pool_grad": _each_pool(
        lambda k, a, shape, win: k.max_pool_grad(a.image(*shape[:2], *win.output_size(shape[2:])), _taps(a, shape, win), shape[2:], win)
    ),
    "max_pool_places": _each_pool(lambda k, a, shape, win: k.max_pool_places(_taps(a, shape, win), shape[2:], win)),
    "max_unpool": tuple(lambda k, a, add=add: k.max_unpool(a.image(2, 3, 4, 5), a.index(2, 3, 4, 5), (8, 10), add) for add in (False, True)),
    "max_unpool_grad": (lambda k, a: k.max_unpool_grad(a.image(2, 3, 8, 10), a.index(2, 3, 4, 5)),),
    "maximum": _two("maximum"),
    "minimum": _two("minimum"),
    "mul": _two("mul"),
    "neg": _one("neg"),
    "nonzero": (lambda k, a: k.nonzero(a(6, 100, dtype=bool)), lambda k, a: k.nonzero(a(3, 4, 5)), _found),
    "norm": (_norms,),
    "norm_grad": (_norm_grads,),
    "norm_stats": tuple(
        lambda k, a, s=s, image=image: k.norm_stats(a.image(*s[0]) if image else a(*s[0]), s[1], s[2]) for s in NORMS for image in (False, True)
    ),
    "normal": (lambda k, a: k.normal((600,), 1, 2, a.dtype),),
    "optimizer_step": (_steps,),
    "pointwise_loss": (_losses,),
    "pointwise_loss_grad": (_loss_grads,),
    "pow": (*_two("pow"), *(lambda k, a, p=p: k.pow(a(600), p) for p in (3, 0.5, -1, -2, 1.5))),
    "prod": (_reductions("prod"),),
    "resample": (_resamples,),
    "scan": (_scans,),
    "scatter": (_scatters,),
    "sign": _one("sign"),
    "softmax": (_softmaxes("softmax"),),
    "softmax_grad": (_softmaxes("softmax_grad"),),
    "sqrt": _one("sqrt"),
    "sub": _two("sub"),
    "sum": tuple(_reductions("sum", terms) for terms in ("all", "squares", "not nan")),
    "unary": tuple(functools.partial(_unary, name) for name in UNARY_FLOATS),
    "unfold": (
        lambda k, a: k.unfold(a.image(2, 3, 7, 8), window("unfold", (3, 2), 2, 1)),
        lambda k, a: k.unfold(a(2, 3, 10), window("unfold", (3,), 1)),
    ),
    "uniform": (lambda k, a: k.uniform((600,), 1, 2, a.dtype),),
    "where": (
        lambda k, a: k.where(a(600, dtype=bool), a(600), a(600)),
        lambda k, a: k.where(a(30, 1, dtype=bool), a(30, 20), a(20)),
        lambda k, a: k.where(a(600, dtype=bool), a(600), 0.0),
    ),
}

# Calls with whole numbers, where kernels take them.
WHOLE_CALLS: dict[str, tuple[Callable[[Any, Make], Any], ...]] = {
    **{name: CALLS[name] for name in ("abs", "add", "amax", "amin", "argmax", "argmin", "argsort", "concatenate", "contiguous", "div", "gather",
                                      "maximum", "minimum", "mul", "neg", "prod", "scatter", "sign", "sub", "where")},
    "binary": tuple(functools.partial(_binary, name) for name in BINARY_WHOLE),
    "scan": (_scans,),
    "sum": (_reductions("sum"),),
    "unary": tuple(functools.partial(_unary, name) for name in UNARY_WHOLE),
}  # fmt: skip


def calls(name: str, dtype: str) -> tuple[Callable[[Any, Make], Any], ...]:
    """The calls of a public kernel with arrays of `dtype`."""
    return (CALLS if dtype in FLOATS else WHOLE_CALLS).get(name, ())
