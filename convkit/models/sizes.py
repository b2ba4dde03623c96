"""Arithmetic of image sizes, to give the first dense layer of a net its width."""

from __future__ import annotations

from collections.abc import Iterable

from convkit_kernels.geometry import each, window

from .. import nn

ImageSize = int | tuple[int, int]


def size_after(name: str, layers: Iterable[nn.Module], image_size: ImageSize) -> tuple[int, int]:
    """(height, width) of an image of `image_size` after the convolutions and poolings among `layers`.

    ValueError naming the model `name` where the image is too small.

    >>> from convkit import nn
    >>> size_after("net", [nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2)], 28)
    (12, 12)
    """
    given = each(name, "image_size", image_size, 2, 1)
    size: tuple[int, ...] = given
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            kernel = each(name, "kernel_size", layer.kernel_size, 2, 1)
            win = window(
                name,
                kernel,
                layer.stride,
                layer.padding,
                getattr(layer, "dilation", 1),
                ceil_mode=getattr(layer, "ceil_mode", False),
            )
            try:
                size = win.output_size(size, name)
            except ValueError:
                raise ValueError(f"{name}: image_size {given[0]}x{given[1]} is too small: {size[0]}x{size[1]} are left before {layer}") from None
    return size[0], size[1]
