"""nn.utils and nn.init against torch: arguments, values, state dictionaries."""

import inspect
import math

import numpy as np
import pytest

import convkit
from convkit import nn

torch = pytest.importorskip("torch", reason="torch is not installed; it is needed only to compare with")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's weight_norm and spectral_norm have newer forms


def arguments(function):
    return [(p.name, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("name", nn.utils.__all__)
def test_arguments(name):
    assert arguments(getattr(nn.utils, name)) == arguments(getattr(torch.nn.utils, name))


@pytest.mark.parametrize("name", [n for n in dir(torch.nn.init) if n.endswith("_") and not n.startswith("_")])
def test_arguments_of_init(name):
    assert arguments(getattr(nn.init, name)) == arguments(getattr(torch.nn.init, name))


@pytest.mark.parametrize("shape", [(3, 5), (4, 2, 3), (6, 2, 3, 3), (2, 2, 1, 2, 3)])
def test_values_of_init(shape):
    for name in ("eye_", "dirac_", "ones_", "zeros_"):
        if (name == "eye_") == (len(shape) == 2) or name.endswith("s_"):
            ours, theirs = convkit.full(shape, 7.0), torch.full(shape, 7.0)
            np.testing.assert_array_equal(getattr(nn.init, name)(ours).numpy(), getattr(torch.nn.init, name)(theirs).numpy())
    if len(shape) > 2:
        np.testing.assert_array_equal(nn.init.dirac_(convkit.ones(*shape), 2).numpy(), torch.nn.init.dirac_(torch.ones(shape), 2).numpy())


@pytest.mark.parametrize("p", [2.0, 1.0, 2.5, 0.0, math.inf, -math.inf])
def test_clip_grad_norm(p):
    rng = np.random.default_rng(0)
    grads = [rng.standard_normal(s).astype(np.float32) for s in ((3, 4), (5,), ())]
    ours, theirs = [convkit.zeros(*g.shape, requires_grad=True) for g in grads], [torch.zeros(g.shape, requires_grad=True) for g in grads]
    for g, a, b in zip(grads, ours, theirs, strict=True):
        a.grad, b.grad = convkit.tensor(g), torch.tensor(g)
    np.testing.assert_allclose(nn.utils.clip_grad_norm_(ours, 0.7, p).item(), torch.nn.utils.clip_grad_norm_(theirs, 0.7, p).item(), rtol=1e-6)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-6)


def layers(kind, *args):
    ours, theirs = getattr(nn, kind)(*args).to(np.float64), getattr(torch.nn, kind)(*args).double()
    ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    return ours, theirs


def compare_learning(ours, theirs, x):
    for _ in range(3):
        y, z = ours(convkit.tensor(x)), theirs(torch.tensor(x))
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-11, atol=1e-13)
        ours.zero_grad(), theirs.zero_grad()
        (y * y).sum().backward()
        (z * z).sum().backward()
        for (name, p), (other, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
            assert name == other
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-9, atol=1e-12)
        for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    "kind, args, shape", [("Linear", (5, 4), (3, 5)), ("Conv2d", (3, 4, 2), (2, 3, 5, 5)), ("ConvTranspose1d", (3, 4, 2), (2, 3, 5))]
)
@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm(kind, args, shape, dim):
    ours, theirs = layers(kind, *args)
    nn.utils.weight_norm(ours, dim=dim), torch.nn.utils.weight_norm(theirs, dim=dim)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    compare_learning(ours, theirs, np.random.default_rng(0).standard_normal(shape))


@pytest.mark.parametrize(
    "kind, args, shape", [("Linear", (5, 4), (3, 5)), ("Conv2d", (3, 4, 2), (2, 3, 5, 5)), ("ConvTranspose2d", (3, 4, 2), (2, 3, 4, 4))]
)
def test_spectral_norm(kind, args, shape):
    ours, theirs = layers(kind, *args)
    nn.utils.spectral_norm(ours), torch.nn.utils.spectral_norm(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal(shape)
    compare_learning(ours, theirs, x)
    compare_learning(ours.eval(), theirs.eval(), x)
