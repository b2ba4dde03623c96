"""torch's own samples for its operators: the same inputs give the same values and gradients here, and its own wrong inputs are refused.

The samples are those that torch tests itself with (OpInfo, `torch.testing._internal`), in float64, for every operator that convkit has
under the same name, as a function or as a method of the tensor.
"""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

import convkit
import convkit.nn.functional as F

torch = pytest.importorskip("torch", reason="torch is not installed; it is no dependency of the tests")
pytest.importorskip("expecttest", reason="torch's samples need the package expecttest")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

pytestmark = pytest.mark.filterwarnings("ignore")

SAMPLES = 60  # of each operator, at most: every second, third ... of its list
REFUSALS = (ValueError, TypeError, RuntimeError, IndexError, NotImplementedError)
RANDOM = {"dropout", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "rrelu", "bernoulli", "multinomial", "normal", "uniform",
          "rand_like", "randn_like", "randint_like", "randint", "randn", "empty", "empty_like", "new_empty", "rand", "empty_permuted",
          "exponential"}  # fmt: skip

# Where an operator of the same name differs on purpose: docs/coming_from_torch.md gives the reasons.
DIFFERENT: dict[str, str] = {
    "zero_": "a tensor that requires a gradient is changed in place under no_grad() only",
    "norm-nuc": "there are no singular values here",
}
# Samples of these call torch's function with its arguments in another order than the function's own.
ORDER = {
    "where": lambda x, condition, other: convkit.where(condition, x, other),
    "einsum": lambda xs, equation: convkit.einsum(equation, *xs),
    "nn.functional.embedding": lambda weight, index, **options: F.embedding(index, weight, **options),
    "nn.functional.embedding_bag": lambda weight, index, *args, **options: F.embedding_bag(index, weight, *args, **options),
}

# What torch refuses in these words has a meaning here.
ACCEPTED = ("padding='same' is not supported for strided convolutions",)


class Unsupported(Exception):
    """A sample uses something that has no counterpart here, such as complex numbers."""


DTYPES = {
    torch.float64: np.float64,
    torch.float32: np.float32,
    torch.int64: np.int64,
    torch.int32: np.int32,
    torch.bool: np.bool_,
    torch.uint8: np.uint8,
}


def ours(value, leaves):
    if isinstance(value, torch.Tensor):
        if value.dtype not in DTYPES or value.is_sparse:
            raise Unsupported
        tensor = convkit.Tensor(value.detach().numpy().copy(order="K"))
        tensor.requires_grad = value.requires_grad
        leaves.append((tensor, value))
        return tensor
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, list | tuple):
        return type(value)(ours(v, leaves) for v in value)
    if isinstance(value, dict):
        return {k: ours(v, leaves) for k, v in value.items()}
    if isinstance(value, torch.dtype):
        if value not in DTYPES:
            raise Unsupported
        return np.dtype(DTYPES[value])
    if isinstance(value, complex | torch.memory_format | torch.layout | torch.Generator) or callable(value):
        raise Unsupported
    return value if not isinstance(value, torch.device) else "cpu"


def function(info):
    """Our operator of that name, or None."""
    name = info.name
    if name in ORDER:
        return ORDER[name]
    if name.startswith("nn.functional."):
        return getattr(F, name.rsplit(".", 1)[1], None)
    if "." in name:
        return None
    found = getattr(convkit, name, None)
    if found is None or not callable(found):
        method = getattr(convkit.Tensor, name, None)
        found = (lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs)) if callable(method) else None
    return found


def plain(result):
    """Flat list of tensors."""
    if isinstance(result, list | tuple):
        return [t for r in result for t in plain(r)]
    return [result]


def infos():
    kept = {}
    for info in op_db:
        short = info.name.rsplit(".", 1)[-1]
        if torch.float64 in info.dtypes and short not in RANDOM and function(info) is not None:
            kept[f"{info.name}-{info.variant_test_name}" if info.variant_test_name else info.name] = info
    return kept


INFOS = infos()


