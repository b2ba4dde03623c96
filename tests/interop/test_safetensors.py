"""State dictionaries as safetensors files."""

import numpy as np
import pytest

import convkit
from convkit import models


def test_a_model_comes_back_bit_for_bit(tmp_path):
    path = tmp_path / "weights.safetensors"
    model, other = models.create("resnet20", 3, 32, 10), models.create("resnet20", 3, 32, 10)
    convkit.save(model.state_dict(), path)
    loaded = convkit.load(path)
    assert list(loaded) == sorted(model.state_dict())
    other.load_state_dict(loaded)
    for name, tensor in model.state_dict().items():
        again = other.state_dict()[name]
        assert again.shape == tensor.shape and again.dtype == tensor.dtype  # num_batches_tracked has no dimensions
        np.testing.assert_array_equal(again.array, tensor.array)


def test_any_memory_order_is_written_by_value(tmp_path):
    x = np.arange(24.0).reshape(2, 3, 4)
    convkit.save({"t": x.transpose(2, 0, 1), "r": x[:, ::-1]}, tmp_path / "f")
    loaded = convkit.load(f=tmp_path / "f", map_location="cpu", weights_only=True)
    np.testing.assert_array_equal(loaded["t"].array, x.transpose(2, 0, 1))
    np.testing.assert_array_equal(loaded["r"].array, x[:, ::-1])
    loaded["t"].fill_(0.0)  # what is loaded can be changed


def test_wrong_input_is_refused_and_loses_nothing(tmp_path):
    path = tmp_path / "f"
    convkit.save({"w": convkit.ones(2)}, path)
    with pytest.raises(TypeError, match="save: 'w' must be a tensor or an array, got str"):
        convkit.save({"w": "no"}, path)
    assert convkit.load(path)["w"].tolist() == [1.0, 1.0]
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match="no whole safetensors file"):
        convkit.load(path)
    with pytest.raises(FileNotFoundError):
        convkit.load(tmp_path / "nothing")


def test_numbers_are_on_the_cpu(tmp_path):
    convkit.save(obj={"w": convkit.ones(2)}, f=tmp_path / "f")
    with pytest.raises(RuntimeError, match="a process uses one GPU"):
        convkit.load(tmp_path / "f", map_location="cuda:1")
