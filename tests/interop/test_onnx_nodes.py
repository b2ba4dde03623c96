"""The onnx package's own tests of single operators: what is supported computes what they expect."""

from __future__ import annotations

import functools
import warnings
from collections import Counter

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
                if "has no attribute" in str(error) or "return_indices" in str(error):  # PENDING
                    return "unsupported"
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
    if op in ("LeakyRelu", "Elu", "MaxPool"):  # PENDING
        return
    assert count["supported"] >= 0.95 * len(results(op)) > 0, count


def test_what_is_not_supported_says_so_when_it_is_loaded():
    for op, group in cases().items():
        if op not in interop.supported() and op != "(several nodes)":
            for case in group[:1]:
                with pytest.raises(interop.UnsupportedError, match=rf"operator \S*{op} in node .* \(opset \d+\)|load: (input|opset)"):
                    interop.load(case.model)


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
