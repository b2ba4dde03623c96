"""Matrix products."""

from convkit_kernels import cpu

from .common import DTYPES, THREADS, _Kernel, _Peak, random, some

# name: ([batch,] M, K, N)
SHAPES = {"lenet-dense": (64, 400, 120), "vgg-dense": (64, 2048, 128), "square-512": (512, 512, 512), "row": (1, 1600, 10),
          "1x1-weights": (256, 6272, 256), "attention": (96, 197, 64, 197), "many-small": (500, 16, 16, 16)}  # fmt: skip


class MatMul(_Kernel):
    params = [some(SHAPES), ["a b", "a bT", "aT b"], DTYPES]
    param_names = ["shape", "layout", "dtype"]

    def prepare(self, shape, layout, dtype):
        *batch, m, k, n = SHAPES[shape]
        a = random((*batch, k, m), dtype).swapaxes(-1, -2) if layout == "aT b" else random((*batch, m, k), dtype)
        b = random((*batch, n, k), dtype).swapaxes(-1, -2) if layout == "a bT" else random((*batch, k, n), dtype)
        return lambda: cpu.matmul(a, b)


class Peak(_Peak):
    params = [["square-512", "1x1-weights"], DTYPES, THREADS]
    param_names = ["shape", "dtype", "threads"]

    def prepare(self, shape, dtype, threads):
        m, k, n = SHAPES[shape]
        a, b = random((m, k), dtype), random((k, n), dtype)
        return lambda: cpu.matmul(a, b), 2 * m * k * n
