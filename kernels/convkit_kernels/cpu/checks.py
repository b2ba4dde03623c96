"""What is said of the numbers in an array before they are used: classes, indices, probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layout import unsigned


def inside(x: np.ndarray, low: Any, high: Any, error: type[Exception], text: str, ignored: Any = None) -> tuple[np.ndarray, bool]:
    """x, where low <= x <= high or x == ignored everywhere, and whether it is known that nothing is ignored; otherwise `error` is raised.

    In `text` {first}, {least} and {most} stand for the first number that is wrong, and for the least and the greatest of all.
    """
    if low == 0 and x.dtype == np.int64:  # one look: what is negative is very large as an unsigned number
        good = not x.size or int(unsigned(x).max()) <= high
    else:
        good = not x.size or bool(x.min() >= low and x.max() <= high)
    if good and (ignored is None or not low <= ignored <= high):
        return x, True
    counted = np.True_ if ignored is None else x != ignored
    if not good:
        bad = x[~((low <= x) & (x <= high)) & counted]
        if bad.size:
            raise error(text.format(first=bad[0].item(), least=x.min().item(), most=x.max().item()))
    return x, bool(counted.all())
