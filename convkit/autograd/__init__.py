"""Gradients: the graph of operations (`graph`), operations that run as one (`fusion`), and whether gradients are right (`gradcheck`)."""

from .gradcheck import gradcheck, gradgradcheck
from .graph import Function, TensorBase, backward, compute_waiting, enable_grad, grad, is_grad_enabled, is_observed, no_grad, observed, version_of
from .once import once_differentiable

__all__ = [
    "Function", "TensorBase", "backward", "compute_waiting", "enable_grad", "grad", "gradcheck", "gradgradcheck", "is_grad_enabled", "is_observed",
    "no_grad", "observed", "once_differentiable", "version_of",
]  # fmt: skip
