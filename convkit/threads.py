"""The number of threads that CPU kernels use."""

from __future__ import annotations


def set_num_threads(count: int) -> None:
    """Let kernels use `count` threads; ValueError outside 1 .. the number of cores.  Results do not depend on it."""
    from convkit_kernels.cpu import runtime

    runtime.set_num_threads(count)


def get_num_threads() -> int:
    """Threads that kernels use; at start, the number of cores."""
    from convkit_kernels.cpu import runtime

    return runtime.get_num_threads()
