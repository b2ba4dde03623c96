"""Loading ONNX models: older operator sets and drawn geometries against onnxruntime, names, training, external data, refusals."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import convkit
from convkit import nn, optim
from convkit.interop import onnx as interop

onnx = pytest.importorskip("onnx", reason="models are built with the package onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402  # after the check that it is there

RNG = np.random.default_rng(5)


def model(op, inputs, outputs=1, opset=17, constants=(), domain="", **attributes):
    """One node: `inputs` are arrays (those at `constants` become initialisers; None is left out)."""
    names = [f"x{i}" if a is not None else "" for i, a in enumerate(inputs)]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, name="the_node", domain=domain, **attributes)
    given = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for i, (n, a) in enumerate(zip(names, inputs, strict=True)) if a is not None and i not in constants
    ]  # fmt: skip
    fixed = [numpy_helper.from_array(inputs[i], names[i]) for i in constants if inputs[i] is not None]
    kinds = [helper.make_value_info(r, onnx.TypeProto()) for r in results]
    graph = helper.make_graph([node], "g", given, kinds, fixed)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, opset)], ir_version=8)


def ours(proto, inputs, constants=()):
    net = interop.load(proto)
    got = net(*(convkit.from_numpy(a) for i, a in enumerate(inputs) if a is not None and i not in constants))
    return [g.detach().numpy() for g in (got if isinstance(got, tuple) else (got,))]


def theirs(proto, inputs, constants=()):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is the judge")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {f"x{i}": a for i, a in enumerate(inputs) if a is not None and i not in constants})


def agree(op, inputs, outputs=1, opset=17, constants=(), rtol=1e-4, atol=1e-5, **attributes):
    proto = model(op, inputs, outputs, opset, constants, **attributes)
    for got, expected in zip(ours(proto, inputs, constants), theirs(proto, inputs, constants), strict=True):
        assert got.dtype == expected.dtype and got.shape == expected.shape, (op, opset, attributes, got.shape, expected.shape)
        np.testing.assert_allclose(
            got, expected, rtol=rtol, atol=atol, err_msg=f"{op} {opset} {attributes} {[a.shape for a in inputs if a is not None]}"
        )


def x(*shape, dtype=np.float32):
    return np.asarray(RNG.standard_normal(shape), dtype)


def i64(*numbers):
    return np.array(numbers, np.int64)


def f32(*numbers):
    return np.array(numbers, np.float32)


MODES = ("nearest", "linear", "cubic")
REDUCTIONS = ("Mean", "Max", "Min", "Prod", "L1", "L2", "LogSumExp", "SumSquare", "LogSum")
OLD = [
    *[("BatchNormalization", [x(2, 3, 4, 4), x(3), x(3), x(3), abs(x(3))], v, (1, 2, 3, 4), {}) for v in (7, 9, 14, 15)],
    *[("Softmax", [x(2, 3, 4)], v, (), a) for v in (7, 11, 12, 13) for a in ({}, {"axis": 0}, {"axis": 2}, {"axis": 1})],
    *[("LogSoftmax", [x(2, 3, 4)], v, (), a) for v in (7, 11, 13) for a in ({}, {"axis": 2})],
    *[("Dropout", [x(2, 3)], v, (), {"ratio": 0.3}) for v in (7, 10)],
    ("Dropout", [x(2, 3), f32(0.3).reshape(())], 13, (1,), {}),
    *[("Upsample", [x(1, 2, 3, 4)], 7, (), {"scales": [1.0, 1.0, 2.0, 3.0], "mode": m}) for m in ("nearest", "linear")],
    *[("Upsample", [x(1, 2, 3, 4), f32(1, 1, 2, 1.5)], 9, (1,), {"mode": m}) for m in ("nearest", "linear")],
    *[("Resize", [x(1, 2, 4, 4), f32(1, 1, s, 2)], 10, (1,), {"mode": m}) for m in ("nearest", "linear") for s in (0.5, 2)],
    *[
        ("Resize", [x(1, 2, 4, 5), f32(), f32(1, 1, 2, 0.6)], v, (1, 2), {"mode": m})
        for m in ("nearest", "linear", "cubic")
        for v in (11, 13, 18, 19)
    ],
    ("Slice", [x(3, 4, 5)], 9, (), {"starts": [1, -3], "ends": [3, 100], "axes": [0, 2]}),
    ("Slice", [x(6, 4), i64(-1, 3), i64(-100, 0), i64(0, 1), i64(-2, -1)], 13, (1, 2, 3, 4), {}),
    ("TopK", [x(3, 6)], 9, (), {"k": 2, "axis": 1}),
    ("TopK", [x(3, 6), i64(2)], 10, (1,), {}),
    ("TopK", [x(3, 6), i64(3)], 11, (1,), {"largest": 0, "axis": 0}),
    ("Clip", [x(3, 4)], 7, (), {"min": -0.5, "max": 0.3}),
    ("Clip", [x(3, 4)], 10, (), {"min": -0.5}),
    ("Clip", [x(3, 4), None, f32(0.5).reshape(())], 12, (2,), {}),
    *[("Pad", [x(1, 2, 5, 5)], 10, (), {"pads": [0, 0, 1, 2, 0, 0, 2, 1], "mode": m}) for m in ("constant", "reflect", "edge")],
    ("Pad", [x(2, 3), i64(-1, 2, 1, -1), f32(1.5).reshape(())], 11, (1, 2), {}),
    ("Pad", [x(3, 4), i64(1, 2), f32(0).reshape(()), i64(-1)], 18, (1, 2, 3), {"mode": "edge"}),
    ("Split", [x(4, 6)], 11, (), {"axis": 1, "split": [1, 3, 2]}),
    ("Split", [x(4, 6), i64(1, 3, 2)], 13, (1,), {"axis": 1}),
    ("Squeeze", [x(1, 3, 1)], 11, (), {"axes": [0, -1]}),
    ("Squeeze", [x(1, 3, 1)], 13, (), {}),
    ("Squeeze", [x(1, 3, 1), i64(0)], 13, (1,), {}),
    ("Unsqueeze", [x(3, 2)], 11, (), {"axes": [0, 3]}),
    ("Unsqueeze", [x(3, 2), i64(-1, 1)], 13, (1,), {}),
    *[
        (f"Reduce{r}", [abs(x(3, 4, 2))], v, (), {"axes": [0, -1], "keepdims": k})
        for r in ("Mean", "Max", "Min", "Prod", "L1", "L2", "LogSumExp", "SumSquare", "LogSum")
        for v, k in ((11, 0), (13, 1))
    ],
    ("ReduceSum", [x(3, 4, 2)], 11, (), {"axes": [1]}),
    ("ReduceSum", [x(3, 4, 2), i64(0, 2)], 13, (1,), {"keepdims": 0}),
    ("ReduceMean", [x(3, 4, 2), i64()], 18, (1,), {"noop_with_empty_axes": 1}),
    ("ReduceMax", [x(3, 4)], 18, (), {}),
    ("Gemm", [x(3, 2), x(3, 4), x(4)], 7, (1, 2), {"transA": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", [x(2, 3), x(4, 3), x(2, 1)], 9, (), {"transB": 1}),
    ("Gemm", [x(2, 3), x(4, 3)], 11, (), {"transB": 1}),
    ("LRN", [x(1, 7, 3, 3)], 13, (), {"size": 5, "alpha": 0.1}),
    ("LRN", [x(1, 7, 3, 3)], 7, (), {"size": 3, "bias": 2.0, "beta": 0.5, "alpha": 1.0}),
    ("Cast", [x(3) * 3], 9, (), {"to": TensorProto.INT64}),
    ("Cast", [x(3)], 13, (), {"to": TensorProto.BOOL}),
    ("Cast", [i64(0, 3)], 6 + 1, (), {"to": TensorProto.DOUBLE}),
    ("PRelu", [x(2, 3, 4), x(3, 1)], 9, (1,), {}),
    ("HardSigmoid", [x(9)], 7, (), {"alpha": 0.3}),
    ("ThresholdedRelu", [x(9)], 10, (), {"alpha": 0.2}),
    ("Elu", [x(9)], 7, (), {"alpha": 0.5}),
    ("Selu", [x(9)], 7, (), {"alpha": 1.5, "gamma": 1.2}),
    ("Selu", [x(9)], 7, (), {}),
    ("LeakyRelu", [x(9)], 7, (), {}),
    ("Celu", [x(9)], 12, (), {"alpha": 0.7}),
    ("Softplus", [x(9) * 20], 7, (), {}),
    ("Softsign", [x(9)], 7, (), {}),
    ("HardSwish", [x(9) * 4], 14, (), {}),
    ("Einsum", [x(2, 3, 4), x(2, 4, 5)], 12, (), {"equation": "bij, bjk -> bik"}),
    ("Mish", [x(9)], 18, (), {}),
    ("Gelu", [x(9)], 20, (), {}),
    ("Gelu", [x(9)], 20, (), {"approximate": "tanh"}),
    ("Erf", [x(9)], 9, (), {}),
    ("CumSum", [x(3, 4), np.int64(1)[None].reshape(())], 11, (1,), {"exclusive": 1, "reverse": 1}),
    ("InstanceNormalization", [x(2, 3, 4), x(3), x(3)], 7, (1, 2), {}),
    ("InstanceNormalization", [x(1, 3, 1), x(3), x(3)], 7, (1, 2), {}),  # of a single number the bias is left
    ("LayerNormalization", [x(2, 3, 4), x(3, 4), x(4)], 17, (1, 2), {"axis": 1}),
    ("LpNormalization", [x(3, 4)], 7, (), {"p": 1, "axis": 0}),
    ("MeanVarianceNormalization", [x(2, 3, 4, 4)], 13, (), {}),
    ("DepthToSpace", [x(1, 8, 2, 3)], 7, (), {"blocksize": 2}),
    ("DepthToSpace", [x(1, 8, 2, 3)], 11, (), {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", [x(1, 2, 4, 6)], 7, (), {"blocksize": 2}),
    ("Flatten", [x(2, 3, 4)], 9, (), {"axis": 2}),
    ("Flatten", [x(2, 3, 4)], 11, (), {"axis": -2}),
    ("Gather", [x(5, 3), i64(1, -1)], 11, (1,), {"axis": 0}),
    ("Gather", [x(5, 3), i64(1, 0)], 7, (), {"axis": 1}),
    ("ArgMax", [x(3, 4)], 7, (), {"axis": 1, "keepdims": 0}),
    ("ArgMin", [x(3, 4)], 11, (), {}),
    ("Expand", [x(3, 1), i64(2, 1, 4)], 8, (1,), {}),
    ("Tile", [x(2, 3), i64(2, 2)], 7, (1,), {}),
    ("Mod", [i64(7, -7), i64(3, 3)], 10, (), {}),
    ("Div", [i64(7, -7), i64(2, 2)], 7, (), {}),
    ("Pow", [abs(x(4)), f32(2)], 7, (), {}),
    ("Max", [x(3), x(1), x(2, 3)], 8, (), {}),
    ("Mean", [x(3), x(2, 3)], 8, (), {}),
    ("OneHot", [i64(0, -1, 2), i64(3), f32(0, 5)], 11, (1, 2), {"axis": 0}),
    ("GlobalLpPool", [x(2, 3, 4, 4)], 7, (), {"p": 3}),
]


@pytest.mark.parametrize("case", OLD, ids=[f"{c[0]}-{c[2]}-{i}" for i, c in enumerate(OLD)])
def test_older_operator_sets_against_onnxruntime(case):
    op, inputs, opset, constants, attributes = case
    outputs = 3 if op == "Split" else 2 if op == "TopK" else 1
    agree(op, inputs, outputs, opset, constants, **attributes)


def geometry(rng, rank):
    size = [int(n) for n in rng.integers(6, 10, rank)]
    window = [int(n) for n in rng.integers(1, 4, rank)]
    stride, dilation = ([int(n) for n in rng.integers(1, 4, rank)], [int(n) for n in rng.integers(1, 3, rank)])
    return size, window, stride, dilation


def placement(rng, window, stride, dilation=None):
    """pads or auto_pad, at random.  onnxruntime takes SAME with dilation 1 only, and not where windows leave gaps."""
    kinds = ["SAME_UPPER", "SAME_LOWER", "VALID"] if all(w >= s for w, s in zip(window, stride, strict=True)) else ["VALID"]
    if rng.random() < 0.25:
        return {"auto_pad": str(rng.choice(kinds))}
    return {"pads": [int(rng.integers(0, w)) for w in (*window, *window)], **({"dilations": dilation} if dilation else {})}


@pytest.mark.parametrize("seed", range(24))
def test_drawn_windows_against_onnxruntime(seed):
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 4))
    size, window, stride, dilation = geometry(rng, rank)
    groups = int(rng.integers(1, 3))
    image = x(2, 2 * groups, *size)
    agree(
        "Conv",
        [image, x(4 * groups, 2, *window), x(4 * groups)],
        constants=(1, 2),
        group=groups,
        strides=stride,
        **placement(rng, window, stride, dilation),
    )
    up = {"strides": stride, "group": groups}
    extra = [int(rng.integers(0, s)) for s in stride]
    agree(
        "ConvTranspose",
        [image, x(2 * groups, 3, *window), x(3 * groups)],
        constants=(1, 2),
        output_padding=extra,
        **up,
        **placement(rng, window, stride, dilation),
    )
    shape = [s * n + int(rng.integers(0, 2)) for n, s in zip(size, stride, strict=True)]
    if all(s * (n - 1) + w >= m for n, w, s, m in zip(size, window, stride, shape, strict=True)):
        agree("ConvTranspose", [image, x(2 * groups, 3, *window)], constants=(1,), output_shape=shape, **up)
    pool = {"kernel_shape": window, "strides": stride}
    ceil = {"ceil_mode": int(rng.integers(0, 2))}
    agree("MaxPool", [image], 2, 12, **pool, **placement(rng, window, stride, dilation), storage_order=0)
    agree("MaxPool", [image], 1, 12, **pool, **ceil, pads=[int(rng.integers(0, w)) for w in (*window, *window)])
    agree("AveragePool", [image], opset=11, count_include_pad=int(rng.integers(0, 2)), **pool, **placement(rng, window, stride))
    agree("AveragePool", [image], opset=19, count_include_pad=0, **pool, dilations=dilation)
    agree("LpPool", [image], opset=18, p=int(rng.integers(1, 4)), **pool, **placement(rng, window, stride))


# ------------------------------------------------------------------------------- the module that it is
def small_net():
    """Convolution, batch normalisation, relu, dropout, reshape, a matrix product and a constant factor."""
    nodes = [
        helper.make_node("Conv", ["image", "conv.weight", "conv.bias"], ["c"], kernel_shape=[3, 3]),
        helper.make_node("BatchNormalization", ["c", "bn.scale", "bn.shift", "bn.mean", "bn.var"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("Dropout", ["r", "ratio"], ["d"]),
        helper.make_node("Reshape", ["d", "shape"], ["f"]),
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("MatMul", ["f", "w"], ["m"]),
        helper.make_node("Mul", ["m", "two"], ["scores"]),
    ]
    weights = {
        "conv.weight": x(2, 1, 3, 3), "conv.bias": x(2), "bn.scale": x(2), "bn.shift": x(2), "bn.mean": x(2), "bn.var": abs(x(2)) + 1,
        "shape": i64(0, -1), "w": x(32, 3) / 4, "ratio": np.asarray(0.5, np.float32),
    }  # fmt: skip
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 6, 6])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3])
    graph = helper.make_graph(nodes, "net", [image], [scores], [numpy_helper.from_array(a, n) for n, a in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_names_kinds_and_modes():
    net = interop.load(small_net())
    assert [n for n, _ in net.named_parameters()] == ["w", "conv.weight", "conv.bias", "bn.scale", "bn.shift"]
    assert set(net.state_dict()) == {"w", "conv.weight", "conv.bias", "bn.scale", "bn.shift", "bn.mean", "bn.var", "shape", "ratio"}
    assert not net.training and net.inputs == ["image"] and net.outputs == ["scores"] and "7 operations" in repr(net)
    image = convkit.randn(4, 1, 6, 6)
    y = net(image)
    twin = copy.deepcopy(net).double()
    np.testing.assert_allclose(twin(image.double()).detach().numpy(), y.detach().numpy(), rtol=1e-4, atol=1e-4)
    before = net.bn.mean.numpy().copy()
    net.train()
    assert not np.array_equal(net(image).detach().numpy(), y.detach().numpy()) and not np.array_equal(net.bn.mean.numpy(), before)
    with pytest.raises(TypeError, match=r"takes 1 inputs \(image\), got 2"):
        net(image, image)
    with pytest.raises(ValueError) as caught:
        net(convkit.randn(4, 2, 6, 6))
    assert "in operator Conv in node" in str(caught.value.__notes__)


def test_a_loaded_model_learns():
    convkit.manual_seed(0)
    net = interop.load(small_net()).train()
    image, target = convkit.randn(16, 1, 6, 6), convkit.randint(0, 3, (16,))
    step = optim.Adam(net.parameters(), lr=0.03)
    losses = []
    for _ in range(40):
        loss = nn.functional.cross_entropy(net(image), target)
        step.zero_grad()
        loss.backward()
        step.step()
        losses.append(loss.item())
    assert all(p.grad is not None for p in net.parameters()) and losses[-1] < 0.5 * losses[0]


def test_paths_bytes_and_protos_are_the_same(tmp_path):
    proto, image = small_net(), convkit.randn(1, 1, 6, 6)
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    results = [interop.load(source)(image).tolist() for source in (proto, path, str(path), path.read_bytes())]
    assert results.count(results[0]) == 4
    with pytest.raises(FileNotFoundError):
        interop.load(tmp_path / "nothing.onnx")
    with pytest.raises(ValueError, match="no ONNX model"):
        interop.load(b"\xff\xff\xff")
    with pytest.raises(ValueError, match="no ONNX model"):
        interop.load(b"")
    with pytest.raises(TypeError, match="needs a path, bytes or an onnx.ModelProto, got int"):
        interop.load(3)


def test_awkward_names_become_attributes():
    names = ["a", "a.b", "forward", "x..y", "/conv/w", "training"]
    add = [helper.make_node("Add", [f"s{i}", n], [f"s{i + 1}"]) for i, n in enumerate(names)]
    given, made = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("s0", f"s{len(names)}"))
    graph = helper.make_graph(add, "g", [given], [made], [numpy_helper.from_array(f32(2.0**i), n) for i, n in enumerate(names)])
    net = interop.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    assert net(convkit.zeros(1)).item() == 63.0 and len(list(net.parameters())) == 6
    assert net.training is False and {"a", "/conv/w"} <= set(net.state_dict())


# ----------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (
            lambda: model("NonMaxSuppression", [x(1, 2, 4), x(1, 1, 2)], opset=11),
            r"operator NonMaxSuppression in node 'the_node' \(opset 11\): is not supported",
        ),
        (lambda: model("Relu", [x(2)], domain="com.example", opset=1), "opset 1 is not supported"),
        (lambda: model("Relu", [x(2)], opset=6), r"opset 6 is not supported, 7 to \d+ are; convert it"),
        (lambda: model("Relu", [x(2)], opset=999), "opset 999 is not supported.*a newer onnx"),
        (lambda: model("Relu", [x(2)], opset=13, slope=0.1), r"operator Relu in node 'the_node' \(opset 13\): attribute slope is not supported"),
        (lambda: model("MaxPool", [x(1, 1, 4, 4)], opset=13, kernel_shape=[2, 2], auto_pad="SAME"), "auto_pad='SAME'; 'NOTSET', 'SAME_UPPER'"),
        (lambda: model("BatchNormalization", [x(2, 3), x(3), x(3), x(3), x(3)], 5, 9), r"operator BatchNormalization.*training outputs"),
        (lambda: model("Cast", [x(2)], opset=13, to=TensorProto.STRING), r"operator Cast in node 'the_node' \(opset 13\): STRING is not supported"),
        (lambda: model("Relu", [x(2).astype(np.float16)], opset=14), r"input 'x0' \(opset 14\): FLOAT16 is not supported"),
        (lambda: model("Relu", [x(2).astype(np.float16)], opset=14, constants=(0,)), "tensor 'x0': FLOAT16 is not supported"),
    ],
)
def test_what_is_not_supported_is_named_before_anything_runs(proto, message):
    with pytest.raises(NotImplementedError, match=message):
        interop.load(proto())


def test_operators_of_other_domains_are_named_with_it():
    proto = model("Relu", [x(2)])
    proto.graph.node[0].domain = "com.example"
    with pytest.raises(interop.UnsupportedError, match="operator com.example.Relu in node"):
        interop.load(proto)


def test_graphs_that_do_not_hang_together_are_refused():
    proto = model("Relu", [x(2)])
    proto.graph.node[0].input[0] = "other"
    with pytest.raises(ValueError, match="needs 'other', which nothing before it makes"):
        interop.load(proto)
    proto = model("Relu", [x(2)])
    proto.graph.output[0].name = "other"
    with pytest.raises(ValueError, match="nothing makes the output 'other'"):
        interop.load(proto)


def test_functions_of_the_model_are_inlined():
    proto = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17, "mine": 1]>
        g (float[2] a) => (float[2] b) { b = mine.twice(a) }
        <domain: "mine", opset_import: ["": 17]>
        twice (v) => (w) { w = Add(v, v) }""")
    assert interop.load(proto)(convkit.ones(2)).tolist() == [2.0, 2.0]


