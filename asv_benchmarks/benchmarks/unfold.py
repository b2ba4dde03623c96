"""Windows laid side by side, and their sum back."""

from convkit_kernels import cpu

from .common import CONVS, DTYPES, ConvCase, _Kernel, random, some


class Unfold(_Kernel):
    params = [some(["3x3-64", "3x3-s2", "7x7-stem"]), ["unfold", "fold"], DTYPES]
    param_names = ["shape", "direction", "dtype"]

    def prepare(self, shape, direction, dtype):
        case, size = ConvCase(shape, dtype), CONVS[shape][2:4]
        if direction == "unfold":
            return lambda: cpu.unfold(case.x, case.window)
        columns = random(cpu.unfold(case.x, case.window).shape, dtype)
        return lambda: cpu.fold(columns, size, case.window)
