"""Exported modules: checked by onnx, run by onnxruntime, loaded again."""

from __future__ import annotations

import numpy as np
import pytest

import convkit
import convkit.nn.functional as F
from convkit import models, nn
from convkit.interop import onnx as interop

onnx = pytest.importorskip("onnx", reason="models are checked with the package onnx")


class UNet(nn.Module):
    """Down by strided convolution, up by a transposed one, with a shortcut."""

    def __init__(self):
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.down2 = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        a = self.down1(x)
        return self.out(convkit.cat([a, self.up(self.down2(a))], 1)).sigmoid()


class TextCNN(nn.Module):
    """Embedding, windows of words, the greatest answer of each."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 6)
        self.windows = nn.ModuleList([nn.Conv1d(6, 5, width) for width in (2, 3)])
        self.dropout = nn.Dropout(0.5)
        self.out = nn.Linear(10, 3)

    def forward(self, words):
        x = self.embedding(words).transpose(1, 2)
        found = convkit.cat([F.relu(window(x)).amax(2) for window in self.windows], 1)
        return self.out(self.dropout(found)).log_softmax(1)


class Pieces(nn.Module):
    """Many operations at once; `f` makes the result."""

    def __init__(self, f):
        super().__init__()
        self.f = f
        self.w = nn.Parameter(convkit.rand(3, 4) + 0.5)

    def forward(self, *x):
        return self.f(self, *x)


def run(proto, *inputs):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is the judge")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {i.name: a for i, a in zip(session.get_inputs(), inputs, strict=True)})


def check(net, *example, batches=(1, 3)):
    """Export, and compare with onnxruntime and with the loaded graph, for other batches too."""
    proto = interop.export(net, example)
    onnx.checker.check_model(proto, full_check=True)
    assert proto.opset_import[0].version >= 17
    again = interop.load(proto)
    net.eval()
    for n in batches:
        inputs = [np.concatenate([x.numpy()] * n) if n > 1 else x.numpy() for x in example]
        tensors = [convkit.from_numpy(x) for x in inputs]
        expected, loaded = net(*tensors), again(*tensors)
        expected, loaded = ((y if isinstance(y, tuple) else (y,)) for y in (expected, loaded))
        for got, other, y in zip(run(proto, *inputs), loaded, expected, strict=True):
            y = y.detach().numpy()
            assert got.dtype == other.dtype == y.dtype
            np.testing.assert_allclose(got, y, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(other.detach().numpy(), y, rtol=1e-5, atol=1e-5)
    return proto


def trained(net, *shape):
    """Running statistics that are not 0 and 1."""
    net(convkit.randn(*shape))
    return net


def test_lenet():
    proto = check(models.create("lenet5", 1, 28, 10), convkit.randn(2, 1, 28, 28))
    assert [n.op_type for n in proto.graph.node].count("Conv") == 2
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == proto.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_a_resnet_keeps_its_names():
    net = trained(models.resnet20(), 4, 3, 16, 16)
    with convkit.no_grad():
        net.linear.weight.mul_(0.1)  # scores of ordinary size
    proto = check(net, convkit.randn(2, 3, 16, 16))
    state = net.state_dict()
    named = {t.name for t in proto.graph.initializer}
    assert {n for n in state if "num_batches" not in n} <= named
    other = models.resnet20()
    other.load_state_dict({k: v for k, v in interop.load(proto).state_dict().items() if k in state})
    x = convkit.randn(1, 3, 16, 16)
    np.testing.assert_array_equal(other.eval()(x).detach().numpy(), net.eval()(x).detach().numpy())


def test_a_unet():
    check(trained(UNet(), 2, 1, 8, 8), convkit.randn(2, 1, 8, 8))


def test_a_text_cnn_of_integers():
    check(TextCNN(), convkit.randint(0, 20, (2, 7)))


PIECES = {
    "arithmetic": lambda m, x: ((x + 1.5) * m.w - 2.0 / (x * x + 1.0)) ** 2.0 - x.exp().log().abs() + (-x),
    "extremes": lambda m, x: convkit.maximum(x, m.w) - convkit.minimum(x, 0.3) + x.clamp(-0.5, None) + x.clamp(None, 0.5) + x.clamp(-0.1, 0.1),
    "two outputs": lambda m, x: (x.sum(1), x.mean((1, 2), keepdim=True)),
    "reductions": lambda m, x: x.amax(2) + x.amin(2) + x.var(2) + x.std(2) + x.sum((1, 2)).unsqueeze(1),
    "softmax": lambda m, x: x.softmax(2) + x.log_softmax(1) + x.sigmoid() + x.tanh() + x.relu(),
    "activations": lambda m, x: sum((f(x - 0.5) for f in (
        F.leaky_relu, F.elu, F.selu, F.gelu, F.silu, F.mish, F.softplus, F.softsign, F.hardtanh, F.hardsigmoid, F.hardswish, F.logsigmoid, F.relu6,
        F.hardshrink, F.softshrink,
    )), F.celu(x - 0.5, 0.7) + F.elu(x - 0.5, 0.3) + F.gelu(x, "tanh") + F.softplus(x, 2.0) + F.threshold(x, 0.4, 2.0)) + F.glu(x, 2).sum(),
    "prelu": lambda m, x: F.prelu(x - 0.5, m.w[:, 0]) + F.prelu(x - 0.4, m.w[0, :1]),
    "matmul": lambda m, x: x.transpose(1, 2) @ m.w + x.permute(0, 2, 1) @ x,
    "slices": lambda m, x: x[:, 1:, ::2] + x[:, :-1, 1::2] + x[..., :2, 0:1] + x[:, 0][:, None, :2],
    "integers and None": lambda m, x: x[:, None, 1, -1] + x[:, 2, 0][:, None],
    "arrays": lambda m, x: x[:, np.array([2, 0, 1])] + x[:, :, np.array([3, 3, 0, 1])],
    "shapes": lambda m, x: x.reshape(-1, 12).unsqueeze(1).squeeze(1).reshape(x.shape[0], 4, 3).flatten(1).reshape(-1, 3, 4) + x.expand(*x.shape),
    "pieces": lambda m, x: convkit.cat([*x.split(2, 2), *x.chunk(3, 1)[0:1][0].expand(-1, 3, -1).split(4, 2)], 2),
    "padding": lambda m, x: F.pad(x, (1, 2, 0, 1), value=0.5),
    "reflection": lambda m, x: F.pad(x, (1, 2), mode="reflect") + F.pad(x, (2, 1), mode="replicate") + F.pad(x, (0, 3), mode="circular"),
    "pools": lambda m, x: (F.max_pool1d(x, 2, 1), F.avg_pool1d(x, 3, 2, 1), F.avg_pool1d(x, 2, 1, 1, False, False)),
    "adaptive pools": lambda m, x: (F.adaptive_avg_pool1d(x, 1), F.adaptive_avg_pool1d(x, 2), F.adaptive_max_pool1d(x, 2)),
    "ceil": lambda m, x: F.max_pool1d(x, 3, 2, ceil_mode=True) + F.avg_pool1d(x, 3, 2, ceil_mode=True),
    "dtypes": lambda m, x: (x.double() * 2.0).float() + x.long().float(),
    "linear": lambda m, x: F.linear(x, m.w) + F.linear(x, m.w, m.w[:, 0]),
    "constant": lambda m, x: x + convkit.arange(4).float(),
}  # fmt: skip


@pytest.mark.parametrize("name", PIECES)
def test_operations(name):
    check(Pieces(PIECES[name]), convkit.rand(2, 3, 4) + 0.1)


def test_ranks_of_convolution():
    for rank, conv, up in ((1, nn.Conv1d, nn.ConvTranspose1d), (2, nn.Conv2d, nn.ConvTranspose2d), (3, nn.Conv3d, nn.ConvTranspose3d)):
        net = nn.Sequential(conv(4, 6, 3, stride=2, padding=1, dilation=1, groups=2, bias=False), up(6, 4, 2, stride=2, groups=2), nn.Flatten())
        check(net, convkit.randn(2, 4, *[6] * rank))


def test_several_inputs_and_names(tmp_path):
    net = Pieces(lambda m, a, b: (a * b, a @ b.transpose(1, 2)))
    path = tmp_path / "m.onnx"
    proto = interop.export(
        net, (convkit.rand(2, 3, 4), convkit.rand(2, 3, 4)), path, input_names=["left", "right"], output_names=["product", "table"]
    )
    assert [i.name for i in proto.graph.input] == ["left", "right"] and [o.name for o in proto.graph.output] == ["product", "table"]
    assert path.read_bytes() == proto.SerializeToString()
    with pytest.raises(ValueError, match="2 inputs and 2 outputs need as many names"):
        interop.export(net, (convkit.rand(2, 3, 4), convkit.rand(2, 3, 4)), input_names=["one"])


def test_a_fixed_batch():
    proto = interop.export(nn.Linear(3, 2), convkit.rand(4, 3), dynamic_batch=False)
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 4


def test_the_module_is_left_as_it_was():
    net = trained(UNet(), 2, 1, 8, 8)
    net.down1.eval()
    before = {k: v.numpy().copy() for k, v in net.state_dict().items()}
    interop.export(net, convkit.randn(1, 1, 8, 8))
    assert net.training and net.down2.training and not net.down1.training
    assert all(np.array_equal(before[k], v.numpy()) for k, v in net.state_dict().items())
    with pytest.raises(NotImplementedError):
        interop.export(Pieces(lambda m, x: Own.apply(x)).train(), convkit.rand(2, 3))
    net(convkit.randn(1, 1, 8, 8)).sum().backward()  # recording is over
    assert net.out.weight.grad is not None


class Own(convkit.autograd.Function):
    """An op of a user's own."""

    @staticmethod
    def forward(ctx, x):
        return x * 2


