"""Runs every asv benchmark once, in one process: does each still run?  asv itself starts a process for each parameter, which takes minutes.

CONVKIT_BENCH_QUICK=1 python asv_benchmarks/quick.py
"""

import importlib
import itertools
import pathlib
import time


def main() -> None:
    """Sets up each class of `benchmarks/` for each of its parameters and calls what asv would measure."""
    start, count = time.perf_counter(), 0
    for path in sorted((pathlib.Path(__file__).parent / "benchmarks").glob("*.py")):
        module = importlib.import_module(f"benchmarks.{path.stem}")
        for cls in vars(module).values():
            if not isinstance(cls, type) or cls.__module__ != module.__name__ or cls.__name__.startswith("_"):
                continue
            params = getattr(cls, "params", [])
            lists = params if params and isinstance(params[0], list | tuple) else [params] if params else []
            cached = [cls().setup_cache()] if hasattr(cls, "setup_cache") else []  # asv gives it to every call
            for values in itertools.product(cached, *lists) if cached else itertools.product(*lists):
                for name in (n for n in dir(cls) if n.startswith(("time_", "track_", "peakmem_"))):
                    benchmark = cls()
                    if hasattr(benchmark, "setup"):
                        benchmark.setup(*values)
                    getattr(benchmark, name)(*values)
                    count += 1
    print(f"{count} benchmarks ran once, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
