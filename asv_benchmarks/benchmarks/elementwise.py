"""Element by element."""

from convkit_kernels import cpu

from .common import ACTIVATIONS, DTYPES, _Kernel, random, some


class Unary(_Kernel):
    params = [["exp", "log", "sqrt", "neg", "abs"], some(ACTIVATIONS), DTYPES]
    param_names = ["function", "shape", "dtype"]

    def prepare(self, function, shape, dtype):
        x = abs(random(ACTIVATIONS[shape], dtype))
        return lambda: getattr(cpu, function)(x)


class Binary(_Kernel):
    params = [["add", "mul", "div", "maximum", "lerp"], some(ACTIVATIONS), DTYPES]
    param_names = ["function", "shape", "dtype"]

    def prepare(self, function, shape, dtype):
        a, b = random(ACTIVATIONS[shape], dtype), random(ACTIVATIONS[shape], dtype, 1)
        return (lambda: cpu.lerp(a, b, 0.25)) if function == "lerp" else lambda: getattr(cpu, function)(a, b)
