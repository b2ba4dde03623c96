"""torch's own samples for its layers: built with the same arguments and given torch's weights, ours give the same values and gradients.

The state dict moves over with `load_state_dict(strict=True)`, so names and shapes of parameters and buffers are compared too.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import convkit
from convkit import nn

from .test_samples import REFUSALS, Unsupported, ours, plain, torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_modules import module_db

pytestmark = pytest.mark.filterwarnings("ignore")
INFOS = {info.module_cls.__name__: info for info in module_db if hasattr(nn, info.module_cls.__name__)}
DIFFERENT: dict[str, str] = {}


def built(info, sample):
    """(torch's module, ours with the same state, arguments of forward for both)."""
    args, kwargs = sample.constructor_input.args, sample.constructor_input.kwargs
    theirs = info.module_cls(*args, **kwargs).to(torch.float64)
    mine = getattr(nn, info.module_cls.__name__)(*ours(tuple(args), []), **ours(dict(kwargs), []))
    mine = mine.to(np.float64)
    mine.load_state_dict({k: convkit.Tensor(v.numpy().copy()) for k, v in theirs.state_dict().items()}, strict=True)
    return theirs, mine


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", sorted(INFOS))
def test_layers(name, training):
    if name in DIFFERENT:
        pytest.skip(DIFFERENT[name])
    info, failures, tried = INFOS[name], [], 0
    for sample in info.module_inputs_func(info, device="cpu", dtype=torch.float64, requires_grad=True, training=training):
        try:
            theirs, mine = built(info, sample)
            theirs.train(training)
            mine.train(training)
            leaves: list = []
            inputs, options = ours(tuple(sample.forward_input.args), leaves), ours(dict(sample.forward_input.kwargs), leaves)
            expected, got = plain(theirs(*sample.forward_input.args, **sample.forward_input.kwargs)), plain(mine(*inputs, **options))
            for y, z in zip(got, expected, strict=True):
                np.testing.assert_allclose(y.detach().array, z.detach().numpy(), rtol=1e-7, atol=1e-9)
            if not (expected[0].requires_grad and got[0].requires_grad):
                assert expected[0].requires_grad == got[0].requires_grad
                continue
            weight = np.random.default_rng(0).standard_normal(expected[0].shape)
            expected[0].backward(torch.from_numpy(np.asarray(weight)))
            got[0].backward(convkit.Tensor(np.asarray(weight)))
            pairs = [(t.grad, v.grad) for t, v in leaves if v.is_leaf]
            pairs += [(t.grad, v.grad) for (_, t), (_, v) in zip(mine.named_parameters(), theirs.named_parameters(), strict=True)]
            for g, h in pairs:
                assert (g is None) == (h is None)
                if h is not None:
                    np.testing.assert_allclose(g.array, h.numpy(), rtol=1e-6, atol=1e-8, err_msg="gradient")
            for (key, t), (other, v) in zip(mine.state_dict().items(), theirs.state_dict().items(), strict=True):
                assert key == other
                np.testing.assert_allclose(t.detach().array, v.numpy(), rtol=1e-7, atol=1e-9, err_msg=key)
        except Unsupported:
            continue
        except Exception as error:
            arguments = sample.constructor_input.args, sample.constructor_input.kwargs, sample.desc
            failures.append(f"{str(arguments)[:200]}\n   -> {type(error).__name__}: {str(error).strip()[:400]}")
        tried += 1
    if failures:
        pytest.fail(f"{len(failures)} of {tried} samples of {name}\n" + "\n".join(failures[:3]), pytrace=False)


@pytest.mark.parametrize("name", sorted(n for n, info in INFOS.items() if info.module_error_inputs_func is not None))
def test_wrong_arguments_are_refused(name):
    if name in DIFFERENT:
        pytest.skip(DIFFERENT[name])
    info, accepted = INFOS[name], []
    for wrong in info.module_error_inputs_func(info, device="cpu", dtype=torch.float64, requires_grad=False, training=True):
        sample = wrong.module_error_input
        try:
            args, kwargs = ours(tuple(sample.constructor_input.args), []), ours(dict(sample.constructor_input.kwargs), [])
            mine = getattr(nn, name)(*args, **kwargs)
            if sample.forward_input is not None:
                mine.to(np.float64)(*ours(tuple(sample.forward_input.args), []), **ours(dict(sample.forward_input.kwargs), []))
        except (*REFUSALS, Unsupported):
            continue
        accepted.append(
            f"{str(sample.constructor_input.args)[:200]} {sample.constructor_input.kwargs}: {wrong.error_type.__name__}: {wrong.error_regex}"
        )
    if accepted:
        pytest.fail(f"{name} accepted\n" + "\n".join(accepted[:4]), pytrace=False)
