"""Wrong calls that a stranger makes, over the whole surface: each error names the operation, the rule and what came."""

import re

import numpy as np
import pytest

import convkit as ck
import convkit.nn.functional as F
from convkit import nn, optim

X = ck.arange(216.0).reshape(2, 3, 6, 6)
W = ck.ones(4, 3, 3, 3)
SCORES, CLASSES = ck.zeros(2, 3), ck.tensor([0, 1])
V = ck.ones(3)
LR, OPTIMIZER = optim.lr_scheduler, optim.SGD([nn.Parameter(V)], lr=0.1, momentum=0.9)
HUGE, PADDED = 2**40, 10**9
HALF = ck.tensor(np.ones(3, np.float16))
LONG = ck.tensor(np.ones(3, np.longdouble))

WRONG_TYPES = {
    "hstack: needs a tensor, got int": lambda: ck.hstack([1, 2]),
    "vstack: needs a sequence of tensors, got int": lambda: ck.vstack(3),
    "column_stack: needs a tensor, got str": lambda: ck.column_stack(["a"]),
    "dstack: needs a sequence of tensors, got Tensor": lambda: ck.dstack(X),
    "tensordot: needs a tensor, got str": lambda: ck.tensordot(X, "a"),
    "inner: needs a tensor, got int": lambda: ck.inner(1, X),
    "addcdiv: needs a tensor, got int": lambda: ck.addcdiv(X, 1, X),
    "addcmul: value must be a number, got 'a'": lambda: ck.addcmul(X, X, X, value="a"),
    "trace: needs a tensor, got int": lambda: ck.trace(3),
    "max_pool2d: needs a tensor, got int": lambda: F.max_pool2d(3, 2),
    "adaptive_avg_pool2d: needs a tensor, got int": lambda: F.adaptive_avg_pool2d(3, 2),
    "adaptive_max_pool1d: needs a tensor, got ndarray": lambda: F.adaptive_max_pool1d(np.ones((1, 1, 4)), 2),
    "GlobalAvgPool2d: needs a tensor, got int": lambda: nn.GlobalAvgPool2d()(3),
    "global_max_pool: needs a tensor, got int": lambda: nn.functional.global_max_pool(3),
    "gaussian_nll_loss: var must be a number, got 'a'": lambda: F.gaussian_nll_loss(X, X, "a"),
    "SGD: params must be a list of tensors or of dictionaries, got 3": lambda: optim.SGD(3, lr=0.1),
    "SGD: lr must be a number, got 'a'": lambda: optim.SGD([nn.Parameter(X)], lr="a"),
    "Adam: betas must be two numbers, got 3": lambda: optim.Adam([nn.Parameter(X)], betas=3),
    "full: fill_value must be a number, got 'a'": lambda: ck.full((2,), "a"),
    "full: fill_value must be a number, got None": lambda: ck.full((2,), None),
    "full_like: fill_value must be a number, got [1]": lambda: ck.full_like(X, [1]),
    "linspace: steps must be an int, got 2.5": lambda: ck.linspace(0, 1, 2.5),
    "logspace: steps must be an int, got 'a'": lambda: ck.logspace(0, 1, "a"),
    "rand: generator must be a Generator, got int": lambda: ck.rand(2, generator=3),
    "randperm: sizes must be ints, got (2.5,)": lambda: ck.randperm(2.5),
    "Tensor: needs a NumPy array, got list": lambda: ck.Tensor([1, 2]),
    "Tensor: needs a NumPy array, got str": lambda: ck.Tensor("a"),
    "Parameter: data must be real numbers or booleans, got dtype <U1": lambda: nn.Parameter("a"),
    "einsum: needs an equation": lambda: ck.einsum(3),
    "meshgrid: needs a tensor, got int": lambda: ck.meshgrid(3),
    "nan_to_num: needs a tensor, got str": lambda: ck.nan_to_num("a"),
    "equal: needs a tensor, got int": lambda: ck.equal(X, 3),
    "masked_fill: the value must be a number, got 'a'": lambda: X.masked_fill(X > 0, "a"),
    "masked_fill: the mask: needs a tensor, got bool": lambda: X.masked_fill(True, 1.0),
    "lerp: the weight: needs a tensor, got str": lambda: X.lerp(X, "a"),
    "round: decimals must be an int, got 'a'": lambda: X.round(decimals="a"),
    "std: correction must be a number, got 'a'": lambda: X.std(correction="a"),
    "sort: needs float32 or float64, got float16": lambda: HALF.sort(),
    "topk: needs float32 or float64, got float16": lambda: HALF.topk(1),
    "clamp: needs float32 or float64, got float16": lambda: HALF.clamp(0, 1),
    "sort: needs float32 or float64, got": lambda: LONG.sort(),
    "clamp: needs float32 or float64, got": lambda: LONG.clamp(0, 1),
    "dropout: p must be a number, got 'a'": lambda: F.dropout(X, "a"),
    "batch_norm: eps must be a number, got 'a'": lambda: F.batch_norm(X, ck.zeros(3), ck.ones(3), eps="a"),
    "batch_norm: momentum must be a number, got 'a'": lambda: F.batch_norm(X, ck.zeros(3), ck.ones(3), training=True, momentum="a"),
    "layer_norm: eps must be a number, got 'a'": lambda: F.layer_norm(X, (6,), eps="a"),
    "group_norm: eps must be a number, got 'a'": lambda: F.group_norm(X, 1, eps="a"),
    "instance_norm: eps must be a number, got 'a'": lambda: F.instance_norm(X, eps="a"),
    "cross_entropy: label_smoothing must be a number, got 'a'": lambda: F.cross_entropy(SCORES, CLASSES, label_smoothing="a"),
    "cross_entropy: ignore_index must be an int, got 'a'": lambda: F.cross_entropy(SCORES, CLASSES, ignore_index="a"),
    "huber_loss: delta must be a number, got 'a'": lambda: F.huber_loss(X, X, delta="a"),
    "embedding: max_norm must be a number, got 'a'": lambda: F.embedding(CLASSES, ck.ones(3, 2), max_norm="a"),
    "nn.init: needs a tensor, got int": lambda: nn.init.uniform_(3),
    "nn.init: random numbers need a floating tensor, got int64": lambda: nn.init.normal_(ck.tensor([1, 2])),
    "xavier_uniform_: needs a tensor, got int": lambda: nn.init.xavier_uniform_(3),
    "nn.utils: needs a tensor or several, got int": lambda: nn.utils.clip_grad_norm_(3, 1.0),
    "clip_grads_with_norm_: max_norm must be a number, got 'a'": lambda: nn.utils.clip_grad_norm_([X], "a"),
    "backward: needs a tensor or several, got int": lambda: ck.autograd.backward(3),
    "backward: needs a tensor or several, got str": lambda: ck.ones((), requires_grad=True).backward("a"),
    "grad: needs a tensor or several, got int": lambda: ck.autograd.grad(ck.ones((), requires_grad=True), 3),
    "save: needs a dictionary of tensors, such as a state_dict(), got Tensor": lambda: ck.save(X, "never.safetensors"),
    "save: names must be text, got 3": lambda: ck.save({3: X}, "never.safetensors"),
    "expected str, bytes or os.PathLike object, not int": lambda: ck.load(3),  # not the open file of that number
    "conv2d: input must be a tensor, got NoneType": lambda: F.conv2d(None, W),
    "conv_transpose2d: weight must be a tensor, got NoneType": lambda: F.conv_transpose2d(X, None),
    "matmul: other must be a tensor, got NoneType": lambda: X @ None,
    "logical_not: needs a tensor, got int": lambda: ck.logical_not(3),
    "bitwise_not: needs a tensor, got int": lambda: ck.bitwise_not(3),
    "flipud: needs a tensor, got int": lambda: ck.flipud(3),
    "square: needs a tensor, got str": lambda: ck.square("a"),
    "diag_embed: needs a tensor, got int": lambda: ck.diag_embed(3),
    "diag_embed: offset must be an int, got 1.5": lambda: ck.diag_embed(V, 1.5),
    "diagonal: offset must be an int, got None": lambda: ck.diagonal(SCORES, None),
    "tril: diagonal must be an int, got 'a'": lambda: ck.tril(SCORES, "a"),
    "einsum: needs a tensor, got str": lambda: ck.einsum("i,i", V, "a"),
    "broadcast_tensors: needs a tensor, got int": lambda: ck.broadcast_tensors(V, 3),
    "index_copy: source: needs a tensor, got int": lambda: ck.index_copy(SCORES, 0, CLASSES, 3),
    "index_fill: the value must be a number, got 'a'": lambda: ck.index_fill(SCORES, 0, CLASSES, "a"),
    "index_add: alpha must be a number, got 'a'": lambda: ck.index_add(SCORES, 0, CLASSES, SCORES, alpha="a"),
    "index_put: needs a tensor, got int": lambda: ck.index_put(3, (CLASSES,), V),
    "masked_fill: needs a tensor, got int": lambda: ck.masked_fill(3, X > 0, 1.0),
    "bincount: weights: needs a tensor, got list": lambda: ck.bincount(CLASSES, [1.0, 2.0]),
    "bincount: minlength must be an int, got 1.5": lambda: ck.bincount(CLASSES, minlength=1.5),
    "kthvalue: k must be an int, got None": lambda: ck.kthvalue(V, None),
    "chunk: chunks must be an int, got 1.5": lambda: ck.chunk(V, 1.5),
    "cat: needs a sequence of tensors, got int": lambda: ck.cat(3),
    "stack: needs a sequence of tensors, got Tensor": lambda: ck.stack(V),
    "isclose: rtol must be a number, got None": lambda: ck.isclose(V, V, None),
    "cdist: p must be a number, got 'a'": lambda: ck.cdist(SCORES, SCORES, "a"),
    "cosine_similarity: eps must be a number, got None": lambda: ck.cosine_similarity(SCORES, SCORES, eps=None),
    "addmm: alpha must be a number, got 'a'": lambda: ck.addmm(SCORES, SCORES, ck.ones(3, 3), alpha="a"),
    "add: needs real numbers or booleans, got dtype complex128": lambda: V + np.ones(3, complex),
    "eq: needs tensors, arrays or numbers, got (None,)": lambda: ck.eq(V, (None,)),
    "logical_and: needs tensors, arrays or numbers, got 'a'": lambda: ck.logical_and(V, "a"),
    "sum: needs a dtype, got 3": lambda: V.sum(dtype=3),
    "cumsum: the dtype must be of real numbers or booleans, got 'S3'": lambda: ck.cumsum(V, 0, dtype="S3"),
    "cumsum: needs float32 or float64, got float16": lambda: HALF.cumsum(0),
    "arange: end must be a number, got 'a'": lambda: ck.arange(0, "a"),
    "linspace: start must be a number, got None": lambda: ck.linspace(None, 1, 3),
    "logspace: base must be a number, got 'a'": lambda: ck.logspace(0, 1, 3, base="a"),
    "from_dlpack: needs an array of numbers with __dlpack__, got int": lambda: ck.from_dlpack(3),
    "avg_pool2d: stride must be an int or 2 ints, got array": lambda: F.avg_pool2d(X, 2, np.ones(3)),
    "avg_pool2d: divisor_override must be an int, got tensor([1., 1., 1.]": lambda: F.avg_pool2d(X, 2, divisor_override=V),
    "lp_pool2d: norm_type must be a number, got 'a'": lambda: F.lp_pool2d(X, "a", 2),
    "celu: alpha must be a number, got [1]": lambda: F.celu(V, [1]),
    "hardtanh: min_val must be a number, got None": lambda: F.hardtanh(V, None),
    "softmin: needs a tensor, got str": lambda: F.softmin("a"),
    "dropout: p must be a number, got <class": lambda: F.dropout(V, np.float64),
    "local_response_norm: k must be a number, got 'a'": lambda: F.local_response_norm(X, 2, k="a"),
    "neg: needs numbers, got bool": lambda: -(V > 0),
    "nan_to_num: posinf must be a number, got 'a'": lambda: ck.nan_to_num(V, posinf="a"),
    "norm: p must be a number, got [1]": lambda: ck.norm(V, [1]),
    "rot90: k must be an int, got 1.5": lambda: ck.rot90(SCORES, 1.5),
    "roll: needs a tensor, got str": lambda: ck.roll("a", 1),
    "split: sizes must be ints, got None": lambda: ck.split(V, None),
    "split: sizes must be ints, got (1.5, 1.5)": lambda: ck.split(V, [1.5, 1.5]),
    "unflatten: sizes must be ints, got 3": lambda: ck.unflatten(V, 0, 3),
    "tensor_split: sizes must be ints, got 1.5": lambda: ck.tensor_split(V, 1.5),
    "tensordot: dims must be an int or two lists of ints, got None": lambda: ck.tensordot(V, V, None),
    "repeat_interleave: needs a tensor, got str": lambda: ck.repeat_interleave("a", 2),
    "narrow: start must be an int, got 'a'": lambda: ck.narrow(V, 0, "a", 1),
    "narrow: length must be an int, got 1.5": lambda: ck.narrow(V, 0, 0, 1.5),
    "select: index must be an int, got nan": lambda: ck.select(V, 0, float("nan")),
    "take: needs a tensor, got int": lambda: ck.take(3, CLASSES),
    "randint: high must be a number, got 'a'": lambda: ck.randint(0, "a", (2,)),
    "randint_like: needs a tensor, got int": lambda: ck.randint_like(3, 5),
    "normal: std must be a number, got None": lambda: ck.normal(0.0, None, (2,)),
    "manual_seed: the seed must be an int, got array([1, 2])": lambda: ck.manual_seed(np.array([1, 2])),
    "set_num_threads: must be an int, got array([1, 2])": lambda: ck.set_num_threads(np.array([1, 2])),
    "result_type: needs tensors, arrays and numbers, got str": lambda: ck.result_type(V, "a"),
    "Conv2d: needs a dtype, got 3": lambda: nn.Conv2d(1, 1, 1, dtype=3),
    "BatchNorm2d: needs a dtype, got (1, 2)": lambda: nn.BatchNorm2d(1, dtype=(1, 2)),
    "conv2d: padding must be an int or 2 ints, got tensor(1.5": lambda: F.conv2d(X, W, padding=ck.tensor(1.5)),
    "Dropout: p must be a number, got None": lambda: nn.Dropout(None),
    "ConstantPad1d: value must be a number, got 'a'": lambda: nn.ConstantPad1d(1, "a"),
    "pad: value must be a number, got [1]": lambda: F.pad(V, (1, 1), value=[1]),
    "softshrink: lambd must be a number, got None": lambda: F.softshrink(V, None),
    "smooth_l1_loss: beta must be a number, got 'a'": lambda: F.smooth_l1_loss(V, V, beta="a"),
    "gaussian_nll_loss: eps must be a number, got None": lambda: F.gaussian_nll_loss(V, V, V, eps=None),
    "triplet_margin_loss: margin must be a number, got 'a'": lambda: F.triplet_margin_loss(SCORES, SCORES, SCORES, "a"),
    "triplet_margin_with_distance_loss: distance_function must be a function": lambda: F.triplet_margin_with_distance_loss(
        SCORES, SCORES, SCORES, distance_function=3
    ),
    "mse_loss: weight: needs a tensor, got str": lambda: F.mse_loss(V, V, weight="a"),
    "nll_loss: weight: needs a tensor, got list": lambda: F.nll_loss(SCORES, CLASSES, [1.0] * 3),
    "one_hot: num_classes must be an int, got 1.5": lambda: F.one_hot(CLASSES, 1.5),
    "layer_norm: normalized_shape must be an int, got None": lambda: F.layer_norm(X, None),
    "LayerNorm: normalized_shape must be an int, got 1.5": lambda: nn.LayerNorm(1.5),
    "interpolate: scale_factor must be a number or 2 numbers, got 1000": lambda: F.interpolate(X, scale_factor=10**400),
    "max_unpool2d: indices must be a tensor of int64, got int64": lambda: F.max_unpool2d(X, np.int64(1), 2),
    "max_unpool2d: output_size must be a tuple of ints, got 12": lambda: F.max_unpool2d(X, X.long() * 0, 2, output_size=12),
    "StepLR: step_size must be a number, got 'a'": lambda: LR.StepLR(OPTIMIZER, "a"),
    "StepLR: gamma must be a number, got None": lambda: LR.StepLR(OPTIMIZER, 1, None),
    "StepLR: last_epoch must be a number, got 'a'": lambda: LR.StepLR(OPTIMIZER, 1, last_epoch="a"),
    "MultiStepLR: milestones must be a list of epochs, got 3": lambda: LR.MultiStepLR(OPTIMIZER, 3),
    "MultiStepLR: milestones must be a number, got 'a'": lambda: LR.MultiStepLR(OPTIMIZER, ["a"]),
    "ExponentialLR: gamma must be a number, got [0.9]": lambda: LR.ExponentialLR(OPTIMIZER, [0.9]),
    "ConstantLR: total_iters must be a number, got None": lambda: LR.ConstantLR(OPTIMIZER, total_iters=None),
    "LinearLR: start_factor must be a number, got 'a'": lambda: LR.LinearLR(OPTIMIZER, "a"),
    "PolynomialLR: power must be a number, got 'a'": lambda: LR.PolynomialLR(OPTIMIZER, power="a"),
    "CosineAnnealingLR: eta_min must be a number, got None": lambda: LR.CosineAnnealingLR(OPTIMIZER, 3, None),
    "ReduceLROnPlateau: patience must be a number, got 'a'": lambda: LR.ReduceLROnPlateau(OPTIMIZER, patience="a"),
    "CyclicLR: max_lr must be a number, got 'a'": lambda: LR.CyclicLR(OPTIMIZER, 0.1, "a"),
    "CyclicLR: scale_fn must be a function, got 3": lambda: LR.CyclicLR(OPTIMIZER, 0.1, 1.0, scale_fn=3),
    "OneCycleLR: total_steps must be a number, got 'a'": lambda: LR.OneCycleLR(OPTIMIZER, 1.0, "a"),
    "OneCycleLR: div_factor must be a number, got None": lambda: LR.OneCycleLR(OPTIMIZER, 1.0, 5, div_factor=None),
    "SequentialLR: needs a list of schedules, got int": lambda: LR.SequentialLR(OPTIMIZER, 3, [1]),
    "SequentialLR: milestones must be a list of epochs, got 3": lambda: LR.SequentialLR(OPTIMIZER, [LR.ConstantLR(OPTIMIZER)], 3),
    "ChainedScheduler: needs a list of schedules, got int": lambda: LR.ChainedScheduler(3),
    "LBFGS: max_iter must be an int, got 'a'": lambda: optim.LBFGS([nn.Parameter(V)], max_iter="a"),
    "LBFGS: tolerance_grad must be a number, got None": lambda: optim.LBFGS([nn.Parameter(V)], tolerance_grad=None),
    "Adadelta: rho must be a number, got 'a'": lambda: optim.Adadelta([nn.Parameter(V)], rho="a"),
    "Rprop: etas must be two numbers, got 0.5": lambda: optim.Rprop([nn.Parameter(V)], etas=0.5),
    "uniform_: a must be a number, got None": lambda: nn.init.uniform_(ck.ones(2), None),
    "trunc_normal_: std must be a number, got 'a'": lambda: nn.init.trunc_normal_(ck.ones(2), 0.0, "a"),
    "orthogonal_: needs a tensor, got int": lambda: nn.init.orthogonal_(3),
    "dirac_: groups must be an int, got 1.5": lambda: nn.init.dirac_(ck.ones(2, 2, 3), 1.5),
    "xavier_normal_: gain must be a number, got 'a'": lambda: nn.init.xavier_normal_(ck.ones(2, 2), "a"),
    "sparse_: sparsity must be a number, got None": lambda: nn.init.sparse_(ck.ones(2, 2), None),
    "normal_: std must be a number, got 'a'": lambda: ck.ones(2).normal_(0.0, "a"),
    "random_: high must be a number, got 'a'": lambda: ck.ones(2).random_(0, "a"),
    "add_: alpha must be a number, got [1]": lambda: ck.ones(2).add_(V[:2], alpha=[1]),
    "expand_as: needs a tensor, got int": lambda: V.expand_as(3),
    "view_as: needs a tensor, got int": lambda: V.view_as(3),
    "get_total_norm: norm_type must be a number, got 'a'": lambda: nn.utils.get_total_norm([V], "a"),
    "clip_grad_value_: clip_value must be a number, got 'a'": lambda: nn.utils.clip_grad_value_([V], "a"),
    "parameters_to_vector: needs a tensor or several, got int": lambda: nn.utils.parameters_to_vector(3),
    "focal_loss: gamma must be a number, got None": lambda: F.focal_loss(SCORES, CLASSES, gamma=None),
    "dice_loss: smooth must be a number, got 'a'": lambda: F.dice_loss(SCORES, CLASSES, "a"),
    "embedding: padding_idx must be an int, got 'a'": lambda: F.embedding(CLASSES, SCORES, "a"),
    "summary: needs a module, got int": lambda: nn.summarize(3, (1,)),
    "summary: input_size must be a tuple of ints": lambda: nn.summarize(nn.ReLU(), 3),
    "profile: repeats must be an int, got 'a'": lambda: ck.profile(nn.ReLU(), X, repeats="a"),
    "explain: repeats must be an int, got 1.5": lambda: ck.explain(nn.ReLU(), X, repeats=1.5),
}
WRONG_VALUES = {
    "zeros: an array of shape [1000000000000, 1000000000] has more elements than memory has addresses": lambda: ck.zeros(10**12, 10**9),
    f"full: fill_value must be at most {2**63 - 1}, got {2**70}": lambda: ck.full((2,), 2**70),
    f"bitwise_and: {2**63} is no number of 64 bits": lambda: CLASSES & 2**63,
    f"diagonal: offset must be at most {2**63 - 1}, got {2**63}": lambda: ck.diagonal(SCORES, 2**63),
    f"bincount: an array of shape [{2**62}] has more elements": lambda: ck.bincount(CLASSES, minlength=2**62),
    f"arange: an array of shape [{2**62}] has more elements": lambda: ck.arange(2**62),
    f"avg_pool2d: divisor_override must be at most {2**63 - 1}": lambda: F.avg_pool2d(X, 2, divisor_override=2**70),
    "round: decimals must be at most 308, got 2147483648": lambda: V.round(decimals=2**31),
    f"repeat: an array of shape [{3 * 2**62}] has more elements": lambda: ck.tile(V, 2**62),
    f"repeat_interleave: an array of shape [{2**62}, 3] has more elements": lambda: ck.repeat_interleave(V, 2**62),
    "take_along_dim: shapes [2, 3] and [3, 1] do not broadcast beside dimension 1": lambda: ck.take_along_dim(SCORES, ck.tensor([[0], [1], [0]]), 1),
    "interpolate: mode must be one of": lambda: F.interpolate(X, 4, mode=["nearest"]),
    f"interpolate: an array of shape [2, 3, {2**30}, {2**30}] has more elements": lambda: F.interpolate(X, 2**30),
    f"one_hot: an array of shape [2, {2**62}] has more elements": lambda: F.one_hot(CLASSES, 2**62),
    "CyclicLR: step_size_up must be at least 1, got 0": lambda: LR.CyclicLR(OPTIMIZER, 0.1, 1.0, 0),
    "OneCycleLR: div_factor must not be 0": lambda: LR.OneCycleLR(OPTIMIZER, 1.0, 5, div_factor=0),
    "trunc_normal_: std must be larger than 0, got 0.0": lambda: nn.init.trunc_normal_(ck.ones(2), 0.0, 0.0),
    "sparse_: sparsity must be finite, got inf": lambda: nn.init.sparse_(ck.ones(2, 2), float("inf")),
    f"eye: an array of shape [{HUGE}, {HUGE}] has more elements": lambda: ck.eye(HUGE),
    "Linear: an array of shape [1000000000000, 1000000000000] has more elements": lambda: nn.Linear(10**12, 10**12),
    "randint: 0 to 299 are not all numbers of uint8": lambda: ck.randint(300, (2,), dtype="uint8"),
    f"randint: 0 to {2**70 - 1} are not all numbers of int64": lambda: ck.randint(2**70, (2,)),
    "randperm: sizes must not be negative, got [-1]": lambda: ck.randperm(-1),
    f"conv2d: stride must be at most 2147483647, got [{2**70}, {2**70}]": lambda: F.conv2d(X, W, stride=2**70),
    f"conv2d: padding must be at most 2147483647, got [{HUGE}, {HUGE}]": lambda: F.conv2d(X, W, padding=HUGE),
    f"conv2d: dilation must be at most 2147483647, got [{HUGE}, {HUGE}]": lambda: F.conv2d(X, W, dilation=HUGE),
    "conv2d: an array of shape [2, 4, 2000000004, 2000000004] has more elements": lambda: F.conv2d(X, W, padding=PADDED),
    f"conv_transpose2d: stride must be at most 2147483647, got [{HUGE}, {HUGE}]": lambda: F.conv_transpose2d(X, ck.ones(3, 4, 3, 3), stride=HUGE),
    "conv_transpose2d: an array of shape [2, 4, 5000000003, 5000000003] has": lambda: F.conv_transpose2d(X, ck.ones(3, 4, 3, 3), stride=PADDED),
    f"unfold: padding must be at most 2147483647, got [{HUGE}, {HUGE}]": lambda: F.unfold(X, 2, padding=HUGE),
    f"max_pool2d: kernel_size must be at most 2147483647, got [{HUGE}, {HUGE}]": lambda: F.max_pool2d(X, HUGE),
}


