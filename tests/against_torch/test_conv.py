"""Convolution layers and products of torch: values, gradients and refusals."""

import numpy as np
import pytest

import convkit
from convkit import nn

torch = pytest.importorskip("torch", reason="torch is not installed; it is no dependency of the tests")

CASES = [
    (name + f"{rank}d", rank, options)
    for rank in (1, 2, 3)
    for name, options in [
        ("Conv", {"padding": 1, "stride": 2, "groups": 2}),
        ("Conv", {"padding": "same", "dilation": 2}),
        ("Conv", {"padding": "same", "padding_mode": "circular"}),
        ("Conv", {"padding": 2, "padding_mode": "reflect"}),
        ("Conv", {"padding": 1, "padding_mode": "replicate", "bias": False}),
        ("ConvTranspose", {"stride": 3, "padding": 1, "output_padding": 2, "groups": 2}),
        ("ConvTranspose", {"dilation": 2}),
    ]
]


@pytest.mark.parametrize(("name", "rank", "options"), CASES)
def test_layers(name, rank, options):
    theirs = getattr(torch.nn, name)(4, 6, 3, **options).double()
    ours = getattr(nn, name)(4, 6, 3, dtype=np.float64, **options)
    ours.load_state_dict({k: convkit.from_numpy(v.numpy()) for k, v in theirs.state_dict().items()})
    assert repr(ours) == repr(theirs)
    values = np.random.default_rng(0).standard_normal((2, 4, *(6, 5, 4)[:rank]))
    x, t = convkit.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    y, u = ours(x), theirs(t)
    np.testing.assert_allclose(y.detach().numpy(), u.detach().numpy(), rtol=1e-10, atol=1e-12)
    (y * y).sum().backward()
    (u * u).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(ours.weight.grad.numpy(), theirs.weight.grad.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [(8,), (9,), (10,), (11,), (2, 10), (1, 2, 10), (1, 1, 2, 10)])
@pytest.mark.parametrize("batch", [(), (1,)])
def test_output_size(size, batch):
    """The same sizes are accepted."""
    theirs, ours = torch.nn.ConvTranspose1d(3, 2, 3, stride=2, dilation=3, padding=2), nn.ConvTranspose1d(3, 2, 3, stride=2, dilation=3, padding=2)
    try:
        expected = tuple(theirs(torch.ones(*batch, 3, 4), output_size=size).shape)
    except (ValueError, RuntimeError):
        with pytest.raises(ValueError, match="ConvTranspose1d: output_size"):
            ours(convkit.ones(*batch, 3, 4), output_size=size)
    else:
        assert ours(convkit.ones(*batch, 3, 4), output_size=size).shape == expected


def test_initial_weights_have_the_same_bounds():
    for name, sizes in [("Bilinear", (50, 20, 200)), ("Linear", (50, 200)), ("Conv2d", (30, 200, 3)), ("ConvTranspose2d", (30, 200, 3))]:
        theirs, ours = getattr(torch.nn, name)(*sizes), getattr(nn, name)(*sizes)
        for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
            assert tuple(a.shape) == b.shape
            assert abs(a.abs().max().item() / b.abs().max().item() - 1) < 0.2
