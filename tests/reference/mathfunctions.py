"""Scalar functions of one float64."""

import math


def exp(x):
    if math.isnan(x):
        return x
    return math.inf if x > 709.782712893384 else math.exp(x)


def log(x):
    if math.isnan(x) or x < 0:
        return math.nan
    return -math.inf if x == 0 else math.log(x)


def expm1(x):
    return math.inf if x > 709.782712893384 else math.expm1(x)


def log1p(x):
    if math.isnan(x) or x < -1:
        return math.nan
    return -math.inf if x == -1 else math.log1p(x)


def normal(x):
    return 0.5 * math.erfc(-x / math.sqrt(2)), math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def tanh(x):
    return math.tanh(x)


def sigmoid(x):
    return 1 / (1 + exp(-x))


def turn(u):
    return math.cos(2 * math.pi * u), math.sin(2 * math.pi * u)


def maximum(a, b):
    return math.nan if math.isnan(a) or math.isnan(b) else max(a, b)


def minimum(a, b):
    return math.nan if math.isnan(a) or math.isnan(b) else min(a, b)


def divide(a, b):
    if b == 0:
        return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)
    return a / b


def subtract(a, b):
    return a - b
