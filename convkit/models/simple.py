"""Small nets that are plain chains of layers: LeNet-5 and three of its descendants.

Every function takes the channels and the size of the images and the number of classes, and gives a `Sequential` from images
[N, in_channels, H, W] to scores [N, classes] for `cross_entropy`.
"""

from __future__ import annotations

from .. import nn
from .sizes import ImageSize, size_after


def lenet5(in_channels: int = 1, image_size: ImageSize = 28, classes: int = 10) -> nn.Sequential:
    """LeNet-5 with average pooling and tanh: two convolutions 5x5 (6 and 16 filters), then dense layers of 120, 84 and `classes`.

    The first convolution's padding of 2 makes 28x28 images 32x32, the size of the original; 61,706 parameters.  For images
    of less than 12 pixels the second convolution has a padding of 2, too: 4x4 is the least size (ValueError below).  The
    original has trainable pooling, a sparse second convolution, and distances to fixed patterns at its end.

    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", Proc. IEEE, 1998.

    >>> from convkit import models, zeros
    >>> models.lenet5()(zeros(2, 1, 28, 28)).shape
    (2, 10)
    """
    least = min(image_size) if isinstance(image_size, tuple | list) else image_size
    features = [
        nn.Conv2d(in_channels, 6, 5, padding=2),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5, padding=2 if least < 12 else 0),
        nn.Tanh(),
        nn.AvgPool2d(2),
    ]
    height, width = size_after("lenet5", features, image_size)
    dense = [nn.Linear(16 * height * width, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, classes)]
    return nn.Sequential(*features, nn.Flatten(), *dense)


def keras_cnn(in_channels: int = 1, image_size: ImageSize = 28, classes: int = 10) -> nn.Sequential:
    """The net of Keras's "Simple MNIST convnet": two convolutions 3x3 with ReLU and max pooling, then a dense layer.

    32 and 64 filters; in training, dropout takes half of the dense layer's inputs away.  34,826 parameters for 28x28 images;
    10x10 is the least size (ValueError below).

    F. Chollet, keras.io/examples/vision/mnist_convnet, 2015.

    >>> from convkit import models, zeros
    >>> models.keras_cnn()(zeros(2, 1, 28, 28)).shape
    (2, 10)
    """
    features = [nn.Conv2d(in_channels, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)]
    height, width = size_after("keras_cnn", features, image_size)
    return nn.Sequential(*features, nn.Flatten(), nn.Dropout(0.5), nn.Linear(64 * height * width, classes))


def fcn_gap(in_channels: int = 1, image_size: ImageSize = 28, classes: int = 10) -> nn.Sequential:
    """A net without dense layers: convolutions 3x3 of 32, 64 and 128 filters, one 1x1 a class, and the mean of each class's map.

    Takes images of any size from 18x18 on (`image_size` is only checked: ValueError below), and its last maps show where each
    class was seen.  93,962 parameters.

    M. Lin, Q. Chen, S. Yan, "Network in network", ICLR 2014, arXiv:1312.4400.

    >>> from convkit import models, zeros
    >>> models.fcn_gap()(zeros(2, 1, 40, 28)).shape
    (2, 10)
    """
    features = [
        nn.Conv2d(in_channels, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3),
        nn.ReLU(),
        nn.Conv2d(128, classes, 1),
    ]
    size_after("fcn_gap", features, image_size)
    return nn.Sequential(*features, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def digits_cnn(in_channels: int = 1, image_size: ImageSize = 8, classes: int = 10) -> nn.Sequential:
    """A net for tiny images, such as convkit's 8x8 digits: convolutions 3x3 of 32 and 64 filters, pooling, two dense layers.

    The least size is 2x2 (ValueError below).

    >>> from convkit import models, zeros
    >>> models.digits_cnn()(zeros(2, 1, 8, 8)).shape
    (2, 10)
    """
    features = [
        nn.Conv2d(in_channels, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]
    height, width = size_after("digits_cnn", features, image_size)
    dense = [nn.Linear(64 * height * width, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, classes)]
    return nn.Sequential(*features, nn.Flatten(), nn.Dropout(0.25), *dense)
