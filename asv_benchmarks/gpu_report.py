#!/usr/bin/env python3
"""What a GPU has to tell, in one run of under eight minutes: tests, kernels against their floors, convolutions and nets against torch, a training.

    python asv_benchmarks/gpu_report.py --out report          # report.json and report.md
    python asv_benchmarks/gpu_report.py --quick               # tiny sizes in the simulator: does this script still run?
    python asv_benchmarks/gpu_report.py --sections kernels,convs --peer-python ~/torch/bin/python

Each section is a process of its own with a share of the time, and what it has told by its end counts: a kernel that hangs loses the rest
of its section only.

A time is the 10th percentile of many batches of calls, each batch between two waits for the GPU.  The floor of a kernel is the longer of
bytes / bandwidth and FLOPs / rate of float32 multiply-adds, both as the GPU's data sheet would say, from its clocks; `share` is floor / time.
torch, where `--peer-python` has it, runs eagerly: strict float32, and with TF32 allowed.  Convolutions are timed here with each `fp32_precision`,
too.  `launches` is what Python takes to queue kernels, and the same step replayed as `train.fit` does it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "asv_benchmarks")]

# Seconds of each section at most: together under eight minutes.
SECTIONS = {"machine": 15, "compile": 100, "kernels": 60, "convs": 100, "nets": 80, "launches": 20, "training": 45, "tests": 55}
# What is run beforehand, all at once, so that kernels are compiled by as many processors as there are, and measured sections find them in the cache.
COMPILED = (("kernels",), ("nets",), ("launches",), *(("convs", "--precision", name) for name in ("ieee", "tf32x3", "tf32")))
QUICK = ("machine", "kernels", "convs", "nets", "launches", "training")


def tell(**facts: Any) -> None:
    """One finding: a line of JSON."""
    print("FACT " + json.dumps(facts), flush=True)


def failure(error: Exception) -> dict[str, str]:
    """What an exception says; a kernel that is not written yet is no failure of those that are."""
    missing = isinstance(error, AttributeError) and "convkit_kernels.cuda" in str(error)
    return {"missing" if missing else "wrong": f"{type(error).__name__}: {error}"[:300]}


class Clock:
    """Times calls on a device that works while Python goes on."""

    def __init__(self, synchronize: Callable[[], None], seconds: float):
        self.synchronize, self.seconds = synchronize, seconds

    def __call__(self, call: Callable[[], Any]) -> dict[str, float]:
        """Seconds of one call; `first` includes the compiler."""

        def batch(n: int) -> float:
            self.synchronize()
            begin = time.perf_counter()
            for _ in range(n):
                call()
            self.synchronize()
            return (time.perf_counter() - begin) / n

        first = batch(1)
        once = batch(1)
        n = max(1, min(200, int(self.seconds / 10 / max(once, 1e-7))))
        times, stop = [], time.perf_counter() + self.seconds
        while not times or time.perf_counter() < stop:
            times.append(batch(n))
        times.sort()
        return {"seconds": times[len(times) // 10], "first": first}


# ---------------------------------------------------------------------------------------- sections
def machine(args: argparse.Namespace) -> None:
    """The GPU, its clocks, versions."""
    import numba
    import numpy

    import convkit
    from convkit import device

    device.check(args.device)
    versions = {"convkit": convkit.__version__, "python": platform.python_version(), "numba": numba.__version__, "numpy": numpy.__version__}
    with contextlib.suppress(ImportError):
        import numba_cuda

        versions["numba-cuda"] = numba_cuda.__version__
    facts: dict[str, Any] = {"device": convkit.cuda.get_device_name(), "versions": versions}
    if args.device == "cuda":
        from convkit_kernels.cuda import driver

        gpu = driver.module().get_current_device()
        facts |= peaks(gpu)
        query = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu,memory.total"
        with contextlib.suppress(OSError):  # a container may have the driver without its tools
            done = subprocess.run(["nvidia-smi", f"--query-gpu={query}", "--format=csv"], capture_output=True, text=True)
            facts["nvidia-smi"] = done.stdout.strip().splitlines()
    tell(section="machine", **facts)


def peaks(gpu: Any) -> dict[str, float]:
    """Bandwidth in GB/s and rate of float32 in GFLOP/s, by clocks and units."""
    lanes = {(7, 5): 64, (8, 0): 64}.get(gpu.compute_capability, 128)
    bandwidth = 2 * gpu.MEMORY_CLOCK_RATE * 1e3 * gpu.GLOBAL_MEMORY_BUS_WIDTH / 8 / 1e9
    return {"gbytes": bandwidth, "gflops": 2 * lanes * gpu.MULTIPROCESSOR_COUNT * gpu.CLOCK_RATE * 1e3 / 1e9}


def cases(k: Any, a: Any, scale: int) -> Iterator[tuple[str, Callable[[], Any], int, float]]:
    """(name, call, bytes, FLOPs) of each kernel family, `scale` images or rows."""
    import numpy as np

    from convkit_kernels import tables
    from convkit_kernels.geometry import window

    def nbytes(*arrays: Any) -> int:
        return sum(x.nbytes for x in arrays)

    size = 56 if scale > 8 else 6
    channels = 64 if scale > 8 else 4
    x, gy = a.image(scale, channels, size, size), a.image(scale, channels, size, size)
    vector, n = a(channels), x.size
    half = a.image(scale, channels, size // 2, size // 2)
    win = window("pool", (2, 2), 2)
    yield "add", lambda: k.add(x, gy), 3 * x.nbytes, n
    yield "add, channels", lambda: k.add(x, vector.reshape(-1, 1, 1)), 2 * x.nbytes, n
    yield "mul, a number", lambda: k.mul(x, 2.0), 2 * x.nbytes, n
    yield "exp", lambda: k.exp(x), 2 * x.nbytes, 0
    yield "relu", lambda: k.activation("threshold", x, 0.0, 0.0), 2 * x.nbytes, n
    yield "gelu", lambda: k.activation("gelu", x), 2 * x.nbytes, 0
    yield "gelu, gradient", lambda: k.activation_grad("gelu", gy, x), 3 * x.nbytes, 0
    yield "to channels-last", lambda: k.channels_last(a(scale, channels, size, size)), 2 * x.nbytes, 0
    yield "sum, all", lambda: k.sum(x, (0, 1, 2, 3), False), x.nbytes, n
    yield "sum, channels", lambda: k.sum(x, (0, 2, 3), False), x.nbytes, n
    yield "amax, rows", lambda: k.amax(x, (1,), False), x.nbytes, n
    yield "argmax", lambda: k.argmax(a(scale, channels * size), 1), x.nbytes // size, n // size
    yield "scan", lambda: k.scan("sum", a(scale, channels * size * size), 1), 2 * x.nbytes, n
    yield "max_pool", lambda: k.max_pool(x, win), x.nbytes + half.nbytes + half.size, n
    taps = a.image(scale, channels, size // 2, size // 2, dtype=np.uint8)
    yield "max_pool, gradient", lambda: k.max_pool_grad(half, taps, (size, size), win), x.nbytes + half.nbytes + half.size, n
    yield "average_pool", lambda: k.average_pool(x, win, True, None), x.nbytes + half.nbytes, n
    yield "average_pool, gradient", lambda: k.average_pool_grad(half, (size, size), win, True, None), x.nbytes + half.nbytes, n
    linear = [tables.interpolation("linear", size // 2, size, None, False)] * 2
    yield "bilinear", lambda: k.resample(half, [None, None, *linear]), x.nbytes + half.nbytes, 7 * n
    yield "norm_stats", lambda: k.norm_stats(x, channels, True), x.nbytes, 3 * n
    mean, std = a(1, channels), a(1, channels)
    yield "norm and relu", lambda: k.norm(x, mean, std, vector, vector, None, True), 2 * x.nbytes, 3 * n
    yield "norm, gradient", lambda: k.norm_grad(gy, x, mean, std, vector, vector, True, True), 5 * x.nbytes, 10 * n
    rows = a(scale * size, 1000 if scale > 8 else 12)
    target = a.index(rows.shape[0])
    yield "softmax", lambda: k.softmax(rows, 1), 2 * rows.nbytes, 0
    yield "cross_entropy", lambda: k.cross_entropy(rows, target, None, -100, 0.0), 2 * rows.nbytes, 0
    yield "cross_entropy, gradient", lambda: k.cross_entropy_grad(rows[:, 0], rows, target, None, -100, 0.0), 2 * rows.nbytes, 0
    yield "dropout", lambda: k.dropout(x, 0.5, 1, 2), 2 * x.nbytes, 0
    yield "normal", lambda: k.normal(x.shape, 1, 2, a.dtype), x.nbytes, 0
    params = [a(channels, channels, 3, 3) for _ in range(max(1, scale // 4))]
    states = [(a(*p.shape), a(*p.shape), None) for p in params]
    numbers = (1.0, 0.0, 1.0, 0.001, 0.9, 0.1, 0.999, 0.001, 1.0, 1e-8)
    yield "adam", lambda: k.optimizer_step("adam", params, params, states, numbers), 7 * nbytes(*params), 12 * sum(p.size for p in params)
    table, index = a(1000, 256), a.index(scale * 64)
    looked = a(scale * 64, 256)
    yield "embedding", lambda: k.embedding(table, index), 2 * looked.nbytes, 0
    yield "embedding, gradient", lambda: k.embedding_grad(looked, index, 1000), looked.nbytes + table.nbytes, looked.size
    yield "gather", lambda: k.gather(looked, index, 0), 2 * looked.nbytes, 0
    yield "argsort", lambda: k.argsort(rows, 1, False), 3 * rows.nbytes, 0
    yield "unfold", lambda: k.unfold(half, window("unfold", (3, 3), 1, 1)), 10 * half.nbytes, 0
    side = 2048 if scale > 8 else 8
    left, right = a(side, side), a(side, side)
    yield "matmul", lambda: k.matmul(left, right), 3 * left.nbytes, 2.0 * side**3
    tall = 128 if scale > 8 else 4
    some, others = a(scale, tall, 64), a(scale, 64, tall)
    yield "matmul, batch", lambda: k.matmul(some, others), nbytes(some, others) + scale * 4 * tall**2, 2.0 * scale * tall * tall * 64
    local = a(size - 2, size - 2, 3, 3, 4, 8)
    few = a.image(scale, 4, size, size)
    yield "local", lambda: k.local_forward(few, local, None, window("local", (3, 3))), local.nbytes + 3 * few.nbytes, 2.0 * local.size * scale
    places = a(scale, size, size, 2)
    yield "grid_sample", lambda: k.grid_sample(x, places, "bilinear", "zeros", False), 2 * x.nbytes + places.nbytes, 8 * n


def kernels(args: argparse.Namespace) -> None:
    """Every family of kernels against its floor."""
    from convkit import cuda, device

    device.check(args.device)
    import convkit_kernels.cuda as k
    from convkit_kernels.cuda import driver, memory
    from tests.cuda.calls import Make

    peak = peaks(driver.module().get_current_device()) if args.device == "cuda" else None

    def zeros(shape: Any, dtype: Any) -> Any:
        x = memory.empty(shape, dtype)
        x[...] = 0
        return x

    clock = Clock(cuda.synchronize, 0.0 if args.quick or args.warm else 0.7)
    for name, call, moved, flops in cases(k, Make(zeros, "float32"), 2 if args.quick else 64):
        told: dict[str, Any] = {"section": "kernels", "case": name}
        try:
            told |= clock(call)
        except Exception as error:
            told |= failure(error)
        else:
            told |= {"gbytes": moved / told["seconds"] / 1e9, "gflops": flops / told["seconds"] / 1e9}
            if peak:
                told["share"] = max(moved / peak["gbytes"], flops / peak["gflops"]) / 1e9 / told["seconds"]
        tell(**told)


def _work(versus: Any, section: str, args: argparse.Namespace, case: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What a case measures; one that cannot even begin is told, and the next has its turn."""
    try:
        yield from versus.work(args.lib, case, args.device)
    except Exception as error:
        tell(section=section, case=case, direction="", lib=args.lib, **failure(error))


