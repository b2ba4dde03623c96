"""What there is of a GPU: nothing in this version, which has CPU kernels only."""

from __future__ import annotations


def is_available() -> bool:
    """Can tensors live on a GPU?"""
    return False


def device_count() -> int:
    """Number of usable GPUs."""
    return 0


def synchronize() -> None:
    """Wait for the GPU's work; there is none to wait for."""
