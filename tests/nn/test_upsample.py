"""Layers that resize images are the functions of the same kind."""

import numpy as np
import pytest

import convkit
from convkit import nn
from convkit.nn import functional as F


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (nn.Upsample(scale_factor=2), lambda x: F.interpolate(x, scale_factor=2)),
        (nn.Upsample((5, 3), mode="bicubic", align_corners=True), lambda x: F.interpolate(x, (5, 3), mode="bicubic", align_corners=True)),
        (
            nn.Upsample(scale_factor=(1.3, 2), mode="bilinear", recompute_scale_factor=True),
            lambda x: F.interpolate(x, scale_factor=(1.3, 2), mode="bilinear", recompute_scale_factor=True),
        ),
        (nn.UpsamplingNearest2d(7), lambda x: F.interpolate(x, 7)),
        (nn.UpsamplingBilinear2d(scale_factor=2), lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)),
        (nn.PixelShuffle(2), lambda x: F.pixel_shuffle(x, 2)),
        (nn.PixelUnshuffle(2), lambda x: F.pixel_unshuffle(x, 2)),
        (nn.ChannelShuffle(4), lambda x: F.channel_shuffle(x, 4)),
    ],
)
def test_values(layer, function):
    x = convkit.randn(2, 8, 4, 6)
    assert np.array_equal(layer(x).numpy(), function(x).numpy())


def test_repr():
    assert repr(nn.Upsample(scale_factor=2)) == "Upsample(scale_factor=2.0, mode='nearest')"
    assert repr(nn.Upsample((2, 3), mode="bilinear", align_corners=True)) == "Upsample(size=(2, 3), mode='bilinear')"
    assert repr(nn.UpsamplingBilinear2d(scale_factor=2)) == "UpsamplingBilinear2d(scale_factor=2.0, mode='bilinear')"
    assert repr(nn.PixelShuffle(2)) == "PixelShuffle(upscale_factor=2)"
    assert repr(nn.PixelUnshuffle(2)) == "PixelUnshuffle(downscale_factor=2)" and repr(nn.ChannelShuffle(2)) == "ChannelShuffle(groups=2)"


def test_errors():
    for make, message in [
        (lambda: nn.PixelShuffle(0), "PixelShuffle: upscale_factor must be at least 1, got 0"),
        (lambda: nn.ChannelShuffle(0), "ChannelShuffle: groups must be at least 1, got 0"),
        (lambda: nn.Upsample()(convkit.ones(1, 1, 2, 2)), "needs either size or scale_factor"),
    ]:
        with pytest.raises(ValueError) as raised:
            make()
        assert message in str(raised.value)
