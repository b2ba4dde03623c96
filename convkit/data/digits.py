"""`digits`: a small set of handwritten digits that comes with convkit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from convkit.data.dataset import ImageDataset

FILE = Path(__file__).with_name("files") / "digits.npz"
MEAN, STD = (0.3052,), (0.3760,)  # of the training part, in [0, 1]
WHITE = 16  # the largest value: ink in all 4x4 pixels of the bitmap behind a pixel


def digits(split: str = "train") -> ImageDataset:
    """1,797 handwritten digits of 8x8 pixels: 1,437 to train on, 360 (20 %, in proportion by class) to test on.

    Needs no network and no other package.  Raw images are uint8 [N, 1, 8, 8] with values 0 to 16; a batch comes as
    float32, normalised by the mean and standard deviation of the training part.  The split is fixed: it is stored
    with the images.  The same people wrote both parts.

    Args:
        split: "train" or "test".

    Raises:
        ValueError: another split.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998,
    doi 10.24432/C50P49, CC BY 4.0; its test part, as in scikit-learn.  See files/DIGITS-LICENSE.txt.

    >>> train = digits("train")
    >>> len(train), train.image_shape, train.classes[:3]
    (1437, (1, 8, 8), ['0', '1', '2'])
    >>> print(train.images[0, 0])
    [[ 0  0  5 13  9  1  0  0]
     [ 0  0 13 15 10 15  5  0]
     [ 0  3 15  2  0 11  8  0]
     [ 0  4 12  0  0  8  8  0]
     [ 0  5  8  0  0  9  8  0]
     [ 0  4 11  0  1 12  7  0]
     [ 0  2 14  5 10 12  0  0]
     [ 0  0  6 13 10  0  0  0]]
    """
    if split not in ("train", "test"):
        raise ValueError(f"digits: split must be 'train' or 'test', got {split!r}")
    with np.load(FILE, allow_pickle=False) as stored:
        chosen = stored["test"] if split == "test" else ~stored["test"]
        images, labels = stored["images"][chosen], stored["labels"][chosen]
    names = [str(digit) for digit in range(10)]
    return ImageDataset(images[:, None], labels, name="digits", classes=names, mean=MEAN, std=STD, scale=WHITE, source=FILE.name)
