"""Files as torch.save writes them, made here by hand from pickle and zipfile: what is read, and what is refused without being run."""

import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

import convkit
from convkit import models
from convkit.interop import torch_checkpoint

KINDS = {"f4": "FloatStorage", "f8": "DoubleStorage", "i8": "LongStorage", "u1": "ByteStorage", "f2": "HalfStorage", "b1": "BoolStorage"}


class Storage:
    """Numbers under a key, which the pickler below names by a persistent id."""

    def __init__(self, key, array, kind=None, count=None):
        self.key, self.array = key, np.asarray(array)
        self.kind = kind or KINDS[self.array.dtype.str.lstrip("<|>")]
        self.count = self.array.size if count is None else count


class View:
    """A tensor: pickled as a call of torch._utils._rebuild_tensor_v2, which exists nowhere here."""

    def __init__(self, storage, offset, size, stride, function="_rebuild_tensor_v2"):
        self.args, self.function = (storage, offset, size, stride, False, OrderedDict()), function

    def __reduce__(self):
        return getattr(sys.modules["torch._utils"], self.function), self.args


class Boom:
    """Runs a command when an ordinary unpickler reads it."""

    def __reduce__(self):
        return print, ("this must not be printed",)


class Pickler(pickle.Pickler):
    storages: dict

    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        self.storages[obj.key] = obj
        return ("storage", getattr(sys.modules["torch"], obj.kind), obj.key, "cuda:0", obj.count)


