"""Convolution: forward, input gradient and weight gradient, in time, GFLOP/s, percent of peak and error."""

import tracemalloc

import numpy as np

from convkit_kernels import cpu
from convkit_kernels.algorithm import conv_algorithm
from convkit_kernels.cpu import machine, runtime

from .common import CONVS, DTYPES, GROWING, SECONDS, THREADS, ConvCase, _Kernel, _Peak, some

CALLS = {
    "forward": lambda c: cpu.conv_forward(c.x, c.w, c.b, c.window),
    "input_grad": lambda c: cpu.conv_input_grad(c.gy, c.w, None, c.x.shape[2:], c.window),
    "weight_grad": lambda c: cpu.conv_weight_grad(c.x, c.gy, c.window),
}
FINISHED = {"forward, added to and cut off": lambda c: cpu.conv_forward(c.x, c.w, c.b, c.window, c.gy, True)}
ALGORITHMS = ["direct", "winograd"]


class Conv(_Kernel):
    """By the algorithm that is expected to be fastest."""

    params = [some(CONVS), [*CALLS, *FINISHED], DTYPES, THREADS]
    param_names = ["shape", "direction", "dtype", "threads"]

    def prepare(self, shape, direction, dtype, threads):
        runtime.set_num_threads(threads)
        case = ConvCase(shape, dtype)
        return lambda: (CALLS | FINISHED)[direction](case)


class Peak(_Peak):
    """By each algorithm; Winograd's operations are those that direct sums would need."""

    params = [some(["3x3-64", "3x3-128", "3x3-256", "3x3-32", "3x3-d2"]), list(CALLS), ALGORITHMS, DTYPES, THREADS]
    param_names = ["shape", "direction", "algorithm", "dtype", "threads"]

    def prepare(self, shape, direction, algorithm, dtype, threads):
        case = ConvCase(shape, dtype)

        def call():
            with conv_algorithm(algorithm):
                CALLS[direction](case)

        return call, case.flop


class Growth:
    """Time for each pixel and scratch memory, which more and larger images must not increase, in float32 on all threads."""

    params = [some(GROWING), list(CALLS), ALGORITHMS]
    param_names = ["images", "direction", "algorithm"]

    def setup(self, images, direction, algorithm):
        runtime.set_num_threads(THREADS[-1])
        self.case = ConvCase(images, "float32")

    def call(self, direction, algorithm):
        with conv_algorithm(algorithm):
            return CALLS[direction](self.case)

    def track_nanoseconds_per_pixel(self, images, direction, algorithm):
        n, _, h, w = self.case.x.shape
        return machine.best_seconds(lambda: self.call(direction, algorithm), SECONDS) / (n * h * w) * 1e9

    def track_scratch_megabytes(self, images, direction, algorithm):
        self.call(direction, algorithm)  # plans stay
        tracemalloc.start()
        result = self.call(direction, algorithm)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return (most - result.nbytes) / 1e6

    track_nanoseconds_per_pixel.unit, track_scratch_megabytes.unit = "ns", "MB"


class Accuracy:
    """Relative error by norm against SciPy in float64, for one image."""

    params = [some(["lenet2", "3x3-64"]), list(CALLS), ALGORITHMS, DTYPES]
    param_names = ["shape", "direction", "algorithm", "dtype"]

    def track_error_against_scipy(self, shape, direction, algorithm, dtype):
        from scipy.signal import convolve, correlate

        case = ConvCase(shape, dtype)
        case.x, case.gy = case.x[:1], case.gy[:1]
        with conv_algorithm(algorithm):
            got = np.asarray(CALLS[direction](case), "f8")
        (top, _), (left, _) = case.window.padding
        x, w, b, gy = (np.asarray(a, "f8") for a in (np.pad(case.x[0], ((0, 0), *case.window.padding)), case.w, case.b, case.gy[0]))
        if direction == "forward":
            expected = np.stack([correlate(x, w[k], "valid")[0] + b[k] for k in range(len(w))])[None]
        elif direction == "input_grad":  # each pixel of the padded image, from every filter; then without the padding
            around = np.pad(gy, ((0, 0), *((r - 1, r - 1) for r in w.shape[2:])))
            padded = np.stack([convolve(around, w[::-1, c], "valid")[0] for c in range(w.shape[1])])
            expected = padded[None, :, top : top + got.shape[2], left : left + got.shape[3]]
        else:
            expected = np.array([[correlate(x[c], gy[k], "valid") for c in range(w.shape[1])] for k in range(len(w))])
        return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))

    track_error_against_scipy.less_is_better = True
