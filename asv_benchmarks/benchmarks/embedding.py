"""Embedding."""

import numpy as np

from convkit_kernels import cpu

from .common import DTYPES, _Kernel, random


class Embedding(_Kernel):
    params = [["forward", "grad"], DTYPES]
    param_names = ["function", "dtype"]

    def prepare(self, function, dtype):
        table, index = random((20000, 128), dtype), np.random.default_rng(0).integers(0, 20000, (50, 64))
        gy = random((50 * 64, 128), dtype).reshape(50, 64, 128)
        return (lambda: cpu.embedding(table, index)) if function == "forward" else (lambda: cpu.embedding_grad(gy, index, 20000))


class EmbeddingBag(_Kernel):
    params = [["forward", "grad"], ["sum", "mean", "max"], DTYPES]
    param_names = ["function", "mode", "dtype"]

    def prepare(self, function, mode, dtype):
        table, index, start = random((20000, 128), dtype), np.random.default_rng(0).integers(0, 20000, 3200), np.arange(65) * 50
        y, which = cpu.embedding_bag(table, index, start, None, mode)
        if function == "forward":
            return lambda: cpu.embedding_bag(table, index, start, None, mode)
        return lambda: cpu.embedding_bag_grad(y, index, start, None, which, 20000, mode)


class Scatter(_Kernel):
    params = [["rows", "columns", "vector"], DTYPES]
    param_names = ["index", "dtype"]

    def prepare(self, index, dtype):
        x, places = random((4096, 1024), dtype), np.random.default_rng(0).integers(0, 1024, (4096, 1024))
        return lambda: cpu.scatter(x, places[0] if index == "vector" else places, 0 if index == "rows" else 1, 1024)


class Gather(_Kernel):
    params = [["rows", "columns"], DTYPES]
    param_names = ["index", "dtype"]

    def prepare(self, index, dtype):
        x, places = random((4096, 1024), dtype), np.random.default_rng(0).integers(0, 1024, (4096, 1024))
        return lambda: cpu.gather(x, places, 0 if index == "rows" else 1)


class GatherSum(_Kernel):
    params = [DTYPES]
    param_names = ["dtype"]

    def prepare(self, dtype):
        x, places = random((4096, 1024), dtype), np.random.default_rng(0).integers(0, 1024, 4096)
        return lambda: cpu.gather_sum(x, places)
