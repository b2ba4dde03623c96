"""Channels exchanged for places: pixel and channel shuffles, made of reshapes and permutations.

Each of them copies once, in the memory order of its input: of a channels-last image the permuted axes are [N, H, W, C].
"""

from __future__ import annotations

import operator
from typing import Any

from convkit_kernels.layout import is_channels_last

from . import checks
from .shape import permute, reshape


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """[*, C r^2, H, W] -> [*, C, H r, W r] with r = upscale_factor: y[c, h r + i, w r + j] = x[c r^2 + i r + j, h, w].

    ValueError unless the channels are a multiple of r^2.  W. Shi et al., "Real-time single image and video super-resolution using an
    efficient sub-pixel convolutional neural network", CVPR 2016.

    >>> import convkit
    >>> pixel_shuffle(convkit.arange(4.0).reshape(1, 4, 1, 1), 2).tolist()
    [[[[0.0, 1.0], [2.0, 3.0]]]]
    """
    op = "pixel_shuffle"
    r = _positive(op, "upscale_factor", upscale_factor)
    *batch, c, h, w = _at_least_3(op, input)
    if c % (r * r):
        raise ValueError(f"{op}: channels must be a multiple of upscale_factor^2 = {r * r}, got {c} in shape {[*batch, c, h, w]}")
    c //= r * r
    # [*, C, i, j, H, W] -> [*, C, H, i, W, j], or in channels-last memory [*, H, W, C, i, j] -> [*, H, i, W, j, C].
    return _rearranged(input, batch, (c, r, r, h, w), (0, 3, 1, 4, 2), (3, 1, 4, 2, 0), (c, h * r, w * r))


def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """[*, C, H r, W r] -> [*, C r^2, H, W] with r = downscale_factor: the inverse of `pixel_shuffle`.

    >>> import convkit
    >>> pixel_unshuffle(convkit.arange(4.0).reshape(1, 1, 2, 2), 2).flatten().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    op = "pixel_unshuffle"
    r = _positive(op, "downscale_factor", downscale_factor)
    *batch, c, h, w = _at_least_3(op, input)
    if h % r or w % r:
        raise ValueError(f"{op}: height and width must be multiples of downscale_factor={r}, got shape {[*batch, c, h, w]}")
    h, w = h // r, w // r
    # [*, C, H, i, W, j] -> [*, C, i, j, H, W], or in channels-last memory [*, H, i, W, j, C] -> [*, H, W, C, i, j].
    return _rearranged(input, batch, (c, h, r, w, r), (0, 2, 4, 1, 3), (1, 3, 0, 2, 4), (c * r * r, h, w))


def channel_shuffle(input: Any, groups: int) -> Any:
    """The channels of `groups` groups dealt out in turns: y[:, k g + i] = x[:, i C/g + k] for input [N, C, *] and g = groups.

    X. Zhang et al., "ShuffleNet: an extremely efficient convolutional neural network for mobile devices", CVPR 2018.

    >>> import convkit
    >>> channel_shuffle(convkit.arange(4.0).reshape(1, 4, 1), 2).flatten().tolist()
    [0.0, 2.0, 1.0, 3.0]
    """
    op = "channel_shuffle"
    g = _positive(op, "groups", groups)
    n, c, *spatial = _at_least_3(op, input)
    if c % g:
        raise ValueError(f"{op}: channels must be a multiple of groups={g}, got {c} in shape {[n, c, *spatial]}")
    rank = len(spatial)
    places = tuple(range(2, rank + 2))
    return _rearranged(input, [n], (g, c // g, *spatial), (1, 0, *places), (*places, 1, 0), (c, *spatial))


def _rearranged(
    x: Any, batch: list[int], parts: tuple[int, ...], order: tuple[int, ...], last_order: tuple[int, ...], result: tuple[int, ...]
) -> Any:
    """x seen as [*batch, *parts], permuted, and copied as [*batch, *result].

    `order` is where the parts go in C order; `last_order` where they go if the channels lie last in memory, and in the result.
    """
    b = len(batch)
    if b == 1 and not x.array.flags.c_contiguous and is_channels_last(x.array):
        y = permute(reshape(x, (*batch, *parts)), (0, *(i + b for i in last_order)))
        y = reshape(y, (*batch, *result[1:], result[0]))
        return permute(y, (0, len(result), *range(1, len(result))))
    y = permute(reshape(x, (*batch, *parts)), (*range(b), *(i + b for i in order)))
    return reshape(y, (*batch, *result))


def _positive(op: str, name: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{op}: {name} must be an int, got {value!r}") from None
    if number < 1:
        raise ValueError(f"{op}: {name} must be at least 1, got {number}")
    return number


def _at_least_3(op: str, x: Any) -> tuple[int, ...]:
    if len(checks.tensor(op, x).array.shape) < 3:
        raise ValueError(f"{op}: input must have at least 3 dimensions, got shape {list(x.array.shape)}")
    return x.array.shape
