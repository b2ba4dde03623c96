"""Modules: what is registered, walked, saved, loaded, moved and hooked."""

import copy
import pickle

import numpy as np
import pytest

import convkit
from convkit import nn
from convkit.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(4 * 36, 5))
        self.scale = nn.Parameter(convkit.ones(1))

    def forward(self, x):
        return self.head(F.relu(self.norm(self.conv(x)))) * self.scale


STATE = [
    "scale", "conv.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked",
    "head.1.weight", "head.1.bias",
]  # fmt: skip


def values(net):
    return {name: np.array(tensor) for name, tensor in net.state_dict().items()}


# -------------------------------------------------------------------------------- registration
def test_assignment_registers_parameters_modules_and_nothing_else():
    net = Net()
    net.number, net.plain = 3, convkit.ones(2)
    assert [name for name, _ in net.named_parameters()] == [name for name in STATE if "running" not in name and "num_" not in name]
    assert [name for name, _ in net.named_buffers()] == ["norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]
    assert [name for name, _ in net.named_modules()] == ["", "conv", "norm", "head", "head.0", "head.1"]
    assert [name for name, _ in net.named_children()] == ["conv", "norm", "head"]
    assert list(net.children()) == [net.conv, net.norm, net.head]
    assert net.number == 3 and {"scale", "conv", "number"} <= set(dir(net))
    assert [p.shape for p in net.parameters(recurse=False)] == [(1,)]


def test_attributes_change_their_kind():
    net = Net()
    net.scale = None  # stays registered, as no parameter
    assert net.scale is None and "scale" not in net.state_dict()
    net.scale = nn.Parameter(convkit.zeros(1))
    assert "scale" in net.state_dict()
    net.scale = nn.Linear(1, 1)  # a module takes the name over
    assert "scale.weight" in net.state_dict() and "scale" not in dict(net.named_parameters())
    del net.scale
    assert not hasattr(net, "scale")
    net.extra = 1
    net.extra = nn.Parameter(convkit.zeros(2))
    assert net.extra.shape == (2,) and "extra" in net.state_dict()
    del net.extra
    net.plain = 1
    del net.plain
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'plain'"):
        net.plain  # noqa: B018


def test_registered_names_keep_their_type():
    net = Net()
    with pytest.raises(TypeError, match="Net: 'scale' is registered and takes a Parameter or None, got Tensor"):
        net.scale = convkit.ones(1)
    with pytest.raises(TypeError, match="Net: 'conv' is registered and takes a Module or None, got int"):
        net.conv = 3
    with pytest.raises(TypeError, match="BatchNorm2d: 'running_mean' is registered and takes a Tensor or None"):
        net.norm.running_mean = np.zeros(4)
    for register in (net.register_buffer, net.register_module):
        with pytest.raises(KeyError, match="Net: attribute 'scale' already exists"):
            register("scale", None)
    with pytest.raises(KeyError, match="Net: attribute 'conv' already exists"):
        net.register_parameter("conv", None)
    with pytest.raises(KeyError, match="attribute 'forward' already exists"):
        net.register_buffer("forward", convkit.ones(1))
    for name in ("a.b", "", 3):
        with pytest.raises(ValueError, match="non-empty string without '.'"):
            net.register_buffer(name, convkit.ones(1))
    with pytest.raises(TypeError, match="buffer 'b' must be a Tensor or None, got ndarray"):
        net.register_buffer("b", np.ones(1))
    with pytest.raises(TypeError, match="'p' must be a Parameter or None, got Tensor"):
        net.register_parameter("p", convkit.ones(1))
    with pytest.raises(TypeError, match="'m' must be a Module or None, got Tensor"):
        net.add_module("m", convkit.ones(1))


def test_super_init_comes_first():
    class Early(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"Early: call super\(\).__init__\(\) before assigning 'layer'"):
        Early()


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module: write a forward method"):
        nn.Module()(1)


def test_shared_parameters_and_modules_count_once():
    a, b = nn.Linear(3, 3), nn.Linear(3, 3)
    b.weight = a.weight
    net = nn.Sequential(a, b, a)
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert [name for name, _ in net.named_modules()] == ["", "0", "1"]
    assert len(list(net.children())) == 2
    # The state lists every name, as torch's does.
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"]
    assert len(list(net.named_parameters(remove_duplicate=False))) == 6


def test_get_submodule():
    net = Net()
    assert net.get_submodule("head.1") is net.head[1] and net.get_submodule("") is net
    with pytest.raises(AttributeError, match=r"Sequential has no module '7' \(looking for 'head.7'\); it has \['0', '1'\]"):
        net.get_submodule("head.7")


def test_get_parameter_get_buffer_and_set_submodule():
    net = Net()
    assert net.get_parameter("head.1.weight") is net.head[1].weight and net.get_parameter("scale") is net.scale
    assert net.get_buffer("norm.running_mean") is net.norm.running_mean
    new = nn.Linear(144, 7)
    net.set_submodule("head.1", new)
    assert net.head[1] is new
    for match, call in [
        (r"Conv2d has no parameter 'bias' \(looking for 'conv.bias'\)", lambda: net.get_parameter("conv.bias")),
        (r"BatchNorm2d has no buffer 'weight' \(looking for 'norm.weight'\); it has \['running_mean'", lambda: net.get_buffer("norm.weight")),
        ("Net has no module 'tail'", lambda: net.set_submodule("tail", new, strict=True)),
        ("Net has no module 'tail'", lambda: net.get_parameter("tail.weight")),
    ]:
        with pytest.raises(AttributeError, match=match):
            call()
    with pytest.raises(ValueError, match="set_submodule: needs a name, got ''"):
        net.set_submodule("", new)
    with pytest.raises(TypeError, match="set_submodule: needs a Module, got int"):
        net.set_submodule("conv", 3)


def test_dir_leaves_numbers_out():
    assert "0" not in dir(nn.Sequential(nn.ReLU())) and "weight" in dir(nn.Linear(1, 1))


# --------------------------------------------------------------------------------------- state
def test_state_dict_has_torchs_names_and_shares_memory():
    net = Net()
    state = net.state_dict()
    assert list(state) == STATE
    assert not any(t.requires_grad for t in state.values())
    assert state["norm.num_batches_tracked"].dtype == np.int64 and state["norm.num_batches_tracked"].shape == ()
    state["scale"].fill_(7)
    assert net.scale.tolist() == [7.0]
    assert list(net.head.state_dict(prefix="top.")) == ["top.1.weight", "top.1.bias"]


@pytest.mark.parametrize(
    "convert", [lambda t: t, lambda t: t.detach().numpy().copy(), lambda t: np.array(t.detach(), np.float64)], ids=["tensors", "arrays", "float64"]
)
def test_state_goes_round(convert):
    convkit.manual_seed(1)
    first, second = Net(), Net()
    first(convkit.randn(4, 3, 8, 8))  # so that the statistics are not those of the start
    before = first.conv.weight
    found = second.load_state_dict({name: convert(t) for name, t in first.state_dict().items()})
    assert found == ([], []) and repr(found) == "<All keys matched successfully>"
    for name, array in values(first).items():
        np.testing.assert_array_equal(values(second)[name], array)
    assert second.conv.weight.dtype == np.float32 and second.conv.weight.requires_grad
    assert first.conv.weight is before
    second.conv.weight.detach().fill_(0)  # copies, not shared memory
    assert np.any(first.conv.weight.detach().numpy())


def test_strict_loading_reports_everything_and_changes_nothing():
    net = Net()
    before = values(net)
    state = {name: array + 1 for name, array in before.items()}
    del state["conv.weight"], state["norm.bias"]
    state.update({"conv.wieght": np.zeros(1), "extra": np.zeros(2), "head.1.bias": np.zeros((5, 1)), "scale": np.array(["x"])})
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(state)
    assert str(error.value).splitlines() == [
        "Net.load_state_dict: the state does not fit, nothing was loaded:",
        "  missing: conv.weight, norm.bias",
        "  unexpected: conv.wieght, extra",
        "  scale: ndarray of <U1 in the state, numbers in the module",
        "  head.1.bias: shape [5, 1] in the state, [5] in the module",
    ]
    for name, array in before.items():
        np.testing.assert_array_equal(values(net)[name], array)


def test_loading_without_strict_passes_over_names_but_not_shapes():
    net = Net()
    found = net.load_state_dict({"scale": np.array([4.0]), "other": np.zeros(3)}, strict=False)
    assert found.unexpected_keys == ["other"] and "conv.weight" in found.missing_keys and net.scale.item() == 4
    with pytest.raises(RuntimeError, match=r"scale: shape \[2\] in the state, \[1\] in the module"):
        net.load_state_dict({"scale": np.zeros(2)}, strict=False)
    with pytest.raises(TypeError, match="the state must be a dictionary of arrays, got list"):
        net.load_state_dict([1])


def test_state_dict_can_keep_the_parameters_and_add_to_a_dictionary():
    net, found = nn.Linear(2, 1), {"other": 1}
    assert net.state_dict(destination=found, prefix="net.", keep_vars=True) is found
    assert list(found) == ["other", "net.weight", "net.bias"] and found["net.weight"] is net.weight


@pytest.mark.cpu  # it shares NumPy's arrays
def test_assigned_state_is_shared_and_keeps_its_dtype():
    net = nn.Linear(2, 1)
    weight, state = net.weight, {"weight": np.ones((1, 2)), "bias": convkit.zeros(1, dtype=np.float64)}
    assert net.load_state_dict(state, assign=True) == ([], [])
    assert net.weight is weight and weight.array is state["weight"] and net.bias.array is state["bias"].array and weight.requires_grad
    assert net(convkit.ones(1, 2, dtype=np.float64)).item() == 2
    with pytest.raises(RuntimeError, match="weight: int64 in the state cannot take the place of float64 in the module"):
        net.load_state_dict({"weight": np.ones((1, 2), np.int64), "bias": np.zeros(1)}, assign=True)


def test_num_batches_tracked_may_be_missing():
    state = values(Net())
    del state["norm.num_batches_tracked"]
    net = Net()
    net.load_state_dict(state)
    assert net.norm.num_batches_tracked.item() == 0


def test_buffers_outside_the_state():
    net = nn.Module()
    net.register_buffer("kept", convkit.ones(1))
    net.register_buffer("scratch", convkit.ones(1), persistent=False)
    net.register_buffer("none", None)
    assert list(net.state_dict()) == ["kept"] and [n for n, _ in net.named_buffers()] == ["kept", "scratch"]
    net.kept = convkit.zeros(3)
    assert net.state_dict()["kept"].shape == (3,)


def test_loading_is_noticed_by_a_graph_made_before():
    net = nn.Linear(2, 2)
    y = net(convkit.ones(1, 2, requires_grad=True)).sum()
    net.load_state_dict(net.state_dict())
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["deepcopy", "pickle"])
def test_copies_are_independent(duplicate):
    net = Net()
    twin = duplicate(net)
    assert list(twin.state_dict()) == STATE and isinstance(twin.scale, nn.Parameter)
    x = convkit.randn(2, 3, 8, 8)
    np.testing.assert_array_equal(twin.eval()(x).detach().numpy(), net.eval()(x).detach().numpy())
    twin(x).sum().backward()
    assert twin.scale.grad is not None and net.scale.grad is None
    twin.scale.detach().fill_(0)
    assert net.scale.item() == 1


