"""Data sets in memory: values, normalisation, subsets, splits, collation, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convkit.data import ArrayDataset, Dataset, ImageDataset, Normalize, Subset, TensorDataset, random_split
from convkit.data.dataset import collate, fetch, permutation


class Tensorish:
    def __init__(self, array):
        self.array = array

    def numpy(self):
        return self.array


class Items(Dataset):
    """A data set without get_batch: item i is ([i, i + 1], 2 i)."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return np.array([i, i + 1], np.float32), 2 * i


def test_array_dataset_gives_items_batches_and_slices():
    x, y = np.arange(12).reshape(4, 3), np.array([5, 6, 7, 8])
    d = ArrayDataset(x, Tensorish(y))
    assert len(d) == 4
    np.testing.assert_array_equal(d[1][0], [3, 4, 5])
    assert d[1][1] == 6 and d[-1][1] == 8
    bx, by = d.get_batch([3, 0, 3])
    np.testing.assert_array_equal(bx, x[[3, 0, 3]])
    np.testing.assert_array_equal(by, [8, 5, 8])
    np.testing.assert_array_equal(d[1:3][1], [6, 7])
    assert [int(label) for _, label in d] == [5, 6, 7, 8]  # iteration ends by IndexError


def test_array_dataset_keeps_its_arrays_and_gives_copies():
    x = np.arange(6, dtype=np.uint8).reshape(3, 2)
    d = ArrayDataset(x)
    assert d.arrays[0] is x
    d.get_batch([0])[0][:] = 9
    assert x[0, 0] == 0
    d[1][0][:] = 9
    assert x[1, 0] == 2


def test_tensor_dataset_is_torchs_name():
    assert TensorDataset is ArrayDataset


def test_transform_sees_a_batch_of_the_first_array_only():
    d = ArrayDataset(np.arange(4.0).reshape(4, 1), np.arange(4), transform=lambda x: x * 10)
    np.testing.assert_array_equal(d.get_batch([1, 2])[0], [[10], [20]])
    np.testing.assert_array_equal(d[3][0], [30])
    assert d[3][1] == 3


@pytest.mark.parametrize("index", [4, -5])
def test_array_dataset_index_outside(index):
    with pytest.raises(IndexError, match=f"ArrayDataset: index {index} is outside a data set of 4 items"):
        ArrayDataset(np.zeros(4))[index]


def test_array_dataset_errors():
    with pytest.raises(ValueError, match=r"the arrays must have one length, got \[3, 4\]"):
        ArrayDataset(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="at least one array"):
        ArrayDataset()
    with pytest.raises(ValueError, match="counts the items"):
        ArrayDataset(np.float32(3))
    with pytest.raises(TypeError, match="needs arrays of numbers, got ndarray of dtype <U1"):
        ArrayDataset(np.array(["a"]))


def test_dataset_says_what_a_subclass_lacks():
    class Empty(Dataset):
        pass

    with pytest.raises(NotImplementedError, match="Empty needs a __len__"):
        len(Empty())
    with pytest.raises(NotImplementedError, match="Empty needs a __getitem__"):
        Empty()[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_normalize_follows_its_formula(dtype):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 3, 4, 2)).astype(dtype)
    kept = images.copy()
    mean, std = np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.3, 0.4])
    got = Normalize(mean, std)(images)
    wanted = (images.astype(np.float64) / 255 - mean[:, None, None]) / std[:, None, None]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted, atol=2e-6)
    np.testing.assert_array_equal(images, kept)


def test_normalize_one_statistic_serves_every_channel():
    got = Normalize(0.5, 0.25, scale=16)(np.full((1, 2, 1, 1), 16, np.uint8))
    np.testing.assert_allclose(got, np.full((1, 2, 1, 1), 2.0))


def test_normalize_errors():
    with pytest.raises(ValueError, match="2 means but 1 standard deviations"):
        Normalize([0, 0], [1])
    with pytest.raises(ValueError, match="larger than 0"):
        Normalize(0, 0)
    with pytest.raises(ValueError, match="larger than 0"):
        Normalize(0, 1, scale=0)
    with pytest.raises(ValueError, match=r"images \[1, 4, 2, 2\] do not have 3 channels"):
        Normalize([0, 0, 0], [1, 1, 1])(np.zeros((1, 4, 2, 2)))


def image_dataset(images, labels):
    return ImageDataset(images, labels, name="toy", classes=["a", "b"], mean=[0.5], std=[0.5])


def test_image_dataset_values_and_attributes():
    images = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    d = image_dataset(images, np.array([1, 0], np.uint8))
    x, y = d.get_batch([0, 1])
    np.testing.assert_allclose(x.ravel(), [-1, 1], atol=1e-6)
    assert x.dtype == np.float32 and y.dtype == np.int64 and y.tolist() == [1, 0]
    assert (d.classes, d.image_shape, d.mean, d.std) == (["a", "b"], (1, 1, 1), (0.5,), (0.5,))
    assert d.images is images and d.images.dtype == np.uint8


