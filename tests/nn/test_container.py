"""Sequential, ModuleList and ModuleDict."""

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