def _versus(args: argparse.Namespace, section: str, wanted: list[str]) -> None:
    """The cases of versus.py with one library."""
    import versus

    lib = importlib.import_module(args.lib)
    if args.lib == "torch":
        lib.backends.cuda.matmul.allow_tf32 = lib.backends.cudnn.allow_tf32 = args.precision == "tf32"
        lib.backends.cudnn.benchmark = True
    else:
        lib.cuda.set_fp32_precision(args.precision)
    name = args.lib if args.precision == "ieee" else f"{args.lib}-{args.precision}"
    clock = Clock(lib.cuda.synchronize, 0.0 if args.quick or args.warm else 0.25)
    for case in wanted:
        for direction, call in _work(versus, section, args, case):
            told: dict[str, Any] = {"section": section, "case": case, "direction": direction, "lib": name}
            try:
                told |= clock(call)
            except Exception as error:
                told |= failure(error)
            if case in versus.CONVS and "seconds" in told:
                n, c, h, w, k, r, s, p, d, g = versus.CONVS[case]
                out = [(i + 2 * p - d * (r - 1) - 1) // s + 1 for i in (h, w)]
                flops = 2.0 * n * k * math.prod(out) * (c // g) * r * r * (1 if direction == "fwd" else 3)
                told["gflops"] = flops / told["seconds"] / 1e9
            tell(**told)


def convs(args: argparse.Namespace) -> None:
    """The convolutions of versus.py, forward and with both gradients."""
    import versus

    if args.quick:
        versus.CONVS.clear()
        versus.CONVS["tiny"] = (1, 2, 5, 5, 3, 3, 1, 1, 1, 1)
    _versus(args, "convs", list(versus.CONVS))


def nets(args: argparse.Namespace) -> None:
    """Training steps and inference of the nets of versus.py."""
    import versus

    if args.quick:

        def tiny(nn: Any, _F: Any, _lib: Any) -> dict[str, Any]:
            return {
                "tiny": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)), ("image", (2, 1, 4, 4)), ("class", 3))
            }

        versus.nets, versus.NETS = tiny, ["tiny"]
    _versus(args, "nets", versus.NETS)


