"""A training step on a device asks the device for nothing, and sends it nothing but the batch: counted, for nets of each kind."""

import numpy as np
import pytest

import convkit
from convkit import nn, optim
from convkit.nn import functional as F
from convkit.train import evaluate, fit
from tests import backend

NAME = backend.gpu()

from convkit_kernels.cuda import checks, driver  # noqa: E402
from convkit_kernels.cuda import optimizer as table  # noqa: E402


class Counted:
    """How often the host read from the device, sent something there, and waited."""

    def __init__(self, monkeypatch):
        self.read = self.sent = self.waited = 0
        for name, counter in (("to_host", "read"), ("to_device", "sent"), ("wait", "waited")):
            monkeypatch.setattr(driver, name, self._counting(getattr(driver, name), counter))

    def _counting(self, function, counter):
        def run(*args):
            setattr(self, counter, getattr(self, counter) + 1)
            return function(*args)

        return run

    def __call__(self):
        now = self.read, self.sent, self.waited
        self.read = self.sent = self.waited = 0
        return now


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setattr(checks, "AT_ONCE", False)  # as on a GPU
    return Counted(monkeypatch)


rng = np.random.default_rng(0)


def there(a):
    return convkit.tensor(a).to(NAME)


def images(*shape):
    return there(rng.standard_normal(shape).astype(np.float32))


def labels(classes, *shape):
    return there(rng.integers(0, classes, shape))


class Residual(nn.Module):
    def __init__(self, momentum):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(3, momentum=momentum), nn.BatchNorm2d(3, momentum=momentum)])
        self.last = nn.Linear(3, 4)

    def forward(self, x):
        x = F.relu(self.norms[0](self.a(x)))
        return self.last(F.relu(x + self.norms[1](self.b(x))).mean((2, 3)))


class Text(nn.Module):
    def __init__(self, **how):
        super().__init__()
        self.table, self.conv, self.drop, self.last = nn.Embedding(7, 3, **how), nn.Conv1d(3, 4, 2), nn.Dropout(0.5), nn.Linear(4, 2)

    def forward(self, t):
        return self.last(self.drop(F.relu(self.conv(self.table(t).transpose(1, 2))).amax(2)))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.deep, self.up, self.last = (
            nn.Conv2d(1, 2, 3, padding=1),
            nn.Conv2d(2, 3, 3, padding=1),
            nn.ConvTranspose2d(3, 2, 2, 2),
            nn.Conv2d(4, 3, 1),
        )

    def forward(self, x):
        x = F.relu(self.down(x))
        return self.last(convkit.cat([self.up(F.relu(self.deep(F.max_pool2d(x, 2)))), x], 1))


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 3, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3, 4)
    )


def text():
    return labels(7, 2, 4), labels(2, 2)


WEIGHT = there(np.array([1, 2, 3, 1], np.float32))
DENSE = (lambda: nn.Linear(3, 4), lambda: (images(2, 3), labels(4, 2)))
CASES = {
    "lenet": (lenet, lambda: (images(1, 1, 12, 12), labels(4, 1)), F.cross_entropy),
    "residual": (lambda: Residual(0.1), lambda: (images(2, 1, 3, 3), labels(4, 2)), F.cross_entropy),
    "residual, plain means": (lambda: Residual(None), lambda: (images(2, 1, 3, 3), labels(4, 2)), F.cross_entropy),
    "text": (Text, text, F.cross_entropy),
    "text, padded": (lambda: Text(padding_idx=1), text, F.cross_entropy),
    "text, by frequency": (lambda: Text(scale_grad_by_freq=True), text, F.cross_entropy),
    "bags": (lambda: nn.EmbeddingBag(7, 2), text, F.cross_entropy),
    "unet": (UNet, lambda: (images(2, 1, 4, 4), labels(3, 2, 4, 4)), lambda y, t: F.dice_loss(F.softmax(y, 1), t)),
    "unet, cross entropy": (UNet, lambda: (images(2, 1, 4, 4), labels(3, 2, 4, 4)), lambda y, t: F.cross_entropy(y, t, ignore_index=0)),
    "weighted classes": (*DENSE, lambda y, t: F.cross_entropy(y, t, WEIGHT, label_smoothing=0.1)),
    "nll_loss": (*DENSE, lambda y, t: F.nll_loss(F.log_softmax(y, 1), t)),
    "nll_loss, weighted": (*DENSE, lambda y, t: F.nll_loss(F.log_softmax(y, 1), t, WEIGHT)),
    "focal_loss": (*DENSE, F.focal_loss),
    "multi_margin_loss": (*DENSE, F.multi_margin_loss),
    "binary_cross_entropy": (DENSE[0], lambda: (images(2, 3), images(2, 4).sigmoid()), lambda y, t: F.binary_cross_entropy(y.sigmoid(), t)),
    "indices": (
        *DENSE, lambda y, t: sum(v.sum() for v in (y.gather(1, t[:, None]), y[t % 2], y[t % 2, t], y.index_select(1, t), y * F.one_hot(t, 4))),
    ),
    "norms": (*DENSE, lambda y, t: convkit.norm(y, dim=1).sum() + convkit.logsumexp(y, 1).sum() + y.std() + convkit.norm(y, 3)),
}  # fmt: skip


