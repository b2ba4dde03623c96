"""One pass over memory for each step of an optimiser, in place.

Formulas are those of the torch.optim.SGD, Adam and AdamW documentation (torch 2).  SGD with momentum: I. Sutskever et al., "On the
importance of initialization and momentum in deep learning", 2013, in the form without the learning rate in the buffer.
Adam: D. P. Kingma and J. Ba, 2015; AdamW: I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", 2019.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import prange

from ..layout import flat
from .elementwise import CHUNK, dense, in_order_of, line
from .runtime import kernel


@kernel
def _sgd(param, grad, lr, weight_decay):
    for chunk in prange((param.size + CHUNK - 1) // CHUNK):
        w = param[chunk * CHUNK : (chunk + 1) * CHUNK]
        g = grad[chunk * CHUNK : (chunk + 1) * CHUNK]
        for i in range(w.size):
            w[i] -= lr * (g[i] + weight_decay * w[i])


@kernel
def _sgd_momentum(param, grad, buffer, lr, momentum, take, weight_decay, nesterov):
    # step = g + weight_decay w;  buffer = momentum buffer + take step;  w -= lr (buffer, or step + momentum buffer).
    for chunk in prange((param.size + CHUNK - 1) // CHUNK):
        w = param[chunk * CHUNK : (chunk + 1) * CHUNK]
        g = grad[chunk * CHUNK : (chunk + 1) * CHUNK]
        b = buffer[chunk * CHUNK : (chunk + 1) * CHUNK]
        if nesterov:
            for i in range(w.size):
                step = g[i] + weight_decay * w[i]
                velocity = momentum * b[i] + take * step
                b[i] = velocity
                w[i] -= lr * (step + momentum * velocity)
        else:
            for i in range(w.size):
                velocity = momentum * b[i] + take * (g[i] + weight_decay * w[i])
                b[i] = velocity
                w[i] -= lr * velocity


@kernel
def _adam(param, grad, m, v, step_size, keep1, take1, keep2, take2, root, eps, decay, weight_decay):
    # m = keep1 m + take1 g;  v = keep2 v + take2 g^2;  w -= step_size m / (sqrt(v) / root + eps).
    for chunk in prange((param.size + CHUNK - 1) // CHUNK):
        w = param[chunk * CHUNK : (chunk + 1) * CHUNK]
        g = grad[chunk * CHUNK : (chunk + 1) * CHUNK]
        first = m[chunk * CHUNK : (chunk + 1) * CHUNK]
        second = v[chunk * CHUNK : (chunk + 1) * CHUNK]
        for i in range(w.size):
            value = w[i]
            gradient = g[i] + weight_decay * value
            mean = keep1 * first[i] + take1 * gradient
            square = keep2 * second[i] + take2 * gradient * gradient
            first[i] = mean
            second[i] = square
            w[i] = value * decay - step_size * (mean / (np.sqrt(square) / root + eps))


def _in_place(run: Callable, param: np.ndarray, grad: np.ndarray, states: tuple[np.ndarray, ...]) -> None:
    """run(param, grad, *states) over flat memory; arrays that cannot be walked so are updated by way of copies."""
    work = dense(param)
    own = [in_order_of(state, work) for state in states]
    run(flat(work), line(in_order_of(grad, work)), *map(flat, own))
    for array, copy in zip((param, *states), (work, *own), strict=True):
        if copy is not array:
            array[...] = copy


def sgd_update(
    param: np.ndarray,
    grad: np.ndarray,
    momentum_buffer: np.ndarray | None,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    first: bool,
) -> None:
    """One step of gradient descent, in place on `param` and on `momentum_buffer` (None without momentum).

    g = grad + weight_decay param
    buffer = momentum buffer + (1 - dampening) g        but buffer = g at the first step
    param = param - lr buffer                           or lr (g + momentum buffer) with nesterov
    """
    number = param.dtype.type
    if momentum_buffer is None:
        _in_place(lambda w, g: _sgd(w, g, number(lr), number(weight_decay)), param, grad, ())
        return
    if first:
        momentum_buffer[...] = 0
    take = number(1 if first else 1 - dampening)
    numbers = number(lr), number(momentum), take, number(weight_decay), bool(nesterov)
    _in_place(lambda w, g, b: _sgd_momentum(w, g, b, *numbers), param, grad, (momentum_buffer,))


def adam_update(
    param: np.ndarray,
    grad: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: int,
) -> None:
    """One step of Adam, or of AdamW if `decoupled`, in place on `param` and the moments m and v; `step` counts from 1.

    g = grad + weight_decay param                       AdamW: g = grad, and param = param (1 - lr weight_decay) first
    m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2
    param = param - lr / (1 - beta1^step) m / (sqrt(v) / sqrt(1 - beta2^step) + eps)
    """
    number = param.dtype.type
    numbers = (
        number(lr / (1 - beta1**step)),
        number(beta1),
        number(1 - beta1),
        number(beta2),
        number(1 - beta2),
        number((1 - beta2**step) ** 0.5),
        number(eps),
        number(1 - lr * weight_decay if decoupled else 1),
        number(0 if decoupled else weight_decay),
    )
    _in_place(lambda w, g, first, second: _adam(w, g, first, second, *numbers), param, grad, (m, v))
