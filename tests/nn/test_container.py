"""Sequential, ModuleList, ModuleDict, ParameterList and ParameterDict."""

import copy

import numpy as np
import pytest

import convkit
from convkit import nn


def layers(count):
    return [nn.Linear(i + 1, i + 2) for i in range(count)]


def test_sequential_runs_in_order_and_is_a_list():
    a, b, c = layers(3)
    net = nn.Sequential(a, b, c)
    assert net(convkit.ones(7, 1)).shape == (7, 4)
    assert len(net) == 3 and list(net) == [a, b, c] and net[0] is a and net[-1] is c
    part = net[1:]
    assert isinstance(part, nn.Sequential) and list(part) == [b, c] and list(part.state_dict())[0] == "1.weight"
    net[1] = nn.Identity()
    assert isinstance(net[1], nn.Identity)
    assert net.append(nn.ReLU()) is net and isinstance(net[3], nn.ReLU)
    del net[1]
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"] and len(net) == 3
    net.insert(1, nn.Tanh())
    assert [type(m).__name__ for m in net] == ["Linear", "Tanh", "Linear", "ReLU"]
    del net[1::2]
    assert list(net) == [a, c]


def test_sequential_with_names():
    net = nn.Sequential({"one": nn.Linear(2, 3), "two": nn.ReLU()})
    assert net.one is net[0] and list(net.state_dict()) == ["one.weight", "one.bias"]
    del net[0]
    assert list(dict(net.named_children())) == ["two"]


@pytest.mark.parametrize("make", [lambda m: nn.Sequential(*m), nn.ModuleList])
def test_numbered_errors(make):
    box = make(layers(2))
    with pytest.raises(IndexError, match="index 2 is out of range for 2 modules"):
        box[2]
    with pytest.raises(TypeError, match="an index must be an int or a slice, got 'a'"):
        box["a"]
    for change in (lambda: box.append(3), lambda: box.insert(0, 3), lambda: box.__setitem__(0, 3)):
        with pytest.raises(TypeError, match="expects modules, got int"):
            change()
    assert len(box) == 2


def test_module_list():
    box = nn.ModuleList(layers(2))
    box.extend(layers(1))
    box += layers(1)
    assert len(box) == 4 and [m.in_features for m in box] == [1, 2, 1, 1]
    assert isinstance(box[1:3], nn.ModuleList) and len(box[1:3]) == 2
    assert len(list(box.parameters())) == 8
    with pytest.raises(NotImplementedError):
        box(1)


def test_module_dict():
    a, b = layers(2)
    box = nn.ModuleDict({"a": a})
    box["b"] = b
    assert "a" in box and list(box) == ["a", "b"] == list(box.keys()) and list(box.values()) == [a, b] and len(box) == 2
    assert list(box.state_dict()) == ["a.weight", "a.bias", "b.weight", "b.bias"]
    assert box.pop("a") is a and dict(box.items()) == {"b": b}
    box.update([("c", a)])
    del box["b"]
    assert list(box) == ["c"]
    with pytest.raises(TypeError, match="ModuleDict: expects modules, got int"):
        box["d"] = 1
    box.update(nn.ModuleDict({"c": b, "e": a}))
    assert box["c"] is b and list(box) == ["c", "e"]
    box.clear()
    assert len(box) == 0 and len(nn.ModuleDict()) == len(nn.ModuleDict(None)) == 0
    with pytest.raises(TypeError, match="ModuleDict: needs several values, such as a list, got int"):
        box.update(3)
    with pytest.raises(ValueError, match=r"ModuleDict: needs \(name, value\) pairs, got 'ab'"):
        box.update(["ab"])


def test_sequential_arithmetic():
    a, b, c = layers(3)
    net = nn.Sequential(a, b)
    assert list(net + nn.Sequential(c)) == [a, b, c] and list(net * 2) == [a, b, a, b] == list(2 * net)
    twin = net
    twin *= 2
    assert twin is net and list(net) == [a, b, a, b]
    twin += nn.Sequential(c)
    assert twin is net and list(net) == [a, b, a, b, c]
    assert net.pop(-1) is c and len(net) == 4 and list(net.pop(slice(1, 3))) == [b, a] and list(net) == [a, b]
    assert net.insert(-1, c) is net and list(net) == [a, c, b] and list(net.state_dict())[2] == "1.weight"
    assert net.extend([a]) is net and len(net) == 4
    for error, match, call in [
        (ValueError, "Sequential: adds another Sequential, got list", lambda: net + [a]),
        (ValueError, "Sequential: is multiplied by 1 or more, got 0", lambda: net * 0),
        (TypeError, "Sequential: is multiplied by an int, got 1.5", lambda: net * 1.5),
        (IndexError, "Sequential: cannot insert at 5 among 4 modules", lambda: net.insert(5, a)),
        (TypeError, "Sequential: needs several values, such as a list, got int", lambda: net.extend(3)),
    ]:
        with pytest.raises(error, match=match):
            call()
    assert len(net) == 4


