"""Summaries: the lecture notes' LeNet table, several inputs, and that nothing is left behind."""

import numpy as np
import pytest

import convkit
from convkit import nn


def test_lenet_table_of_the_lecture_notes():
    """The table of well-known lecture notes (a net like LeNet-5), whose parameters are wrong.

    The notes print 208, 416, 48,001, 10,081 and 841 parameters: the convolutions without the input channels (5*5*8 + 8 instead of
    5*5*3*8 + 8; 5*5*16 + 16 instead of 5*5*8*16 + 16), and one bias for a whole dense layer (400*120 + 1 instead of + 120).
    """
    net = nn.Sequential(
        nn.Conv2d(3, 8, 5), nn.MaxPool2d(2), nn.Conv2d(8, 16, 5), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10), nn.Softmax(1),
    )  # fmt: skip
    summary = net.summary((3, 32, 32))
    assert [(r.kind, r.output_shape, r.activations, r.parameters) for r in summary.rows] == [
        ("Conv2d", (8, 28, 28), 6272, 608),
        ("MaxPool2d", (8, 14, 14), 1568, 0),
        ("Conv2d", (16, 10, 10), 1600, 3216),
        ("MaxPool2d", (16, 5, 5), 400, 0),
        ("Flatten", (400,), 400, 0),
        ("Linear", (120,), 120, 48120),
        ("Linear", (84,), 84, 10164),
        ("Linear", (10,), 10, 850),
        ("Softmax", (10,), 10, 0),
    ]
    assert summary.parameters == summary.trainable == 62958 and summary.activations == sum(r.activations for r in summary.rows)
    text = str(summary).splitlines()
    assert text[0].split() == ["layer", "output", "activations", "parameters"]
    assert text[2].split() == ["input", "3", "x", "32", "x", "32", "3,072", "0"]
    assert text[8].split() == ["5", "Linear", "120", "120", "48,120"]
    assert text[-1].split() == ["total", f"{summary.activations:,}", "62,958"]
    assert repr(summary) == str(summary)


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.image = nn.Embedding(7, 3), nn.Linear(4, 3)
        self.scale = nn.Parameter(convkit.ones(2))

    def forward(self, words, image):
        a, b = self.image(image), self.image(image)
        return {"sum": self.words(words.long()).sum(1) + a, "others": [b, 3]}


def test_own_parameters_several_inputs_and_layers_that_run_twice():
    net = Pair()
    net.words.requires_grad_(False)
    summary = net.summary([(5,), (4,)])
    assert [(r.name, r.kind, r.output_shape, r.activations, r.parameters) for r in summary.rows] == [
        ("image", "Linear", (3,), 3, 15),
        ("image", "Linear", (3,), 3, 0),
        ("words", "Embedding", (5, 3), 15, 21),
        ("", "Pair", (3,), 6, 2),
    ]
    assert summary.parameters == 38 and summary.trainable == 17
    assert str(summary).splitlines()[-1] == "17 parameters are learnt, 21 are frozen"
    assert nn.Embedding(7, 3).summary((5,), dtype=np.int64).rows[0].output_shape == (5, 3)


def test_everything_is_restored():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten())
    net[2].eval()
    modes = [m.training for m in net.modules()]
    before = {k: np.array(v) for k, v in net.state_dict().items()}
    net.summary((1, 6, 6))
    with pytest.raises(ValueError, match="conv2d"):
        net.summary((4, 6, 6))
    assert [m.training for m in net.modules()] == modes == [True, True, True, False, True]
    assert not any(m._forward_hooks for m in net.modules())
    for name, array in before.items():
        np.testing.assert_array_equal(np.array(net.state_dict()[name]), array)
    assert net.double().summary((1, 6, 6)).parameters == 24  # the input takes the net's dtype


@pytest.mark.parametrize("size", [(0, 3), (-1,), ("a",)])
def test_sizes_are_positive(size):
    with pytest.raises(ValueError, match="summary: input_size must be the positive sizes of one input without the batch"):
        nn.Linear(3, 3).summary(size)
