"""GPU kernels: @cuda.jit loops over arrays on the device, twins of `convkit_kernels.cpu`: the same files, functions and arguments.

`memory.Array` is their array; `launch.kernel` makes a kernel; `driver` alone speaks to CUDA.
"""

from .activation import activation, activation_grad
from .checks import inside
from .conv import conv_forward, conv_input_grad, conv_weight_grad
from .copy import channels_last, concatenate, contiguous
from .elementwise import abs, add, binary, clamp, clamp_grad, div, exp, lerp, log, maximum, minimum, mul, neg, pow, sign, sqrt, sub, unary, where
from .embedding import embedding, embedding_bag, embedding_bag_grad, embedding_grad, gather, gather_sum, scatter
from .grid import grid_sample, grid_sample_grid_grad, grid_sample_input_grad
from .local import local_forward, local_input_grad, local_weight_grad
from .loss import pointwise_loss, pointwise_loss_grad
from .matmul import matmul
from .norm import norm, norm_grad, norm_stats
from .optimizer import optimizer_step
from .pool import average_pool, average_pool_grad, max_pool, max_pool_grad, max_pool_places, max_unpool, max_unpool_grad
from .random import dropout, normal, uniform
from .reduce import amax, amin, argmax, argmin, nonzero, prod, scan, sum
from .resample import resample
from .softmax import cross_entropy, cross_entropy_grad, log_softmax, log_softmax_grad, softmax, softmax_grad
from .sort import argsort
from .unfold import fold, unfold

__all__ = [
    "abs", "activation", "activation_grad", "add", "amax", "amin", "argmax", "argmin", "argsort", "average_pool", "average_pool_grad", "binary",
    "channels_last", "clamp", "clamp_grad", "concatenate", "contiguous", "conv_forward", "conv_input_grad", "conv_weight_grad", "cross_entropy",
    "cross_entropy_grad", "div", "dropout", "embedding", "embedding_bag", "embedding_bag_grad", "embedding_grad", "exp", "fold", "gather",
    "gather_sum", "grid_sample", "grid_sample_grid_grad", "grid_sample_input_grad", "inside", "lerp", "local_forward", "local_input_grad",
    "local_weight_grad", "log", "log_softmax", "log_softmax_grad", "matmul", "max_pool", "max_pool_grad", "max_pool_places", "max_unpool",
    "max_unpool_grad", "maximum", "minimum", "mul", "neg", "nonzero", "norm", "norm_grad", "norm_stats", "normal", "optimizer_step",
    "pointwise_loss", "pointwise_loss_grad", "pow", "prod", "resample", "scan", "scatter", "sign", "softmax", "softmax_grad", "sqrt", "sub",
    "sum", "unary", "unfold", "uniform", "where",
]  # fmt: skip
