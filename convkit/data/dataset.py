"""Data sets: arrays in memory, parts of them, and the normalisation of images.

A data set is anything with `len(d)` and `d[i]`.  One that also has `get_batch(indices)` gives a whole batch at once,
which is how `DataLoader` reads it: one fancy index per array instead of a Python call per image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import index as as_int
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[Any]
NUMERIC_KINDS = "biufc"


class Dataset:
    """What a data set has to offer: `len(d)` items, the i-th of them `d[i]`, a tuple of arrays and numbers.

    Derive from it, or do not: `DataLoader` takes any object with these two methods.

    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 4
    ...     def __getitem__(self, i):
    ...         return np.full(2, i), i * i
    >>> Squares()[3]
    (array([3, 3]), 9)
    """

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} needs a __len__ method that gives the number of items")

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} needs a __getitem__ method that gives the item at an index")


class Normalize:
    """Images as float32 with zero mean and unit spread: (image / scale - mean) / std, channel by channel.

    Called with images [N, C, ...] of any dtype, gives float32 of the same shape.

    Args:
        mean: one number, or C of them, in units of image / scale (so 0 to 1 for scaled 8-bit images).
        std: as many numbers, larger than 0.
        scale: what the stored values are divided by; 255 for 8-bit images.

    Raises:
        ValueError: numbers of means and standard deviations differ, a standard deviation is not positive, or the
            images have another number of channels.

    >>> gray = np.array([0, 51, 255], dtype=np.uint8).reshape(1, 1, 3)
    >>> Normalize(0.2, 0.4)(gray).round(3)
    array([[[-0.5,  0. ,  2. ]]], dtype=float32)
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float], scale: float = 255.0) -> None:
        self.mean = _numbers(mean)
        self.std = _numbers(std)
        self.scale = float(scale)
        if len(self.mean) != len(self.std):
            raise ValueError(f"Normalize: {len(self.mean)} means but {len(self.std)} standard deviations")
        if not all(s > 0 for s in self.std) or not self.scale > 0:
            raise ValueError(f"Normalize: std and scale must be larger than 0, got {self.std} and {self.scale}")

    def __call__(self, images: Array) -> Array:
        channels = len(self.mean)
        if images.ndim < 2 or channels not in (1, images.shape[1]):
            raise ValueError(f"Normalize: images {list(images.shape)} do not have {channels} channels in dimension 1")
        # (image / scale - mean) / std as one product and one difference, with constants rounded once.
        per_channel = (channels,) + (1,) * (images.ndim - 2)
        factor = np.array([1 / (self.scale * s) for s in self.std], np.float32).reshape(per_channel)
        offset = np.array([m / s for m, s in zip(self.mean, self.std, strict=True)], np.float32).reshape(per_channel)
        out = images.astype(np.float32)
        out *= factor
        out -= offset
        return out

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std}, scale={self.scale:g})"


class ArrayDataset(Dataset):
    """A data set of arrays that share their first dimension: item i is the tuple of their i-th entries.

    Also known as `TensorDataset`, torch's name.  The arrays are kept as they are, without a copy: 8-bit images stay
    8-bit, and `transform` turns a batch of them into float32 when it is asked for.

    Args:
        arrays: NumPy arrays, or objects with a `numpy()` method such as tensors, [N, ...] each.
        transform: called with the first array's part of a batch, [B, ...] (B = 1 for a single item); what it gives
            takes that part's place.  `Normalize` is one.  It should depend on its input alone: a random one makes
            the batches of a resumed epoch differ from those of an uninterrupted one.

    Raises:
        ValueError: no arrays, an array without dimensions, or arrays of different lengths.
        TypeError: an array that does not hold numbers.

    >>> d = ArrayDataset(np.arange(8, dtype=np.uint8).reshape(4, 2), np.array([0, 1, 0, 1]), transform=Normalize(0, 1))
    >>> len(d)
    4
    >>> images, labels = d.get_batch([3, 0])
    >>> images.dtype, labels
    (dtype('float32'), array([1, 0]))
    """

    def __init__(self, *arrays: Any, transform: Callable[[Array], Array] | None = None) -> None:
        self.arrays = tuple(as_numbers("ArrayDataset", array) for array in arrays)
        self.transform = transform
        if not self.arrays:
            raise ValueError("ArrayDataset: needs at least one array")
        if any(array.ndim == 0 for array in self.arrays):
            raise ValueError("ArrayDataset: every array needs a first dimension that counts the items, got a number")
        lengths = [len(array) for array in self.arrays]
        if len(set(lengths)) > 1:
            raise ValueError(f"ArrayDataset: the arrays must have one length, got {lengths}")

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int | slice) -> tuple[Any, ...]:
        """The item at `index`, a tuple with one entry for each array; for a slice, the batch of those items."""
        if isinstance(index, slice):
            return self.get_batch(np.arange(len(self))[index])
        return tuple(array[0] for array in self.get_batch(np.array([_checked_index(self, index)])))

    def get_batch(self, indices: ArrayLike) -> tuple[Array, ...]:
        """The items at `indices` [B]: one new array [B, ...] for each array, the first one transformed."""
        chosen = np.asarray(indices, dtype=np.intp)
        first, *others = (array[chosen] for array in self.arrays)
        return (first if self.transform is None else self.transform(first), *others)


