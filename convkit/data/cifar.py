"""CIFAR-10: 60,000 small colour photographs in ten classes, from any of the forms it is passed on in.

- `cifar-10-binary.tar.gz`, the authors' own: records of one label byte and 3,072 pixel bytes.  (Their other form is a
  Python pickle, which could run code when it is read; convkit does not read it.)
- `cifar10-jpeg-train.tar.gz`, `cifar10-jpeg-test.tar.gz`: one JPEG file per image, `train/frog/0001.jpg`.  Lossy.
- Four PNG sprites and a label file: the first 4,000 training images, without loss.

Archives are read in memory; nothing in them is ever written to disk under a name that they choose.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from convkit.data import cache
from convkit.data.dataset import Array, ImageDataset

NAME = "cifar10"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of the 50,000 training images, in [0, 1]
SHAPE = (3, 32, 32)

BINARY = "cifar-10-binary.tar.gz"
BINARY_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
MIRRORS = (
    "https://www.cs.toronto.edu/~kriz/",
    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
)
BINARY_MEMBERS = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
RECORD = 1 + 3 * 32 * 32  # label, then the red, green and blue plane, row by row
LARGEST_BATCH = 10_000 * RECORD
LARGEST_JPEG = 1 << 16  # bytes: many times what an image of 32x32 can need
JPEG_MEMBER = re.compile(r"(train|test)/([a-z]+)/[0-9]{4,5}\.jpg")


def cifar10(data_dir: str | os.PathLike[str] | None = None, split: str = "train") -> ImageDataset:
    """CIFAR-10: 50,000 training and 10,000 test images, 3x32x32, ten classes in alphabetical order.

    Args:
        data_dir: a folder with `cifar-10-binary.tar.gz` or, where that is missing, `cifar10-jpeg-<split>.tar.gz`.
            Without it the binary archive (170 MB) is downloaded once into the cache folder and checked.
        split: "train" or "test".

    JPEG files are decoded once (seconds) and kept in the cache folder where that can be written.  Their pixels are
    about 6 grey levels off, so accuracies are not comparable with published ones; `source` says what was read.

    Raises:
        FileNotFoundError: neither archive is in data_dir.
        RuntimeError: the download failed, or pillow is missing.
        ValueError: another split, or a damaged archive.

    Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009.  The authors state no licence.

    >>> train = cifar10("~/data/cifar10")  # doctest: +SKIP
    >>> train.image_shape, train.classes[6]  # doctest: +SKIP
    ((3, 32, 32), 'frog')
    """
    if split not in BINARY_MEMBERS:
        raise ValueError(f"{NAME}: split must be 'train' or 'test', got {split!r}")
    names = [BINARY, f"cifar10-jpeg-{split}.tar.gz"]
    places = cache.folders(NAME, data_dir)
    path = cache.find(places, names)
    if path is None and data_dir is not None:
        raise cache.missing(NAME, names, places)
    if path is None:
        path = cache.download(NAME, BINARY, BINARY_SHA256, MIRRORS)
    if path.name == BINARY:
        return _dataset(*read_binary(path, split), source=path.name)
    return _dataset(*_jpeg_by_cache(path, split), source=f"{path.name} (JPEG, a lossy copy)")


def cifar10_lossless(data_dir: str | os.PathLike[str]) -> ImageDataset:
    """The first 4,000 training images of CIFAR-10, bit for bit, from four PNG files of 1,000 images each.

    Args:
        data_dir: a folder with `cifar10_batch_0.png` to `cifar10_batch_3.png`, one image to a row of 1,024 pixels (as
            in karpathy/convnetjs), and `cifar10_batch_0-3_labels.npy` with 4,000 numbers from 0 to 9.

    Raises:
        FileNotFoundError: one of the files is missing.
        RuntimeError: pillow is missing.
        ValueError: a file with other contents.

    >>> images = cifar10_lossless("~/data/cifar10").images  # doctest: +SKIP
    """
    places = cache.folders(NAME, data_dir)
    images = np.empty((4, 1000, *SHAPE), np.uint8)
    for i, part in enumerate(images):
        path = _required(places, f"cifar10_batch_{i}.png")
        sprite = _pixels(path.read_bytes(), "PNG", str(path), (1000, 1024))
        part[:] = sprite.reshape(1000, 32, 32, 3).transpose(0, 3, 1, 2)
    path = _required(places, "cifar10_batch_0-3_labels.npy")
    labels = np.load(path, allow_pickle=False)
    if labels.shape != (4000,) or labels.dtype.kind not in "iu":
        raise ValueError(f"{NAME}: {path} holds {labels.dtype} {list(labels.shape)} but should hold integers [4000]")
    return _dataset(images.reshape(-1, *SHAPE), labels, source="cifar10_batch_0.png to cifar10_batch_3.png")


def read_binary(path: Path, split: str) -> tuple[Array, Array]:
    """Images [N, 3, 32, 32] and labels [N], uint8, of one split of the authors' binary archive.

    Raises:
        ValueError: a damaged archive, or one without the split's files, or files that are not whole records.
    """
    wanted = BINARY_MEMBERS[split]
    parts: dict[str, Array] = {}
    for name, content in _members(path, LARGEST_BATCH, only=wanted):
        if not content or len(content) % RECORD:
            raise ValueError(f"{NAME}: {name} in {path} has {len(content)} bytes, not whole records of {RECORD}")
        parts[name.rpartition("/")[2]] = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
        if len(parts) == len(wanted):
            break
    if absent := [name for name in wanted if name not in parts]:
        raise ValueError(f"{NAME}: {path} lacks {', '.join(absent)}")
    records = np.concatenate([parts[name] for name in wanted])
    return records[:, 1:].reshape(-1, *SHAPE), records[:, 0]


def read_jpeg(path: Path, split: str, limit: int | None = None) -> tuple[Array, Array]:
    """Images [N, 3, 32, 32] and labels [N], uint8, of an archive of JPEG files, in its order; at most `limit` of them.

    Raises:
        RuntimeError: pillow is missing.
        ValueError: a damaged archive or image, or a member that is not `<split>/<class>/<number>.jpg`.
    """
    images: list[Array] = []
    labels: list[int] = []
    seen: set[str] = set()
    for name, content in islice(_members(path, LARGEST_JPEG), limit):
        match = JPEG_MEMBER.fullmatch(name)
        if match is None or match[1] != split or match[2] not in CLASSES or name in seen:
            twice = " (a second time)" if name in seen else ""
            rule = f"only {split}/<class>/<number>.jpg belongs there, once"
            raise ValueError(f"{NAME}: {path} holds {name!r}{twice} but {rule}")
        seen.add(name)
        images.append(_pixels(content, "JPEG", f"{name} in {path}", (32, 32)))
        labels.append(CLASSES.index(match[2]))
    if not images:
        raise ValueError(f"{NAME}: {path} holds no images")
    return np.stack(images).transpose(0, 3, 1, 2).copy(), np.array(labels, np.uint8)


def _jpeg_by_cache(path: Path, split: str) -> tuple[Array, Array]:
    """`read_jpeg`, kept in the cache folder under the archive's checksum."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    kept = cache.cache_dir() / NAME / f"jpeg-{split}-{digest[:16]}.npz"
    stored = cache.load_arrays(kept, "images", "labels")
    if stored is not None and stored[0].shape == (len(stored[1]), *SHAPE):
        return stored[0], stored[1]
    images, labels = read_jpeg(path, split)
    cache.save_arrays(kept, {"images": images, "labels": labels})
    return images, labels


