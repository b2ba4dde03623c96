"""Operations that wait inside modules: nobody can tell, whatever is read, kept, changed or differentiated."""

import pickle
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit import nn
from convkit.autograd import fusion, observed
from convkit.nn import functional as F
from tests.backend import settings

STEPS = ["conv", "conv", "norm", "norm", "fixed", "relu", "relu", "relu", "add", "add", "tanh", "double", "read", "keep", "drop", "change", "counted",
         "state", "state", "write", "swap", "freeze"]  # fmt: skip


class Program(nn.Module):
    """Random steps: (what, which value, which other value).  The newest values are picked most."""

    def __init__(self, steps):
        super().__init__()
        rng = np.random.default_rng(len(steps))
        self.steps = steps
        self.weight = nn.Parameter(convkit.tensor(rng.standard_normal((3, 3, 1, 2))))
        self.scale, self.shift = (nn.Parameter(convkit.tensor(rng.standard_normal(3))) for _ in range(2))
        self.counter = convkit.tensor(np.zeros(1))
        self.state = convkit.tensor(rng.standard_normal((2, 3, 2, 3)))
        self.kept, self.mean, self.var = [], convkit.zeros(3, dtype=np.float64), convkit.ones(3, dtype=np.float64)

    def forward(self, x):
        values = [x]
        for what, a, b in self.steps:
            y, z = values[-1 - a % len(values)], values[-1 - b % len(values)]
            if what == "conv":
                values.append(F.conv2d(y, self.weight, self.shift, padding=((0, 0), (1, 0))))
            elif what == "norm":
                values.append(F.batch_norm(y, None, None, self.scale, self.shift, training=True, eps=0.1))
            elif what == "fixed":
                values.append(F.batch_norm(y, self.mean, self.var, self.scale, None))
            elif what == "relu":
                values.append(F.relu(y))
            elif what == "add":
                values.append(y + z)
            elif what == "tanh":
                values.append(y.tanh())
            elif what == "double":
                values.append(y * 0.5)
            elif what == "read":
                self.kept.append(y.detach())
            elif what == "keep":
                self.kept.append(y)
            elif what == "drop" and len(values) > 2:
                values.pop(-2)
            elif what == "change":
                with convkit.no_grad():
                    self.shift.mul_(0.5)
            elif what == "counted":
                self.counter.add_(1)
            elif what == "state" and y.shape == self.state.shape:
                values.append(self.state + y)
            elif what == "write":
                self.state.sub_(1.5)
            elif what == "swap":
                self.scale.data = self.scale.detach() * 2.0
            elif what == "freeze":
                self.scale.requires_grad_(not self.scale.requires_grad)
            y = z = None
        return values[-1]


def results(run, steps, x, grads, changes):
    """All that one can know of a run."""
    net, x = Program(steps), convkit.tensor(x, requires_grad=grads)
    y = run(net, x)
    known = [y, *net.kept, net.counter, net.shift, net.scale, net.state]
    if not grads or changes:  # a backward that needs numbers of before the change is refused, by both
        return [k.detach().numpy() for k in known]
    kept = [k for k in net.kept if k.requires_grad]
    loss = (y * y).sum()
    known += [g for g in convkit.autograd.grad(loss, [x, net.weight, net.scale, net.shift, *kept], allow_unused=True, create_graph=True)]
    second = sum(((g * g).sum() for g in known[-4 - len(kept) :] if g is not None), convkit.zeros(1, dtype=np.float64))
    known += [*convkit.autograd.grad(second, [x, net.weight], allow_unused=True, retain_graph=True)] if second.requires_grad else []
    loss.backward()
    known += [x.grad, *(p.grad for p in net.parameters())]
    return [None if k is None else k.detach().numpy() for k in known]


steps = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2), st.integers(0, 4)), min_size=2, max_size=9)


