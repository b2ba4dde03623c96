"""Losses, embeddings and distances beside torch's: values, gradients, defaults, layers, refusals."""

import inspect

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")

import convkit  # noqa: E402
from convkit import nn  # noqa: E402
from convkit.nn import functional as F  # noqa: E402

rng = np.random.default_rng(0)
X, Y, Z = (rng.standard_normal((4, 5)) for _ in range(3))
PROBABILITIES = rng.random((4, 5))
SIGNS = np.where(rng.random((4, 5)) < 0.5, -1.0, 1.0)
CUBE = rng.standard_normal((2, 3, 4, 2))
WEIGHT3, WEIGHT5 = rng.random(3) + 0.5, rng.random(5) + 0.5
CLASSES = rng.integers(0, 3, (2, 4, 2))
IGNORED = np.where(rng.random((2, 4, 2)) < 0.3, 1, CLASSES)


def softmax(x, axis):
    e = np.exp(x)
    return e / e.sum(axis, keepdims=True)


REDUCTIONS = ({}, {"reduction": "sum"}, {"reduction": "none"})
# (function, arguments, which of them are differentiated, keyword arguments to try)
CASES = [
    ("mse_loss", (X, Y), (0, 1), ({}, {"weight": PROBABILITIES})),
    ("mse_loss", (X, SIGNS.astype(np.int64)), (0,), ({},)),
    ("mse_loss", (np.zeros(()), np.ones(())), (0, 1), ({},)),
    ("mse_loss", (np.zeros((0, 3)), np.ones((0, 3))), (0, 1), ({},)),
    ("l1_loss", (X, Y), (0, 1), ({}, {"weight": PROBABILITIES})),
    ("smooth_l1_loss", (X, Y), (0, 1), ({}, {"beta": 0.5}, {"beta": 0.0})),
    ("huber_loss", (X, Y), (0, 1), ({}, {"delta": 0.5}, {"delta": 2.0, "weight": PROBABILITIES})),
    ("binary_cross_entropy", (PROBABILITIES, softmax(Y, 1)), (0, 1), ({}, {"weight": WEIGHT5})),
    ("binary_cross_entropy", (np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0])), (0,), ({},)),
    ("binary_cross_entropy_with_logits", (3 * X, PROBABILITIES), (0, 1), ({}, {"weight": WEIGHT5}, {"pos_weight": WEIGHT5})),
    ("binary_cross_entropy_with_logits", (3 * X, PROBABILITIES), (0, 1), ({"weight": PROBABILITIES, "pos_weight": np.array(3.0)},)),
    ("kl_div", (np.log(softmax(X, 1)), softmax(Y, 1)), (0, 1), ({},)),
    ("kl_div", (np.log(softmax(X, 1)), np.log(softmax(Y, 1))), (0, 1), ({"log_target": True},)),
    ("kl_div", (X, np.where(Y > 0, 0, PROBABILITIES)), (0,), ({},)),
    ("soft_margin_loss", (X, SIGNS), (0,), ({},)),
    ("poisson_nll_loss", (X, 3 * PROBABILITIES), (0, 1), ({}, {"full": True})),
    ("poisson_nll_loss", (PROBABILITIES, 3 * PROBABILITIES.T.reshape(4, 5)), (0, 1), ({"log_input": False}, {"log_input": False, "eps": 0.1})),
    ("gaussian_nll_loss", (X, Y, PROBABILITIES), (0, 1, 2), ({}, {"full": True}, {"eps": 0.5})),
    ("gaussian_nll_loss", (X, Y, PROBABILITIES[:, 0]), (0, 1, 2), ({},)),
    ("gaussian_nll_loss", (X, Y, PROBABILITIES[:, :1]), (0, 1, 2), ({},)),
    ("hinge_embedding_loss", (2 * X, SIGNS), (0,), ({}, {"margin": 0.3})),
    ("hinge_embedding_loss", (2 * X, np.zeros((4, 5))), (0,), ({},)),
    ("margin_ranking_loss", (X, Y, SIGNS), (0, 1), ({}, {"margin": 0.7})),
    ("cosine_embedding_loss", (X, Y, np.array([1.0, -1.0, -1.0, 0.5])), (0, 1), ({}, {"margin": -0.5})),
    ("cosine_embedding_loss", (X[0], Y[0], np.array(1.0)), (0, 1), ({},)),
    ("cosine_embedding_loss", (X * 1e-6, Y, np.array([1.0, -1.0, -1.0, 1.0])), (0, 1), ({"margin": -0.5},)),
    ("triplet_margin_loss", (X, Y, Z), (0, 1, 2), ({}, {"margin": 3.0, "p": 1.0}, {"swap": True}, {"p": 3.0, "eps": 0.1}, {"p": float("inf")})),
    ("triplet_margin_loss", (X[0], Y[0], Z[0]), (0, 1, 2), ({},)),
    ("triplet_margin_with_distance_loss", (X, Y, Z), (0, 1, 2), ({}, {"margin": 3.0, "swap": True})),
    ("multilabel_soft_margin_loss", (X, (SIGNS + 1) / 2), (0,), ({}, {"weight": WEIGHT5})),
    ("multilabel_soft_margin_loss", (X[0], (SIGNS[0] + 1) / 2), (0,), ({},)),
    ("multi_margin_loss", (X, np.array([0, 4, 2, 2])), (0,), ({}, {"weight": WEIGHT5}, {"p": 2, "margin": 0.3}, {"margin": -0.5})),
    ("multi_margin_loss", (X[0], np.array(3)), (0,), ({}, {"p": 2})),
    ("multi_margin_loss", (np.zeros((3, 5)), np.array([0, 1, 2])), (0,), ({"margin": 0.0},)),
    ("multilabel_margin_loss", (X, np.array([[0, 3, -1, 2, -1], [-1, 0, 0, 0, 0], [4, 3, 2, 1, 0], [2, 2, -1, -1, -1]])), (0,), ({},)),
    ("multilabel_margin_loss", (X[0], np.array([1, -1, 0, 0, 0])), (0,), ({},)),
    ("nll_loss", (CUBE, CLASSES), (0,), ({}, {"weight": WEIGHT3})),
    ("nll_loss", (CUBE, IGNORED), (0,), ({"ignore_index": 1}, {"weight": WEIGHT3, "ignore_index": 1})),
    ("nll_loss", (CUBE[0, :, 0, 0], np.array(2)), (0,), ({}, {"weight": WEIGHT3})),
    ("cross_entropy", (CUBE, CLASSES), (0,), ({}, {"weight": WEIGHT3}, {"label_smoothing": 0.2}, {"weight": WEIGHT3, "label_smoothing": 0.2})),
    ("cross_entropy", (CUBE, IGNORED), (0,), ({"ignore_index": 1}, {"weight": WEIGHT3, "ignore_index": 1, "label_smoothing": 0.3})),
    ("cross_entropy", (CUBE, np.full_like(CLASSES, 1)), (0,), ({"ignore_index": 1},)),
    ("cross_entropy", (CUBE[0, :, 0, 0], np.array(2)), (0,), ({}, {"weight": WEIGHT3}, {"label_smoothing": 0.2})),
    ("cross_entropy", (CUBE, softmax(CUBE + 1, 1)), (0, 1), ({}, {"weight": WEIGHT3}, {"label_smoothing": 0.2, "weight": WEIGHT3})),
    ("cross_entropy", (X[0], softmax(Y[0], 0)), (0, 1), ({}, {"weight": WEIGHT5})),
    ("cross_entropy", (np.zeros((0, 3)), np.zeros(0, np.int64)), (0,), ({},)),
    ("normalize", (X,), (0,), ({}, {"p": 1.0}, {"p": 3.0, "dim": 0}, {"p": float("inf")}, {"p": 0.5}, {"eps": 10.0})),
    ("normalize", (X * np.array([0, 1, 0, 1.0])[:, None],), (0,), ({}, {"p": 1.0}, {"p": 3.0}, {"p": 1.5})),
    ("cosine_similarity", (X, Y), (0, 1), ({}, {"dim": 0}, {"eps": 5.0})),
    ("cosine_similarity", (X * 1e-9, Y), (0, 1), ({},)),
    ("cosine_similarity", (X, Y[0]), (0, 1), ({"dim": -1},)),
    ("cosine_similarity", (X, Y[:, :1]), (0, 1), ({},)),
    ("pairwise_distance", (X, Y), (0, 1), ({}, {"p": 1.0}, {"p": 3.0, "eps": 0.1}, {"p": float("inf"), "keepdim": True}, {"p": 0.5})),
    ("pairwise_distance", (X, Y[0]), (0, 1), ({},)),
    ("pairwise_distance", (X, X.copy()), (0, 1), ({"eps": 0.0}, {"eps": 0.0, "p": 3.0})),
]
WITHOUT_REDUCTION = {"normalize", "cosine_similarity", "pairwise_distance"}


