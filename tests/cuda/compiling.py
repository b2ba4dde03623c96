"""What the compiler makes of every kernel, on a machine without a GPU.

    python -m tests.cuda.compiling elementwise reduce ...        families: files of kernels; one line of JSON for each kernel

The driver is replaced by one whose memory nobody reads and whose launches only take note of the kernel; then `calls.CALLS` are made.  Each kernel
that they would launch is compiled to LLVM code once and from there to PTX for each GPU of `TARGETS`; ptxas, which knows registers and spills,
assembles it for the first of them (for all, the kernels of `MAIN`).
"""

from __future__ import annotations

import ast
import ctypes
import functools
import gc
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TARGETS = ((7, 5), (8, 0), (9, 0), (12, 0))
# Families whose kernels take most of a training step: spills would cost most there.
MAIN = ("conv", "matmul")
# Families that are formulas walked element by element, hundreds of kernels of one shape: they are compiled, but not assembled.
ROWS = ("activation", "elementwise", "loss")
WALKED = ("_add", "_exp", "_where", "_lerp_by", "_clamp_grad")  # formulas of one to three operands that are compiled with every walk
WINDOWS = ("conv", "grid", "local", "pool", "resample", "unfold")  # what sees images through windows


def exports(backend: str) -> dict[str, list[str]]:
    """{file: its public functions} of a backend, read from its source."""
    code = ast.parse((ROOT / "kernels" / "convkit_kernels" / backend / "__init__.py").read_text(encoding="utf-8"))
    return {node.module or "": [alias.name for alias in node.names] for node in code.body if isinstance(node, ast.ImportFrom)}


# -------------------------------------------------------------------------------- nothing is launched
class Noted:
    """Stands for a compiled kernel: takes note of its launches, and looks whether its arguments have the types that were declared."""

    every: dict[Any, Noted] = {}
    calling = ("", "")  # name and dtype of the call that is made

    def __init__(self, kernel: Any):
        self.kernel, self.calls, self.threads, self.wrong = kernel, set(), 0, []  # type: ignore[var-annotated]
        self.every[kernel] = self

    def asked(self, grid: Any, threads: Any, args: tuple, launch: Any) -> None:
        """A launch of the kernel's; `launch()` makes it, and comes to `launched`."""
        self.calls.add(self.calling)
        if len(args) != len(self.kernel.types):
            self.wrong.append(f"{len(args)} arguments for {len(self.kernel.types)}")
        for i, (kind, arg) in enumerate(zip(self.kernel.types, args, strict=False)):
            if not _fits(kind, arg):
                self.wrong.append(f"argument {i} is {type(arg).__name__} {getattr(arg, 'dtype', arg)!r} for {kind}")
        from convkit_kernels.cuda import memory

        free = {block.address for blocks in memory.pool._free.values() for block in blocks}
        self.wrong += [f"argument {i} in memory that nobody holds any more" for i, arg in enumerate(args) if getattr(arg, "address", None) in free]
        self.args = args
        try:
            launch()
        except RuntimeError as error:
            self.wrong.append(str(error))

    def launched(self, grid: tuple, threads: tuple, parameters: int) -> None:
        """What the driver is asked for."""
        self.threads = max(self.threads, int(np.prod(threads)))
        if not (0 < np.prod(grid) and grid[0] < 2**31 and all(n < 2**16 for n in grid[1:]) and 0 < np.prod(threads) <= 1024):
            self.wrong.append(f"{grid} blocks of {threads} threads")
        ours, numbas = packed(parameters, self.kernel.layout.sizes), numba_packs(self.kernel.types, self.args)
        self.wrong += [f"parameter {i} is {a!r}, for Numba {b!r}" for i, (a, b) in enumerate(zip(ours, numbas, strict=True)) if a != b]


def packed(parameters: Any, sizes: list[int]) -> list[bytes]:
    """What the driver reads for each parameter, given `Parameters` or their address."""
    places = (ctypes.c_void_p * len(sizes)).from_address(getattr(parameters, "address", parameters))
    return [ctypes.string_at(place, size) for place, size in zip(places, sizes, strict=True)]