def steps(model, data, loss, optimizer, after=lambda: None):
    optimizer.zero_grad()
    x, t = data
    loss(model(x), t).backward()
    after()
    optimizer.step()


@pytest.mark.parametrize("case", CASES)
def test_a_step(case, counted):
    make, data, loss = CASES[case]
    model = make().to(NAME)
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    batch = data()
    for _ in range(2):  # plans and constants come there
        steps(model, batch, loss, optimizer)
    batch, _ = data(), counted()
    table._table.cache_clear()
    steps(model, batch, loss, optimizer)
    assert counted() == (0, 1, 0)  # the addresses of the optimiser's arrays, where they changed


OPTIMIZERS = {
    "SGD": {"lr": 0.1, "nesterov": True, "momentum": 0.9}, "Adam": {}, "AdamW": {"amsgrad": True}, "NAdam": {}, "RAdam": {}, "Adamax": {},
    "RMSprop": {"centered": True}, "Adagrad": {}, "Adadelta": {}, "ASGD": {}, "Rprop": {},
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimisers_schedules_and_clipping(name, counted):
    model = nn.Linear(3, 4).to(NAME)
    optimizer = getattr(optim, name)(model.parameters(), **OPTIMIZERS[name])
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    norms = [2.0, float("inf"), 1.0]

    def clip():
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, norms[0])
        nn.utils.clip_grad_value_(model.parameters(), 0.5)

    for _ in range(3):
        batch = images(2, 3), labels(4, 2)
        counted()
        steps(model, batch, lambda y, t: (y * y).mean(), optimizer, clip)
        schedule.step()
    assert counted()[::2] == (0, 0)


def test_fit_reads_once_a_batch_and_evaluate_once_at_the_end(counted):
    x, y = rng.standard_normal((12, 3)).astype(np.float32), rng.integers(0, 4, 12)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).to(NAME)
    found = []

    class Watch:
        def __getattr__(self, name):
            return lambda run: None

        def on_batch_end(self, run):
            found.append(counted())

        def on_epoch_start(self, run):
            counted()

        def on_epoch_end(self, run):
            found.append(counted())

    optimizer = optim.SGD(model.parameters(), 0.1)
    fit(model, (x, y), epochs=2, batch_size=3, optimizer=optimizer, callbacks=[Watch()], progress=False, graph=False)
    read, sent, waited = zip(*found, strict=True)
    assert read == (1,) * 10 and waited == (0,) * 10  # the loss with the accuracy; are all weights finite?
    assert sent[5:] == (3,) * 4 + (0,)  # inputs, targets, the addresses of the optimiser's arrays
    counted()
    loss, accuracy = evaluate(model, (x, y), batch_size=4)
    assert counted()[0] == 3 and 0 <= accuracy <= 1 and loss > 0
