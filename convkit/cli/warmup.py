"""`convkit warmup`: compiles the kernels ahead, so that no run waits for them."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import convkit

from .. import nn, optim
from ..files import write_whole
from ..nn import functional as F


def add(commands: Any) -> None:
    """Adds the parser."""
    parser = commands.add_parser(
        "warmup",
        help="compile the kernels ahead, measure the machine",
        description="Compile every kernel, in float32, and keep it in the user's cache folder (see: convkit info).  Then measure what the algorithms "
        "of convolutions cost on this machine, for the choice between them.",
    )
    parser.add_argument("--float64", action="store_true", help="and in float64")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs every part on tiny arrays and prints the seconds that each kernel took to compile; measures convolutions."""
    from convkit_kernels.cpu import calibration, runtime

    tasks = [(part, np.dtype(dtype)) for dtype in (["float32", "float64"] if args.float64 else ["float32"]) for part in PARTS]
    start = time.perf_counter()
    for part, dtype in _shown(tasks):
        part(dtype)
    for name, seconds in sorted(runtime.compile_seconds.items(), key=lambda item: -item[1]):
        print(f"{seconds:6.2f} s  {name}")
    if calibration.wished():
        print(_calibrated())
    compiled = f"{len(runtime.compile_seconds)} kernels compiled in {sum(runtime.compile_seconds.values()):.1f} s"
    print(f"{compiled}, {time.perf_counter() - start:.1f} s in all; kept in {runtime.cache_folder()}")
    return 0


def _calibrated() -> str:
    """Measures what convolutions cost, keeps it for the processes to come, and says so."""
    from convkit_kernels.cpu import calibration

    found = calibration.measured()
    text = f"costs of convolutions: {calibration.told(found)} times the built-in ones"
    try:
        write_whole(calibration.path(), json.dumps(found).encode())
    except OSError as error:
        return f"{text}; not kept: {error}"
    return f"{text}; used from the next start on"


def _shown(tasks: list) -> Any:
    """The tasks, with a bar while they are worked on (on a terminal, with rich)."""
    try:
        from rich.progress import track
    except ImportError:
        return tasks
    return track(tasks, description="compiling", transient=True)


# ----------------------------------------------------------------------------- what is run, by family
def _random(shape: tuple[int, ...], dtype: np.dtype, learn: bool = True) -> Any:
    """Numbers between 1 and 2, so that every function is defined."""
    values = np.random.default_rng(0).random(shape) + 1
    return convkit.tensor(values.astype(dtype), requires_grad=learn)


def _run(dtype: np.dtype, *layers: nn.Module, size: tuple[int, ...] = (2, 4, 8, 8)) -> None:
    """Forward and backward of each layer, in training and, without gradients, in evaluation."""
    for layer in layers:
        layer.to(dtype)
        x = _random(size, dtype)
        layer.train()(x).sum().backward()
        with convkit.no_grad():
            layer.eval()(x)


def _convolution(dtype: np.dtype) -> None:
    _run(dtype, nn.Conv2d(4, 8, 3), nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(4, 40, 1), nn.Conv2d(4, 8, 3, stride=2, padding=1))
    with convkit.conv_algorithm("winograd"):
        _run(dtype, nn.Conv2d(4, 8, 3))
    _run(dtype, nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.ConvTranspose2d(4, 8, 2, stride=2))
    _run(dtype, nn.LocallyConnected2d(4, 8, 8, 3, padding=1), nn.Unfold(3), nn.Sequential(nn.Unfold(2, stride=2), nn.Fold(8, 2, stride=2)))


def _dense(dtype: np.dtype) -> None:
    _run(dtype, nn.Linear(8, 16), size=(4, 8))
    for left, right in (((5, 6), (6, 7)), ((3, 5, 6), (3, 6, 7)), ((200, 6), (6, 40))):
        (_random(left, dtype) @ _random(right, dtype)).sum().backward()


def _pooling(dtype: np.dtype) -> None:
    _run(dtype, nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2), nn.AvgPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(1))
    _run(dtype, nn.AdaptiveMaxPool2d(3), nn.AdaptiveAvgPool2d(3))
    _run(dtype, nn.MaxPool2d(17), nn.MaxPool2d(17, 1), size=(1, 2, 17, 17))  # more than 256 taps
    y, indices = F.max_pool2d(_random((1, 2, 4, 4), dtype), 2, return_indices=True)
    F.max_unpool2d(y, indices, 2).sum().backward()


