"""Losses element by element."""

import numpy as np

from convkit_kernels import cpu

from .common import DTYPES, _Kernel, random, some


class PointwiseLoss(_Kernel):
    params = [["forward", "grad"], some(["mse", "smooth_l1", "bce_with_logits", "kl_div"]), DTYPES]
    param_names = ["function", "kind", "dtype"]

    def prepare(self, function, kind, dtype):
        x, t = random((1 << 22,), dtype), abs(random((1 << 22,), dtype, 1))
        g = np.broadcast_to(x.dtype.type(0.5), x.shape)
        if function == "forward":
            return lambda: cpu.pointwise_loss(kind, x, t, 1.0)
        return lambda: cpu.pointwise_loss_grad(kind, g, x, t, 1.0)