def launches(args: argparse.Namespace) -> None:
    """What Python takes to launch kernels: one on a small array, and those of a training step, which are replayed for comparison."""
    import numpy as np

    import convkit
    import convkit_kernels.cuda as k
    from convkit import cuda, nn, optim
    from convkit.train.step import Plain, Replayed
    from convkit_kernels.cuda import memory

    clock = Clock(cuda.synchronize, 0.0 if args.quick or args.warm else 1.0)
    x = memory.asarray(np.zeros(1000 if not args.quick else 10, np.float32))
    tell(section="launches", case="add", how="launched", launches=1, **clock(lambda: k.add(x, x)))
    if args.quick:
        side, model = 4, nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    else:
        first = (nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        side, model = 28, nn.Sequential(*first, nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))
    model.to(args.device)
    optimizer, loss = optim.SGD(model.parameters(), lr=0.0), nn.CrossEntropyLoss()
    batch = (
        convkit.ones(2 if args.quick else 64, 1, side, side, device=args.device),
        convkit.tensor([0, 1] * (1 if args.quick else 32)).to(args.device),
    )
    replayed = Replayed(model, loss, optimizer, True, False)
    for how, step in (("launched", Plain(model, loss)), ("replayed", replayed)):
        told: dict[str, Any] = {"section": "launches", "case": "lenet, forward and backward", "how": how}

        def call(step: Any = step) -> None:
            optimizer.zero_grad()
            step(batch)

        try:
            for _ in range(4):  # two recordings, and what comes before
                call()
            told |= clock(call)
        except Exception as error:
            told |= failure(error)
        if how == "replayed":
            told |= {"replays": replayed.replays, "launches": sum(len(c.recording.launches) for c in replayed.cases.values() if c.recording)}
        tell(**told)


