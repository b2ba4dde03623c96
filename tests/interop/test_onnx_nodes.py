"""The onnx package's own tests of single operators: what is supported computes what they expect."""

from __future__ import annotations

import functools
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import convkit
from convkit.interop import onnx as interop

onnx = pytest.importorskip("onnx", reason="the package onnx brings the tests")

# Operators whose node tests must be supported almost all (95 %), and computed rightly all.
REQUIRED = [
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "BatchNormalization", "Relu",
    "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Gemm", "MatMul", "Add", "Mul", "Concat", "Flatten", "Reshape", "Pad",
    "Resize", "Dropout",
]  # fmt: skip


@functools.cache
def cases():
    """The package's node tests: (name, model, sets of inputs and outputs, rtol, atol) by operator; those of whole functions apart."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numbers that overflow on purpose
        found = load_model_tests(kind="node")
    groups: dict[str, list] = {}
    for case in found:
        nodes = case.model.graph.node
        op = nodes[0].op_type if len(nodes) == 1 and "_expanded" not in case.name else "(several nodes)"
        groups.setdefault(op, []).append(case)
    return groups


def array_of(x):
    return np.array(onnx.numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else x)


def run(case):
    """'supported', 'unsupported', or what is wrong."""
    try:
        net = interop.load(case.model)
    except interop.UnsupportedError:
        return "unsupported"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as inf - inf does
        for inputs, expected in case.data_sets:
            try:
                got = net(*(convkit.from_numpy(array_of(x)) for x in inputs))
            except Exception as error:
                return f"{case.name}: {type(error).__name__}: {error} {getattr(error, '__notes__', '')}"
            got = got if isinstance(got, tuple) else (got,)
            for g, e in zip(got, expected, strict=True):
                g, e = g.detach().numpy(), array_of(e)
                if g.dtype != e.dtype or g.shape != e.shape:
                    return f"{case.name}: {g.dtype} {g.shape}, not {e.dtype} {e.shape}"
                if not np.allclose(g, e, rtol=case.rtol, atol=case.atol, equal_nan=True):
                    return f"{case.name}: {g.ravel()[:8]}, not {e.ravel()[:8]}"
    return "supported"


@functools.cache
def results(op):
    return [run(case) for case in cases().get(op, [])]


def wrong(op):
    return [r for r in results(op) if r not in ("supported", "unsupported")]


@pytest.mark.parametrize("op", sorted({*interop.supported(), *REQUIRED, "(several nodes)"}))
def test_what_is_supported_is_right(op):
    assert not wrong(op), "\n".join(wrong(op))


@pytest.mark.parametrize("op", REQUIRED)
def test_almost_everything_is_supported(op):
    count = Counter(results(op))
    assert count["supported"] >= 0.95 * len(results(op)) > 0, count


def test_what_is_not_supported_says_so_when_it_is_loaded():
    for op, group in cases().items():
        if op not in interop.supported() and op != "(several nodes)":
            for case in group[:1]:
                with pytest.raises(interop.UnsupportedError, match=rf"operator \S*{op} in node .* \(opset \d+\)|load: (input|opset)"):
                    interop.load(case.model)


def exported():
    """Folders of models that older programs wrote, with inputs and outputs, which come with the package."""
    root = Path(onnx.__file__).parent / "backend" / "test" / "data"
    return sorted(p for kind in ("pytorch-converted", "pytorch-operator", "simple") for p in (root / kind).glob("*") if (p / "model.onnx").is_file())


def stored(folder, kind):
    for i in range(len(list(folder.glob(f"{kind}_*.pb")))):
        yield onnx.numpy_helper.to_array(onnx.load_tensor(folder / f"{kind}_{i}.pb"))


@pytest.mark.filterwarnings("ignore")
def test_models_that_older_programs_wrote():
    """They are of opset 6, mostly, and are converted first."""
    supported, refused = 0, []
    for folder in exported():
        if folder.name in ("test_PReLU_1d_multiparam", "test_PReLU_2d_multiparam", "test_PReLU_3d_multiparam"):
            continue  # converted, they broadcast a slope for each channel along the last axis
        model = onnx.load(folder / "model.onnx")
        if next(o.version for o in model.opset_import if o.domain == "") < 7:
            model = onnx.version_converter.convert_version(model, 13)
        try:
            net = interop.load(model)
        except interop.UnsupportedError as error:
            refused.append(str(error))
            continue
        for data in folder.glob("test_data_set_*"):
            got = net(*(convkit.from_numpy(np.array(x)) for x in stored(data, "input")))
            for g, e in zip(got if isinstance(got, tuple) else (got,), stored(data, "output"), strict=True):
                np.testing.assert_allclose(g.detach().numpy(), e, rtol=1e-3, atol=1e-5, err_msg=folder.name)
        supported += 1
    assert supported >= 118 and all(any(op in r for op in ("Sequence", "StringNormalizer", "Gradient")) for r in refused), (supported, refused)


def test_counts(capsys):
    """Printed for the record: supported / all / wrong."""
    rows, known = [], {*interop.supported()}
    for op in [*REQUIRED, *sorted(o for o in cases() if o not in REQUIRED and o in known), "(several nodes)"]:
        count = Counter(results(op))
        rows.append((op, count["supported"], len(results(op)), len(wrong(op))))
    with capsys.disabled():
        print(f"\nONNX {onnx.__version__} node tests: operator supported/all/wrong")
        print("; ".join(f"{op} {s}/{n}/{w}" for op, s, n, w in rows))
        print(f"all: {sum(r[1] for r in rows)} of {sum(len(g) for g in cases().values())} supported, {sum(r[3] for r in rows)} wrong")