def numba_packs(kinds: tuple, args: tuple) -> list[bytes]:
    """The same of a launch by Numba, by its own functions: kernels bring arguments to parameters, cuda.core parameters to memory."""
    from cuda.core._kernel_arg_handler import ParamHolder
    from numba.cuda import types
    from numba.cuda.args import ArgHint
    from numba.cuda.dispatcher import _Kernel

    class Given(ArgHint):
        def to_device(self, retr: Any, stream: Any = 0) -> Any:
            layout = SimpleNamespace(strides_in_bytes=None, is_contiguous_c=True, is_contiguous_f=True)
            flat = self.value
            return SimpleNamespace(size=flat.size, dtype=flat.dtype, ptr=flat.address, shape=(flat.size,), _layout=layout)

    numba = _Kernel.__new__(_Kernel)
    numba.extensions = []
    numbers: list[Any] = []
    sizes = []
    for kind, arg in zip(kinds, args, strict=True):
        numba._prepare_args(kind, Given(arg) if isinstance(kind, types.Array) else arg, 0, [], numbers)
        parts = list(kind) if isinstance(kind, types.BaseTuple) else [kind]
        sizes += [n for part in parts for n in ([8] * 7 if isinstance(part, types.Array) else [1 if part == types.boolean else part.bitwidth // 8])]
    holder = ParamHolder(tuple(numbers))
    return packed(holder.ptr, sizes)


def _fits(kind: Any, arg: Any) -> bool:
    from numba import from_dtype, types

    from convkit_kernels.cuda import driver

    if isinstance(kind, types.Array):
        return isinstance(arg, driver.Flat) and kind.ndim == 1 and from_dtype(arg.dtype) == kind.dtype
    if isinstance(kind, types.UniTuple):
        return isinstance(arg, tuple) and len(arg) == kind.count and all(_fits(kind.dtype, x) for x in arg)
    if isinstance(kind, types.BaseTuple):
        return isinstance(arg, tuple) and all(_fits(k, x) for k, x in zip(kind, arg, strict=True))
    if isinstance(kind, types.Float):
        return isinstance(arg, (int, float, np.number))
    return isinstance(arg, (int, np.integer, bool, np.bool_))


def without_gpu() -> None:
    """Replace the driver."""
    from convkit_kernels.cuda import driver, launch

    def allocate(size: int) -> Any:
        memory = np.zeros(size, np.uint8)
        return driver.Block(memory, memory.ctypes.data, size)

    assert not driver.is_simulated()
    import numba.cuda.dispatcher

    numba.cuda.dispatcher.get_current_device = lambda: type("Device", (), {"compute_capability": (9, 0)})
    driver.allocate = allocate
    driver.to_device = lambda block, data: None
    driver.to_host = lambda block, offset, data: data.fill(0)
    driver.mapped = lambda size: (block := allocate(size), block.memory)
    driver.synchronize = driver.wait = lambda: None
    driver.trouble = lambda: None
    noted = functools.cached_property(Noted)
    noted.__set_name__(launch.Kernel, "bound")
    launch.Kernel.bound = noted
    plain = launch.Kernel.run
    launch.Kernel.run = lambda self, *launch: self.bound.asked(*launch, lambda: plain(self, *launch))
    driver.launch = lambda function, *launch: function.launched(*launch)


def launches(names: list[str], dtypes: tuple[str, ...]) -> list[Noted]:
    """The kernels that the calls of these public functions launch."""
    import convkit_kernels.cuda as k
    from convkit_kernels.cuda import memory
    from tests.cuda import calls

    before = set(Noted.every)
    for name in names:
        for dtype in dtypes:
            Noted.calling = (name, dtype)
            for call in calls.calls(name, dtype):
                call(k, calls.Make(memory.empty, dtype))
    return [noted for kernel, noted in Noted.every.items() if kernel not in before]


def untried() -> list[str]:
    """The families of kernels that no call has launched, of those that files name; not of what functions make as it is asked for."""
    from convkit_kernels.cuda.launch import Family

    def families(value: Any) -> Iterator[Family]:
        if isinstance(value, Family):
            yield value
        elif isinstance(value, (list, tuple, dict)):
            for part in value.values() if isinstance(value, dict) else value:
                yield from families(part)

    modules = [module for name, module in sorted(sys.modules.items()) if name.startswith("convkit_kernels.cuda.")]
    tried = {kernel.function for kernel in Noted.every}
    found = {id(f): f for module in modules for value in vars(module).values() for f in families(value)}
    return [f"{f.function.__module__}.{f.function.__qualname__}" for f in found.values() if f.function not in tried]


# ---------------------------------------------------------------------------------- compiled all the same
def compiled(noted: Noted, assemble: tuple = TARGETS[:1], targets: tuple = TARGETS) -> dict[str, Any]:
    """What is to be known of a kernel; PTX under `ptx`, by target."""
    found, library = lowered(noted, targets)
    return generated(found, library, noted.kernel, assemble, targets)


def lowered(noted: Noted, targets: tuple) -> tuple[dict[str, Any], Any]:
    """(what is known of a kernel, its LLVM code): Numba's part, which is the same for every target."""
    from numba.cuda import compiler

    kernel, library = noted.kernel, None
    found: dict[str, Any] = {
        "kernel": repr(kernel), "calls": sorted(noted.calls), "wrong": noted.wrong, "threads": noted.threads,
        "double": any("float64" in str(kind) for kind in kernel.types), "failed": "", "ptx": {}, "assembled": {},
    }  # fmt: skip
    if targets:  # else what it was launched with is all that is asked
        try:
            library, _ = compiler._compile_pyfunc_with_fixup(kernel.function, kernel.types, cc=TARGETS[0], device=False, abi="numba")
            library.get_llvm_str()  # which the library remembers
        except Exception as error:  # the compiler says anything
            found["failed"] = f"{type(error).__name__}: {error}"
    return found, library


def generated(found: dict[str, Any], library: Any, kernel: Any, assemble: tuple, targets: tuple) -> dict[str, Any]:
    """`found` with PTX and what ptxas says: the part of the compiler's own library, which needs no lock of Python's."""
    try:
        for target in targets if library is not None else ():
            if target >= getattr(kernel, "capability", (0, 0)):
                found["ptx"][target] = ptx = library.get_asm_str(cc=target)
                if (sizes := parameters(ptx)) != kernel.layout.sizes:
                    found["wrong"].append(f"parameters of {kernel.layout.sizes} bytes, in PTX of {sizes}")
                if target in assemble:
                    found["assembled"][target] = assembled(ptx, target, kernel.registers)
    except Exception as error:
        found["failed"] = f"{type(error).__name__}: {error}"
    return found


def parameters(ptx: str) -> list[int]:
    """Bytes of each parameter of the only kernel in PTX; what is no plain number of its own has none."""
    (text,) = re.findall(r"\.entry [^(]*\(([^)]*)\)", ptx)
    return [int(re.fullmatch(r"\s*\.param \.[usbf](\d+)(?: \.ptr \.align \d+)? \w+\s*", line)[1]) // 8 for line in text.split(",")]  # type: ignore[index]


@functools.cache
def assembler() -> str:
    """The path of ptxas; RuntimeError if the package nvidia-cuda-nvcc is missing."""
    from cuda import pathfinder

    found = pathfinder.find_nvidia_binary_utility("ptxas")
    if found is None:
        raise RuntimeError("ptxas is missing: pip install nvidia-cuda-nvcc")
    return found


def assembled(ptx: str, target: tuple[int, int], registers: int | None = None) -> dict[str, int]:
    """What ptxas says: registers of a thread, bytes of its stack and spilled, shared memory of a block."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.ptx")
        path.write_text(ptx, encoding="utf-8")
        limit = [] if registers is None else [f"-maxrregcount={registers}"]
        done = subprocess.run(
            [assembler(), "-v", f"-arch=sm_{target[0]}{target[1]}", *limit, "-o", os.devnull, str(path)], capture_output=True, text=True
        )
    if done.returncode:
        return {"failed": done.stderr}  # type: ignore[dict-item]

    def number(pattern: str) -> int:
        return sum(int(n) for n in re.findall(pattern, done.stderr))

    return {
        "registers": number(r"Used (\d+) registers"), "stack": number(r"(\d+) bytes stack frame"), "shared": number(r"(\d+) bytes smem"),
        "spilled": number(r"(\d+) bytes spill stores"),
    }  # fmt: skip


def facts(found: dict[str, Any]) -> dict[str, Any]:
    """`found` with what matters of the PTX in its place: one set for all targets."""
    ptx = found.pop("ptx")
    found["f64"] = sorted({line.strip() for code in ptx.values() for line in code.splitlines() if ".f64" in line and ".param" not in line})[:5]
    found["instructions"] = sorted(
        {word for code in ptx.values() for word in re.findall(r"\b(?:mma|ld\.global|st\.global|ld\.shared|cp\.async)[\w.]+", code)}
    )
    found["targets"] = [f"sm_{major}{minor}" for major, minor in ptx]
    found["assembled"] = {f"sm_{major}{minor}": what for (major, minor), what in found["assembled"].items()}
    return found


def hasten() -> None:
    """A quarter less time to compile: nothing that is compiled dies, and Numba compares its options thousands of times."""
    gc.disable()
    from numba.cuda.core.targetconfig import TargetConfig

    @functools.cache
    def defaults(kind: type) -> dict[str, Any]:
        return {name: option.default for name, option in kind.options.items()}  # type: ignore[attr-defined]

    TargetConfig.values = lambda self: {**defaults(type(self)), **self._values}


def needed(found: list[Noted]) -> Iterator[tuple[Noted, bool]]:
    """(a launch, whether to compile its kernel): walks over elements are compiled with the formulas of `WALKED`, others with their first walk."""
    seen: set[tuple] = set()
    for noted in found:
        walk = re.fullmatch(r"elementwise\.(\w+?)(_(?:one|two|three|by_three)(?:_strided)?_[14])\(.*", repr(noted.kernel))
        if walk is None:
            yield noted, True
            continue
        dtypes = {str(kind.dtype) for kind in noted.kernel.types if hasattr(kind, "dtype")}
        key = (walk[1], frozenset(dtypes - {"int64"}))  # strided walks have a plan of int64 beside their arrays
        yield noted, walk[1] in WALKED or key not in seen
        seen.add(key)


def main(wanted: list[str]) -> None:
    """Print what is to be known of the kernels of some families, while others are compiled: Python here, the compiler's library in two threads."""
    warnings.simplefilter("ignore")
    hasten()
    without_gpu()
    from tests.cuda import calls

    family_of = {name: family for family in wanted for name in exports("cuda")[family]}
    launched = launches(list(family_of), (*calls.FLOATS, *calls.WHOLE))  # all, before what is told of a kernel: families share some
    jobs: dict[Noted, tuple[list[str], bool]] = {noted: ([], False) for noted in launched}
    for family in wanted:
        for noted, compile_it in needed([n for n in launched if family in {family_of[name] for name, _ in n.calls}]):
            families, before = jobs[noted]
            jobs[noted] = ([*families, family], before or compile_it)

    def tell(families: list[str], *work: Any) -> None:
        print(json.dumps({"families": families, **facts(generated(*work))}) + "\n", end="", flush=True)

    with ThreadPoolExecutor(2) as threads:
        telling = []
        for noted, (families, compile_it) in jobs.items():
            targets = TARGETS if compile_it else ()
            assemble = TARGETS if set(families) & set(MAIN) else TARGETS[:1] if set(families) - set(ROWS) else ()
            telling.append(threads.submit(tell, families, *lowered(noted, targets), noted.kernel, assemble, targets))
        for done in telling:
            done.result()


# ------------------------------------------------------------------------------------ what must hold
# Public functions that compute in float64 whatever the dtype, and why.
DOUBLE = {
    "prod": "a product may leave float32's range on the way",
}
# The same of `scan`, by the names of its kernels: running products, sums of exponentials, and what brings them back to float32.
DOUBLE_SCANS = ("scan_prod", "scan_logsumexp", "elementwise._same")
# Functions of the compiler's library that reduce large angles in float64, on a path of their own.
ANGLES = ("cos", "sin", "tan", "normal")


def complaints(found: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a kernel."""
    if found["failed"]:
        yield f"does not compile: {found['failed']}"
    yield from (f"launched with {what}" for what in found["wrong"])
    names = {name for name, dtype in found["calls"] if dtype == "float32"}
    if any(part in found["kernel"] for part in DOUBLE_SCANS):
        names -= {"scan"}
    if found["double"] and names - set(DOUBLE):
        yield f"float32 calls of {sorted(names)} take a kernel with float64 arguments"
    if not found["double"] and found["f64"] and not any(angle in found["kernel"] for angle in ANGLES):
        yield f"float64 in a kernel of float32: {found['f64']}"
    if found["targets"] and re.search(r"_4\(", found["kernel"]) and "float32" in found["kernel"] and not found["double"]:
        for access in ("ld.global", "st.global"):  # 16 bytes at once, the most there is; four of int64 take two of them
            if not any(re.match(rf"{access}\.(v4|v2\.b64)", instruction) for instruction in found["instructions"]):
                yield f"no {access}.v4 in a kernel that takes four numbers at a time"
    for target, what in found["assembled"].items():
        if "failed" in what:
            yield f"ptxas for {target}: {what['failed']}"
            continue
        if what["spilled"]:
            yield f"{target}: {what['spilled']} bytes of registers are spilled"
        if what["stack"] and set(found["families"]) & set(MAIN) and not found["double"]:
            yield f"{target}: {what['stack']} bytes of local arrays are in memory, not in registers"
        if -(-what["registers"] // 8) * 8 * found["threads"] > 65536:
            yield f"{target}: {what['registers']} registers for {found['threads']} threads are more than a multiprocessor has"
        if what["shared"] > 48 * 1024:
            yield f"{target}: {what['shared']} bytes of shared memory"


if __name__ == "__main__":
    main(sys.argv[1:])
