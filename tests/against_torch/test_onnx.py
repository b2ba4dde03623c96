"""ONNX models that torch's own exporter writes, in several operator sets: the same results, and the same gradients."""

from __future__ import annotations

import io

import numpy as np
import pytest

import convkit
from convkit.interop import onnx as interop

torch = pytest.importorskip("torch", reason="torch writes the models")
pytest.importorskip("onnx", reason="the package onnx reads them")
nn = torch.nn
F = torch.nn.functional


class Block(nn.Module):
    """A residual block."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.shortcut = nn.Conv2d(3, 6, 1, stride=2)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class UNet(nn.Module):
    """Down, up, and a shortcut."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.up, self.out = nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        a = F.leaky_relu(self.a(x), 0.2)
        return self.out(torch.cat([a, self.up(F.elu(self.b(a)))], 1))


class Text(nn.Module):
    """Embedding, convolutions over words, the greatest of each."""

    def __init__(self):
        super().__init__()
        self.embedding, self.out = nn.Embedding(30, 8), nn.Linear(10, 3)
        self.convs = nn.ModuleList([nn.Conv1d(8, 5, n) for n in (2, 3)])

    def forward(self, words):
        x = self.embedding(words).transpose(1, 2)
        return F.log_softmax(self.out(torch.cat([F.relu(c(x)).max(2)[0] for c in self.convs], 1)), 1)


class Shapes(nn.Module):
    """Slices, views with sizes taken from the input, pads and reductions."""

    def forward(self, x):
        n, c, h, w = x.shape
        y = x.view(n, c * h, w)[:, 1::2, :-1].permute(0, 2, 1).reshape(n, -1)
        z = F.pad(x, (1, 2, 0, 1)).mean((2, 3)) + F.pad(x, (1, 1, 2, 2), mode="reflect").amax((2, 3))
        return torch.cat([y, z, x.flatten(1).norm(dim=1, keepdim=True), x.sum((1, 2, 3), keepdim=True).flatten(1).expand(-1, 3)], 1)


MODELS = {
    "block": (Block, (3, 3, 8, 8), 9),
    "u-net": (UNet, (2, 3, 8, 8), 9),
    "text": (Text, None, 9),
    "shapes": (Shapes, (2, 3, 6, 6), 11),
    "pools": (lambda: nn.Sequential(
        nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(2, 1, 1, count_include_pad=False), nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ), (2, 3, 11, 11), 10),
    "activations": (lambda: nn.Sequential(
        nn.ELU(0.5), nn.SELU(), nn.CELU(0.7), nn.GELU(), nn.SiLU(), nn.Mish(), nn.Softplus(), nn.Softsign(), nn.Hardswish(), nn.Hardsigmoid(),
        nn.PReLU(3), nn.ReLU6(), nn.Hardtanh(-0.5, 0.7), nn.Threshold(0.0, 0.0), nn.LogSigmoid(),
    ), (2, 3, 4, 4), 12),
    "norms": (lambda: nn.Sequential(
        nn.GroupNorm(3, 6), nn.InstanceNorm2d(6, affine=True), nn.LayerNorm([6, 5, 5]), nn.BatchNorm2d(6),
    ), (2, 6, 5, 5), 11),
    "images": (lambda: nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"), nn.Upsample(size=(9, 7), mode="bilinear"), nn.Upsample(scale_factor=1.5, mode="bicubic"),
        nn.Upsample(size=(6, 6), mode="bilinear", align_corners=True), nn.PixelUnshuffle(2), nn.PixelShuffle(2),
        nn.ZeroPad2d((1, 0, 2, 1)), nn.ReplicationPad2d(2),
    ), (2, 4, 6, 6), 11),
    "ranks": (lambda: nn.Sequential(nn.Conv3d(2, 4, (1, 2, 3), dilation=(1, 2, 1), groups=2),
        nn.ConvTranspose3d(4, 2, 2, 2), nn.MaxPool3d(2), nn.Flatten(),
    ), (2, 2, 4, 6, 6), 9),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("opset", [9, 11, 12, 13, 17, 20])
@pytest.mark.parametrize("name", MODELS)
def test_models_that_torch_wrote(name, opset):
    make, shape, oldest = MODELS[name]
    if opset < oldest:
        pytest.skip(f"torch writes this model from opset {oldest} on")
    torch.manual_seed(0)
    net = make()
    with torch.no_grad():  # equal parameters would become one in the file
        for p in net.parameters():
            p += 0.1 * torch.randn_like(p)
    x = torch.randint(0, 30, (2, 9)) if shape is None else torch.randn(shape)
    for _ in range(2):
        net(x)  # running statistics move
    net.eval()
    file = io.BytesIO()
    torch.onnx.export(
        net,
        x,
        file,
        opset_version=opset,
        dynamo=False,
        input_names=["x"],
        dynamic_axes={"x": {0: "N"}},
        do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,
    )
    ours = interop.load(file.getvalue())
    for batch in (x, torch.cat([x, x.flip(0)])):
        with torch.no_grad():
            expected = net(batch).numpy()
        np.testing.assert_allclose(ours(convkit.from_numpy(batch.numpy())).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    if not list(ours.parameters()):
        return
    ours(convkit.from_numpy(x.numpy())).sum().backward()
    net(x).sum().backward()
    wanted = dict(net.named_parameters())
    for key, p in ours.named_parameters():
        if key in wanted and p.shape == tuple(wanted[key].shape):
            np.testing.assert_allclose(p.grad.numpy(), wanted[key].grad.numpy(), rtol=1e-3, atol=1e-4, err_msg=key)
