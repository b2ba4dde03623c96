"""Libraries that know the array API standard work on tensors: einops rearranges, reduces and repeats them, gradients included."""

import numpy as np
import pytest

import convkit
from convkit.interop import array_api
from tests.helpers import numbers
from tests.ops import gradients, leaf

einops = pytest.importorskip("einops")
ein = pytest.importorskip("einops.array_api")

X = numbers(0, (2, 3, 4, 6))


@pytest.mark.parametrize("pattern", ["b c h w -> b h w c", "b c h w -> (b h) (c w)", "b c (h p) w -> b (p c) h w", "b c h w -> b 1 (c h w)"])
def test_rearrange(pattern):
    sizes = {"p": 2} if "p)" in pattern else {}
    x = convkit.Tensor(X, requires_grad=True)
    y, gx = gradients(lambda x: ein.rearrange(x, pattern, **sizes), x)
    assert np.array_equal(y, einops.rearrange(X, pattern, **sizes)) and (gx == 1).all()


@pytest.mark.parametrize("reduction", ["sum", "mean", "max", "min", "prod"])
@pytest.mark.parametrize("pattern", ["b c h w -> b c", "b c (h 2) w -> b c h", "b c h w -> ", "b c h w -> b 1 h 1"])
def test_reduce(pattern, reduction):
    x = leaf(0, X.shape)
    y, _ = gradients(lambda x: ein.reduce(x, pattern, reduction), x)
    np.testing.assert_allclose(y, einops.reduce(X, pattern, reduction), rtol=1e-10)


def test_repeat_pack_unpack_and_lists():
    x = convkit.from_numpy(X)
    assert np.array_equal(ein.repeat(x, "b c h w -> b c (h 2) (w k)", k=3).numpy(), einops.repeat(X, "b c h w -> b c (h 2) (w k)", k=3))
    packed, shapes = ein.pack([x, x[:, :, 0]], "b * w")
    again = ein.unpack(packed, shapes, "b * w")
    assert [a.shape for a in again] == [X.shape, (2, 3, 6)] and np.array_equal(again[0].numpy(), X)
    assert np.array_equal(ein.rearrange([x, x], "n b c h w -> b n c h w").numpy(), np.stack([X, X], 1))
    assert np.array_equal(ein.asnumpy(x), X)
    with pytest.raises(einops.EinopsError):
        ein.rearrange(x, "a b -> b a")


def test_the_standard_s_names():
    x = convkit.from_numpy(X)
    xp = x.__array_namespace__(api_version="2023.12")
    assert xp is array_api
    assert xp.concat([x, x], axis=1).shape == (2, 6, 4, 6) and xp.concat([x, x], axis=None).shape == (288,)
    assert xp.expand_dims(x, axis=-1).shape == (2, 3, 4, 6, 1) and xp.squeeze(xp.expand_dims(x, axis=0), 0).shape == X.shape
    assert np.allclose(xp.sum(x, axis=(1, 2), keepdims=True).numpy(), X.sum((1, 2), keepdims=True))
    assert xp.argmax(x, axis=1).tolist() == X.argmax(1).tolist() and xp.any(xp.isnan(x)).item() is False
    assert np.allclose(xp.prod(x, axis=(0, 3)).numpy(), X.prod((0, 3))) and xp.flip(x).tolist() == np.flip(X).tolist()
    assert xp.astype(x, xp.float32).dtype == np.float32 and xp.matrix_transpose(x).shape == (2, 3, 6, 4)
    assert xp.asarray([1.0, 2.0]).dtype == np.float32 and xp.permute_dims(x, (3, 2, 1, 0)).shape == (6, 4, 3, 2)
