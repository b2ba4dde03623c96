"""Training on a device, when something goes wrong or several threads train."""

import gc
import threading

import pytest

import convkit
from convkit import nn
from convkit.train import accuracy
from tests import backend

DEVICE = backend.gpu()

from convkit_kernels.cuda import memory  # noqa: E402


class Training:
    """A small net, and what it is trained on."""

    def __init__(self):
        convkit.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)).to(DEVICE)
        self.optimizer = convkit.optim.SGD(self.net.parameters(), 0.1, momentum=0.9)
        self.x, self.target = convkit.randn(2, 1, 6, 6).to(DEVICE), convkit.tensor([0, 2]).to(DEVICE)

    def step(self):
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.net(self.x), self.target)
        loss.backward()
        self.optimizer.step()
        return loss.item()


def test_memory_that_ends_within_a_step_is_given_back(monkeypatch):
    training = Training()
    first = training.step()

    def used():
        training.optimizer.zero_grad()
        gc.collect()
        return convkit.cuda.memory_allocated()

    before, take = used(), memory.pool.take
    failed = 0
    for last in range(0, 90, 11):
        left = iter(range(last))

        def some(nbytes, left=left):
            if next(left, None) is None:
                raise MemoryError("no more")
            return take(nbytes)

        monkeypatch.setattr(memory.pool, "take", some)
        try:
            training.step()
        except MemoryError:
            failed += 1
        monkeypatch.setattr(memory.pool, "take", take)
    assert failed > 3
    assert used() <= before + 8 * 512  # tables that are remembered by the addresses of arrays; one step's graph would be more
    assert training.step() < first


def test_two_threads_train():
    alone, found = Training(), {}
    expected = [alone.step() for _ in range(2)]
    trainings = [Training(), Training()]  # the generator is one for all

    def train(k):
        found[k] = [trainings[k].step() for _ in range(2)]

    threads = [threading.Thread(target=train, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: expected, 1: expected}, (expected, found)


def test_explain_is_of_the_cpu():
    x, layer = convkit.ones(2, 3, 8, 8), nn.Conv2d(3, 4, 3)
    for op, given in ((layer, x.to(DEVICE)), (nn.Conv2d(3, 4, 3).to(DEVICE), x)):
        with pytest.raises(RuntimeError, match=f"^explain: tells how the CPU's kernels choose, and a tensor is on {DEVICE}"):
            convkit.explain(op, given)


def test_accuracy_brings_targets_to_where_the_outputs_are():
    outputs, targets = convkit.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.4]]), convkit.tensor([1, 0, 0])
    for here, there in ((DEVICE, "cpu"), ("cpu", DEVICE), (DEVICE, DEVICE)):
        assert accuracy(outputs.to(here), targets.to(there)) == pytest.approx(2 / 3)