def _members(path: Path, largest: int, only: list[str] | None = None) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files in a .tar.gz, or of those called one of `only`; ValueError where it is damaged."""
    import tarfile

    try:
        with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                if member.isdir() or (only is not None and member.name.rpartition("/")[2] not in only):
                    continue
                file = archive.extractfile(member) if member.isreg() else None
                if file is None:
                    raise ValueError(f"{NAME}: {member.name!r} in {path} is a link or a device, not a file")
                if member.size > largest:
                    raise ValueError(f"{NAME}: {member.name!r} in {path} has {member.size} bytes, more than {largest}")
                yield member.name, file.read()
            # To the checksum at the very end: tarfile takes some cut archives for shorter ones.
            while stream.read(1 << 20):
                pass
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{NAME}: {path} is not a whole .tar.gz archive ({error}); copy it again") from error


def _pixels(content: bytes, kind: str, where: str, size: tuple[int, int]) -> Array:
    """The RGB pixels [height, width, 3] of an image file of the given kind and size (height, width)."""
    try:
        from PIL import Image
    except ImportError as error:
        raise RuntimeError(f"{NAME}: reading {kind} files needs pillow (pip install pillow)") from error
    try:
        with Image.open(io.BytesIO(content), formats=[kind]) as image:
            found = (image.height, image.width, image.mode)
            pixels = np.asarray(image) if found == (*size, "RGB") else None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{NAME}: {where} is not a {kind} image ({error})") from error
    if pixels is None:
        raise ValueError(f"{NAME}: {where} is {found[0]}x{found[1]} {found[2]} but should be {size[0]}x{size[1]} RGB")
    return pixels


def _required(places: list[Path], name: str) -> Path:
    path = cache.find(places, [name])
    if path is None:
        raise cache.missing("cifar10_lossless", [name], places)
    return path


def _dataset(images: Array, labels: Array, **more: Any) -> ImageDataset:
    return ImageDataset(images, labels, name=NAME, classes=CLASSES, mean=MEAN, std=STD, **more)