TENSORS_ONLY = """
    all amax amin any argmax argmin argsort bincount count_nonzero diag diagonal empty_like flatten isfinite isinf isnan mean median nanmean
    nansum nonzero norm ones_like prod rand_like randn_like signbit sort squeeze std sum t tril triu unbind unique var zeros_like""".split()
TENSORS_AND: dict = {
    "chunk": (1,), "cummax": (0,), "cummin": (0,), "cumprod": (0,), "cumsum": (0,), "logcumsumexp": (0,), "flip": (0,), "full_like": (1,),
    "gather": (0, CLASSES), "index_select": (0, CLASSES), "kthvalue": (1,), "masked_select": (X > 0,), "movedim": (0, 1), "narrow": (0, 0, 1),
    "permute": (1, 0), "reshape": (4,), "select": (0, 0), "split": (1,), "tile": (1,), "topk": (1,), "transpose": (0, 1),
    "unflatten": (0, (1, 2)), "unsqueeze": (0,), **dict.fromkeys(TENSORS_ONLY, ()),
}  # fmt: skip


@pytest.mark.parametrize("name", TENSORS_AND)
def test_an_array_is_no_tensor(name):
    with pytest.raises(TypeError, match=f"^{name}: needs a tensor, got ndarray"):
        getattr(ck, name)(np.ones((2, 2)), *TENSORS_AND[name])