# --------------------------------------------------------------------------------------- modes
def test_train_and_eval_reach_every_module():
    net = Net()
    assert all(m.training for m in net.modules())
    assert net.eval() is net and not any(m.training for m in net.modules())
    net.head.train()
    assert net.head[1].training and not net.conv.training
    with pytest.raises(TypeError, match="mode must be True or False, got 1"):
        net.train(1)


def test_requires_grad_zero_grad_and_apply():
    net = Net()
    net(convkit.randn(2, 3, 8, 8)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert all(p.grad is not None and not np.any(p.grad.numpy()) for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.conv.requires_grad_(False)
    assert [p.requires_grad for p in net.parameters()] == [True, False, True, True, True, True]
    seen = []
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Conv2d", "BatchNorm2d", "Flatten", "Linear", "Sequential", "Net"]


def test_to_changes_floating_tensors_in_place():
    net = Net()
    parameter = net.conv.weight
    net(convkit.randn(2, 3, 8, 8)).sum().backward()
    assert net.double() is net and net.conv.weight is parameter
    assert parameter.dtype == np.float64 and parameter.grad.dtype == np.float64 and parameter.requires_grad and parameter.is_leaf
    assert net.norm.running_mean.dtype == np.float64 and net.norm.num_batches_tracked.dtype == np.int64
    assert net(convkit.randn(2, 3, 8, 8, dtype=np.float64)).dtype == np.float64
    assert net.float().conv.weight.dtype == np.float32
    assert net.to("cpu", dtype=convkit.float64).cpu().scale.dtype == np.float64
    assert net.to(convkit.zeros(1)).scale.dtype == np.float32
    assert net.type(convkit.float64).scale.dtype == np.float64 and net.to("cpu", np.float32, non_blocking=True).scale.dtype == np.float32
    for refused in (net.half, net.bfloat16):
        with pytest.raises(TypeError, match="Net.half: kernels compute in float32 and float64"):
            refused()
    with pytest.raises(TypeError, match="Net.to: a module has floating dtypes, got int64"):
        net.to(convkit.int64)
    with pytest.raises(ValueError, match="device must be"):
        net.to("abacus")


# --------------------------------------------------------------------------------------- hooks
def test_forward_hooks_see_and_replace():
    layer, seen = nn.Linear(2, 1, bias=False), []
    nn.init.ones_(layer.weight)
    x = convkit.tensor([[1.0, 2.0]])
    handles = [
        layer.register_forward_pre_hook(lambda module, args: seen.append(("pre", module is layer, args[0].tolist()))),
        layer.register_forward_pre_hook(lambda module, args: args[0] * 2),
        layer.register_forward_hook(lambda module, args, output: seen.append(("post", args[0].tolist(), output.item()))),
        layer.register_forward_hook(lambda module, args, output: output + 1),
    ]
    assert layer(x).item() == 7
    assert seen == [("pre", True, [[1.0, 2.0]]), ("post", [[2.0, 4.0]], 6.0)]
    for handle in handles:
        handle.remove()
        handle.remove()
    assert layer(x).item() == 3 and len(seen) == 2


def test_hooks_with_keyword_arguments_and_in_order():
    class Scaled(nn.Module):
        def forward(self, x, factor=1.0):
            if factor is None:
                raise ZeroDivisionError("no factor")
            return x * factor

    module, seen = Scaled(), []
    x = convkit.tensor([2.0])
    module.register_forward_pre_hook(lambda m, args, kwargs: (args, {**kwargs, "factor": kwargs["factor"] * 10}), with_kwargs=True)
    module.register_forward_pre_hook(lambda m, args, kwargs: seen.append(("first", kwargs["factor"])), with_kwargs=True, prepend=True)
    module.register_forward_hook(lambda m, args, kwargs, y: seen.append(("after", kwargs["factor"], y.item())), with_kwargs=True)
    handle = module.register_forward_hook(lambda m, args, y: y + 1, prepend=True)
    assert module(x, factor=3.0).item() == 61 and seen == [("first", 3.0), ("after", 30.0, 61.0)]
    handle.remove()
    assert module(x, factor=3.0).item() == 60
    module = Scaled()
    module.register_forward_hook(lambda m, args, y: seen.append("never"))
    module.register_forward_hook(lambda m, args, y: seen.append(y), always_call=True)
    with pytest.raises(ZeroDivisionError, match="no factor"):
        module(x, factor=None)
    assert seen[-1] is None and "never" not in seen
    module.register_forward_pre_hook(lambda m, args, kwargs: 3, with_kwargs=True)
    with pytest.raises(RuntimeError, match=r"Scaled: a forward pre-hook with kwargs must return None or \(args, kwargs\), got 3"):
        module(x)


def test_backward_pre_hooks_see_and_replace_the_gradients_of_outputs():
    layer, seen = nn.Linear(1, 1, bias=False), []
    nn.init.constant_(layer.weight, 4)
    layer.register_full_backward_pre_hook(lambda m, go: (go[0] * 10,))
    layer.register_full_backward_pre_hook(lambda m, go: seen.append(("first", go[0].item())), prepend=True)
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi[0].item(), go[0].item())))
    x = convkit.ones(1, 1, requires_grad=True)
    layer(x).sum().backward()
    assert seen == [("first", 1.0), (40.0, 10.0)] and x.grad.item() == 40 and layer.weight.grad.item() == 10


