"""Every function, method, layer and optimiser that has torch's name takes torch's arguments: the same names in the same order.

torch's names come from Python signatures where there are any, else from the schemas that its argument parser is generated from (their
`self` is called `input` in functions).  Each overload must be callable here, by position and by name.
"""

from __future__ import annotations

import functools
import importlib
import inspect

import numpy as np
import pytest

import convkit

torch = pytest.importorskip("torch", reason="torch is not installed; it is no dependency of the tests")

# Keywords that are left out everywhere; docs/coming_from_torch.md says why.
LEFT_OUT = {
    "out": "writes into a tensor",
    "layout": "strides carry the layout",
    "memory_format": "strides carry the layout",
    "pin_memory": "of GPUs",
    "non_blocking": "of GPUs",
    "sparse": "sparse gradients",
    "sparse_grad": "sparse gradients",
    "out_dtype": "of half precision",
    "_stacklevel": "where torch's warning points",
    "_freeze": "an internal of torch's Embedding",
    "size_average": "deprecated since 2018",
    "reduce": "deprecated since 2018",
    "min_value": "Hardtanh's old name of min_val",
    "max_value": "Hardtanh's old name of max_val",
    "implicit": "an internal of torch's expand",
    "grad_variables": "deprecated",
    **dict.fromkeys(("pickle_module", "pickle_protocol", "mmap", "_use_new_zipfile_serialization", "_disable_byteorder_record"), "of pickle"),
    "inputs": "of backward: use autograd.grad",
    "masked": "of sparse tensors",
    **dict.fromkeys(("nondet_tol", "check_undefined_grad", "check_grad_dtypes", "check_batched_grad", "check_forward_ad", "check_backward_ad",
                     "check_batched_forward_grad", "check_fwd_over_rev", "check_rev_over_rev", "gen_non_contig_grad_outputs", "fast_mode"),
                    "checks of torch's own engine"),
}  # fmt: skip
# Overloads that differ in the type of what comes, so that one position has several names: each works by position, and by name.
BY_TYPE = {"arange", "max", "min", "randint", "randint_like", "repeat_interleave", "scatter", "std", "std_mean", "var", "var_mean"}
# Functions that take their arguments otherwise, each with its reason.
DIFFERENT = {
    "softmax": "the third argument is dtype, as in torch.softmax; in F.softmax it is where a warning points",
    "log_softmax": "as softmax",
    "softmin": "as softmax",
    "result_type": "any number of values",
    "tensor_split": "indices_or_sections, as documented; torch's parser calls it sections, indices or tensor_indices_or_sections",
    "to": "a dtype, a device or a tensor, in any order",
    "random_": "torch calls the limits `from` and `to`; a name here cannot be a keyword of Python",
    "uniform_": "as random_",
}
Overload = tuple[list[str], list[str]]
Parameter = inspect.Parameter