def test_module_lists_join_and_print():
    a, b = layers(2)
    box = nn.ModuleList([a]) + nn.ModuleList([b])
    assert isinstance(box, nn.ModuleList) and list(box) == [a, b] and box.pop(0) is a and list(box.state_dict())[0] == "0.weight"
    assert len(nn.ModuleList(None)) == 0 and repr(nn.ModuleList()) == "ModuleList()"
    box = nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Sequential(nn.Tanh()), nn.ReLU()])
    assert repr(box) == "ModuleList(\n  (0-1): 2 x ReLU()\n  (2): Sequential(\n    (0): Tanh()\n  )\n  (3): ReLU()\n)"
    with pytest.raises(IndexError, match="ModuleList: cannot insert at 9 among 4 modules"):
        box.insert(9, a)


def test_parameter_list():
    p = nn.Parameter(convkit.ones(2))
    box = nn.ParameterList([p, convkit.zeros(3)])
    assert box[0] is p and isinstance(box[1], nn.Parameter) and len(box) == 2 and list(box.state_dict()) == ["0", "1"]
    box += [convkit.ones(1)]
    assert box.append(p) is box and box[-1] is p and len(box) == 4 and len(list(box.parameters())) == 3
    part = box[1:3]
    assert isinstance(part, nn.ParameterList) and part[0] is box[1] and [q.shape for q in box] == [(2,), (3,), (1,), (2,)]
    box[1] = convkit.ones(5)
    assert box[1].shape == (5,) and box[1].requires_grad
    net = nn.Module()
    net.scales = box
    assert [name for name, _ in net.named_parameters()] == ["scales.0", "scales.1", "scales.2"]
    assert net.double().scales[0].dtype == np.float64 and copy.deepcopy(box)[1].tolist() == [1] * 5
    assert (
        repr(part.float()) == "ParameterList(\n  (0): Parameter containing: [float32 of size 3]\n  (1): Parameter containing: [float32 of size 1]\n)"
    )
    with pytest.raises(IndexError, match="ParameterList: index 4 is out of range for 4 parameters"):
        box[4]
    with pytest.raises(TypeError, match="ParameterList: holds parameters, got int"):
        box.append(3)
    with pytest.raises(TypeError, match="ParameterList: needs several values, such as a list, got Tensor"):
        nn.ParameterList(convkit.ones(2))
    with pytest.raises(NotImplementedError):
        box(1)


def test_parameter_dict():
    p, q = nn.Parameter(convkit.ones(2)), convkit.zeros(3)
    box = nn.ParameterDict({"a": p})
    box["keys"] = q  # also the name of a method
    assert box["a"] is p and list(box) == ["a", "keys"] == list(box.keys()) and "a" in box and len(box) == 2 and list(reversed(box)) == ["keys", "a"]
    assert list(box.state_dict()) == ["a", "keys"] and box.get("x") is None and box.get("a") is p
    assert box.setdefault("a", q) is p and box.setdefault("c", q).shape == (3,)
    assert box.popitem()[0] == "c" and box.pop("keys").shape == (3,) and dict(box.items()) == {"a": p}
    both = box | {"b": q}
    assert list(both) == ["a", "b"] and list(box) == ["a"] and list({"z": q} | box) == ["z", "a"]
    box |= nn.ParameterDict([("d", q)])
    assert list(box) == ["a", "d"] and box.copy()["a"] is p
    del box["d"]
    box.update({"a": q})
    assert box["a"] is not p and list(box.values())[0].shape == (3,)
    box.clear()
    assert len(box) == 0 and repr(box) == "ParameterDict()"
    shared = nn.ParameterDict.fromkeys(["a", "b"], q)
    assert shared["a"] is shared["b"] and len(list(shared.parameters())) == 1
    with pytest.raises(ValueError, match="ParameterDict: a name must be a non-empty string without '.', got 'a.b'"):
        box["a.b"] = q
    with pytest.raises(TypeError, match="ParameterDict: holds parameters, got str"):
        box["a"] = "b"
    with pytest.raises(KeyError):
        box["nothing"]
