"""Embedding: rows of a table, and gradients into them."""

import numpy as np
import pytest

import convkit
from convkit import nn


def test_rows_and_gradients():
    layer = nn.Embedding(5, 3, padding_idx=-1)
    assert layer.padding_idx == 4 and layer.weight[4].tolist() == [0, 0, 0]
    words = np.array([[1, 4, 1], [0, 2, 4]])
    y = layer(convkit.tensor(words))
    np.testing.assert_array_equal(y.detach().numpy(), layer.weight.detach().numpy()[words])
    y.sum().backward()
    np.testing.assert_array_equal(layer.weight.grad.numpy(), np.array([1, 2, 1, 0, 0])[:, None] * np.ones(3))


def test_initial_table_is_normal():
    convkit.manual_seed(0)
    w = nn.Embedding(1000, 50).weight.detach().numpy()
    assert abs(w.mean()) < 0.02 and abs(w.std() - 1) < 0.02


def test_from_pretrained():
    table = convkit.tensor(np.arange(6, dtype=np.float32).reshape(3, 2))
    layer = nn.Embedding.from_pretrained(table)
    assert layer(convkit.tensor([2])).tolist() == [[4, 5]] and not layer.weight.requires_grad and layer.num_embeddings == 3
    assert nn.Embedding.from_pretrained(table, freeze=False).weight.requires_grad
    with pytest.raises(ValueError, match="embeddings must be 2-D"):
        nn.Embedding.from_pretrained(convkit.zeros(3))


def test_errors_and_repr():
    with pytest.raises(ValueError, match="Embedding: padding_idx must be between -5 and 4, got 5"):
        nn.Embedding(5, 3, padding_idx=5)
    with pytest.raises(ValueError, match="Embedding: num_embeddings must be at least 1, got 0"):
        nn.Embedding(0, 3)
    assert repr(nn.Embedding(5, 3, padding_idx=0)) == "Embedding(5, 3, padding_idx=0)"
    with pytest.raises(ValueError, match="EmbeddingBag: sparse gradients are not supported"):
        nn.EmbeddingBag(5, 3, sparse=True)
    with pytest.raises(ValueError, match="EmbeddingBag: mode must be 'sum', 'mean' or 'max', got 'min'"):
        nn.EmbeddingBag(5, 3, mode="min")
    with pytest.raises(ValueError, match=r"Embedding: _weight must have shape \[5, 3\], got \[3, 5\]"):
        nn.Embedding(5, 3, _weight=convkit.ones(3, 5))
    assert repr(nn.Embedding(5, 3, 1, 2.0, 1.0, True)) == "Embedding(5, 3, padding_idx=1, max_norm=2.0, norm_type=1.0, scale_grad_by_freq=True)"
    assert repr(nn.EmbeddingBag(5, 3, 2.0, padding_idx=1)) == "EmbeddingBag(5, 3, max_norm=2.0, mode='mean', padding_idx=1)"


def test_options_reach_the_function():
    table = convkit.tensor(np.arange(6, dtype=np.float64).reshape(3, 2))
    layer = nn.Embedding.from_pretrained(table, freeze=False, padding_idx=0, max_norm=1.0, scale_grad_by_freq=True)
    layer(convkit.tensor([0, 1, 1])).sum().backward()
    assert np.allclose(np.linalg.norm(layer.weight.detach().numpy()[:2], axis=1), [1, 1]) and layer.weight.tolist()[2] == [4, 5]
    assert layer.weight.grad.tolist() == [[0, 0], [1, 1], [0, 0]]


def test_bags():
    table = convkit.tensor(np.arange(6, dtype=np.float32).reshape(3, 2))
    layer = nn.EmbeddingBag.from_pretrained(table, mode="sum", include_last_offset=True, padding_idx=0)
    y = layer(convkit.tensor([0, 1, 2, 2]), convkit.tensor([0, 2, 4]), convkit.tensor([1.0, 1.0, 0.5, 0.0]))
    assert y.tolist() == [[2, 3], [2, 2.5]] and not layer.weight.requires_grad
    layer = nn.EmbeddingBag(5, 3)
    layer(convkit.tensor([[1, 1], [2, 3]])).sum().backward()
    assert np.allclose(layer.weight.grad.numpy()[:, 0], [0, 1, 0.5, 0.5, 0]) and layer.mode == "mean"
