"""`convkit info`: the machine, the threads, the versions and the cache, for bug reports."""

from __future__ import annotations

import argparse
import platform
import subprocess
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Adds the parser."""
    parser = commands.add_parser("info", help="the machine, threads, versions and cache", description="What convkit runs on, for bug reports.")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints it."""
    facts = gather()
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {value}")
    return 0


def gather() -> dict[str, str]:
    """What `convkit info` prints."""
    from importlib import metadata

    import convkit
    from convkit_kernels.cpu import calibration, runtime
    from convkit_kernels.cpu.microkernel import isa

    unit, used = isa(), calibration.factors()
    folder = runtime.cache_folder()
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    versions = {"convkit": convkit.__version__, "python": platform.python_version()}
    for package in ("numpy", "scipy", "numba", "numba-cuda", "llvmlite", "safetensors", "pillow", "matplotlib", "rich"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    trouble = convkit.cuda.trouble()
    return {
        "gpu": f"none: {trouble}" if trouble else convkit.cuda.get_device_name(),
        "cpu": cpu_name(),
        "vector units": f"{unit.name}, {unit.bytes * 8} bits",
        "threads": f"{convkit.get_num_threads()}, by {runtime.layer}",
        "system": platform.platform(),
        "kernel cache": f"{folder} ({len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB)",
        "costs of convolutions": "built in" if used is calibration.BUILT_IN else f"measured here, {calibration.told(used)} times the built-in ones",
        **versions,
    }


def cpu_name() -> str:
    """The processor's name as its maker gives it, or at least its architecture."""
    try:
        if platform.system() == "Linux":
            for text in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
                if text.lower().startswith("model name"):
                    return text.partition(":")[2].strip()
        if platform.system() == "Darwin":
            return subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return platform.processor() or platform.machine()
