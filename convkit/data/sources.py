"""`load`: the data sets that convkit knows by name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from convkit.data import cache
from convkit.data.cifar import cifar10
from convkit.data.dataset import Array, ImageDataset
from convkit.data.digits import digits
from convkit.data.idx import read_idx

NAMES = ("digits", "mnist", "fashion-mnist", "cifar10")
PREFIX = {"train": "train", "test": "t10k"}


@dataclass(frozen=True)
class IdxSource:
    """A data set of 70,000 grey images of 28x28 in four IDX files.

    `sha256` gives the checksum of each file; `labels_sha256` that of the label bytes alone, by which labels are known
    however they are compressed.
    """

    name: str
    classes: tuple[str, ...]
    mean: float
    std: float
    mirrors: tuple[str, ...]
    sha256: Mapping[str, str]
    labels_sha256: Mapping[str, str]


MNIST = IdxSource(
    name="mnist",
    classes=tuple("0123456789"),
    mean=0.1307,
    std=0.3081,
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    sha256={
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    labels_sha256={
        "train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
        "test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    },
)

FASHION_MNIST = IdxSource(
    name="fashion-mnist",
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    mean=0.2860,
    std=0.3530,
    mirrors=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    sha256={
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    labels_sha256={
        "train": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
        "test": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
    },
)

IDX_SOURCES = {source.name: source for source in (MNIST, FASHION_MNIST)}


def load(name: str, data_dir: str | os.PathLike[str] | None = None, split: str = "train") -> ImageDataset:
    """A data set by its name, as float32 images [N, C, H, W] with zero mean and unit spread, and int64 labels [N].

    | name            | images         | training, test | files                                             |
    |-----------------|----------------|----------------|---------------------------------------------------|
    | `digits`        | 1x8x8 grey     | 1,437, 360     | come with convkit                                 |
    | `mnist`         | 1x28x28 grey   | 60,000, 10,000 | four IDX files, compressed by gzip or not         |
    | `fashion-mnist` | 1x28x28 grey   | 60,000, 10,000 | four IDX files, compressed by gzip or not         |
    | `cifar10`       | 3x32x32 colour | 50,000, 10,000 | the binary archive, or JPEG files: see `cifar10`  |

    Args:
        name: one of these; capitals and `_` for `-` do not matter.
        data_dir: the folder with the files, or its parent where the folder bears the data set's name.  Without it
            the files are downloaded once (by pooch, with checksums) into the user's cache folder for convkit, or
            into that named by the environment variable CONVKIT_CACHE_DIR.
        split: "train" or "test".

    Raises:
        FileNotFoundError: data_dir lacks the files.
        RuntimeError: they could not be downloaded.
        ValueError: another name or split, a damaged file, or a data_dir for the digits.

    Sources: digits: E. Alpaydin, C. Kaynak, 1998, CC BY 4.0.  MNIST: Y. LeCun, C. Cortes, C. Burges, 1998, CC BY-SA
    3.0 as commonly stated.  Fashion-MNIST: H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747, 2017, MIT.  CIFAR-10:
    A. Krizhevsky, 2009, no licence stated.

    >>> test = load("digits", split="test")
    >>> test.name, len(test), test.mean
    ('digits', 360, (0.3052,))
    """
    known = name.lower().replace("_", "-")
    if split not in PREFIX:
        raise ValueError(f"load: split must be 'train' or 'test', got {split!r}")
    if known == "digits":
        if data_dir is not None:
            raise ValueError(
                f"load: digits come with convkit and are not read from {os.fspath(data_dir)!r}; name the data set that is there, or no folder"
            )
        return digits(split)
    if known == "cifar10":
        return cifar10(data_dir, split)
    if known in IDX_SOURCES:
        return _load_idx(IDX_SOURCES[known], data_dir, split)
    raise ValueError(f"load: no data set {name!r}; there are {', '.join(NAMES)}")


def _load_idx(source: IdxSource, data_dir: str | os.PathLike[str] | None, split: str) -> ImageDataset:
    images_path = _file(source, f"{PREFIX[split]}-images-idx3-ubyte", data_dir)
    labels_path = _file(source, f"{PREFIX[split]}-labels-idx1-ubyte", data_dir)
    labels = read_idx(labels_path)
    _refuse_labels_of_another(source, labels, labels_path)
    images = read_idx(images_path)
    if images.ndim != 3 or images.dtype != "uint8":
        held = f"{images.dtype} {list(images.shape)}"
        raise ValueError(f"{source.name}: {images_path} holds {held} but images are uint8 [N, H, W]")
    if labels.shape != images.shape[:1]:
        files = f"{len(images)} images in {images_path} but labels {list(labels.shape)} in {labels_path}"
        raise ValueError(f"{source.name}: {files}")
    return ImageDataset(
        images[:, None],
        labels,
        name=source.name,
        classes=source.classes,
        mean=(source.mean,),
        std=(source.std,),
        source=images_path.name,
    )


def _file(source: IdxSource, stem: str, data_dir: str | os.PathLike[str] | None) -> Path:
    """The file with this stem, compressed or not: in the user's folder, the cache folder, or downloaded."""
    names = [stem + ".gz", stem]
    places = cache.folders(source.name, data_dir)
    path = cache.find(places, names)
    if path is not None:
        return path
    if data_dir is not None:
        raise cache.missing(source.name, names, places)
    return cache.download(source.name, names[0], source.sha256[names[0]], source.mirrors, tuple(source.sha256))


def _refuse_labels_of_another(source: IdxSource, labels: Array, path: Path) -> None:
    """ValueError for the labels of another data set: MNIST and Fashion-MNIST give their files the same names."""
    found = hashlib.sha256(labels.tobytes()).hexdigest()
    for other in IDX_SOURCES.values():
        if other is not source and found in other.labels_sha256.values():
            raise ValueError(f"{source.name}: {path} holds the labels of {other.name}, whose files have the same names")
