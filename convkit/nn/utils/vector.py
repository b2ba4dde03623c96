"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from ...autograd import no_grad
from ...autograd.graph import listed
from ...ops.shape import cat
from ...tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All numbers of `parameters` in one vector, each in row-major order; ValueError without parameters.

    >>> import convkit
    >>> from convkit import nn
    >>> nn.utils.parameters_to_vector([convkit.ones(2, 2), convkit.zeros(1)]).tolist()
    [1.0, 1.0, 1.0, 1.0, 0.0]
    """
    parts = [p.reshape(-1) for p in listed("parameters_to_vector", parameters)]
    if not parts:
        raise ValueError("parameters_to_vector: there are no parameters")
    return cat(parts)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy the numbers of `vec` into `parameters`, in their order; torch's share the memory of `vec` afterwards, these do not.

    TypeError if `vec` is no tensor, RuntimeError if it is too short; nothing is changed then.

    >>> import convkit
    >>> from convkit import nn
    >>> w, b = convkit.zeros(1, 2), convkit.zeros(1)
    >>> nn.utils.vector_to_parameters(convkit.tensor([1.0, 2.0, 3.0]), [w, b])
    >>> w.tolist(), b.tolist()
    ([[1.0, 2.0]], [3.0])
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters: vec must be a tensor, got {type(vec).__name__}")
    targets = listed("vector_to_parameters", parameters)
    needed = sum(p.numel() for p in targets)
    if vec.ndim != 1 or vec.numel() < needed:
        raise RuntimeError(f"vector_to_parameters: the parameters need a vector of {needed} numbers, got shape {list(vec.shape)}")
    start = 0
    with no_grad():
        for p in targets:
            p.copy_(vec[start : start + p.numel()].reshape(*p.shape))
            start += p.numel()
