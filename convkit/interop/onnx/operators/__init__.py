"""The table of operators: a file a family; importing them fills `TABLE`."""

from ..node import TABLE
from . import activation, arithmetic, normalisation, reduction, resize, shape, window  # noqa: F401  # each enters its rows

__all__ = ["TABLE", "supported"]


def supported() -> list[str]:
    """Names of the ONNX operators that `load` knows.

    >>> from convkit.interop.onnx import supported
    >>> "Conv" in supported()
    True
    """
    return sorted([*TABLE, "Constant"])