TensorDataset = ArrayDataset


class ImageDataset(ArrayDataset):
    """Labelled images with what is needed to read them; `load` and `digits` give one.

    Item i is (image, label): float32 [C, H, W], normalised to zero mean and unit spread, and an int64.

    Attributes:
        images: the raw images, [N, C, H, W] uint8.
        labels: [N] int64, 0 to len(classes) - 1.
        name: of the data set.
        classes: their names, in the order of the labels.
        image_shape: (C, H, W).
        mean, std: one number per channel, in units of image / scale; of the whole training part.
        source: where the images come from: a file, and whether they are a lossy copy.
        transform: `Normalize(mean, std, scale)`; assign another one to feed other statistics.

    Raises:
        ValueError: images that are not [N, C, H, W], or a label without a class.

    >>> from convkit.data import digits
    >>> d = digits("test")
    >>> d
    ImageDataset(digits: 360 images 1x8x8, 10 classes)
    >>> image, label = d[0]
    >>> image.shape, image.dtype, d.classes[label]
    ((1, 8, 8), dtype('float32'), '4')
    """

    def __init__(
        self,
        images: Any,
        labels: Any,
        *,
        name: str,
        classes: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        scale: float = 255.0,
        source: str = "",
    ) -> None:
        super().__init__(images, np.asarray(labels, dtype=np.int64), transform=Normalize(mean, std, scale))
        self.images, self.labels = self.arrays
        self.name = name
        self.classes = list(classes)
        self.mean, self.std = tuple(mean), tuple(std)
        self.source = source
        if self.images.ndim != 4 or self.labels.ndim != 1:
            shapes = f"{list(self.images.shape)} and {list(self.labels.shape)}"
            raise ValueError(f"{name}: images and labels must be [N, C, H, W] and [N], got {shapes}")
        wrong = (self.labels < 0) | (self.labels >= len(self.classes))
        if wrong.any():
            at = int(np.argmax(wrong))
            raise ValueError(f"{name}: label {self.labels[at]} at {at} is not one of {len(self.classes)} classes")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.image_shape))
        return f"ImageDataset({self.name}: {len(self)} images {shape}, {len(self.classes)} classes)"


class Subset(Dataset):
    """The items of a data set at the given indices, in that order.

    Args:
        dataset: any data set.
        indices: integers from 0 to len(dataset) - 1; an item may come twice.

    Raises:
        ValueError: an index outside the data set.
        TypeError: indices that are not integers.

    >>> odd = Subset(ArrayDataset(np.arange(10)), [1, 3, 5])
    >>> len(odd), int(odd[2][0])
    (3, 5)
    """

    def __init__(self, dataset: Any, indices: ArrayLike) -> None:
        self.dataset = dataset
        chosen = np.asarray(indices)
        if chosen.size and chosen.dtype.kind not in "iu":
            raise TypeError(f"Subset: indices must be integers, got {chosen.dtype}")
        self.indices: Array = chosen.astype(np.intp).reshape(-1)
        outside = self.indices[(self.indices < 0) | (self.indices >= len(dataset))]
        if outside.size:
            raise ValueError(f"Subset: index {outside[0]} is outside a data set of {len(dataset)} items")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[int(self.indices[_checked_index(self, index)])]

    def get_batch(self, indices: ArrayLike) -> tuple[Array, ...]:
        """The items at `indices` [B], counted within the subset: one array [B, ...] for each field of an item."""
        return fetch(self.dataset, self.indices[np.asarray(indices, dtype=np.intp)])