def both(name, arguments, differentiated, options, dtype):
    """(value, gradients) of torch's function and of ours."""
    results = []
    for functions, make in ((torch.nn.functional, torch.tensor), (F, convkit.tensor)):
        inputs = [make(a.astype(dtype) if a.dtype.kind == "f" else a) for a in arguments]
        for i in differentiated:
            inputs[i].requires_grad_()
        keywords = {k: make(v.astype(dtype)) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        y = getattr(functions, name)(*inputs, **keywords)
        y.backward(make(np.cos(np.arange(y.numel())).reshape(y.shape).astype(dtype)))
        results.append([y.detach().numpy(), *(inputs[i].grad.numpy() for i in differentiated)])
    return results


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)])
@pytest.mark.filterwarnings("ignore:.*reduction.*mean.*divides:UserWarning")
def test_values_and_gradients(case, dtype):
    name, arguments, differentiated, keywords = case
    limit = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}
    if dtype == np.float64 and name in ("binary_cross_entropy", "cosine_embedding_loss"):
        limit["rtol"] = 2e-8  # torch's 1e-12 there is a float32
    also = ({"reduction": "batchmean"},) if name == "kl_div" else ()
    for options in keywords:
        for reduction in ({},) if name in WITHOUT_REDUCTION else REDUCTIONS + also:
            expected, got = both(name, arguments, differentiated, {**options, **reduction}, dtype)
            for e, g in zip(expected, got, strict=True):
                assert e.dtype == g.dtype and e.shape == g.shape, (options, reduction)
                np.testing.assert_allclose(g, e, **limit, err_msg=f"{options} {reduction}")


