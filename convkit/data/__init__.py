"""Data sets and batches: NumPy arrays in, tensors out.

- `load(name)` gives a data set by name: `digits` (in the package), `mnist`, `fashion-mnist`, `cifar10`.
- `ArrayDataset` makes one of arrays, `Subset` and `random_split` take parts of one.
- `DataLoader` gives its batches, in an order that (seed, epoch) fixes, and can resume in the middle of an epoch.
- `Normalize`, `read_idx` and `cifar10_lossless` are the tools behind them.

>>> from convkit.data import DataLoader, digits
>>> loader = DataLoader(digits("train"), batch_size=64, shuffle=True, seed=1)
>>> images, labels = next(iter(loader))
>>> tuple(images.shape)
(64, 1, 8, 8)
"""

from convkit.data.cache import cache_dir
from convkit.data.cifar import cifar10, cifar10_lossless
from convkit.data.dataset import (
    ArrayDataset,
    Dataset,
    ImageDataset,
    Normalize,
    Subset,
    TensorDataset,
    random_split,
)
from convkit.data.digits import digits
from convkit.data.idx import read_idx
from convkit.data.loader import DataLoader
from convkit.data.sources import NAMES, load

__all__ = [
    "NAMES",
    "ArrayDataset",
    "DataLoader",
    "Dataset",
    "ImageDataset",
    "Normalize",
    "Subset",
    "TensorDataset",
    "cache_dir",
    "cifar10",
    "cifar10_lossless",
    "digits",
    "load",
    "random_split",
    "read_idx",
]
