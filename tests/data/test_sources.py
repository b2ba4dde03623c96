"""Data sets by name: small files made here, the real ones where they are, and errors that say what to do."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from convkit.data import NAMES, ArrayDataset, load
from convkit.data.sources import IDX_SOURCES


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def write_split(folder, prefix="train", n=5, labels=None, compressed=True):
    """A little data set in the form of MNIST; gives its images and labels."""
    images = np.arange(n * 12, dtype=np.uint8).reshape(n, 3, 4)
    labels = np.arange(n, dtype=np.uint8) % 10 if labels is None else labels
    folder.mkdir(parents=True, exist_ok=True)
    for what, array in (("images-idx3", images), ("labels-idx1", labels)):
        path = folder / f"{prefix}-{what}-ubyte{'.gz' if compressed else ''}"
        path.write_bytes(gzip.compress(idx(array)) if compressed else idx(array))
    return images, labels


def break_downloads(monkeypatch):
    pooch = pytest.importorskip("pooch")

    def no_network(url, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", no_network)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("inside", ["", "named"])
def test_idx_files_of_the_user(tmp_path, name, compressed, inside):
    folder = tmp_path / name if inside else tmp_path
    images, labels = write_split(folder, compressed=compressed)
    test_images, _ = write_split(folder, "t10k", n=3, compressed=compressed)
    d = load(name, tmp_path)
    assert isinstance(d, ArrayDataset) and len(d) == 5 and d.image_shape == (1, 3, 4) and len(d.classes) == 10
    np.testing.assert_array_equal(d.images[:, 0], images)
    x, y = d.get_batch([4, 0])
    np.testing.assert_allclose(x, (images[[4, 0], None] / 255 - d.mean[0]) / d.std[0], atol=1e-6)
    np.testing.assert_array_equal(y, [4, 0])
    np.testing.assert_array_equal(load(name, str(tmp_path), "test").images[:, 0], test_images)


def test_names_are_lenient():
    assert load("Digits", split="test").name == "digits"
    with pytest.raises(ValueError, match="no data set 'imagenet'; there are digits, mnist, fashion-mnist, cifar10"):
        load("imagenet")
    for name in NAMES:
        with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'val'"):
            load(name, split="val")
    with pytest.raises(ValueError, match="load: digits come with convkit and are not read from 'nowhere'; name the data set that is there"):
        load("digits", "nowhere")


def test_missing_files_are_listed(tmp_path):
    wanted = (
        f"mnist: found none of train-images-idx3-ubyte.gz, train-images-idx3-ubyte in {tmp_path / 'mnist'} "
        f"(no such folder) and {tmp_path}. Put the file there, or pass the folder that holds it as data_dir (--data-dir"
    )
    with pytest.raises(FileNotFoundError, match=re.escape(wanted)):
        load("mnist", tmp_path)
    write_split(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match="train-labels-idx1-ubyte.gz"):
        load("mnist", tmp_path)


def test_files_that_do_not_fit(tmp_path):
    write_split(tmp_path, labels=np.arange(4, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"mnist: 5 images in .*images-idx3-ubyte.gz but labels \[4\] in .*labels-idx1"):
        load("mnist", tmp_path)
    write_split(tmp_path, labels=np.array([0, 1, 10, 3, 4], np.uint8))
    with pytest.raises(ValueError, match="mnist: label 10 at 2 is not one of 10 classes"):
        load("mnist", tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(idx(np.arange(5, dtype=np.uint8)))
    with pytest.raises(ValueError, match=r"holds uint8 \[5\] but images are uint8 \[N, H, W\]"):
        load("mnist", tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8bdamaged")
    with pytest.raises(ValueError, match="train-images-idx3-ubyte.gz is not a whole gzip stream"):
        load("mnist", tmp_path)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_without_a_network_the_error_says_what_to_do(name, monkeypatch, cache_folder):
    break_downloads(monkeypatch)
    first = "cifar-10-binary.tar.gz" if name == "cifar10" else "t10k-images-idx3-ubyte.gz"
    with pytest.raises(RuntimeError) as caught:
        load(name, split="test")
    message = str(caught.value)
    for part in (first, str(cache_folder / name), "data_dir", "--data-dir", "no route to host", "https://"):
        assert part in message
    assert isinstance(caught.value.__cause__, OSError)


def test_without_pooch_the_error_says_what_to_do(monkeypatch, cache_folder):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(RuntimeError, match="mnist: downloading needs pooch .* Put train-images-idx3-ubyte.gz, .*, t10k-labels-idx1-ubyte.gz into"):
        load("mnist")
    images, _ = write_split(cache_folder / "mnist")  # files put there by hand need no pooch
    np.testing.assert_array_equal(load("mnist").images[:, 0], images)


def test_downloads_ask_for_the_known_checksums(monkeypatch, tmp_path):
    pooch = pytest.importorskip("pooch")
    write_split(tmp_path)
    asked = []

    def retrieve(url, known_hash, fname, path):
        asked.append((url, known_hash, fname))
        if len(asked) == 1:
            raise OSError("the first mirror is down")
        return str(tmp_path / fname)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert len(load("mnist")) == 5
    source = IDX_SOURCES["mnist"]
    name = "train-images-idx3-ubyte.gz"
    assert asked[0] == (source.mirrors[0] + name, "sha256:" + source.sha256[name], name)
    assert asked[1] == (source.mirrors[1] + name, "sha256:" + source.sha256[name], name)
    assert asked[2][2] == "train-labels-idx1-ubyte.gz" and len(asked) == 3


@pytest.mark.parametrize(
    ("name", "train_labels", "test_labels"),
    [
        ("mnist", [5, 0, 4, 1, 9, 2, 1, 3, 1, 4], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]),
        ("fashion-mnist", [9, 0, 0, 3, 0, 2, 7, 2, 5, 5], [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]),
    ],
)
def test_the_real_files(shared, name, train_labels, test_labels):
    train, test = load(name, shared), load(name, shared / name, "test")
    assert train.images.shape == (60000, 1, 28, 28) and test.images.shape == (10000, 1, 28, 28)
    assert train.labels[:10].tolist() == train_labels and test.labels[:10].tolist() == test_labels
    histogram = np.bincount(train.images.ravel(), minlength=256) / train.images.size
    grey = np.arange(256) / 255
    mean = (histogram * grey).sum()
    std = np.sqrt((histogram * (grey - mean) ** 2).sum())
    assert (round(mean, 4), round(std, 4)) == (train.mean[0], train.std[0])
    x, _ = test.get_batch(np.arange(2000))
    assert x.dtype == np.float32 and abs(x.mean()) < 0.1 and abs(x.std() - 1) < 0.1


def test_labels_of_the_other_set_are_refused(shared):
    """Both sets give their files the same names; a wrong folder must not train on the wrong pictures."""
    with pytest.raises(ValueError, match="fashion-mnist: .* holds the labels of mnist, whose files have the same names"):
        load("fashion-mnist", shared / "mnist", "test")
    with pytest.raises(ValueError, match="mnist: .* holds the labels of fashion-mnist"):
        load("mnist", shared / "fashion-mnist", "test")


def test_the_real_checksums(shared):
    import hashlib

    for name, source in IDX_SOURCES.items():
        for file, checksum in source.sha256.items():
            assert hashlib.sha256((shared / name / file).read_bytes()).hexdigest() == checksum


def test_importing_is_cheap():
    """Downloading and decoding libraries load when they are used, not before."""
    root = Path(__file__).resolve().parents[2]
    code = (
        f"import sys; sys.path[:0] = [{str(root)!r}, {str(root / 'kernels')!r}]\n"
        "import numpy, convkit; before = set(sys.modules)\n"
        "import convkit.data; print(*sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pooch", "PIL", "requests", "tarfile", "zipfile", "platformdirs"} & set(loaded)
