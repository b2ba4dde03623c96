"""Every function, method, layer and optimiser that has torch's name takes torch's arguments: the same names in the same order.

torch's names come from Python signatures where there are any, else from the schemas that its argument parser is generated from (their
`self` is called `input` in functions).  Each overload must be callable here, by position and by name.
"""

from __future__ import annotations

import importlib
import inspect

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
    "load": "a path; the format never runs code, so there is nothing to choose",
    "save": "a path; the format has no options",
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