# ------------------------------------------------------------------------------------ external data
def external(location, **more):
    proto = model("Add", [x(3), f32(1, 2, 3)], constants=(1,))
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    return proto.SerializeToString()


def test_external_data_are_read_from_the_folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "w.bin").write_bytes(b"....." + f32(1, 2, 3).tobytes() + b"..")
    (tmp_path / "m.onnx").write_bytes(external("deep/w.bin", offset=5, length=12))
    assert interop.load(tmp_path / "m.onnx")(convkit.zeros(3)).tolist() == [1.0, 2.0, 3.0]
    (tmp_path / "link").symlink_to(tmp_path / "deep")  # a link that stays inside
    (tmp_path / "m.onnx").write_bytes(external("link/w.bin", offset=5, length=12))
    assert interop.load(tmp_path / "m.onnx")(convkit.zeros(3)).tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("location", "more", "message"),
    [
        ("../w.bin", {}, "outside the model's folder"),
        ("a/../../w.bin", {}, "outside the model's folder"),
        ("a/../w.bin", {}, "outside the model's folder"),
        ("..\\w.bin", {}, "outside the model's folder"),
        ("{outside}/w.bin", {}, "outside the model's folder"),
        ("file_link", {}, "outside the model's folder"),
        ("folder_link/w.bin", {}, "outside the model's folder"),
        ("chain/w.bin", {}, "outside the model's folder"),
        ("", {}, "outside the model's folder"),
        ("nothing.bin", {}, "no file in the model's folder"),
        (".", {}, "outside the model's folder|no file"),
        ("short.bin", {}, "has 8 bytes of external data"),
        ("short.bin", {"offset": 4, "length": 12}, "needs bytes 4 to 16"),
        ("short.bin", {"offset": -1, "length": 12}, "needs bytes"),
        ("short.bin", {"length": 10**15}, "needs bytes"),
        ("short.bin", {"offset": "x"}, "must be numbers"),
    ],
)
def test_external_data_never_leave_the_folder(tmp_path, location, more, message):
    home, outside = tmp_path / "home", tmp_path / "outside"
    home.mkdir()
    outside.mkdir()
    for folder in (outside, tmp_path):
        (folder / "w.bin").write_bytes(f32(1, 2, 3).tobytes())
    (home / "short.bin").write_bytes(bytes(8))
    (home / "file_link").symlink_to(outside / "w.bin")
    (home / "folder_link").symlink_to(outside)
    (home / "chain").symlink_to(home / "folder_link")
    (home / "m.onnx").write_bytes(external(location.format(outside=outside), **more))
    with pytest.raises(ValueError, match=message):
        interop.load(home / "m.onnx")


def test_external_data_need_a_folder():
    with pytest.raises(ValueError, match="pass the model's path"):
        interop.load(external("w.bin"))
