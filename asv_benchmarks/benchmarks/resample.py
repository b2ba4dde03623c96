"""Resampling by tables: padding and interpolation, forward and backward."""

from convkit_kernels import cpu, tables

from .common import DTYPES, _Kernel, random, some

# name: (N, C, H, W); the second in C order, as images come
SHAPES = {"channels": (8, 64, 64, 64), "images": (4, 3, 128, 128)}
TABLES = {
    "reflect": lambda n: tables.padding("reflect", n, 2, 2),
    "bilinear x2": lambda n: tables.interpolation("linear", n, 2 * n, None, False),
    "bicubic x2": lambda n: tables.interpolation("cubic", n, 2 * n, None, False),
    "nearest x2": lambda n: tables.interpolation("nearest", n, 2 * n, None, False),
    "bilinear / 2": lambda n: tables.interpolation("linear", n, n // 2, None, False),
    "antialiased / 3": lambda n: tables.antialiased("linear", n, n // 3, None, False),
    "area / 3": lambda n: tables.interpolation("area", n, n // 3, None, False),
}


class Resample(_Kernel):
    params = [some(TABLES), ["forward", "backward"], some(SHAPES), DTYPES]
    param_names = ["table", "direction", "shape", "dtype"]

    def prepare(self, table, direction, shape, dtype):
        x = random(SHAPES[shape], dtype)
        if shape == "images":
            x = x.copy(order="C")
        walk = [None, None, *(TABLES[table](n) for n in x.shape[2:])]
        if direction == "forward":
            return lambda: cpu.resample(x, walk)
        gy = cpu.resample(x, walk)
        back = [None if t is None else t.transposed for t in walk]
        return lambda: cpu.resample(gy, back)
