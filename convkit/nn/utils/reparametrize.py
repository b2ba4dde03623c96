"""Weights computed from other parameters before each forward: weight normalisation and spectral normalisation."""

from __future__ import annotations

from typing import Any, TypeVar

from ...autograd import no_grad
from ...ops.creation import randn
from ...tensor import RemovableHandle, Tensor
from ..layers import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ..module import Module
from ..parameter import Parameter

M = TypeVar("M", bound=Module)


class _Reparametrized:
    """A forward pre-hook that computes `module.<name>`, which is no longer a parameter."""

    op = ""
    name: str
    handle: RemovableHandle

    def compute(self, module: Any) -> Tensor:
        """The weight."""
        raise NotImplementedError

    def attach(self, module: Module, name: str) -> Parameter:
        """Take the parameter `name` out of the module and put this hook in its place; gives the parameter."""
        self.name = name
        if any(isinstance(hook, _Reparametrized) and hook.name == name for hook in _functions(module)):
            raise RuntimeError(f"{self.op}: {name!r} of {type(module).__name__} is computed already")
        weight = module._parameters.get(name)
        if weight is None:
            raise ValueError(f"{self.op}: {type(module).__name__} has no parameter {name!r}")
        delattr(module, name)
        self.handle = module.register_forward_pre_hook(self)
        return weight

    def __call__(self, module: Module, args: Any) -> None:
        setattr(module, self.name, self.compute(module))

    @classmethod
    def detach(cls, module: Module, name: str) -> None:
        """Make the weight that was computed a parameter again."""
        for hook in _functions(module):
            if isinstance(hook, cls) and hook.name == name:
                break
        else:
            raise ValueError(f"remove_{cls.op}: {name!r} of {type(module).__name__} is not computed by {cls.op}")
        with no_grad():
            weight = hook.last(module)
        hook.handle.remove()
        for other in (name, *hook.names()):
            delattr(module, other)
        module.register_parameter(name, Parameter(weight.detach()))

    def last(self, module: Any) -> Tensor:
        """The weight as it is now."""
        return self.compute(module)

    def names(self) -> tuple[str, ...]:
        """Parameters and buffers that it added."""
        raise NotImplementedError


def _functions(module: Module) -> list[Any]:
    """What the module calls before each forward."""
    return [hook.function for hook in module._forward_pre_hooks.values()]


class _WeightNorm(_Reparametrized):
    op = "weight_norm"

    def __init__(self, dim: int | None) -> None:
        self.dim = dim

    def norm(self, v: Tensor) -> Tensor:
        if self.dim is None or self.dim == -1:  # as in torch, -1 is no dimension
            return (v * v).sum().sqrt()
        others = tuple(axis for axis in range(v.ndim) if axis != self.dim % v.ndim)
        return ((v * v).sum(others, keepdim=True) if others else v * v).sqrt()

    def compute(self, module: Any) -> Tensor:
        v = getattr(module, self.name + "_v")
        return v * (getattr(module, self.name + "_g") / self.norm(v))

    def names(self) -> tuple[str, ...]:
        return self.name + "_g", self.name + "_v"


class _SpectralNorm(_Reparametrized):
    op = "spectral_norm"

    def __init__(self, iterations: int, eps: float, dim: int) -> None:
        self.iterations, self.eps, self.dim = iterations, eps, dim

    def matrix(self, weight: Tensor) -> Tensor:
        if self.dim:
            weight = weight.permute(self.dim, *(axis for axis in range(weight.ndim) if axis != self.dim))
        return weight.reshape(weight.shape[0], -1)

    def unit(self, x: Tensor) -> Tensor:
        return x / (x * x).sum().sqrt().clamp(min=self.eps)

    def compute(self, module: Any, iterate: bool | None = None) -> Tensor:
        weight, u, v = (getattr(module, self.name + end) for end in ("_orig", "_u", "_v"))
        matrix = self.matrix(weight)
        if module.training if iterate is None else iterate:
            with no_grad():
                fixed = matrix.detach()
                for _ in range(self.iterations):
                    v.copy_(self.unit(fixed.T @ u))
                    u.copy_(self.unit(fixed @ v))
            u, v = u.clone(), v.clone()  # a second forward before backward changes the buffers
        return weight / (u * (matrix @ v)).sum()

    def last(self, module: Any) -> Tensor:
        return self.compute(module, False)

    def names(self) -> tuple[str, ...]:
        return self.name + "_orig", self.name + "_u", self.name + "_v"


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Learn the length and the direction of a weight apart: weight = g * v / |v|, |v| over all dimensions but `dim` (over all if None).

    The parameter `weight` gives way to `weight_g` and `weight_v`; `weight` is computed before each forward.  Gives the module.

    Raises:
        ValueError: the module has no such parameter.
        RuntimeError: it is computed already.

    T. Salimans, D. P. Kingma, "Weight normalization", NIPS 2016, arXiv:1602.07868.

    >>> from convkit import nn
    >>> layer = nn.utils.weight_norm(nn.Linear(3, 2))
    >>> [(name, p.shape) for name, p in layer.named_parameters()]
    [('bias', (2,)), ('weight_g', (2, 1)), ('weight_v', (2, 3))]
    """
    hook = _WeightNorm(dim)
    weight = hook.attach(module, name)
    with no_grad():
        module.register_parameter(name + "_g", Parameter(hook.norm(weight.detach())))
    module.register_parameter(name + "_v", Parameter(weight.detach()))
    hook(module, ())
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Undo `weight_norm`: the weight as it is now becomes a parameter.  ValueError if it is not computed so."""
    _WeightNorm.detach(module, name)
    return module


def spectral_norm(module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None) -> M:
    """Divide a weight by its largest singular value, of the matrix [dimension `dim`, all others].

    The parameter `weight` becomes `weight_orig`; `weight` is computed before each forward.  The singular vectors are the buffers `weight_u`
    and `weight_v`, which n_power_iterations of the power method improve at each forward in training.  `dim` is 0, or 1 for
    transposed convolutions.  Gives the module.

    Raises:
        ValueError: the module has no such parameter, or fewer than one iteration.
        RuntimeError: it is computed already.

    T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida, "Spectral normalization for generative adversarial networks", ICLR 2018, arXiv:1802.05957.

    >>> from convkit import nn
    >>> layer = nn.utils.spectral_norm(nn.Linear(3, 2))
    >>> list(layer.state_dict())
    ['bias', 'weight_orig', 'weight_u', 'weight_v']
    """
    if n_power_iterations < 1:
        raise ValueError(f"spectral_norm: n_power_iterations must be at least 1, got {n_power_iterations}")
    if dim is None:
        dim = int(isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)))
    hook = _SpectralNorm(n_power_iterations, eps, dim)
    weight = hook.attach(module, name)
    module.register_parameter(name + "_orig", weight)
    with no_grad():
        matrix = hook.matrix(weight.detach())
        for end, size in zip(("_u", "_v"), matrix.shape, strict=True):
            module.register_buffer(name + end, hook.unit(randn(size, dtype=weight.dtype)))
    setattr(module, name, weight.detach())
    return module


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Undo `spectral_norm`: the weight as it is now becomes a parameter.  ValueError if it is not computed so."""
    _SpectralNorm.detach(module, name)
    return module