def counted(m, x):
    m.count = getattr(m, "count", 0) + 1
    return x.exp() if m.count % 2 else x.log()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda m, x: Own.apply(x), "the operation Own of .* has no form in ONNX"),
        (lambda m, x: convkit.where(x > 0.3, x, x * 2.0), "Where uses a tensor that depends on the input"),
        (lambda m, x: x * float(x.array.sum()), "an operand is .* here and .* for a larger batch"),
        (counted, "does other operations"),
        (lambda m, x: x.sum(0) / x.shape[0], "an operand is 2 here and 3"),
        (lambda m, x: F.adaptive_avg_pool1d(x, 3), "does not divide it"),
        (lambda m, x: x[:1] + x[x.shape[0] - 1 :], "a slice is"),
    ],
)
def test_what_cannot_be_exported_is_named(function, message):
    with pytest.raises(NotImplementedError, match=message):
        interop.export(Pieces(function), convkit.rand(2, 3, 4))


def test_changes_in_place_are_noticed():
    def change(m, x):
        y = x * 2.0
        y.add_(1.0)
        return y * 3.0

    with pytest.raises(RuntimeError, match="computes something else than the model"):
        interop.export(Pieces(change), convkit.rand(2, 3))


def test_wrong_examples_are_refused():
    with pytest.raises(TypeError, match="the example must be a tensor or a tuple of tensors"):
        interop.export(nn.ReLU(), np.ones(3))
    with pytest.raises(TypeError, match="the module must give a tensor"):
        interop.export(Pieces(lambda m, x: 3), convkit.rand(2))
