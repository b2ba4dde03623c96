"""Residual nets for small images: ResNet-20, -32, -44 and -56 as in the original paper's CIFAR-10 experiments."""

from __future__ import annotations

from convkit_kernels.geometry import each

from .. import nn
from ..nn import functional as F
from ..tensor import Tensor
from .sizes import ImageSize


class Block(nn.Module):
    """Two convolutions 3x3 beside a shortcut: [N, C, H, W] -> [N, K, H/stride, W/stride], rounded up.

        y = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))

    Where size and channels change, the shortcut takes every second pixel and adds channels of zeros, equally many on both sides
    (option A: no parameters).
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.more = stride, channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + self.shortcut(x))

    def shortcut(self, x: Tensor) -> Tensor:
        """x, or every `stride`-th pixel of it between channels of zeros."""
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.more:
            before = self.more // 2
            x = F.pad(x, (0, 0, 0, 0, before, self.more - before))
        return x


class ResNet(nn.Module):
    """A convolution, three stages of `blocks` blocks with 16, 32 and 64 channels, the mean over the image, and a dense layer.

    6 * blocks + 2 layers with weights.  Names in the state dict: conv1, bn1, layer1.0.conv1, ..., layer3.2.bn2, linear: those of
    Y. Idelbayev's pretrained weights (github.com/akamaster/pytorch_resnet_cifar10), which load as they are.
    """

    def __init__(self, blocks: int, in_channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, 1)
        self.layer2 = _stage(16, 32, blocks, 2)
        self.layer3 = _stage(32, 64, blocks, 2)
        self.linear = nn.Linear(64, classes)
        self.apply(_start)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.layer3(self.layer2(self.layer1(y)))
        return self.linear(F.adaptive_avg_pool2d(y, 1).flatten(1))


def _stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = Block(in_channels, channels, stride)
    return nn.Sequential(first, *(Block(channels, channels, 1) for _ in range(blocks - 1)))


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)


def _resnet(name: str, depth: int, in_channels: int, image_size: ImageSize, classes: int) -> ResNet:
    each(name, "image_size", image_size, 2, 1)
    return ResNet((depth - 2) // 6, in_channels, classes)


def resnet20(in_channels: int = 3, image_size: ImageSize = 32, classes: int = 10) -> ResNet:
    """ResNet-20 for small images: [N, in_channels, H, W] -> scores [N, classes].

    269,722 parameters with 3 channels and 10 classes.  Takes images of any size.  Weights start as `kaiming_normal_` gives them.

    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, section 4.2: 91.25 % on CIFAR-10.

    >>> from convkit import models, zeros
    >>> models.resnet20()(zeros(2, 3, 32, 32)).shape
    (2, 10)
    """
    return _resnet("resnet20", 20, in_channels, image_size, classes)


def resnet32(in_channels: int = 3, image_size: ImageSize = 32, classes: int = 10) -> ResNet:
    """ResNet-32: as `resnet20` with 5 blocks a stage; 464,154 parameters."""
    return _resnet("resnet32", 32, in_channels, image_size, classes)


def resnet44(in_channels: int = 3, image_size: ImageSize = 32, classes: int = 10) -> ResNet:
    """ResNet-44: as `resnet20` with 7 blocks a stage; 658,586 parameters."""
    return _resnet("resnet44", 44, in_channels, image_size, classes)


def resnet56(in_channels: int = 3, image_size: ImageSize = 32, classes: int = 10) -> ResNet:
    """ResNet-56: as `resnet20` with 9 blocks a stage; 853,018 parameters."""
    return _resnet("resnet56", 56, in_channels, image_size, classes)