LAYERS = [n for n in dir(nn) if n.endswith("Loss") and n not in ("DiceLoss", "FocalLoss")] + ["CosineSimilarity", "PairwiseDistance"]


def defaults(f):
    """Arguments in torch's order with their defaults."""
    return [(p.name, p.default) for p in inspect.signature(f).parameters.values() if p.name != "self"]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_have_torchs_arguments(name):
    assert defaults(getattr(nn, name)) == defaults(getattr(torch.nn, name))
    assert repr(getattr(nn, name)()) == repr(getattr(torch.nn, name)())


@pytest.mark.parametrize("name", sorted({case[0] for case in CASES} - {"cosine_similarity", "pairwise_distance"}))
def test_functions_have_torchs_arguments(name):
    assert defaults(getattr(F, name)) == defaults(getattr(torch.nn.functional, name))


def test_layers_keep_torchs_buffers():
    for name, options in [
        ("CrossEntropyLoss", {"weight": WEIGHT3}), ("NLLLoss", {"weight": WEIGHT3}), ("BCELoss", {"weight": WEIGHT3}),
        ("BCEWithLogitsLoss", {"weight": WEIGHT3, "pos_weight": WEIGHT3}), ("MultiLabelSoftMarginLoss", {"weight": WEIGHT3}), ("MSELoss", {}),
    ]:  # fmt: skip
        ours = getattr(nn, name)(**{k: convkit.tensor(v) for k, v in options.items()})
        theirs = getattr(torch.nn, name)(**{k: torch.tensor(v) for k, v in options.items()})
        assert list(ours.state_dict()) == list(theirs.state_dict())


