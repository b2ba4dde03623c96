"""Modules and containers beside torch's: methods, their arguments, and what is printed."""

import inspect

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")

import convkit  # noqa: E402
from convkit import nn  # noqa: E402

CONTAINERS = ["Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict"]
# Methods of torch's Module that have no counterpart, and why: docs/coming_from_torch.md.
LEFT_OUT = {
    "call_super_init", "dump_patches", "T_destination", "ipu", "xpu", "mtia", "to_empty", "share_memory", "compile", "get_extra_state",
    "set_extra_state", "register_backward_hook", "register_state_dict_post_hook", "register_state_dict_pre_hook",
    "register_load_state_dict_pre_hook", "register_load_state_dict_post_hook",
}  # fmt: skip


def public(cls):
    return {name for name in vars(cls) if not name.startswith("_")}


@pytest.mark.parametrize("name", ["Module", *CONTAINERS])
def test_every_method_is_here_or_left_out_on_purpose(name):
    assert public(getattr(torch.nn, name)) - set(dir(getattr(nn, name))) - LEFT_OUT == set()


@pytest.mark.parametrize(
    "name",
    ["register_forward_pre_hook", "register_forward_hook", "register_full_backward_hook", "register_full_backward_pre_hook", "load_state_dict",
     "zero_grad", "train", "requires_grad_", "named_parameters", "named_buffers", "named_modules", "parameters", "buffers", "register_buffer",
     "get_parameter", "get_submodule", "get_buffer"],
)  # fmt: skip
def test_methods_have_torchs_arguments(name):
    ours, theirs = ([(p.name, p.default, p.kind) for p in inspect.signature(getattr(m.Module, name)).parameters.values()] for m in (nn, torch.nn))
    assert [o[1:] for o in ours] == [t[1:] for t in theirs]
    assert [o[0] for o in ours if o[1] is not inspect.Parameter.empty] == [t[0] for t in theirs if t[1] is not inspect.Parameter.empty]


def printed(m, ones):
    return [
        m.Sequential(), m.Sequential(m.Linear(2, 3), m.Sequential(m.ReLU())), m.ModuleList(), m.ModuleDict({"a": m.Linear(2, 2)}),
        m.ModuleList([m.Linear(2, 2), m.Linear(2, 2), m.ReLU(), m.Sequential(m.Tanh()), m.Sequential(m.Tanh())]),
        m.ParameterList([ones(2, 3), ones(1)]), m.ParameterList(), m.Identity(), m.Flatten(),
        m.Unflatten(1, (2, 3)),
    ]  # fmt: skip


def test_modules_print_as_in_torch():
    for ours, theirs in zip(printed(nn, convkit.ones), printed(torch.nn, torch.ones), strict=True):
        theirs = repr(theirs).replace("torch.float32", "float32").replace("    (", "  (") if "Parameter" in repr(theirs) else repr(theirs)
        assert repr(ours) == theirs