@pytest.fixture(autouse=True)
def pretended_torch(monkeypatch):
    """Modules of torch's names while files are written: pickle looks the names up."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in (*KINDS.values(), "BFloat16Storage", "ComplexFloatStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    for name in ("_rebuild_tensor_v2", "_rebuild_sparse_tensor"):
        function = types.FunctionType((lambda *args: None).__code__, {}, name)
        function.__module__, function.__qualname__ = "torch._utils", name
        setattr(utils, name, function)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def pickled(obj, protocol=2):
    out = io.BytesIO()
    pickler = Pickler(out, protocol)
    pickler.storages = {}
    pickler.dump(obj)
    return out.getvalue(), pickler.storages


def legacy(obj, protocol=2, order="<", cut=None):
    body, storages = pickled(obj, protocol)
    head = [pickle.dumps(v, protocol) for v in (torch_checkpoint.MAGIC, 1001, {"little_endian": order == "<"})]
    parts = [*head, body, pickle.dumps(sorted(storages), protocol)]
    for key in sorted(storages):
        array = storages[key].array
        parts += [np.array(storages[key].count, order + "i8").tobytes(), array.astype(array.dtype.newbyteorder(order)).tobytes()]
    return b"".join(parts)[:cut]


def zipped(obj, protocol=2, order="<", compression=zipfile.ZIP_STORED, extra=()):
    body, storages = pickled(obj, protocol)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("archive/data.pkl", body)
        archive.writestr("archive/byteorder", "little" if order == "<" else "big")
        for key, s in storages.items():
            archive.writestr(f"archive/data/{key}", s.array.astype(s.array.dtype.newbyteorder(order)).tobytes())
        for name in extra:
            archive.writestr(name, b"")
    return out.getvalue()


FORMATS = {"legacy": legacy, "zip": zipped}
formats = pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)


def read(tmp_path, content):
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    return convkit.load(path)


def floats(key="0", n=12):
    return Storage(key, np.arange(n, dtype=np.float32))


@formats
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tensors_and_plain_data_come_back(tmp_path, write, protocol, order):
    shared = floats()
    obj = OrderedDict(
        w=View(shared, 0, (3, 4), (4, 1)), t=View(shared, 4, (4, 2), (1, 4)), same=View(shared, 11, (), ()),
        n=View(Storage("1", np.array([5], np.int64)), 0, (), ()), flag=View(Storage("2", np.array([True, False])), 0, (2,), (1,)),
        none=View(Storage("3", np.zeros(0)), 0, (0, 3), (3, 1)), ones=View(shared, 1, (5,), (0,)),
        nested={"epoch": 3, "big": 2**70, "best": 91.78, "name": "réseau", "list": [None, True, (1, 2), -1], "set": {1, 2}},
    )  # fmt: skip
    got = read(tmp_path, write(obj, protocol, order))
    a = np.arange(12, dtype=np.float32)
    assert list(got) == list(obj)
    np.testing.assert_array_equal(got["w"].array, a.reshape(3, 4))
    np.testing.assert_array_equal(got["t"].array, a.reshape(3, 4)[1:].T)
    assert got["same"].shape == () and got["same"].item() == 11.0
    assert got["n"].array.dtype == np.int64 and got["n"].item() == 5
    assert got["flag"].tolist() == [True, False]
    assert got["none"].shape == (0, 3) and got["none"].array.dtype == np.float64
    assert got["ones"].tolist() == [1.0] * 5
    assert got["nested"] == obj["nested"]
    got["w"].fill_(7.0)  # can be changed, and what shared memory shares it again
    assert got["t"].tolist() == [[7.0, 7.0]] * 4


@formats
def test_halves_become_float32(tmp_path, write):
    half = np.array([1.5, -2.0, np.inf, 6e-8], np.float16)
    brain = np.array([0x3FC0, 0xC000, 0x7F80, 0x0001], np.uint16)  # 1.5, -2, inf, a denormal
    got = read(tmp_path, write({"h": View(Storage("0", half), 0, (4,), (1,)), "b": View(Storage("1", brain, "BFloat16Storage"), 0, (4,), (1,))}))
    np.testing.assert_array_equal(got["h"].array, half.astype(np.float32))
    np.testing.assert_array_equal(got["b"].array, np.array([1.5, -2.0, np.inf, 2.0**-133], np.float32))


@formats
def test_nothing_is_run(tmp_path, write, capsys):
    with pytest.raises(ValueError, match=r"it names __builtin__.print, .*torch.save\(model.state_dict\(\), path\)"):
        read(tmp_path, write({"w": Boom()}))
    assert "must not" not in capsys.readouterr().out


@formats
@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (View(floats(), 0, (2,), (1,), "_rebuild_sparse_tensor"), "names torch._utils._rebuild_sparse_tensor"),
        (View(Storage("0", np.zeros(2, np.complex64), "ComplexFloatStorage"), 0, (2,), (1,)), "names torch.ComplexFloatStorage"),
        (np.float64(3), "names numpy"),
        (View(floats(), 0, (3, 5), (4, 1)), "leaves its storage of 12 elements"),
        (View(floats(), 12, (1,), (1,)), "leaves its storage"),
        (View(floats(), -1, (2,), (1,)), "a tensor of size"),
        (View(floats(), 0, (2,), (-1,)), "a tensor of size"),
        (View(floats(), 0, (2, 2), (1,)), "a tensor of size"),
        (View(Storage("0", np.zeros(3, np.float32), count=10**15), 0, (10**15,), (1,)), "storage '0' needs"),
        (View(Storage("../../x", np.zeros(3, np.float32), count=4), 0, (4,), (1,)), "needs"),
        ([floats()], "stands without a tensor"),
        (View(3, 0, (2,), (1,)), "a tensor without a storage"),
    ],
)
def test_what_is_not_data_or_not_there_is_refused(tmp_path, write, obj, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, write(obj))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00a\x85R.", "names os.system"),
        (b"\x80\x02cos\nsystem\n)\x81.", "names os.system"),  # NEWOBJ
        (b"(S'a'\nios\nsystem\n.", "instruction INST"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "instruction NEWOBJ"),
        (b"\x80\x02}X\x01\x00\x00\x00a\x85R.", "calls"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "calls"),
        (b"\x80\x02]K\x01u.", "mark"),
        (b"\x80\x02}K\x01a.", "fills dict as if it were list"),
        (b"\x80\x04B\xff\xff\xff\xff.", "damaged"),  # 4 GB of bytes that are not there
        (b"\x80\x02r\xff\xff\xff\xff.", "damaged"),
        (b"\x80\x02K\x01Q.", "persistent id"),
        (b"\x80\x02h\x07.", "damaged"),
        (b"\x80\x02K\x01", "damaged"),
    ],
)
def test_hostile_pickles_are_refused(tmp_path, body, message):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a/data.pkl", body)
    with pytest.raises(ValueError, match=message):
        read(tmp_path, out.getvalue())


def test_other_files_are_refused(tmp_path):
    obj = {"w": View(floats(), 0, (12,), (1,))}
    with pytest.raises(ValueError, match="compressed or overlap"):
        read(tmp_path, zipped(obj, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match="TorchScript"):
        read(tmp_path, zipped(obj, extra=["archive/constants.pkl"]))
    with pytest.raises(ValueError, match="without data.pkl"):
        read(tmp_path, zipped(obj, extra=["other/data.pkl"]))
    with pytest.raises(ValueError, match="plain pickle"):
        read(tmp_path, pickle.dumps({"w": 1}))
    with pytest.raises(ValueError, match="no file of torch.save"):
        torch_checkpoint.load(__file__)
    with pytest.raises(FileNotFoundError):
        convkit.load(tmp_path / "nothing.pth")
    whole = legacy(obj)
    for cut in range(0, len(whole), 7):
        with pytest.raises(ValueError):
            read(tmp_path, whole[:cut])
    whole = zipped(obj)
    for cut in range(0, len(whole), 23):
        with pytest.raises(ValueError):
            read(tmp_path, whole[:cut])


def test_a_safetensors_file_is_never_taken_for_a_pickle(tmp_path):
    for pad in range(200):  # among these headers are some of 640 bytes, whose length reads like the start of a pickle
        convkit.save({f"{i}{'x' * 60}{'y' * pad if not i else ''}": convkit.ones(1) for i in range(4)}, tmp_path / "f")
        start = (tmp_path / "f").read_bytes()[:16]
        assert not torch_checkpoint.recognised(start)
    assert not torch_checkpoint.recognised(b"\x80\x02\0\0\0\0\0\0{")
    assert len(convkit.load(tmp_path / "f")) == 4


def test_pretrained_weights_of_another_program(shared):
    folder = shared / "resnet-cifar10"
    saved = convkit.load(folder / "resnet20-12fca82f.th")
    state = {name.removeprefix("module."): tensor for name, tensor in saved["state_dict"].items()}
    arrays = dict(np.load(folder / "resnet20.npz"))
    assert saved["best_prec1"] == pytest.approx(91.78) and set(state) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(state[name].array, array)
    assert models.resnet20().load_state_dict(state) == ([], [])