ONES, THREE = np.ones((2, 3)), np.array([0, 1, 2])
# What torch refuses, ours refuses: (function, arguments, keyword arguments).
REFUSED = [
    ("mse_loss", (ONES, ONES), {"reduction": "batchmean"}), ("mse_loss", (ONES, np.ones((2, 4))), {}), ("mse_loss", (THREE, THREE), {}),
    ("mse_loss", (ONES, ONES), {"weight": np.ones(3)}), ("smooth_l1_loss", (ONES, ONES), {"beta": -1.0}),
    ("huber_loss", (ONES, ONES), {"delta": 0.0}), ("huber_loss", (ONES, ONES), {"delta": -1.0}),
    ("binary_cross_entropy", (ONES, np.ones(3)), {}), ("binary_cross_entropy", (2 * ONES, ONES), {}),
    ("binary_cross_entropy", (np.full((2, 3), np.nan), ONES), {}), ("binary_cross_entropy", (ONES, -ONES), {}),
    ("binary_cross_entropy", (ONES, ONES.astype(np.float32)), {}), ("binary_cross_entropy", (ONES, ONES), {"weight": np.ones(2)}),
    ("binary_cross_entropy_with_logits", (ONES, np.ones(3)), {}),
    ("binary_cross_entropy_with_logits", (ONES, ONES), {"pos_weight": np.ones(2)}),
    ("kl_div", (ONES, ONES), {"reduction": "x"}), ("kl_div", (ONES, np.ones((4, 3))), {}),
    ("margin_ranking_loss", (np.ones(2), np.ones(2), np.ones((1, 1))), {}),
    ("cosine_embedding_loss", (ONES, ONES, np.ones((2, 1))), {}), ("cosine_embedding_loss", (ONES, ONES, np.ones(3)), {}),
    ("triplet_margin_loss", (ONES, ONES, np.ones(3)), {}), ("triplet_margin_loss", (ONES, ONES, ONES), {"margin": 0.0}),
    ("gaussian_nll_loss", (ONES, ONES, -ONES), {}), ("gaussian_nll_loss", (ONES, ONES, np.ones(2).reshape(1, 2)), {}),
    ("cross_entropy", (ONES, np.array([0, 3])), {}), ("cross_entropy", (ONES, THREE), {}), ("cross_entropy", (ONES, np.ones(2)), {}),
    ("cross_entropy", (ONES, np.array([0, 1])), {"weight": np.ones(2)}), ("cross_entropy", (ONES, ONES), {"ignore_index": 1}),
    ("cross_entropy", (ONES, np.array([0, 1])), {"label_smoothing": 1.5}), ("nll_loss", (ONES, np.array([0, 3])), {}),
    ("nll_loss", (ONES, np.array([0, 1])), {"reduction": "x"}), ("cross_entropy", (np.array([1, 2]), np.array(1)), {}),
    ("multi_margin_loss", (ONES, np.array([0, 3])), {}), ("multi_margin_loss", (ONES, np.array([0, 1])), {"p": 3}),
    ("multi_margin_loss", (ONES, np.array([0, 1])), {"weight": np.ones(2)}), ("multi_margin_loss", (ONES, np.ones(2)), {}),
    ("multilabel_margin_loss", (ONES, np.array([[0, 3, -1], [0, 1, 2]])), {}), ("multilabel_margin_loss", (ONES, np.array([0, 1])), {}),
    ("multilabel_margin_loss", (ONES, ONES), {}), ("multi_margin_loss", (np.ones((2, 3, 1)), np.array([0, 1])), {}),
    ("normalize", (np.ones(3),), {}), ("pairwise_distance", (ONES, np.ones((2, 4))), {}), ("cosine_similarity", (ONES, np.ones((2, 4))), {}),
    ("cosine_similarity", (ONES, ONES), {"dim": 2}),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=[f"{i}-{case[0]}" for i, case in enumerate(REFUSED)])