def test_image_dataset_errors():
    with pytest.raises(ValueError, match="toy: label 2 at 1 is not one of 2 classes"):
        image_dataset(np.zeros((2, 1, 1, 1)), [0, 2])
    with pytest.raises(ValueError, match=r"must be \[N, C, H, W\] and \[N\], got \[2, 1, 1\] and \[2\]"):
        image_dataset(np.zeros((2, 1, 1)), [0, 1])


def test_subset_of_a_subset():
    d = Subset(Subset(ArrayDataset(np.arange(10) * 10), [8, 6, 4, 2]), [3, 0])
    assert len(d) == 2
    assert [int(item[0]) for item in d] == [20, 80]
    np.testing.assert_array_equal(d.get_batch([1, 0, 1])[0], [80, 20, 80])
    assert len(Subset(d, [])) == 0


def test_subset_without_get_batch_below():
    x, y = Subset(Items(6), [5, 1]).get_batch(np.array([0, 1]))
    np.testing.assert_array_equal(x, [[5, 6], [1, 2]])
    np.testing.assert_array_equal(y, [10, 2])


def test_subset_errors():
    with pytest.raises(ValueError, match="index 10 is outside a data set of 10 items"):
        Subset(Items(10), [3, 10])
    with pytest.raises(ValueError, match="index -1 is outside"):
        Subset(Items(10), [-1])
    with pytest.raises(TypeError, match="must be integers, got float64"):
        Subset(Items(10), [0.5])
    with pytest.raises(IndexError):
        Subset(Items(10), [3])[1]


@given(n=st.integers(0, 60), cut=st.floats(0, 1), seed=st.integers(0, 2**40))
def test_random_split_parts_cover_everything_once(n, cut, seed):
    d = ArrayDataset(np.arange(n))
    first = int(n * cut)
    for lengths in ([first, n - first], [cut, 1 - cut]):
        parts = random_split(d, lengths, seed)
        assert sorted(np.concatenate([p.indices for p in parts]).tolist()) == list(range(n))
        again = random_split(d, lengths, seed)
        assert [p.indices.tolist() for p in parts] == [p.indices.tolist() for p in again]


def test_random_split_counts_and_seed():
    d = Items(10)
    assert [len(p) for p in random_split(d, [7, 0, 3])] == [7, 0, 3]
    # floor(3.3) = 3 each, and the one item left goes to the first part
    assert [len(p) for p in random_split(d, [1 / 3, 1 / 3, 1 / 3])] == [4, 3, 3]
    assert random_split(d, [5, 5], seed=1)[0].indices.tolist() != random_split(d, [5, 5], seed=2)[0].indices.tolist()


def test_random_split_errors():
    with pytest.raises(ValueError, match=r"\[5, 4\] add up to 9 but the data set has 10 items"):
        random_split(Items(10), [5, 4])
    with pytest.raises(ValueError, match="fractions must add up to 1"):
        random_split(Items(10), [0.5, 0.4])
    with pytest.raises(ValueError, match="must not be negative"):
        random_split(Items(10), [11, -1])


def test_permutation_is_the_same_for_ever():
    assert permutation(12, 3, 1).tolist() == [0, 11, 6, 2, 1, 3, 7, 4, 10, 9, 8, 5]
    assert permutation(0, 3, 1).tolist() == [] and permutation(1, 3, 1).tolist() == [0]


def test_permutation_is_fair():
    counts = np.zeros((4, 4), int)
    for seed in range(4000):
        counts[np.arange(4), permutation(4, seed)] += 1
    assert abs(counts - 1000).max() < 150  # 5.5 standard deviations


def test_collate_stacks_fields():
    x, y = collate([(Tensorish(np.zeros(2, np.float32)), 1), [np.ones(2, np.float32), 2]])
    np.testing.assert_array_equal(x, [[0, 0], [1, 1]])
    assert x.dtype == np.float32 and y.dtype == np.int64
    (only,) = collate([1.5, 2.5])
    np.testing.assert_array_equal(only, [1.5, 2.5])


def test_collate_errors():
    with pytest.raises(ValueError, match="item 1 of the batch has 1 fields but item 0 has 2"):
        collate([(1, 2), (1,)])
    with pytest.raises(ValueError, match=r"item 1 of the batch is \[3\] but in item 0 \[2\]; give DataLoader"):
        collate([np.zeros(2), np.zeros(3)])
    with pytest.raises(TypeError, match="needs arrays of numbers, got str"):
        collate([("a", 1)])


def test_fetch_agrees_with_and_without_get_batch():
    items = Items(7)
    arrays = ArrayDataset(*collate([items[i] for i in range(7)]))
    chosen = np.array([6, 0, 3])
    for a, b in zip(fetch(items, chosen), fetch(arrays, chosen), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


def test_representations_say_what_they_hold():
    d = image_dataset(np.zeros((2, 1, 3, 4), np.uint8), [0, 1])
    assert repr(d) == "ImageDataset(toy: 2 images 1x3x4, 2 classes)"
    assert repr(d.transform) == "Normalize(mean=(0.5,), std=(0.5,), scale=255)"
