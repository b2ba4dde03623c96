"""The digits that come with convkit: the right pixels, and a split that never changes."""

import hashlib

import numpy as np
import pytest

from convkit.data import digits
from convkit.data.digits import FILE


def sha256(array):
    return hashlib.sha256(array.tobytes()).hexdigest()


def test_the_file_holds_the_original_data():
    with np.load(FILE, allow_pickle=False) as stored:
        images, labels, test = stored["images"], stored["labels"], stored["test"]
    assert images.shape == (1797, 8, 8) and images.dtype == np.uint8 and images.max() == 16
    assert labels.dtype == np.uint8 and test.dtype == bool
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # The first lines of the original file (optdigits.tes).
    assert images[0, 1].tolist() == [0, 0, 13, 15, 10, 15, 5, 0] and labels[:12].tolist() == [*range(10), 0, 1]
    assert sha256(images) == "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"
    assert sha256(labels) == "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0"
    assert sha256(np.flatnonzero(test).astype("<i4")) == ("9beb9fb8fc28c5ea88f241493b34c07e9e15a9fd71a59666fc7f669571f9752f")


def test_the_split_follows_its_documented_rule():
    with np.load(FILE, allow_pickle=False) as stored:
        labels, test = stored["labels"], stored["test"]
    for digit in range(10):
        order = sorted(
            np.flatnonzero(labels == digit).tolist(),
            key=lambda i: hashlib.sha256(f"convkit digits {i}".encode()).digest(),
        )
        assert set(order[: test[order].sum()]) == set(np.flatnonzero(test & (labels == digit)).tolist())


def test_split_sizes_and_classes():
    train, test = digits("train"), digits("test")
    assert (len(train), len(test)) == (1437, 360)
    assert np.bincount(test.labels).tolist() == [36, 37, 35, 37, 36, 36, 36, 36, 35, 36]
    assert train.classes == list("0123456789") and train.image_shape == (1, 8, 8)
    assert train.images.dtype == np.uint8 and train.labels.dtype == np.int64


def test_no_image_is_in_both_parts():
    train, test = ({image.tobytes() for image in digits(split).images} for split in ("train", "test"))
    assert (len(train), len(test), len(train & test)) == (1437, 360, 0)


def test_batches_are_normalised():
    train = digits()
    x, y = train.get_batch(np.arange(len(train)))
    assert x.dtype == np.float32 and x.shape == (1437, 1, 8, 8)
    assert abs(x.mean()) < 1e-3 and abs(x.std() - 1) < 1e-3
    np.testing.assert_allclose(x, (train.images / 16 - train.mean[0]) / train.std[0], atol=1e-6)
    np.testing.assert_array_equal(y, train.labels)


def test_a_linear_fit_reads_them():
    """Labels belong to images: least squares on the pixels is right far more often than the 10 % of guessing."""
    (x, y), (tx, ty) = (d.get_batch(np.arange(len(d))) for d in (digits("train"), digits("test")))
    x, tx = (np.c_[a.reshape(len(a), -1), np.ones(len(a))] for a in (x, tx))
    weights = np.linalg.lstsq(x.astype(float), np.eye(10)[y], rcond=None)[0]
    assert ((tx @ weights).argmax(1) == ty).mean() > 0.9


def test_another_split():
    with pytest.raises(ValueError, match="digits: split must be 'train' or 'test', got 'valid'"):
        digits("valid")


def test_the_licence_is_beside_the_data():
    text = FILE.with_name("DIGITS-LICENSE.txt").read_text()
    assert "CC BY 4.0" in text and "10.24432/C50P49" in text