@pytest.mark.filterwarnings("ignore:Using a target size:UserWarning", "ignore:.*reduction.*mean.*divides:UserWarning")
def test_what_torch_refuses_is_refused(case):
    name, arguments, options = case
    for functions, make in ((torch.nn.functional, torch.tensor), (F, convkit.tensor)):
        with pytest.raises((ValueError, TypeError, IndexError, RuntimeError)):
            keywords = {k: make(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
            getattr(functions, name)(*(make(a) for a in arguments), **keywords)


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, 3.0, float("inf")])
@pytest.mark.parametrize("rows", [(3, 4), (30, 4), (2, 27)])
def test_cdist(p, rows):
    a, b = rng.standard_normal((2, rows[0], 3)), rng.standard_normal((rows[1], 3))
    g = rng.standard_normal((2, *rows))
    t = [torch.tensor(v, requires_grad=True) for v in (a, b)]
    expected = torch.cdist(*t, p=p)
    expected.backward(torch.tensor(g))
    u = [convkit.tensor(v, requires_grad=True) for v in (a, b)]
    y = convkit.cdist(*u, p=p)
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), rtol=1e-9)
    if p:
        y.backward(convkit.tensor(g))
        for got, want in zip(u, t, strict=True):
            np.testing.assert_allclose(got.grad.numpy(), want.grad.numpy(), rtol=1e-8, atol=1e-10)


