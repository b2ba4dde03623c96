"""The update rules as in the torch.optim documentation, element by element, in place on float64 arrays."""

import math

import numpy as np


def sgd_update(param, grad, momentum_buffer, lr, momentum, dampening, weight_decay, nesterov, first):
    for i in np.ndindex(*param.shape):
        g = grad[i] + weight_decay * param[i]
        if momentum_buffer is not None:
            momentum_buffer[i] = g if first else momentum * momentum_buffer[i] + (1 - dampening) * g
            g = g + momentum * momentum_buffer[i] if nesterov else momentum_buffer[i]
        param[i] -= lr * g


def adam_update(param, grad, m, v, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    for i in np.ndindex(*param.shape):
        g = grad[i]
        if decoupled:
            param[i] -= lr * weight_decay * param[i]
        else:
            g = g + weight_decay * param[i]
        m[i] = beta1 * m[i] + (1 - beta1) * g
        v[i] = beta2 * v[i] + (1 - beta2) * g * g
        mhat, vhat = m[i] / (1 - beta1**step), v[i] / (1 - beta2**step)
        param[i] -= lr * mhat / (math.sqrt(vhat) + eps)
