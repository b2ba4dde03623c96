"""Convolution: forward, input gradient and weight gradient, in time, GFLOP/s, percent of peak and error."""

import numpy as np

from convkit_kernels import cpu
from convkit_kernels.algorithm import conv_algorithm
from convkit_kernels.cpu import runtime
from convkit_kernels.cpu.machine import best_seconds

from .common import CONVS, DTYPES, THREADS, ConvCase, _Kernel, peak_gflops, some

CALLS = {
    "forward": lambda c: cpu.conv_forward(c.x, c.w, c.b, c.window),
    "input_grad": lambda c: cpu.conv_input_grad(c.gy, c.w, None, c.x.shape[2:], c.window),
    "weight_grad": lambda c: cpu.conv_weight_grad(c.x, c.gy, c.window),
}


class Conv(_Kernel):
    params = [some(CONVS), list(CALLS), DTYPES]
    param_names = ["shape", "direction", "dtype"]

    def prepare(self, shape, direction, dtype):
        case = ConvCase(shape, dtype)
        return lambda: CALLS[direction](case)


class Peak:
    """The same calls by each algorithm, beside the peak measured in the same run; Winograd's GFLOP/s are those that direct sums would need."""

    params = [some(["3x3-64", "3x3-128", "3x3-256", "1x1-256"]), list(CALLS), ["direct", "winograd"], THREADS]
    param_names = ["shape", "direction", "algorithm", "threads"]

    def setup(self, shape, direction, algorithm, threads):
        runtime.set_num_threads(threads)
        self.case = ConvCase(shape, "float32")

    def track_gflops(self, shape, direction, algorithm, threads):
        with conv_algorithm(algorithm):
            return self.case.flop / best_seconds(lambda: CALLS[direction](self.case), 0.4) / 1e9

    def track_percent_of_peak(self, shape, direction, algorithm, threads):
        return 100 * self.track_gflops(shape, direction, algorithm, threads) / peak_gflops("float32", threads)

    track_gflops.unit, track_percent_of_peak.unit = "GFLOP/s", "%"


class Accuracy:
    """Relative error by norm against SciPy in float64."""

    params = [some(["lenet2", "3x3-64"]), DTYPES, ["direct", "winograd"]]
    param_names = ["shape", "dtype", "algorithm"]

    def track_max_error_vs_scipy(self, shape, dtype, algorithm):
        from scipy.signal import correlate

        case = ConvCase(shape, dtype)
        p = case.window.padding
        x = np.pad(case.x[0].astype("f8"), ((0, 0), *p))
        with conv_algorithm(algorithm):
            y = cpu.conv_forward(case.x[:1], case.w, case.b, case.window)[0].astype("f8")
        expected = np.stack([correlate(x, w.astype("f8"), "valid")[0] + b for w, b in zip(case.w, case.b, strict=True)])
        return float(np.linalg.norm(y - expected) / np.linalg.norm(expected))