def _normalisation(dtype: np.dtype) -> None:
    _run(dtype, nn.BatchNorm2d(4))


def _images(dtype: np.dtype) -> None:
    _run(dtype, nn.ReflectionPad2d(1), nn.Upsample(scale_factor=2, mode="bilinear"))
    x, grid = _random((2, 4, 8, 8), dtype), _random((2, 5, 5, 2), dtype)
    F.grid_sample(x, grid, align_corners=False).sum().backward()


def _activation(dtype: np.dtype) -> None:
    _run(dtype, nn.ReLU(), nn.Tanh(), nn.Sigmoid())


def _elementwise(dtype: np.dtype) -> None:
    shape = (2, 4, 96, 96)  # large enough that NumPy does not do it
    a, b, row = _random(shape, dtype), _random(shape, dtype), _random((4, 1, 1), dtype)
    for y in (a + b, a - b, a * b, a / b, a**b, a + row, a * row, row / a, a * 2.0, 2.0 - a, -a):
        y.sum().backward()
    for y in (convkit.maximum(a, b), convkit.minimum(a, b), convkit.where(a > b, a, b), a.abs(), a.exp(), a.log(), a.sqrt(), a.clamp(1.2, 1.8)):
        y.sum().backward()


def _reductions(dtype: np.dtype) -> None:
    x = _random((2, 4, 8, 8), dtype)
    for y in (x.sum(), x.sum(1), x.mean((0, 2, 3)), x.var(3), x.amax(1), x.amin((2, 3)), x.max(1)[0]):
        y.sum().backward()
    x.argmax(1)


def _losses(dtype: np.dtype) -> None:
    target = convkit.tensor([1, 2, 0, 3])
    for smoothing in (0.0, 0.1):
        F.cross_entropy(_random((4, 5), dtype), target, label_smoothing=smoothing).backward()
    for loss in (F.mse_loss, F.binary_cross_entropy_with_logits):
        loss(_random((4, 5), dtype), _random((4, 5), dtype, False)).backward()
    F.softmax(_random((4, 5), dtype), 1).sum().backward()
    F.log_softmax(_random((4, 5), dtype), 1).sum().backward()


def _embedding(dtype: np.dtype) -> None:
    index, table = convkit.tensor([[0, 2], [1, 1]]), _random((3, 4), dtype)
    F.embedding(index, table).sum().backward()
    for mode in ("mean", "max"):
        F.embedding_bag(index, table, mode=mode).sum().backward()


def _random_numbers(dtype: np.dtype) -> None:
    convkit.rand(4, dtype=dtype), convkit.randn(4, dtype=dtype), convkit.randint(0, 5, (4,)), convkit.randperm(4)
    F.dropout(_random((4, 5), dtype), 0.5).sum().backward()


def _optimizers(dtype: np.dtype) -> None:
    def sgd(params: Any) -> Any:
        return optim.SGD(params, lr=0.1)

    def momentum(params: Any) -> Any:
        return optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True)

    for make in (sgd, momentum, optim.Adam, optim.RMSprop):
        w = _random((4, 5), dtype)
        optimizer = make([w])
        (w * w).sum().backward()
        optimizer.step()


def _second_derivatives(dtype: np.dtype) -> None:
    x, w = _random((2, 4, 8, 8), dtype), _random((4, 4, 3, 3), dtype)
    y = F.max_pool2d(convkit.tanh(F.conv2d(x, w, padding=1)), 2)
    gx, gw = convkit.autograd.grad((y * y).sum(), (x, w), create_graph=True)
    (gx * gx).sum().backward(retain_graph=True)
    (gw * gw).sum().backward()


PARTS: tuple[Callable[[np.dtype], None], ...] = (
    _convolution, _dense, _pooling, _normalisation, _images, _activation, _losses, _embedding, _elementwise, _reductions, _random_numbers,
    _optimizers,
    _second_derivatives,
)  # fmt: skip