def split_parameters(signature: inspect.Signature) -> Overload:
    values = signature.parameters.values()
    positional = [p.name for p in values if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    return positional, [p.name for p in values if p.kind == Parameter.KEYWORD_ONLY]


def overloads(name: str, theirs: object) -> list[Overload]:
    """(names by position, names by keyword only) of each way to call a function of torch on tensors of numbers."""
    try:
        signature = inspect.signature(theirs)
    except (ValueError, TypeError):
        return from_schemas(name)
    if [p.kind for p in signature.parameters.values()] == [Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD]:  # torch's dispatch on a flag
        if inspect.isclass(theirs) or name == "max_pool3d":  # any arguments; and a stand-in with another order than the function's
            return []
        signature = inspect.signature(torch.overrides.get_testing_overrides()[theirs])
    return [split_parameters(signature)]


def from_schemas(name: str) -> list[Overload]:
    found = []
    for schema in torch._C._jit_get_schemas_for_operator(f"aten::{name}"):
        arguments = [a for a in schema.arguments if not a.is_out]
        kinds = {a.name: str(a.type) for a in arguments}
        if len(arguments) < len(schema.arguments) or not any("Tensor" in str(a.type) for a in [*arguments, *schema.returns]):
            continue  # out=, and TorchScript's functions of numbers and strings
        if any("str" in kind and key in ("dim", "names", "start_dim", "dims") for key, kind in kinds.items()):
            continue  # named dimensions
        if {"reverse", "t"} & set(kinds) or next(iter(kinds)) == "a" or name == "copy_" and "other" in kinds:
            continue  # TorchScript's again
        positional = ["input" if a.name == "self" else a.name for a in arguments if not a.kwarg_only]
        if positional[-1] == "alpha":
            continue  # the deprecated order (input, alpha, other)
        found.append((positional, [a.name for a in arguments if a.kwarg_only]))
    return found


def differences(ours: object, expected: list[Overload], skip: int = 0, by_type: bool = False) -> list[str]:
    """What of torch's overloads cannot be written here; `skip` parameters (self) are not compared."""
    signature = inspect.signature(ours)
    parameters = list(signature.parameters.values())[skip:]
    names, keywords = split_parameters(inspect.Signature(parameters))
    star = any(p.kind == Parameter.VAR_POSITIONAL for p in parameters)
    anything = any(p.kind == Parameter.VAR_KEYWORD for p in parameters)
    wrong = []
    for positional, named in expected:
        positional = [n for n in positional[skip:] if n not in LEFT_OUT or n in names]
        named = [n for n in named if n not in LEFT_OUT or n in names + keywords]
        if star and not anything and len(positional) > len(names):  # sizes one by one, or under their name
            named, positional = [*positional[len(names) :], *named], positional[: len(names)]
        elif anything:
            positional = positional[: len(names)]
        if by_type:
            positional, named = [], positional + named
        if names[: len(positional)] != positional or not (anything or set(named) <= {*names, *keywords}):
            wrong.append(f"torch: {positional}, * {named}; here: {signature}")
    return wrong


def shared(module: str) -> list[str]:
    ours, theirs = importlib.import_module(module), importlib.import_module(module.replace("convkit", "torch", 1))
    return sorted(n for n in dir(ours) if not n.startswith("_") and callable(getattr(ours, n)) and callable(getattr(theirs, n, None)))


FUNCTIONS = [
    (module, name)
    for module in ("convkit", "convkit.nn.functional", "convkit.nn.init", "convkit.nn.utils", "convkit.autograd", "convkit.optim.swa_utils")
    for name in shared(module)
    if inspect.isfunction(getattr(importlib.import_module(module), name))
]
CLASSES = [
    (module, name)
    for module in ("convkit.nn", "convkit.optim", "convkit.optim.lr_scheduler", "convkit.optim.swa_utils")
    for name in shared(module)
    if inspect.isclass(getattr(importlib.import_module(module), name))
]


@pytest.mark.parametrize(("module", "name"), FUNCTIONS)
def test_functions(module, name):
    if name in DIFFERENT:
        pytest.skip(DIFFERENT[name])
    ours = getattr(importlib.import_module(module), name)
    theirs = getattr(importlib.import_module(module.replace("convkit", "torch", 1)), name)
    assert differences(ours, overloads(name, theirs), by_type=name in BY_TYPE) == []


@pytest.mark.parametrize(("module", "name"), CLASSES)
def test_classes(module, name):
    ours = getattr(importlib.import_module(module), name)
    theirs = getattr(importlib.import_module(module.replace("convkit", "torch", 1)), name)
    wrong = differences(ours, overloads(name, theirs))
    if hasattr(ours, "forward") and hasattr(theirs, "forward"):
        wrong += differences(ours.forward, overloads(name, theirs.forward), skip=1)
    assert wrong == []


@pytest.mark.parametrize("name", sorted(n for n in vars(convkit.Tensor) if not n.startswith("_") and inspect.isfunction(getattr(convkit.Tensor, n))))
def test_methods(name):
    if name in DIFFERENT:
        pytest.skip(DIFFERENT[name])
    theirs = getattr(torch.Tensor, name, None)
    if theirs is None:
        pytest.skip("torch has no such method")
    expected = overloads(name, theirs)
    if not inspect.isfunction(theirs):  # schemas name the tensor wherever it stands
        expected = [(["input", *(n for n in positional if n != "input")], named) for positional, named in expected if "input" in positional]
    assert differences(getattr(convkit.Tensor, name), expected, skip=1, by_type=name in BY_TYPE) == []


@pytest.mark.parametrize(
    "path",
    ["nn.Module", "nn.Sequential", "nn.ModuleList", "nn.ModuleDict", "nn.ParameterList", "nn.ParameterDict", "nn.Embedding", "nn.EmbeddingBag",
     "optim.Optimizer", "optim.lr_scheduler.LRScheduler", "optim.lr_scheduler.ReduceLROnPlateau", "optim.swa_utils.AveragedModel"],
)  # fmt: skip
def test_methods_of_classes(path):
    ours, theirs = (functools.reduce(getattr, path.split("."), lib) for lib in (convkit, torch))
    wrong = {}
    for name in sorted(n for n in vars(ours) if not n.startswith("_")):
        pair = [inspect.getattr_static(cls, name, None) for cls in (ours, theirs)]
        mine, other = (getattr(f, "__func__", f) for f in pair)
        if inspect.isfunction(mine) and inspect.isfunction(other):
            wrong[name] = differences(mine, [split_parameters(inspect.signature(other))], skip=1)
    assert {name: found for name, found in wrong.items() if found} == {}


INTEGERS, FLOATS, MASK = [3, 1, 2], [[1.0, -2.0], [0.5, 4.0]], [[True, False], [False, True]]
# Each is called with convkit and with torch: the overloads of BY_TYPE, and what is called by a name that differs by type.
CALLS = {
    "arange": [lambda t: t.arange(5), lambda t: t.arange(end=5), lambda t: t.arange(start=2, end=5), lambda t: t.arange(2, 9, step=3)],
    "max": [lambda t: t.max(t.tensor(FLOATS), t.tensor([0.0, 1.0])), lambda t: t.max(input=t.tensor(FLOATS), other=t.tensor([0.0, 1.0])),
            lambda t: t.max(input=t.tensor(FLOATS), dim=1), lambda t: t.tensor(FLOATS).max(other=t.tensor([0.0, 1.0]))],
    "min": [lambda t: t.min(t.tensor(FLOATS), other=t.tensor([0.0, 1.0])), lambda t: t.min(input=t.tensor(FLOATS), dim=1, keepdim=True)],
    "randint": [lambda t: t.randint(1, (3,)), lambda t: t.randint(high=1, size=(3,)), lambda t: t.randint(1, size=(3,)),
                lambda t: t.randint(4, 5, (3,)), lambda t: t.randint(low=4, high=5, size=(3,))],
    "randint_like": [lambda t: t.randint_like(t.tensor(INTEGERS), 1), lambda t: t.randint_like(t.tensor(INTEGERS), high=1),
                     lambda t: t.randint_like(t.tensor(INTEGERS), low=4, high=5)],
    "repeat_interleave": [lambda t: t.repeat_interleave(t.tensor(INTEGERS)), lambda t: t.repeat_interleave(repeats=t.tensor(INTEGERS)),
                          lambda t: t.repeat_interleave(input=t.tensor(FLOATS), repeats=2, dim=1)],
    "scatter": [lambda t: t.scatter(t.zeros(3), 0, t.tensor([1]), 2.0), lambda t: t.scatter(t.zeros(3), dim=0, index=t.tensor([1]), value=2.0),
                lambda t: t.scatter(t.zeros(3), dim=0, index=t.tensor([1]), src=t.ones(3))],
    "std": [lambda t: t.std(t.tensor(FLOATS), False), lambda t: t.std(t.tensor(FLOATS), unbiased=False), lambda t: t.std(t.tensor(FLOATS), 1, False)],
    "std_mean": [lambda t: t.std_mean(t.tensor(FLOATS), False), lambda t: t.std_mean(t.tensor(FLOATS), dim=0, correction=0)],
    "var": [lambda t: t.var(t.tensor(FLOATS), False), lambda t: t.var(input=t.tensor(FLOATS), dim=0, correction=0.5, keepdim=True)],
    "var_mean": [lambda t: t.var_mean(t.tensor(FLOATS), False), lambda t: t.var_mean(t.tensor(FLOATS), dim=0, unbiased=False)],
    "sizes by name": [lambda t: t.zeros(size=(2, 3)), lambda t: t.ones(size=[2]), lambda t: t.tensor(FLOATS).new_zeros(size=(2,)),
                      lambda t: t.broadcast_to(t.ones(3), size=(2, 3)), lambda t: t.ones(3).broadcast_to(2, 3)],
    "other": [lambda t: t.asarray([1.0, 2.0], dtype=t.float64), lambda t: t.asarray(obj=t.ones(2), copy=True),
              lambda t: t.swapaxes(t.tensor([FLOATS]), axis0=0, axis1=2), lambda t: t.tensor(INTEGERS).split(split_size=2),
              lambda t: t.split(tensor=t.tensor(INTEGERS), split_size_or_sections=[1, 2]), lambda t: t.ones(2).to(t.float32, copy=True),
              lambda t: t.zeros(7, 3).fill_diagonal_(1.0, wrap=True), lambda t: t.zeros(3, 7).fill_diagonal_(fill_value=1.0, wrap=True),
              lambda t: t.where(condition=t.tensor(MASK), input=t.tensor(FLOATS), other=t.tensor(0.0))],
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_calls(name):
    for i, call in enumerate(CALLS[name]):
        got, expected = call(convkit), call(torch)
        got, expected = ((r,) if hasattr(r, "shape") else tuple(r) for r in (got, expected))
        for y, z in zip(got, expected, strict=True):
            assert str(z.dtype).removeprefix("torch.") == str(y.dtype), (name, i)
            np.testing.assert_allclose(y.numpy(), z.numpy(), rtol=1e-6, err_msg=f"{name} {i}")


def test_overloads_that_differ_by_type_are_called():
    assert set(CALLS) >= BY_TYPE