def test_backward_hooks_see_the_gradients_of_inputs_and_outputs():
    class Product(nn.Module):
        def forward(self, a, factor, b):
            return a * b * factor, a + b

    module, seen = Product(), []
    handle = module.register_full_backward_hook(
        lambda m, gi, go: seen.append((m, [None if g is None else g.item() for g in gi], [g.item() for g in go]))
    )
    a, b = convkit.tensor([2.0], requires_grad=True), convkit.tensor([5.0])
    y, z = module(a, 3, b)
    (y * 10 + z).sum().backward()
    assert seen == [(module, [151.0, None], [10.0, 1.0])] and a.grad.item() == 151 and b.grad is None
    handle.remove()
    module(a, 3, b)[0].sum().backward()
    assert len(seen) == 1


def test_backward_hooks_replace_and_work_without_gradients_of_inputs():
    layer, seen = nn.Linear(1, 1, bias=False), []
    nn.init.constant_(layer.weight, 4)
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].item())))
    layer(convkit.ones(1, 1)).sum().backward()
    assert seen == [((None,), 1.0)] and layer.weight.grad.item() == 1
    layer.register_full_backward_hook(lambda m, gi, go: tuple(None if g is None else g * 100 for g in gi))
    x = convkit.ones(1, 1, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.item() == 400


# --------------------------------------------------------------------------------------- looks
def test_repr_is_a_tree():
    assert repr(Net()) == (
        "Net(\n"
        "  (conv): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1), bias=False)\n"
        "  (norm): BatchNorm2d(4, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)\n"
        "  (head): Sequential(\n"
        "    (0): Flatten(start_dim=1, end_dim=-1)\n"
        "    (1): Linear(in_features=144, out_features=5, bias=True)\n"
        "  )\n"
        ")"
    )
    assert repr(nn.Parameter(convkit.zeros(1))).startswith("Parameter containing:\ntensor([0.]")
