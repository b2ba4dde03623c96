"""Checks of numbers, one after another."""

import numpy as np


def inside(x, low, high, error, text, ignored=None):
    numbers = np.asarray(x).reshape(-1).tolist()
    known = ignored is None
    for value in numbers:
        if not (low <= value <= high or (ignored is not None and value == ignored)):
            raise error(text.format(first=value, least=np.min(x).item(), most=np.max(x).item()))
    return x, known or ignored not in numbers