def training(args: argparse.Namespace) -> None:
    """From the command line: digits, and MNIST where it is at hand."""
    runs = [("digits", ["--data", "digits", "--epochs", "1" if args.quick else "10"])]
    mnist = ROOT.parent / "shared" / "data"
    if (mnist / "mnist").is_dir() and not args.quick:
        runs.append(("mnist", ["--data", "mnist", "--data-dir", str(mnist), "--model", "keras-cnn", "--epochs", "12"]))
    if args.quick:  # an epoch of the simulator is hours: the command line's help is all that is tried
        runs = [("help", ["--help"])]
    for name, options in runs:
        with tempfile.TemporaryDirectory() as out:
            begin = time.perf_counter()
            rest = [] if args.quick else ["--device", args.device, "--out", out]
            done = subprocess.run(
                [sys.executable, "-m", "convkit", "train", *options, *rest], capture_output=True, text=True, cwd=ROOT, env=_environment()
            )
            said = (done.stdout + done.stderr).strip().splitlines()[-6:]
            tell(section="training", case=name, status=done.returncode, seconds=time.perf_counter() - begin, said=said)


def tests(args: argparse.Namespace) -> None:
    """The test suite on the device, for as long as the section lasts."""
    command = [sys.executable, "-m", "pytest", "-q", "--device", args.device, "-p", "no:cacheprovider", "-n", "8", "--dist", "loadfile", "tests"]
    environment = {**_environment(), "CONVKIT_TEST_EXAMPLES": "10"}
    with contextlib.suppress(ImportError):
        import xdist  # noqa: F401
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines: list[str] = []
    for line in process.stdout or ():
        lines.append(line.rstrip())
        if line.startswith(("FAILED", "ERROR")) or line.startswith("E  "):
            tell(section="tests", said=line.rstrip()[:300])
    tell(section="tests", status=process.wait(), summary=lines[-1:] or [""])