@pytest.mark.parametrize("message", WRONG_TYPES)
def test_wrong_types(message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        WRONG_TYPES[message]()


@pytest.mark.parametrize("message", WRONG_VALUES)
def test_wrong_values(message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        WRONG_VALUES[message]()


def test_integers_are_no_parameters_unless_told():
    with pytest.raises(RuntimeError, match=r"^Parameter: only floating tensors can require gradients, got int64"):
        nn.Parameter(ck.tensor([1, 2]))
    assert nn.Parameter(ck.tensor([1, 2]), requires_grad=False).tolist() == [1, 2]


def test_the_limits_of_random_integers_hold():
    drawn = ck.randint(-128, 128, (4000,), dtype="int8").numpy()
    assert drawn.min() == -128 and drawn.max() == 127


@pytest.mark.parametrize("value", [np.float32(0.5), np.array(0.5), ck.tensor(0.5), 1, True])
def test_what_is_a_number(value):
    assert ck.full((2,), value).tolist() == [float(value)] * 2
    assert F.dropout(X, value, training=False) is X


@pytest.mark.parametrize("flag", [1.5, "yes", [1], {1}])
def test_a_flag_is_true_or_false(flag):
    assert V.sum(keepdim=flag).shape == (1,) and (V > 0).all(keepdim=flag).shape == (1,)


@pytest.mark.parametrize("call", [
    lambda x: ck.index_select(x, 0, CLASSES), lambda x: ck.gather(x, 0, CLASSES), lambda x: ck.flip(x, 0)[:2], lambda x: x.clone()[:2],
])  # fmt: skip
def test_halves_are_moved_though_there_is_no_arithmetic_for_them(call):
    assert call(HALF).tolist() == [1.0, 1.0] and call(HALF).dtype == np.float16


def test_a_number_of_numpy_or_a_tensor_without_dimensions_is_an_int_or_a_size():
    for one in (np.int64(1), ck.tensor(1), np.array(1)):
        np.testing.assert_array_equal(F.conv2d(X, W, padding=one).numpy(), F.conv2d(X, W, padding=1).numpy())
        np.testing.assert_array_equal(F.avg_pool2d(X, 2, divisor_override=one).numpy(), F.avg_pool2d(X, 2, divisor_override=1).numpy())
        assert nn.ZeroPad2d(one).padding == (1, 1, 1, 1) and F.interpolate(X, one).shape == (2, 3, 1, 1)
