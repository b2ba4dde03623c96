"""Start-up: importing, the first training step with and without compiled kernels, and what compiling costs."""

import os
import subprocess
import sys
import tempfile

FIRST_STEP = """
import time; start = time.perf_counter()
import convkit; imported = time.perf_counter()
from convkit import models, optim
import convkit.nn.functional as F
model = models.create("lenet5")
opt = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
F.cross_entropy(model(convkit.randn(64, 1, 28, 28)), convkit.randint(0, 10, (64,))).backward()
opt.step()
from convkit_kernels.cpu import runtime
print(imported - start, time.perf_counter() - start, sum(runtime.compile_seconds.values()))
"""


def first_step(cache: str) -> list[float]:
    """Seconds of import, to the end of the first LeNet training step, and of compiling, in a new process."""
    out = subprocess.run(
        [sys.executable, "-c", FIRST_STEP], env={**os.environ, "CONVKIT_CACHE_DIR": cache}, capture_output=True, text=True, check=True
    )
    return [float(v) for v in out.stdout.split()]


class Startup:
    unit = "s"
    timeout = 300

    def setup_cache(self):
        with tempfile.TemporaryDirectory() as cache:
            return {"cold": first_step(cache), "warm": min(first_step(cache) for _ in range(3))}

    def track_import_seconds(self, seen):
        return seen["warm"][0]

    def track_first_step_seconds_warm(self, seen):
        return seen["warm"][1]

    def track_first_step_seconds_cold(self, seen):
        return seen["cold"][1]

    def track_compile_seconds(self, seen):
        return seen["cold"][2]

    track_import_seconds.less_is_better = track_compile_seconds.less_is_better = True
    track_first_step_seconds_warm.less_is_better = track_first_step_seconds_cold.less_is_better = True
