"""Matrix products."""

from convkit_kernels import cpu

from .common import DTYPES, _Kernel, random, some

SHAPES = {"lenet-dense": (64, 400, 120), "vgg-dense": (64, 2048, 128), "square-512": (512, 512, 512), "row": (1, 1600, 10)}


class MatMul(_Kernel):
    params = [some(SHAPES), ["a b", "a bT", "aT b"], DTYPES]
    param_names = ["shape", "layout", "dtype"]

    def prepare(self, shape, layout, dtype):
        m, k, n = SHAPES[shape]
        a = random((k, m), dtype).T if layout == "aT b" else random((m, k), dtype)
        b = random((n, k), dtype).T if layout == "a bT" else random((k, n), dtype)
        return lambda: cpu.matmul(a, b)