# ------------------------------------------------------------------------------------------ report
def _environment() -> dict[str, str]:
    paths = [str(ROOT), str(ROOT / "kernels"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def collect(python: str, section: str, seconds: float, *options: str) -> list[dict[str, Any]]:
    """The facts that a section tells in its time; the last says how it ended, if not well."""
    command = [python, os.path.abspath(__file__), "--section", section, *options]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=_environment())
        try:
            status: int | str = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = f"stopped after {seconds:.0f} s"
        out.seek(0)
        err.seek(0)
        facts = [json.loads(line[5:]) for line in out if line.startswith("FACT ")]
        if status:
            facts.append({"section": section, "wrong": f"{status} {' '.join(options)}", "said": err.read().strip().splitlines()[-3:]})
    return facts


def has_torch(python: str) -> bool:
    """Is torch there, with a GPU?"""
    code = "import torch, sys; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([python, "-c", code], capture_output=True).returncode == 0


def markdown(facts: list[dict[str, Any]], seconds: float) -> str:
    """The report for people."""
    lines = ["# convkit on a GPU", ""]
    for fact in facts:
        if fact["section"] == "machine" and "device" in fact:
            lines += [f"{fact['device']}; {', '.join(f'{k} {v}' for k, v in fact['versions'].items())}.", ""]
            lines += [f"`{line}`" for line in fact.get("nvidia-smi", [])]
            if "gbytes" in fact:
                lines += ["", f"By its clocks: {fact['gbytes']:.0f} GB/s, {fact['gflops'] / 1e3:.1f} TFLOP/s of float32."]
    rows = [f for f in facts if f["section"] == "kernels" and "case" in f]
    if rows:
        lines += [
            "",
            "## Kernels",
            "",
            "| case | time | GB/s | GFLOP/s | share of the floor | first call |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
        ]
        for f in rows:
            if "seconds" in f:
                share = f"{100 * f['share']:.0f} %" if "share" in f else ""
                lines.append(f"| {f['case']} | {f['seconds'] * 1e6:.1f} us | {f['gbytes']:.0f} | {f['gflops']:.0f} | {share} | {f['first']:.1f} s |")
            else:
                lines.append(f"| {f['case']} | {f.get('wrong') or f['missing']} | | | | |")
    for section, title in (("convs", "Convolutions"), ("nets", "Nets")):
        table: dict[tuple[str, str], dict[str, Any]] = {}
        for f in facts:
            if f["section"] == section and "case" in f:
                table.setdefault((f["case"], f["direction"]), {})[f["lib"]] = f
        if table:
            libs = list(dict.fromkeys(lib for row in table.values() for lib in row))
            pairs = [("torch", "convkit"), ("torch", "convkit-tf32x3"), ("torch-tf32", "convkit-tf32")]
            pairs = [pair for pair in pairs if pair == pairs[0] or set(pair) <= set(libs)]
            ratios = " | ".join(" / ".join(pair) for pair in pairs)
            lines += ["", f"## {title}", "", f"| case | direction | {' | '.join(libs)} | GFLOP/s | {ratios} |"]
            lines += ["| --- " * (len(libs) + 3 + len(pairs)) + "|"]
            for (case, direction), row in table.items():
                times = [
                    f"{row[lib]['seconds'] * 1e6:.0f} us" if "seconds" in row.get(lib, {}) else row.get(lib, {}).get("wrong", "-") for lib in libs
                ]
                rate = row.get("convkit", {}).get("gflops")
                told = []
                for pair in pairs:
                    theirs, ours = (row.get(lib, {}).get("seconds") for lib in pair)
                    told.append(f"{theirs / ours:.2f}" if theirs and ours else "")
                lines.append(f"| {case} | {direction} | {' | '.join(times)} | {f'{rate:.0f}' if rate else ''} | {' | '.join(told)} |")
    rows = [f for f in facts if f["section"] == "launches" and "case" in f]
    if rows:
        lines += ["", "## Launches", "", "| case | how | time | launches | each |", "| --- | --- | ---: | ---: | ---: |"]
        known = {f["case"]: f["launches"] for f in rows if f.get("launches")}
        for f in rows:
            count = known.get(f["case"], 0)
            time_, each = (
                (f"{f['seconds'] * 1e6:.1f} us", f"{f['seconds'] * 1e6 / count:.2f} us" if count else "") if "seconds" in f else (f["wrong"], "")
            )
            lines.append(f"| {f['case']} | {f['how']} | {time_} | {count or ''} | {each} |")
    for section, title in (("training", "Training from the command line"), ("tests", "Tests on the device")):
        some = [f for f in facts if f["section"] == section and "wrong" not in f]
        if some:
            lines += ["", f"## {title}", ""]
            lines += [f"- {json.dumps({k: v for k, v in f.items() if k != 'section'})}" for f in some]
    wrong = [f for f in facts if "wrong" in f and "case" not in f]
    if wrong:
        lines += ["", "## What did not come to its end", "", *(f"- {f['section']}: {f['wrong']}: {' / '.join(f.get('said', []))}" for f in wrong)]
    return "\n".join([*lines, "", f"{seconds:.0f} s in all.", ""])


def main() -> None:
    """Run the sections, each in its process, and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", default="gpu_report", help="report's path without its ending")
    parser.add_argument("--device", default=None, help="cuda (the default), or cuda:sim with --quick")
    parser.add_argument("--quick", action="store_true", help="tiny sizes in the simulator")
    parser.add_argument("--sections", default="", help=", ".join(SECTIONS))
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has torch")
    parser.add_argument("--section", choices=SECTIONS, help=argparse.SUPPRESS)
    parser.add_argument("--warm", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--lib", default="convkit", help=argparse.SUPPRESS)
    parser.add_argument("--precision", choices=("ieee", "tf32", "tf32x3"), default="ieee", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.device = args.device or ("cuda:sim" if args.quick else "cuda")
    if args.section:
        if args.lib == "convkit":
            from convkit import device

            device.check(args.device)
        globals()[args.section](args)
        return
    begin, facts = time.perf_counter(), []
    wanted = [s for s in (QUICK if args.quick else SECTIONS) if not args.sections or s in args.sections.split(",")]
    peers = not args.quick and has_torch(args.peer_python)
    options = ["--device", args.device, *(["--quick"] if args.quick else [])]
    for section in wanted:
        if section == "compile":
            print(f"compile ({time.perf_counter() - begin:.0f} s)", flush=True)
            with ThreadPoolExecutor(len(COMPILED)) as pool:
                told = pool.map(lambda run: collect(sys.executable, run[0], SECTIONS["compile"], *options, "--warm", *run[1:]), COMPILED)
                facts += [f | {"section": "compile"} for some in told for f in some if "wrong" in f and "case" not in f]
            continue
        runs: list[tuple[str, list[str]]] = [(sys.executable, [])]
        if section == "convs":
            runs += [(sys.executable, ["--precision", name]) for name in ("tf32x3", "tf32")]
        if section in ("convs", "nets") and peers:
            runs += [(args.peer_python, ["--lib", "torch"]), (args.peer_python, ["--lib", "torch", "--precision", "tf32"])]
        print(f"{section} ({time.perf_counter() - begin:.0f} s)", flush=True)
        for python, more in runs:
            share = SECTIONS[section] * (1 if more else 2) / (len(runs) + 1) if len(runs) > 1 else SECTIONS[section]
            facts += collect(python, section, share, *options, *more)
        # Written after each section: what was measured is not lost.
        Path(f"{args.out}.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        Path(f"{args.out}.md").write_text(markdown(facts, time.perf_counter() - begin), encoding="utf-8")
    wrong = [f for f in facts if "wrong" in f]
    print(f"{args.out}.json, {args.out}.md: {len(facts)} findings, {len(wrong)} of them wrong, {time.perf_counter() - begin:.0f} s")
    if args.quick and wrong:
        sys.exit("\n".join(json.dumps(f) for f in wrong))


if __name__ == "__main__":
    main()