@settings(max_examples=400)
@given(steps=steps, grads=st.booleans(), seed=st.integers(0, 9))
def test_programs(steps, grads, seed):
    x = np.random.default_rng(seed).standard_normal((2, 3, 2, 3))
    changes = any(what in ("change", "swap", "freeze") for what, *_ in steps)
    with convkit.enable_grad() if grads else convkit.no_grad():
        plain = results(lambda net, x: net.forward(x), steps, x, grads, changes)  # not called: nothing waits
        joined = results(lambda net, x: net(x), steps, x, grads, changes)
    assert len(plain) == len(joined)
    for a, b in zip(plain, joined, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-11)


class Names:
    def __init__(self):
        self.seen = []

    def forward(self, ctx, arrays, options):
        self.seen.append(type(ctx).__name__)
        return type(ctx).forward(ctx, *arrays, **options)

    def backward(self, node, grads):
        return type(node).backward(node, *grads)


def count(monkeypatch, net, x):
    """The operations that run, unobserved."""
    seen = []
    for function in _FUNCTIONS:
        before = function.forward

        def forward(ctx, *args, before=before, name=function.__name__, **options):
            seen.append(name)
            return before(ctx, *args, **options)

        monkeypatch.setattr(function, "forward", staticmethod(forward))
    y = net(x)
    monkeypatch.undo()
    return seen, y


from convkit.ops.activation import Activation  # noqa: E402
from convkit.ops.conv import Conv  # noqa: E402
from convkit.ops.elementwise import Add  # noqa: E402
from convkit.ops.matmul import Linear  # noqa: E402
from convkit.ops.norm import Norm, Normalise  # noqa: E402

_FUNCTIONS = Activation, Conv, Add, Linear, Norm, Normalise


