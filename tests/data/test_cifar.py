"""CIFAR-10: archives made here, damaged in every way, and the real ones where they are."""

import io
import sys
import tarfile

import numpy as np
import pytest

from convkit.data import cifar, cifar10, cifar10_lossless, load

Image = pytest.importorskip("PIL.Image", reason="pillow decodes and writes the images of these tests")

RNG = np.random.default_rng(0)


def write_tar(path, members):
    """A .tar.gz of (name, bytes) pairs or ready TarInfo objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return path


def folder(name):
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    return info


def link(name):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


def encode(pixels, kind="JPEG"):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def flat(red, green, blue):
    """A 32x32 image of one colour, which JPEG keeps."""
    return np.broadcast_to(np.array([red, green, blue], np.uint8), (32, 32, 3)).copy()


def records(labels):
    images = RNG.integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8)
    return images, b"".join(bytes([label]) + image.tobytes() for label, image in zip(labels, images, strict=True))


@pytest.fixture
def binary(tmp_path):
    """A binary archive of 2 images per file, its parts not in order, with the other files of the real one."""
    parts = {f"data_batch_{i}.bin": records([i, i + 1]) for i in range(1, 6)}
    test = records([9, 0])
    members = [folder("cifar-10-batches-bin"), ("cifar-10-batches-bin/readme.html", b"<html>"), link("shortcut")]
    members += [("cifar-10-batches-bin/" + name, parts[name][1]) for name in sorted(parts, reverse=True)]
    members += [("cifar-10-batches-bin/test_batch.bin", test[1])]
    write_tar(tmp_path / "cifar-10-binary.tar.gz", members)
    return tmp_path, np.concatenate([images for images, _ in parts.values()]), test[0]


def test_binary_records(binary):
    path, images, test_images = binary
    train, test = load("cifar10", path), cifar10(path, "test")
    np.testing.assert_array_equal(train.images, images)
    np.testing.assert_array_equal(test.images, test_images)
    assert train.labels.tolist() == [1, 2, 2, 3, 3, 4, 4, 5, 5, 6] and test.labels.tolist() == [9, 0]
    assert train.classes[0] == "airplane" and train.classes[9] == "truck" and train.source == "cifar-10-binary.tar.gz"
    x, _ = train.get_batch([3])
    for channel in range(3):
        wanted = (images[3, channel] / 255 - train.mean[channel]) / train.std[channel]
        np.testing.assert_allclose(x[0, channel], wanted, atol=1e-6)


def test_binary_damage(tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    _, content = records([1])
    write_tar(path, [("x/test_batch.bin", content[:-1])])
    with pytest.raises(ValueError, match="test_batch.bin in .* has 3072 bytes, not whole records of 3073"):
        cifar10(tmp_path, "test")
    with pytest.raises(ValueError, match="lacks data_batch_1.bin, data_batch_2.bin"):
        cifar10(tmp_path)
    write_tar(path, [link("x/test_batch.bin")])
    with pytest.raises(ValueError, match="is a link or a device, not a file"):
        cifar10(tmp_path, "test")
    write_tar(path, [("x/test_batch.bin", bytes(cifar.LARGEST_BATCH + 1))])
    with pytest.raises(ValueError, match="has 30730001 bytes, more than 30730000"):
        cifar10(tmp_path, "test")
    write_tar(path, [("x/test_batch.bin", b"\x0a" + content[1:])])
    with pytest.raises(ValueError, match="label 10 at 0 is not one of 10 classes"):
        cifar10(tmp_path, "test")


COLOURS = [("airplane", "0000", (200, 30, 90)), ("truck", "0000", (0, 255, 0)), ("cat", "0001", (10, 20, 250))]


def jpeg_archive(path, split="test"):
    members = [folder(split), *((f"{split}/{name}/{number}.jpg", encode(flat(*c))) for name, number, c in COLOURS)]
    return write_tar(path / f"cifar10-jpeg-{split}.tar.gz", members)


def test_jpeg_archive(tmp_path, cache_folder):
    jpeg_archive(tmp_path / "cifar10")
    d = load("cifar10", tmp_path, "test")
    assert d.labels.tolist() == [0, 9, 3] and d.image_shape == (3, 32, 32) and "lossy" in d.source
    for image, (_, _, colour) in zip(d.images, COLOURS, strict=True):
        for plane, value in zip(image, colour, strict=True):
            assert abs(plane.astype(int) - value).max() <= 2


def test_decoded_images_are_kept_by_checksum(tmp_path, cache_folder, monkeypatch):
    path = jpeg_archive(tmp_path)
    first = cifar10(tmp_path, "test")
    (kept,) = (cache_folder / "cifar10").iterdir()
    assert kept.name.startswith("jpeg-test-") and kept.suffix == ".npz"

    with monkeypatch.context() as patch:
        patch.setattr(cifar, "read_jpeg", None)  # not needed the second time
        second = cifar10(tmp_path, "test")
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.labels, second.labels)

    kept.write_bytes(b"damaged")
    np.testing.assert_array_equal(cifar10(tmp_path, "test").images, first.images)
    assert kept.stat().st_size > 1000  # written again

    write_tar(path, [("test/dog/0005.jpg", encode(flat(1, 2, 3)))])
    assert cifar10(tmp_path, "test").labels.tolist() == [5]  # another archive, another checksum


def test_jpeg_without_a_writable_cache_folder(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CONVKIT_CACHE_DIR", str(tmp_path / "file"))
    jpeg_archive(tmp_path)
    assert len(cifar10(tmp_path, "test")) == 3


@pytest.mark.parametrize(
    "name",
    [
        "../test/cat/0001.jpg",
        "/test/cat/0001.jpg",
        "test/../cat/0001.jpg",
        "train/cat/0001.jpg",
        "test/lion/0001.jpg",
        "test/cat/0001.png",
        "test/cat/0001.jpg\n",
        "0001.jpg",
    ],
)
def test_jpeg_names_are_checked(tmp_path, name):
    write_tar(tmp_path / "cifar10-jpeg-test.tar.gz", [(name, encode(flat(1, 2, 3)))])
    with pytest.raises(ValueError, match="but only test/<class>/<number>.jpg belongs there"):
        cifar10(tmp_path, "test")


def test_jpeg_members_are_checked(tmp_path):
    path = tmp_path / "cifar10-jpeg-test.tar.gz"
    name, good = "test/cat/0001.jpg", encode(flat(1, 2, 3))
    for members, message in [
        ([(name, good), (name, good)], r"'test/cat/0001.jpg' \(a second time\)"),
        ([link(name)], "is a link or a device"),
        ([(name, bytes(70_000))], "has 70000 bytes, more than 65536"),
        ([(name, b"no image")], "test/cat/0001.jpg in .* is not a JPEG image"),
        ([(name, good[:400])], "is not a JPEG image"),
        ([(name, encode(flat(1, 2, 3), "PNG"))], "is not a JPEG image"),
        ([(name, encode(flat(1, 2, 3)[:16]))], "is 16x32 RGB but should be 32x32 RGB"),
        ([(name, encode(flat(1, 2, 3)[..., 0]))], "is 32x32 L but should be 32x32 RGB"),
        ([folder("test")], "holds no images"),
    ]:
        write_tar(path, members)
        with pytest.raises(ValueError, match=message):
            cifar10(tmp_path, "test")


def test_a_cut_archive_is_never_read_as_a_smaller_one(tmp_path):
    images = [(f"test/cat/{i:04}.jpg", encode(RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8))) for i in range(30)]
    path = write_tar(tmp_path / "cifar10-jpeg-test.tar.gz", images)
    whole = path.read_bytes()
    for cut in [0, 1, 15, 100, *range(1000, len(whole), len(whole) // 53), len(whole) - 5, len(whole) - 1]:
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="is not a whole .tar.gz archive|is not a JPEG"):
            cifar10(tmp_path, "test")


def test_without_pillow_the_error_says_what_to_install(tmp_path, monkeypatch):
    jpeg_archive(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(RuntimeError, match="cifar10: reading JPEG files needs pillow"):
        cifar10(tmp_path, "test")


def test_missing_archives_are_listed(tmp_path):
    with pytest.raises(FileNotFoundError, match="none of cifar-10-binary.tar.gz, cifar10-jpeg-train.tar.gz in"):
        cifar10(tmp_path)
    with pytest.raises(ValueError, match="split must be"):
        cifar10(tmp_path, "all")
    with pytest.raises(FileNotFoundError, match="cifar10_lossless: found none of cifar10_batch_0.png in"):
        cifar10_lossless(tmp_path)


def test_lossless_sprites(tmp_path):
    images = RNG.integers(0, 256, (4, 1000, 32, 32, 3), dtype=np.uint8)
    labels = RNG.integers(0, 10, 4000)
    for i, part in enumerate(images):
        Image.fromarray(part.reshape(1000, 1024, 3)).save(tmp_path / f"cifar10_batch_{i}.png", compress_level=0)
    np.save(tmp_path / "cifar10_batch_0-3_labels.npy", labels)
    d = cifar10_lossless(tmp_path)
    np.testing.assert_array_equal(d.images, images.reshape(4000, 32, 32, 3).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(d.labels, labels)
    np.save(tmp_path / "cifar10_batch_0-3_labels.npy", labels[:7])
    with pytest.raises(ValueError, match=r"holds int64 \[7\] but should hold integers \[4000\]"):
        cifar10_lossless(tmp_path)
    Image.fromarray(images[0, :5].reshape(5, 1024, 3)).save(tmp_path / "cifar10_batch_2.png")
    with pytest.raises(ValueError, match="cifar10_batch_2.png is 5x1024 RGB but should be 1000x1024 RGB"):
        cifar10_lossless(tmp_path)


def test_the_real_lossless_images(shared):
    d = cifar10_lossless(shared)
    assert d.images.shape == (4000, 3, 32, 32) and d.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert d.images[0, :, 0, 0].tolist() == [59, 62, 63]  # the well-known first pixel of data_batch_1, a frog
    np.testing.assert_allclose(d.images.mean((0, 2, 3)) / 255, d.mean, atol=0.005)
    np.testing.assert_allclose(d.images.std((0, 2, 3)) / 255, d.std, atol=0.005)


def test_the_real_test_images(shared, cache_folder):
    d = load("cifar10", shared, "test")
    assert d.images.shape == (10000, 3, 32, 32) and np.bincount(d.labels).tolist() == [1000] * 10
    assert d.labels[:20].tolist() == [*range(10), *range(10)]
    np.testing.assert_allclose(d.images.mean((0, 2, 3)) / 255, d.mean, atol=0.01)
    assert len(list((cache_folder / "cifar10").iterdir())) == 1


def test_the_real_training_images_are_the_lossless_ones(shared):
    """Decoded JPEG planes are in the right order and place: each is close to one lossless image of its class."""
    images, labels = cifar.read_jpeg(shared / "cifar10" / "cifar10-jpeg-train.tar.gz", "train", limit=500)
    lossless = cifar10_lossless(shared)
    near = 0
    for image, label in zip(images, labels, strict=True):
        same = lossless.images[lossless.labels == label].astype(np.int16)[:, :, ::4, ::4]
        distance = np.abs(same - image[:, ::4, ::4]).mean((1, 2, 3)).min()
        near += distance < 12
    assert near >= 20  # the lossless 4,000 are 8 % of the training images