def spread(samples):
    samples = list(samples)
    step = -(-len(samples) // SAMPLES) or 1
    return samples[::step]


def compare(info, sample):
    leaves = []
    x, args, kwargs = ours(sample.input, leaves), ours(tuple(sample.args), leaves), ours(dict(sample.kwargs), leaves)
    expected = plain(info.op(sample.input, *sample.args, **sample.kwargs))
    got = plain(function(info)(x, *args, **kwargs))
    assert len(got) == len(expected), (len(got), len(expected))
    for y, z in zip(got, expected, strict=True):
        if not isinstance(z, torch.Tensor):
            assert y == z or (y != y and z != z), (y, z)
            continue
        a, b = np.asarray(y.detach().array), z.detach().numpy()
        assert a.shape == b.shape, f"shape {a.shape}, not {b.shape}"
        assert a.dtype == b.dtype, f"dtype {a.dtype}, not {b.dtype}"
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)
    differentiable = [(y, z) for y, z in zip(got, expected, strict=True) if isinstance(z, torch.Tensor) and z.requires_grad and z.is_floating_point()]
    wanted = [(t, v) for t, v in leaves if v.requires_grad and v.is_leaf]
    if not differentiable or not wanted:
        return
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(z.shape) for _, z in differentiable]
    given = [torch.from_numpy(w).to(z.dtype) for w, (_, z) in zip(weights, differentiable, strict=True)]
    theirs = torch.autograd.grad([z for _, z in differentiable], [v for _, v in wanted], given, allow_unused=True)
    total = sum((y * convkit.Tensor(np.asarray(w, y.dtype))).sum() for w, (y, _) in zip(weights, differentiable, strict=True))
    total.backward()
    for (tensor, _), g in zip(wanted, theirs, strict=True):
        expected_grad = np.zeros(tensor.shape) if g is None else g.numpy()
        mine = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.array
        np.testing.assert_allclose(mine, expected_grad, rtol=1e-6, atol=1e-8, err_msg="gradient")


@pytest.mark.parametrize("name", sorted(INFOS))
def test_values_and_gradients(name):
    info = INFOS[name]
    if name in DIFFERENT:
        pytest.skip(DIFFERENT[name])
    tried, failures = 0, []
    for sample in spread(info.sample_inputs("cpu", torch.float64, requires_grad=info.supports_autograd)):
        try:
            compare(info, sample)
        except Unsupported:
            continue
        except Exception as error:
            failures.append(f"{str(sample)[:300]}\n   -> {type(error).__name__}: {str(error).strip()[:300]}")
        tried += 1
    if failures:
        pytest.fail(f"{len(failures)} of {tried} samples of {name}\n" + "\n".join(failures[:4]), pytrace=False)


@pytest.mark.parametrize("name", sorted(n for n in INFOS if INFOS[n].error_inputs_func is not None))
def test_wrong_inputs_are_refused(name):
    info = INFOS[name]
    if name in DIFFERENT:
        pytest.skip(DIFFERENT[name])
    accepted, tried = [], 0
    for wrong in itertools.islice(info.error_inputs("cpu"), 40):
        sample = wrong.sample_input
        if wrong.error_type is Exception and sum(isinstance(v, int | float) for v in (sample.input, *sample.args)):
            continue  # numbers, which torch takes from operators only, are welcome on either side
        try:
            leaves = []
            x, args, kwargs = ours(sample.input, leaves), ours(tuple(sample.args), leaves), ours(dict(sample.kwargs), leaves)
        except (Unsupported, ValueError):  # NumPy has 64 dimensions at most
            continue
        if str(wrong.error_regex) in ACCEPTED:
            continue
        tried += 1
        try:
            function(info)(x, *args, **kwargs)
        except REFUSALS:
            continue
        accepted.append(f"{str(sample)[:300]}\n   torch: {wrong.error_type.__name__}: {str(wrong.error_regex)[:150]}")
    if accepted:
        pytest.fail(f"{len(accepted)} of {tried} wrong inputs of {name} were accepted\n" + "\n".join(accepted[:4]), pytrace=False)
