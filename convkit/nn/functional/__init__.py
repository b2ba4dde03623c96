"""Functions of neural networks, under torch's names and with torch's arguments.

Shapes: N images, C input and K output channels, spatial sizes (D, H, W) as the rank has.  A name that exists for several ranks is a
wrapper in a file of its family here; every other name is the function of `convkit.ops` itself.
"""

from ...ops.activation import log_softmax, relu, sigmoid, softmax, tanh
from ...ops.dropout import dropout
from ...ops.embedding import embedding
from ...ops.loss import cross_entropy, mse_loss, nll_loss
from ...ops.matmul import bilinear, linear
from ...ops.norm import batch_norm
from ...ops.pad import pad
from ...ops.resample import interpolate
from ...ops.shape import flatten
from ...ops.shuffle import channel_shuffle, pixel_shuffle, pixel_unshuffle
from ...ops.unfold import fold, unfold
from .conv import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d
from .pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "batch_norm", "bilinear",
    "channel_shuffle", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "cross_entropy", "dropout",
    "embedding", "flatten", "fold", "interpolate", "linear", "log_softmax", "max_pool1d", "max_pool2d", "max_pool3d", "mse_loss", "nll_loss",
    "pad", "pixel_shuffle", "pixel_unshuffle", "relu", "sigmoid", "softmax", "tanh", "unfold",
]  # fmt: skip
