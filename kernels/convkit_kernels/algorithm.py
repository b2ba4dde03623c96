"""Which algorithm convolutions use where several can: the one that is asked for, or the one that the backend expects to be fastest."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from contextvars import ContextVar

ALGORITHMS = ("auto", "direct", "winograd")
_wanted: ContextVar[str | None] = ContextVar("conv_algorithm", default=None)


def _checked(name: object, where: str) -> str:
    if name not in ALGORITHMS:
        raise ValueError(f"{where}: must be one of {', '.join(ALGORITHMS)}, got {name!r}")
    return str(name)


@contextlib.contextmanager
def conv_algorithm(name: str) -> Iterator[None]:
    """Within the `with` block, in this thread: convolutions run by "direct" sums, by "winograd", or ("auto") by what is expected to be fastest.

    Direct sums are the strict choice: each product is of a pixel and a weight as they are, so that NaN and infinity reach what the
    definition says.  Winograd's F(4x4, 3x3) multiplies sums of pixels by sums of weights, with a quarter of the products: its relative error is
    1e-6 to 2e-6 in float32 (2e-7 to 8e-7 directly), and NaN or infinity makes whole 4x4 tiles NaN.  It exists for 3x3 windows of stride 1
    without groups, dilated or not; other convolutions are direct whatever is asked for.  A backward pass uses what holds when it runs.

    The environment variable CONVKIT_CONV_ALGORITHM does the same for a whole program; it is read once.  ValueError for any other name.

    >>> import convkit
    >>> x, w = convkit.ones(1, 64, 8, 8), convkit.ones(64, 64, 3, 3)
    >>> with convkit.conv_algorithm("direct"):
    ...     y = convkit.nn.functional.conv2d(x, w)
    >>> y.max().item()
    576.0
    """
    before = _wanted.set(_checked(name, "conv_algorithm"))
    try:
        yield
    finally:
        _wanted.reset(before)


_told: ContextVar[list | None] = ContextVar("choices", default=None)


@contextlib.contextmanager
def choices() -> Iterator[list]:
    """Collects what backends choose between: a pair (estimates, the name of the algorithm taken) for each sum, in order."""
    found: list = []
    before = _told.set(found)
    try:
        yield found
    finally:
        _told.reset(before)


def tell(estimates: tuple, taken: str) -> None:
    """For backends: say what was chosen between."""
    found = _told.get()
    if found is not None:
        found.append((estimates, taken))


@functools.cache
def of_environment() -> str:
    """The algorithm that CONVKIT_CONV_ALGORITHM asks for; it is read when first needed (`of_environment.cache_clear()`: again)."""
    return _checked(os.environ.get("CONVKIT_CONV_ALGORITHM") or "auto", "CONVKIT_CONV_ALGORITHM")


def wanted() -> str:
    """The algorithm that is asked for now."""
    return _wanted.get() or of_environment()
