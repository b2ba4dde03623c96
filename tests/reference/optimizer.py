"""The update rules element by element, in place on float64 arrays, with the numbers in the order that `optimizer_step` documents."""

import math

import numpy as np


def sgd(w, g, a, b, c, lr, momentum, take, nesterov):
    a = momentum * a + take * g
    return w - lr * (g + momentum * a if nesterov else a), a, b, c


def adam(w, g, a, b, c, keep, rate, keep1, take1, keep2, take2, scale, eps):
    a = keep1 * a + take1 * g
    b = keep2 * b + take2 * g * g
    c = max(b, c)
    return keep * w - rate * a / (math.sqrt(c) * scale + eps), a, b, c


def nadam(w, g, a, b, c, keep, rate, keep1, take1, keep2, take2, scale, eps, rate_of_g):
    a = keep1 * a + take1 * g
    b = keep2 * b + take2 * g * g
    return keep * w - (rate * a + rate_of_g * g) / (math.sqrt(b) * scale + eps), a, b, c


def radam(w, g, a, b, c, keep, rate, keep1, take1, keep2, take2, rectification, eps, one):
    a = keep1 * a + take1 * g
    b = keep2 * b + take2 * g * g
    return keep * w - rate * a * (rectification / (math.sqrt(b) + eps) if rectification else 1), a, b, c


def adamax(w, g, a, b, c, keep, rate, keep1, take1, keep2, take2, unused, eps):
    a = keep1 * a + take1 * g
    b = max(keep2 * b, abs(g) + eps)
    return keep * w - rate * a / b, a, b, c


def rmsprop(w, g, a, b, c, lr, keep, take, eps, momentum, centered):
    a = keep * a + take * g * g
    b = keep * b + take * g
    c = momentum * c + g / (math.sqrt(a - b * b if centered else a) + eps)
    return w - lr * c, a, b, c


def adagrad(w, g, a, b, c, rate, eps):
    a = a + g * g
    return w - rate * g / (math.sqrt(a) + eps), a, b, c


def adadelta(w, g, a, b, c, lr, keep, take, eps):
    a = keep * a + take * g * g
    change = math.sqrt(b + eps) / math.sqrt(a + eps) * g
    return w - lr * change, a, keep * b + take * change * change, c


def rprop(w, g, a, b, c, smaller, larger, least, largest, one):
    agree = g * a
    b = min(max(b * (larger if agree > 0 else smaller if agree < 0 else 1), least), largest)
    g = 0.0 if agree < 0 else g
    return w - b * np.sign(g), g, b, c


def asgd(w, g, a, b, c, keep, rate, take):
    w = keep * w - rate * g
    return w, a + take * (w - a), b, c


def optimizer_step(kind, params, grads, states, numbers):
    sign, decay, *rest = numbers
    for param, grad, state in zip(params, grads, states, strict=True):
        for i in np.ndindex(*param.shape):
            g = sign * float(grad[i]) + (decay * param[i] if decay else 0)
            before = [0.0 if s is None else float(s[i]) for s in state]
            param[i], *after = globals()[kind](float(param[i]), g, *before, *rest)
            for s, value in zip(state, after, strict=True):
                if s is not None:
                    s[i] = value