# ------------------------------------------------------------------------------------------ embeddings
INDEX = rng.integers(0, 6, (3, 4))
FLAT, OFFSETS, SCALE = INDEX.reshape(-1), np.array([0, 3, 3, 7]), rng.random(12)
# Left out, where torch 2.13 is wrong: embedding_bag divides by the counts of other rows under scale_grad_by_freq, and reads what no bag
# holds if the last offset comes before the end.
EMBEDDINGS = [
    ("embedding", (INDEX,), ({}, {"padding_idx": 2}, {"padding_idx": -1, "scale_grad_by_freq": True}, {"max_norm": 1.0},
                             {"max_norm": 1.5, "norm_type": 1.0}, {"max_norm": 0.5, "norm_type": float("inf"), "padding_idx": 0})),
    ("embedding_bag", (INDEX,), ({}, {"mode": "sum"}, {"mode": "max"}, {"padding_idx": 1}, {"mode": "max", "padding_idx": 1}, {"max_norm": 1.0},
                                 {"mode": "sum", "per_sample_weights": SCALE.reshape(3, 4)})),
    ("embedding_bag", (FLAT, OFFSETS), ({}, {"mode": "sum"}, {"mode": "max"}, {"mode": "sum", "per_sample_weights": SCALE, "padding_idx": 3})),
    ("embedding_bag", (FLAT, np.append(OFFSETS, 12)), ({"include_last_offset": True}, {"include_last_offset": True, "mode": "max"})),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", EMBEDDINGS, ids=[f"{i}-{case[0]}" for i, case in enumerate(EMBEDDINGS)])
def test_embeddings(case, dtype):
    name, (index, *rest), keywords = case
    table = np.random.default_rng(1).standard_normal((6, 5))
    for options in keywords:
        results = []
        for functions, make in ((torch.nn.functional, torch.tensor), (F, convkit.tensor)):
            w = make(table.astype(dtype), requires_grad=True)
            given = {k: make(v.astype(dtype), requires_grad=True) if isinstance(v, np.ndarray) else v for k, v in options.items()}
            y = getattr(functions, name)(make(index), w, *(make(r) for r in rest), **given)
            y.backward(make(np.cos(np.arange(y.numel())).reshape(y.shape).astype(dtype)))
            results.append([t.numpy() for t in (y.detach(), w.detach(), w.grad, *(v.grad for v in given.values() if hasattr(v, "grad")))])
        for e, g in zip(*results, strict=True):
            assert e.dtype == g.dtype and e.shape == g.shape
            np.testing.assert_allclose(g, e, rtol=1e-5 if dtype == np.float32 else 1e-6, atol=1e-6, err_msg=str(options))


@pytest.mark.parametrize("name", ["Embedding", "EmbeddingBag"])
def test_layers_of_embeddings_have_torchs_arguments(name):
    ours, theirs = getattr(nn, name), getattr(torch.nn, name)
    assert defaults(ours) == defaults(theirs) and defaults(ours.from_pretrained) == defaults(theirs.from_pretrained)
    for options in ({}, {"padding_idx": 2}, {"max_norm": 2.0, "norm_type": 1.0}, {"scale_grad_by_freq": True, "padding_idx": -1}):
        assert repr(ours(5, 3, **options)) == repr(theirs(5, 3, **options))


@pytest.mark.parametrize("name", ["embedding", "embedding_bag", "one_hot"])
def test_functions_of_embeddings_have_torchs_arguments(name):
    if name != "one_hot":
        assert defaults(getattr(F, name)) == defaults(getattr(torch.nn.functional, name))
    for index, classes in ((INDEX, -1), (INDEX, 9), (np.array(3), 5), (np.zeros((0, 2), np.int64), 3)):
        assert F.one_hot(convkit.tensor(index), classes).tolist() == torch.nn.functional.one_hot(torch.tensor(index), classes).tolist()


TABLE = np.ones((4, 2))
REFUSED_EMBEDDINGS = [
    ("embedding", (np.array([4]), TABLE), {}), ("embedding", (np.array([-1]), TABLE), {}), ("embedding", (np.array([1.0]), TABLE), {}),
    ("embedding", (np.array([1]), np.ones(3)), {}), ("embedding", (np.array([1]), TABLE), {"padding_idx": 4}),
    ("embedding_bag", (np.array([1]), TABLE), {}), ("embedding_bag", (np.array([[1]]), TABLE, np.array([0])), {}),
    ("embedding_bag", (np.array([1, 2]), TABLE, np.array([1])), {}), ("embedding_bag", (np.array([1, 2]), TABLE, np.array([0, 3])), {}),
    ("embedding_bag", (np.array([1, 2]), TABLE, np.array([[0]])), {}), ("embedding_bag", (np.array([1, 2]), TABLE, np.array([0])), {"mode": "min"}),
    ("embedding_bag", (np.array([1]), TABLE, np.array([0])), {"per_sample_weights": np.ones(1)}),
    ("embedding_bag", (np.array([1]), TABLE, np.array([0])), {"mode": "sum", "per_sample_weights": np.ones(2)}),
    ("embedding_bag", (np.array([1]), TABLE, np.array([0])), {"mode": "max", "scale_grad_by_freq": True}),
    ("embedding_bag", (np.array([4]), TABLE, np.array([0])), {}), ("one_hot", (np.array([-1]),), {}), ("one_hot", (np.array([1.0]),), {}),
    ("one_hot", (np.array([3]), 3), {}), ("one_hot", (np.zeros(0, np.int64),), {}),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_EMBEDDINGS, ids=[f"{i}-{case[0]}" for i, case in enumerate(REFUSED_EMBEDDINGS)])
def test_embeddings_that_torch_refuses_are_refused(case):
    name, arguments, options = case
    for functions, make in ((torch.nn.functional, torch.tensor), (F, convkit.tensor)):
        with pytest.raises((ValueError, TypeError, IndexError, RuntimeError, AssertionError)):
            given, named = ([make(a) if isinstance(a, np.ndarray) else a for a in part] for part in (arguments, options.values()))
            getattr(functions, name)(*given, **dict(zip(options, named, strict=True)))