def random_split(dataset: Any, lengths: Sequence[float], seed: int = 0) -> list[Subset]:
    """Parts of a data set without overlap, drawn at random: one `Subset` for each length.

    The same seed gives the same parts on every machine and with every version of NumPy.

    Args:
        dataset: any data set.
        lengths: integers that add up to len(dataset), or fractions that add up to 1.  Fractions are rounded down and
            the items left over go to the first parts, one each (as torch does).
        seed: 0 or larger.

    Raises:
        ValueError: lengths that are negative or do not add up.

    >>> from convkit.data import digits
    >>> train, valid = random_split(digits(), [0.9, 0.1])
    >>> len(train), len(valid)
    (1294, 143)
    """
    total = len(dataset)
    if any(length < 0 for length in lengths):
        raise ValueError(f"random_split: lengths must not be negative, got {list(lengths)}")
    if any(isinstance(length, float | np.floating) for length in lengths):
        if not math.isclose(sum(lengths), 1.0):
            raise ValueError(f"random_split: fractions must add up to 1, {list(lengths)} add up to {sum(lengths):g}")
        counts = [math.floor(total * length) for length in lengths]
        for part in range(total - sum(counts)):
            counts[part % len(counts)] += 1
    else:
        counts = [as_int(length) for length in lengths]  # type: ignore[arg-type]
        if sum(counts) != total:
            have = f"{counts} add up to {sum(counts)} but the data set has {total} items"
            raise ValueError(f"random_split: {have}; give fractions that add up to 1 to split in proportion")
    order = permutation(total, seed)
    stops = np.cumsum(counts)
    return [Subset(dataset, order[stop - n : stop]) for n, stop in zip(counts, stops, strict=True)]


def permutation(n: int, *key: int) -> Array:
    """The numbers 0 to n - 1 [n] in a random order that depends on the integers `key` alone.

    Sorts raw 64-bit draws.  NumPy promises the same raw draws for ever (NEP 19), but not the same
    `Generator.permutation`.

    >>> permutation(5, 0, 1)
    array([4, 1, 2, 0, 3])
    """
    return np.argsort(np.random.PCG64(np.random.SeedSequence(key)).random_raw(n), kind="stable")


def fetch(dataset: Any, indices: Array) -> tuple[Array, ...]:
    """The items at `indices` [B] as arrays [B, ...], by the data set's `get_batch` where it has one."""
    if hasattr(dataset, "get_batch"):
        batch: tuple[Array, ...] = dataset.get_batch(indices)
        return batch
    return collate([dataset[i] for i in indices.tolist()])


def collate(items: Sequence[Any]) -> tuple[Array, ...]:
    """The fields of B items, each stacked into one array [B, ...]; an item that is not a tuple is one field.

    Raises:
        ValueError: items with different numbers of fields or fields of different shapes.
        TypeError: a field that does not hold numbers.

    >>> collate([(np.zeros(3), 0), (np.ones(3), 1)])[1]
    array([0, 1])
    """
    rows = [tuple(item) if isinstance(item, tuple | list) else (item,) for item in items]
    for at, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise ValueError(f"collate: item {at} of the batch has {len(row)} fields but item 0 has {len(rows[0])}")
    return tuple(_stacked(column) for column in zip(*rows, strict=True))


def _stacked(values: Sequence[Any]) -> Array:
    arrays = [as_numbers("collate", value) for value in values]
    for at, array in enumerate(arrays):
        if array.shape != arrays[0].shape:
            shapes = f"{list(array.shape)} but in item 0 {list(arrays[0].shape)}"
            raise ValueError(f"collate: a field of item {at} of the batch is {shapes}; give DataLoader a collate_fn")
    return np.stack(arrays)


def as_numbers(op: str, value: Any) -> Array:
    """`value` as an array of numbers, by its `numpy()` method where it has one; TypeError, naming `op`, otherwise."""
    array = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
    if array.dtype.kind not in NUMERIC_KINDS:
        raise TypeError(f"{op}: needs arrays of numbers, got {type(value).__name__} of dtype {array.dtype}")
    return array


def _checked_index(dataset: Any, index: Any) -> int:
    """`index` as an int from 0 to len - 1, counted from the end where it is negative.

    The IndexError also ends `for item in dataset`, which has no other way to find the end.
    """
    at, n = as_int(index), len(dataset)
    if not -n <= at < n:
        raise IndexError(f"{type(dataset).__name__}: index {at} is outside a data set of {n} items")
    return at % n


def _numbers(value: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(float(v) for v in np.atleast_1d(np.asarray(value, dtype=np.float64)))
