"""The nets, by function or by name: `create("lenet5", in_channels=1, image_size=28, classes=10)`.

All map images [N, in_channels, H, W] to scores [N, classes], for `nn.functional.cross_entropy`.

>>> from convkit import models
>>> models.names()
['digits_cnn', 'fcn_gap', 'keras_cnn', 'lenet5', 'resnet20', 'resnet32', 'resnet44', 'resnet56']
>>> net = models.create("lenet5", image_size=8)
>>> net.summary((1, 8, 8)).parameters
21386
"""

from __future__ import annotations

from collections.abc import Callable

from ..nn import Module
from .resnet import ResNet, resnet20, resnet32, resnet44, resnet56
from .simple import digits_cnn, fcn_gap, keras_cnn, lenet5
from .sizes import ImageSize

_MODELS: dict[str, Callable[..., Module]] = {
    "digits_cnn": digits_cnn,
    "fcn_gap": fcn_gap,
    "keras_cnn": keras_cnn,
    "lenet5": lenet5,
    "resnet20": resnet20,
    "resnet32": resnet32,
    "resnet44": resnet44,
    "resnet56": resnet56,
}


def names() -> list[str]:
    """The names that `create` knows."""
    return sorted(_MODELS)


def create(name: str, in_channels: int = 1, image_size: ImageSize = 28, classes: int = 10) -> Module:
    """A new net, with random weights from convkit's generator.

    Args:
        name: one of `names()`.
        in_channels: channels of the images.
        image_size: their size, one number or (height, width).
        classes: number of scores.

    Raises:
        ValueError: an unknown name; images too small for the net.
    """
    if name not in _MODELS:
        raise ValueError(f"create: no model is called {name!r}; there are {', '.join(names())}")
    return _MODELS[name](in_channels, image_size, classes)


__all__ = [
    "ResNet",
    "create",
    "digits_cnn",
    "fcn_gap",
    "keras_cnn",
    "lenet5",
    "names",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
]