class Block(nn.Module):
    """As in many programs: every result has the same name."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.bn1, self.bn2, self.relu = nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.ReLU()

    def forward(self, x):
        identity = x
        out = self.conv1(x)
        out = self.bn1(out)
        out = self.relu(out)
        out = self.conv2(out)
        out = self.bn2(out)
        out = out + identity
        return self.relu(out)


def test_what_a_residual_block_runs(monkeypatch):
    net, x = Block(), convkit.randn(2, 3, 4, 4)
    assert count(monkeypatch, net, x)[0] == ["Conv", "Norm", "Conv", "Norm"]
    assert count(monkeypatch, net.eval(), x)[0] == ["Conv", "Normalise", "Conv", "Normalise"]
    with convkit.no_grad():
        seen, y = count(monkeypatch, net, x)
    assert seen == ["Conv", "Conv"]
    np.testing.assert_allclose(y.numpy(), net(x).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_a_dense_layer_and_a_sum_in_either_order(monkeypatch):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 3)

        def forward(self, x):
            return convkit.add(x, self.a(x), alpha=2)

    assert count(monkeypatch, Net(), convkit.ones(2, 3))[0] == ["Linear", "Add"]  # twice what waits is another operation
    net = Net()
    net.forward = lambda x: x + net.a(x)
    seen, y = count(monkeypatch, net, convkit.ones(2, 3))
    assert seen == ["Linear"]
    np.testing.assert_array_equal(y.detach().numpy(), (net.a(convkit.ones(2, 3)) + convkit.ones(2, 3)).detach().numpy())


def test_sums_that_are_not_of_one_shape_or_dtype_are_sums(monkeypatch):
    net = nn.Linear(3, 3)
    for other in (convkit.ones(3), convkit.ones(2, 3, dtype=np.float64), 1.0, convkit.ones(4, 2, 3)):
        outer = nn.Module()
        outer.forward = lambda x, other=other: net(x) + other
        seen, y = count(monkeypatch, outer, convkit.ones(2, 3))
        assert seen == ["Linear", "Add"]
        expected = net(convkit.ones(2, 3)) + other
        assert y.dtype == expected.dtype and np.array_equal(y.detach().numpy(), expected.detach().numpy())


def test_nothing_waits_outside_modules_or_after_them():
    layer, x = nn.Linear(3, 3), convkit.ones(2, 3)
    assert type(F.linear(x, layer.weight)) is type(layer(x)) is convkit.Tensor
    kept = []
    net = nn.Module()
    net.forward = lambda x: kept.append(layer(x)) or F.relu(kept[0])
    y = net(x)
    assert type(kept[0]) is convkit.Tensor and np.array_equal(F.relu(kept[0]).detach().numpy(), y.detach().numpy())
    (y * y).sum().backward(retain_graph=True)
    (g,) = convkit.autograd.grad((y * y).sum(), kept)
    np.testing.assert_array_equal(g.numpy(), 2 * y.detach().numpy())


def test_an_error_in_the_middle_leaves_nothing_behind():
    layer = nn.Linear(3, 3)
    net, kept = nn.Module(), []

    def forward(x):
        kept.append(layer(x))
        raise ValueError("mine")

    net.forward = forward
    with pytest.raises(ValueError, match="mine"):
        net(convkit.ones(2, 3))
    assert type(layer(convkit.ones(2, 3))) is convkit.Tensor
    np.testing.assert_array_equal(kept[0].detach().numpy(), layer(convkit.ones(2, 3)).detach().numpy())


def test_what_waits_tells_what_it_will_be():
    layer, told = nn.Conv2d(3, 4, 3), []
    net = nn.Module()

    def forward(x):
        y = layer(x)
        told.append((type(y) is not convkit.Tensor, y.shape, y.ndim, y.dtype, y.requires_grad, y.grad))
        assert not hasattr(y, "nonsense") and y.size() == (2, 4, 3, 2) and y.is_leaf is False
        return y

    assert net.__setattr__("forward", forward) is None and type(net(convkit.zeros(2, 3, 5, 4))) is convkit.Tensor
    assert told == [(True, (2, 4, 3, 2), 4, np.dtype(np.float32), True, None)]


def test_hooks_and_gradients_of_what_stood_between():
    layer, seen = nn.Linear(3, 3), []
    net = nn.Module()

    def forward(x):
        y = layer(x)
        z = F.relu(y)
        y.register_hook(lambda g: seen.append(g.numpy().copy()))
        y.retain_grad()
        net.between = y
        return z

    net.forward = forward
    y = net(convkit.ones(2, 3))
    y.sum().backward()
    np.testing.assert_array_equal(seen[0], (y.detach().numpy() > 0).astype(np.float32))
    np.testing.assert_array_equal(net.between.grad.numpy(), seen[0])


@pytest.mark.parametrize("keep", [(0,), (1,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("order", [1, -1])
def test_gradients_of_all_that_stood_between(keep, order):
    layer, x = nn.Linear(3, 3, dtype=np.float64), convkit.tensor(np.random.default_rng(0).standard_normal((4, 3)), requires_grad=True)
    kept, net = [], nn.Module()

    def forward(x):
        y = layer(x)
        z = x * 2.0 + y
        r = F.relu(z)
        kept[:] = [(y, z, r)[i] for i in keep]
        return r * x

    net.forward, grads = forward, []
    for run in (net.forward, net):
        out = run(x)
        wanted = [x, layer.weight, *kept][::order]
        first = convkit.autograd.grad((out * out).sum(), wanted, create_graph=True)
        second = convkit.autograd.grad(sum((g * g * g).sum() for g in first), [x, layer.weight, layer.bias])
        grads.append([g.detach().numpy() for g in (*first, *second)])
    for a, b in zip(*grads, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_parameters_that_an_optimiser_changes_are_read_before():
    layer = nn.Linear(3, 3)
    optimiser = convkit.optim.SGD(layer.parameters(), lr=1.0)
    x = convkit.ones(2, 3)
    layer(x).sum().backward()
    before = layer(x).detach().numpy()
    net = nn.Module()

    def forward(x):
        y = layer(x)
        optimiser.step()
        return y

    net.forward = forward
    np.testing.assert_array_equal(net(x).detach().numpy(), before)
    assert not np.array_equal(layer(x).detach().numpy(), before)


def test_threads_wait_for_themselves():
    layer, results = nn.Linear(3, 3), []
    x = convkit.ones(2, 3)
    net = nn.Module()

    def forward(x):
        waits = layer(x)
        thread = threading.Thread(target=lambda: results.append(type(layer(x)) is convkit.Tensor and waits.detach().numpy()))
        thread.start()
        thread.join()
        return F.relu(waits)

    net.forward = forward
    y = net(x).detach().numpy()
    np.testing.assert_array_equal(np.maximum(results[0], 0), y)


def test_threads_read_what_waits():
    layer, x = nn.Linear(3, 3), convkit.ones(2, 3)
    net = nn.Module()

    def forward(x):
        waits, found = layer(x), []
        threads = [threading.Thread(target=lambda: found.append(F.relu(waits) + waits)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    net.forward = forward
    expected = layer(x)
    expected = (F.relu(expected) + expected).detach().numpy()
    for _ in range(30):
        found = net(x)
        assert len(found) == 4 and all(np.array_equal(f.detach().numpy(), expected) for f in found)


def test_what_is_exchanged_while_an_operation_waits():
    x = convkit.ones(2, 3)

    def after(change):
        layer, net = nn.Linear(3, 3), nn.Module()
        before = layer(x).detach().numpy()

        def forward(x):
            y = layer(x)
            change(layer, y)
            return y

        net.forward = forward
        y = net(x)
        np.testing.assert_array_equal(y.detach().numpy(), before)
        return y

    after(lambda layer, y: layer.double())
    after(lambda layer, y: layer.load_state_dict({"weight": convkit.zeros(3, 3), "bias": convkit.zeros(3)}, assign=True))
    after(lambda layer, y: setattr(layer.weight, "data", convkit.zeros(1, 1)))
    assert after(lambda layer, y: layer.requires_grad_(False)).requires_grad
    assert pickle.loads(pickle.dumps(after(lambda layer, y: pickle.dumps(y)).detach())).shape == (2, 3)


def test_results_that_an_error_leaves_behind_are_those_of_before():
    layer, net, kept = nn.Linear(3, 3), nn.Module(), []
    before = layer(convkit.ones(2, 3)).detach().numpy()

    def forward(x):
        kept.append(layer(x))
        raise ValueError("mine")

    net.forward = forward
    with pytest.raises(ValueError, match="mine"):
        net(convkit.ones(2, 3))
    with convkit.no_grad():
        layer.weight.zero_()
    np.testing.assert_array_equal(kept[0].detach().numpy(), before)


def test_the_algorithm_is_that_of_the_call():
    layer, net, x = nn.Conv2d(32, 32, 3, padding=1), nn.Module(), convkit.randn(4, 32, 40, 40)
    with convkit.no_grad(), convkit.conv_algorithm("direct"):
        expected = layer(x).numpy()

    def forward(x):
        with convkit.conv_algorithm("direct"):
            y = layer(x)
        with convkit.conv_algorithm("winograd"):
            return F.relu(y)

    net.forward = forward
    with convkit.no_grad():
        np.testing.assert_array_equal(net(x).numpy(), np.maximum(expected, 0))


def test_watchers_see_the_operations_that_the_user_wrote_but_for_relu():
    names, net = Names(), Block().eval()
    with convkit.no_grad(), observed(names):
        net(convkit.ones(1, 3, 4, 4))
    assert names.seen == ["Conv", "Normalise", "Conv", "Normalise", "Add", "Activation"]


def test_settling_nothing():
    fusion.settle()
    fusion.settle(np.zeros(3))
    assert fusion.work_of(convkit.ones(1)) is None
