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
