"""Files that torch itself writes."""

import numpy as np
import pytest

import convkit

torch = pytest.importorskip("torch", reason="torch writes the files")


def everything():
    base = torch.arange(24.0).reshape(4, 6)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    adam = torch.optim.Adam(net.parameters())
    net(torch.randn(2, 3, 8, 8)).sum().backward()
    adam.step()
    tensors = {
        "base": base, "part": base.t()[1:3], "half": torch.randn(3).half(), "bfloat16": torch.randn(3, 2).bfloat16(), "ints": torch.tensor([1, 2]),
        "bools": torch.tensor([True, False]), "parameter": torch.nn.Parameter(torch.ones(2)), "empty": torch.zeros(0, 3),
        "double": torch.tensor(3.5, dtype=torch.float64), "expanded": torch.ones(1).expand(5),
        "channels_last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last), **net.state_dict(),
    }  # fmt: skip
    return {"tensors": tensors, "adam": adam.state_dict(), "size": torch.Size([1, 2]), "device": torch.device("cpu"), "epoch": 3}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_torch_saves_is_read(tmp_path, zipped, protocol):
    saved = everything()
    torch.save(saved, tmp_path / "f.pt", _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    got = convkit.load(tmp_path / "f.pt")
    assert got["epoch"] == 3 and got["size"] == (1, 2) and got["device"] == "cpu" and set(got["tensors"]) == set(saved["tensors"])
    for name, tensor in saved["tensors"].items():
        tensor = tensor.detach().float() if tensor.dtype in (torch.half, torch.bfloat16) else tensor.detach()
        np.testing.assert_array_equal(got["tensors"][name].array, tensor.numpy())
        assert got["tensors"][name].array.dtype == tensor.numpy().dtype
    assert np.shares_memory(got["tensors"]["base"].array, got["tensors"]["part"].array)
    np.testing.assert_array_equal(got["adam"]["state"][0]["exp_avg"].array, saved["adam"]["state"][0]["exp_avg"].numpy())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_what_is_not_data_is_refused(tmp_path, zipped):
    for bad in (
        torch.nn.Linear(2, 2),
        torch.zeros(2, dtype=torch.complex64),
        torch.sparse_coo_tensor([[0]], [1.0], (2,)),
        torch.ones(2).untyped_storage(),
    ):
        torch.save(bad, tmp_path / "f.pt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(ValueError, match=r"it names torch\..*torch.save\(model.state_dict\(\), path\)"):
            convkit.load(tmp_path / "f.pt")
