"""The residual nets against pretrained weights of another program."""

from pathlib import Path

import numpy as np
import pytest

import convkit
from convkit import models
from convkit.models.resnet import Block

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def weights(depth):
    path = SHARED / "resnet-cifar10" / f"resnet{depth}.npz"
    if not path.is_file():
        pytest.skip(f"no pretrained weights: {path} does not exist")
    return dict(np.load(path))


def test_shortcut_takes_every_second_pixel_between_zeros():
    block = Block(4, 8, 2)
    x = convkit.randn(2, 4, 5, 6)
    y = block.shortcut(x).numpy()
    assert y.shape == (2, 8, 3, 3)
    np.testing.assert_array_equal(y[:, 2:6], x.numpy()[:, :, ::2, ::2])
    assert not y[:, :2].any() and not y[:, 6:].any()
    assert Block(4, 4, 1).shortcut(x) is x
    assert block(x).shape == (2, 8, 3, 3)


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_pretrained_weights_load_by_name(depth):
    state = weights(depth)
    net = models.create(f"resnet{depth}", in_channels=3)
    assert net.load_state_dict(state) == ([], [])
    for name, array in state.items():
        np.testing.assert_array_equal(np.array(net.state_dict()[name]), array)


def test_pretrained_resnet20_knows_its_training_images():
    pytest.importorskip("PIL", reason="pillow reads the images")
    from convkit.data import cifar10_lossless

    if not (SHARED / "cifar10").is_dir():
        pytest.skip(f"no images: {SHARED / 'cifar10'} does not exist")
    net = models.resnet20()
    net.load_state_dict(weights(20))
    images = cifar10_lossless(SHARED / "cifar10")
    x = (images.images[:200].transpose(0, 2, 3, 1) / 255 - MEAN) / STD
    x = convkit.tensor(x.transpose(0, 3, 1, 2).astype(np.float32))
    with convkit.no_grad():
        found = net.eval()(x).argmax(1).numpy()
    assert (found == images.labels[:200]).mean() >= 0.99
