"""Shared by the training tests: a small net with dropout and batch normalisation, and a few digits."""

import json
from types import SimpleNamespace

import pytest

import convkit
from convkit import nn, optim
from convkit.data import Subset, digits


def small_net():
    """Everything that has a state: weights, running statistics, and dropout, which draws from the default generator."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(36, 10)
    )  # fmt: skip


@pytest.fixture(scope="session")
def part():
    """200 digits."""
    return Subset(digits("train"), range(200))


@pytest.fixture(scope="session")
def other_part():
    """100 other digits."""
    return Subset(digits("train"), range(200, 300))


@pytest.fixture
def new_run():
    """`new_run(seed=0)`: a net and its optimizer, always the same for the same seed."""

    def make(seed=0, lr=0.01):
        convkit.manual_seed(seed)
        model = small_net()
        return SimpleNamespace(model=model, optimizer=optim.Adam(model.parameters(), lr=lr))

    return make


def bits(model):
    """The state of a model, comparable by ==."""
    return {name: tensor.array.tobytes() for name, tensor in model.state_dict().items()}


def without_times(history):
    """A history without what a clock measured."""
    return [{k: v for k, v in record.items() if k not in ("seconds", "images_per_second")} for record in history]


def read_json(path):
    return json.loads(path.read_text())
