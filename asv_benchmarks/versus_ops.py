"""Single operations for versus.py, at least one a family at a size that nets have: name: (shapes of the inputs, the call).

The call gets the library, its `nn.functional` and one tensor a shape; float tensors require gradients.  A shape may be a pair
(shape, n): integers below n.  A third part says how the inputs are: FLOAT64 or CHANNELS_LAST.
"""

IMAGE = (32, 32, 56, 56)
ROWS = (4096, 1000)
FLOAT64, CHANNELS_LAST = "float64", "channels-last"


def _stepped(lib, name, weights, **options):
    """The weights after a step of an optimiser down the gradient of their squares; LBFGS asks for it several times."""
    weights = [w.detach().requires_grad_() for w in weights]
    optimizer = getattr(lib.optim, name)(weights, **options)

    def closure():
        optimizer.zero_grad()
        loss = sum((w * w).sum() for w in weights)
        loss.backward()
        return loss

    return optimizer.step(closure).detach()


def _layer(lib, name, make):
    """The layer `name`, made by make(nn) when first called."""
    if name not in _layers:
        _layers[name] = make(lib.nn)
    return _layers[name]


_layers = {}


def _unshared(lib, F, x, w):
    """Locally connected, 3x3 windows: a layer here; in torch as one writes it there, by unfolding."""
    if lib.__name__ == "convkit":
        return F.locally_connected2d(x, w)
    rows, columns, r, s, c, k = w.shape
    seen = F.unfold(x, (r, s)).view(x.shape[0], c, r * s, rows * columns)
    return lib.einsum("nctp,ptck->nkp", seen, w.view(rows * columns, r * s, c, k)).view(x.shape[0], k, rows, columns)


def _dice(lib, F, p, y):
    if lib.__name__ == "convkit":
        return F.dice_loss(p, y)
    return (1 - (2 * (p * y).sum((2, 3)) + 1) / ((p * p).sum((2, 3)) + (y * y).sum((2, 3)) + 1)).mean()


def _focal(lib, F, x, t):
    if lib.__name__ == "convkit":
        return F.focal_loss(x, t)
    loss = F.cross_entropy(x, t, reduction="none")
    return ((1 - (-loss).exp()) ** 2 * loss).mean()


def _assigned(x, y):
    z = x.detach().clone()
    z[:, :, ::2, ::2] = y.detach()
    return z


def _clipped(lib, *weights):
    weights = [w.detach().requires_grad_() for w in weights]
    for w in weights:
        w.grad = w.detach()
    return lib.nn.utils.clip_grad_norm_(weights, 1e9)


OPS = {
    # activations
    **{
        f"act-{name}": ([IMAGE], lambda lib, F, x, name=name: getattr(F, name)(x))
        for name in (
            "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "softsign", "hardtanh", "hardsigmoid",
            "hardswish", "sigmoid", "logsigmoid", "tanh",
        )
    },
    "act-prelu": ([IMAGE, (32,)], lambda lib, F, x, w: F.prelu(x, w)),
    "act-glu": ([IMAGE], lambda lib, F, x: F.glu(x, 1)),
    "act-gelu-tanh": ([IMAGE], lambda lib, F, x: F.gelu(x, approximate="tanh")),
    "act-threshold": ([IMAGE], lambda lib, F, x: F.threshold(x, 0.5, 0.0)),
    "act-softshrink": ([IMAGE], lambda lib, F, x: F.softshrink(x)),
    "act-hardshrink": ([IMAGE], lambda lib, F, x: F.hardshrink(x)),
    "act-tanhshrink": ([IMAGE], lambda lib, F, x: F.tanhshrink(x)),
    "softmin": ([ROWS], lambda lib, F, x: F.softmin(x, 1)),
    "softmax": ([ROWS], lambda lib, F, x: F.softmax(x, 1)),
    "log-softmax": ([ROWS], lambda lib, F, x: F.log_softmax(x, 1)),
    "softmax-first": ([ROWS], lambda lib, F, x: F.softmax(x, 0)),
    "softmax-channels": ([(8, 21, 128, 128)], lambda lib, F, x: F.softmax(x, 1)),
    "log-softmax-channels": ([(8, 21, 128, 128)], lambda lib, F, x: F.log_softmax(x, 1)),
    # norms
    "batch-norm": ([IMAGE, (32,), (32,)], lambda lib, F, x, w, b: F.batch_norm(x, None, None, w, b, True)),
    "layer-norm": ([(64, 196, 192), (192,), (192,)], lambda lib, F, x, w, b: F.layer_norm(x, (192,), w, b)),
    "group-norm": ([IMAGE, (32,), (32,)], lambda lib, F, x, w, b: F.group_norm(x, 8, w, b)),
    "instance-norm": ([IMAGE], lambda lib, F, x: F.instance_norm(x)),
    "local-response-norm": ([IMAGE], lambda lib, F, x: F.local_response_norm(x, 5)),
    "rms-norm": ([(64, 196, 192), (192,)], lambda lib, F, x, w: F.rms_norm(x, (192,), w)),
    "batch-norm-eval": (
        [IMAGE, (32,), (32,)], lambda lib, F, x, w, b: F.batch_norm(x, lib.zeros(32), lib.ones(32), w, b, False),
    ),
    "dropout": ([IMAGE], lambda lib, F, x: F.dropout(x, 0.5, True)),
    "dropout-2d": ([IMAGE], lambda lib, F, x: F.dropout2d(x, 0.5, True)),
    "alpha-dropout": ([IMAGE], lambda lib, F, x: F.alpha_dropout(x, 0.5, True)),
    # pooling
    "maxpool-1d": ([(64, 64, 1024)], lambda lib, F, x: F.max_pool1d(x, 2)),
    "maxpool-1d-3s2p1": ([(64, 64, 1024)], lambda lib, F, x: F.max_pool1d(x, 3, 2, 1)),
    "maxpool-3d": ([(4, 16, 32, 32, 32)], lambda lib, F, x: F.max_pool3d(x, 2)),
    "maxpool-3s2p1": ([IMAGE], lambda lib, F, x: F.max_pool2d(x, 3, 2, 1)),
    "maxpool-narrow": ([(64, 6, 28, 28)], lambda lib, F, x: F.max_pool2d(x, 2)),
    "avgpool-narrow": ([(64, 6, 28, 28)], lambda lib, F, x: F.avg_pool2d(x, 2)),
    "avgpool-3s2p1": ([IMAGE], lambda lib, F, x: F.avg_pool2d(x, 3, 2, 1)),
    "avgpool-whole": ([(128, 64, 8, 8)], lambda lib, F, x: F.avg_pool2d(x, 8)),
    "lp-pool": ([IMAGE], lambda lib, F, x: F.lp_pool2d(x, 2, 2)),
    "avgpool-1d": ([(64, 64, 1024)], lambda lib, F, x: F.avg_pool1d(x, 2)),
    "avgpool-3d": ([(4, 16, 32, 32, 32)], lambda lib, F, x: F.avg_pool3d(x, 2)),
    "max-unpool": ([(32, 32, 56, 56)], lambda lib, F, x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2)),
    "adaptive-avg": ([IMAGE], lambda lib, F, x: F.adaptive_avg_pool2d(x, 7)),
    "adaptive-max": ([IMAGE], lambda lib, F, x: F.adaptive_max_pool2d(x, 7)),
    # losses
    "cross-entropy": ([ROWS, ((4096,), 1000)], lambda lib, F, x, t: F.cross_entropy(x, t)),
    "cross-entropy-pixels": ([(4, 21, 128, 128), ((4, 128, 128), 21)], lambda lib, F, x, t: F.cross_entropy(x, t)),
    "cross-entropy-small": ([(128, 10), ((128,), 10)], lambda lib, F, x, t: F.cross_entropy(x, t)),
    "nll": ([ROWS, ((4096,), 1000)], lambda lib, F, x, t: F.nll_loss(x, t)),
    "nll-pixels": ([(4, 21, 128, 128), ((4, 128, 128), 21)], lambda lib, F, x, t: F.nll_loss(x, t)),
    "cross-entropy-weighted": ([ROWS, ((4096,), 1000), (1000,)], lambda lib, F, x, t, w: F.cross_entropy(x, t, w.detach().abs())),
    "cross-entropy-smooth": ([ROWS, ((4096,), 1000)], lambda lib, F, x, t: F.cross_entropy(x, t, label_smoothing=0.1)),
    "cross-entropy-probabilities": ([ROWS, ROWS], lambda lib, F, x, y: F.cross_entropy(x, y)),
    "mse": ([ROWS, ROWS], lambda lib, F, x, y: F.mse_loss(x, y)),
    "l1": ([ROWS, ROWS], lambda lib, F, x, y: F.l1_loss(x, y)),
    "smooth-l1": ([ROWS, ROWS], lambda lib, F, x, y: F.smooth_l1_loss(x, y)),
    "bce-logits": ([ROWS, ROWS], lambda lib, F, x, y: F.binary_cross_entropy_with_logits(x, y)),
    "kl-div": ([ROWS, ROWS], lambda lib, F, x, y: F.kl_div(x, y, log_target=True, reduction="batchmean")),
    "huber": ([ROWS, ROWS], lambda lib, F, x, y: F.huber_loss(x, y)),
    "bce": ([ROWS, ROWS], lambda lib, F, x, y: F.binary_cross_entropy(x.sigmoid(), y.detach().sigmoid())),
    "soft-margin": ([ROWS, ROWS], lambda lib, F, x, y: F.soft_margin_loss(x, y.detach())),
    "hinge-embedding": ([ROWS, ROWS], lambda lib, F, x, y: F.hinge_embedding_loss(x, y.detach().sign())),
    "margin-ranking": ([ROWS, ROWS, ROWS], lambda lib, F, x, y, t: F.margin_ranking_loss(x, y, t.detach().sign())),
    "cosine-embedding": ([ROWS, ROWS, (4096,)], lambda lib, F, x, y, t: F.cosine_embedding_loss(x, y, t.detach().sign())),
    "triplet": ([ROWS, ROWS, ROWS], lambda lib, F, x, y, z: F.triplet_margin_loss(x, y, z)),
    "poisson-nll": ([ROWS, ROWS], lambda lib, F, x, y: F.poisson_nll_loss(x, y.detach().abs())),
    "gaussian-nll": ([ROWS, ROWS, ROWS], lambda lib, F, x, y, v: F.gaussian_nll_loss(x, y.detach(), v.detach().abs())),
    "multilabel-soft-margin": ([ROWS, ROWS], lambda lib, F, x, y: F.multilabel_soft_margin_loss(x, y.detach().sigmoid())),
    "multi-margin": ([ROWS, ((4096,), 1000)], lambda lib, F, x, t: F.multi_margin_loss(x, t)),
    "multilabel-margin": (
        [(4096, 100), ((4096, 3), 100)],
        lambda lib, F, x, t: F.multilabel_margin_loss(x, F.pad(t, (0, 97), value=-1)),
    ),
    # images
    "bilinear-x2": ([(8, 32, 64, 64)], lambda lib, F, x: F.interpolate(x, scale_factor=2, mode="bilinear")),
    "bicubic-x2": ([(8, 32, 64, 64)], lambda lib, F, x: F.interpolate(x, scale_factor=2, mode="bicubic")),
    "nearest-x2": ([(8, 32, 64, 64)], lambda lib, F, x: F.interpolate(x, scale_factor=2)),
    "nearest-exact-x2": ([(8, 32, 64, 64)], lambda lib, F, x: F.interpolate(x, scale_factor=2, mode="nearest-exact")),
    "linear-x2": ([(64, 64, 512)], lambda lib, F, x: F.interpolate(x, scale_factor=2, mode="linear")),
    "trilinear-x2": ([(2, 16, 16, 32, 32)], lambda lib, F, x: F.interpolate(x, scale_factor=2, mode="trilinear")),
    "area": ([(8, 32, 128, 128)], lambda lib, F, x: F.interpolate(x, size=(48, 48), mode="area")),
    "antialiased": ([(8, 3, 256, 256)], lambda lib, F, x: F.interpolate(x, size=(100, 100), mode="bilinear", antialias=True)),
    "bilinear-rgb": ([(8, 3, 256, 256)], lambda lib, F, x: F.interpolate(x, size=(224, 224), mode="bilinear")),
    "pad-zeros": ([IMAGE], lambda lib, F, x: F.pad(x, (1, 1, 1, 1))),
    "pad-reflect": ([IMAGE], lambda lib, F, x: F.pad(x, (1, 1, 1, 1), "reflect")),
    "pad-replicate": ([IMAGE], lambda lib, F, x: F.pad(x, (1, 1, 1, 1), "replicate")),
    "pad-circular": ([IMAGE], lambda lib, F, x: F.pad(x, (1, 1, 1, 1), "circular")),
    "pixel-shuffle": ([(8, 128, 32, 32)], lambda lib, F, x: F.pixel_shuffle(x, 2)),
    "pixel-unshuffle": ([(8, 32, 64, 64)], lambda lib, F, x: F.pixel_unshuffle(x, 2)),
    "channel-shuffle": ([IMAGE], lambda lib, F, x: F.channel_shuffle(x, 4)),
    "grid-sample": ([(8, 16, 64, 64), (8, 64, 64, 2)], lambda lib, F, x, g: F.grid_sample(x, g, align_corners=False)),
    "grid-sample-rgb": ([(8, 3, 128, 128), (8, 128, 128, 2)], lambda lib, F, x, g: F.grid_sample(x, g, "nearest", align_corners=False)),
    "grid-sample-cubic": (
        [(8, 16, 64, 64), (8, 64, 64, 2)], lambda lib, F, x, g: F.grid_sample(x, g, "bicubic", "border", align_corners=False),
    ),
    "affine-grid": ([(64, 2, 3)], lambda lib, F, t: F.affine_grid(t, (64, 3, 64, 64), align_corners=False)),
    "unfold": ([(8, 32, 32, 32)], lambda lib, F, x: F.unfold(x, 3, padding=1)),
    "unfold-patches": ([(8, 3, 224, 224)], lambda lib, F, x: F.unfold(x, 16, stride=16)),
    "fold": ([(8, 288, 1024)], lambda lib, F, x: F.fold(x, (32, 32), 3, padding=1)),
    # products, tables, distances
    "linear": ([(256, 1024), (512, 1024), (512,)], lambda lib, F, x, w, b: F.linear(x, w, b)),
    "matmul": ([(512, 512), (512, 512)], lambda lib, F, x, y: x @ y),
    "bmm": ([(64, 64, 64), (64, 64, 64)], lambda lib, F, x, y: x @ y),
    "addmm": ([(256, 512), (256, 512), (512, 512)], lambda lib, F, x, y, z: lib.addmm(x, y, z)),
    "outer": ([(2048,), (1024,)], lambda lib, F, x, y: lib.outer(x, y)),
    "cdist": ([(1024, 64), (1024, 64)], lambda lib, F, x, y: lib.cdist(x, y)),
    "one-hot": ([((4096,), 1000)], lambda lib, F, t: F.one_hot(t, 1000)),
    "einsum": ([(32, 64, 64), (32, 64, 48)], lambda lib, F, x, y: lib.einsum("bij,bik->bjk", x, y)),
    "bilinear-form": ([(64, 32), (64, 32), (16, 32, 32)], lambda lib, F, x, y, w: F.bilinear(x, y, w)),
    "embedding": ([((64, 128), 20000), (20000, 128)], lambda lib, F, t, w: F.embedding(t, w)),
    "embedding-bag": ([((64, 128), 20000), (20000, 128)], lambda lib, F, t, w: F.embedding_bag(t, w)),
    "embedding-bag-max": ([((64, 128), 20000), (20000, 128)], lambda lib, F, t, w: F.embedding_bag(t, w, mode="max")),
    "normalize": ([ROWS], lambda lib, F, x: F.normalize(x, dim=1)),
    "cosine-similarity": ([ROWS, ROWS], lambda lib, F, x, y: F.cosine_similarity(x, y)),
    "pairwise-distance": ([ROWS, ROWS], lambda lib, F, x, y: F.pairwise_distance(x, y)),
    # tensors
    "add": ([IMAGE, IMAGE], lambda lib, F, x, y: x + y),
    "mul-channel": ([IMAGE, (32, 1, 1)], lambda lib, F, x, y: x * y),
    "exp": ([IMAGE], lambda lib, F, x: x.exp()),
    "log": ([IMAGE], lambda lib, F, x: x.log()),
    "log1p": ([IMAGE], lambda lib, F, x: x.log1p()),
    "sin": ([IMAGE], lambda lib, F, x: x.sin()),
    "tanh": ([IMAGE], lambda lib, F, x: x.tanh()),
    "pow-3": ([IMAGE], lambda lib, F, x: x**3),
    "pow-fraction": ([IMAGE], lambda lib, F, x: x**2.5),
    **{
        f"el-{name}": ([IMAGE], lambda lib, F, x, name=name: getattr(x, name)())
        for name in (
            "abs", "neg", "sign", "sqrt", "rsqrt", "reciprocal", "square", "floor", "round", "trunc", "cos", "tan", "atan", "sinh", "expm1", "exp2",
            "log2", "log10", "isnan", "frac",
        )
    },
    **{
        f"el-{name}": ([IMAGE, IMAGE], lambda lib, F, x, y, name=name: getattr(lib, name)(x, y))
        for name in ("sub", "div", "maximum", "remainder", "fmod", "floor_divide", "atan2", "gt", "eq")
    },
    "el-add-number": ([IMAGE], lambda lib, F, x: x + 1.5),
    "el-gt-number": ([IMAGE], lambda lib, F, x: x > 0.5),
    "el-remainder-number": ([IMAGE], lambda lib, F, x: x % 0.7),
    "el-pow-tensors": ([IMAGE, IMAGE], lambda lib, F, x, y: x.abs() ** y),
    "el-nan-to-num": ([IMAGE], lambda lib, F, x: x.nan_to_num()),
    "el-lerp": ([IMAGE, IMAGE], lambda lib, F, x, y: lib.lerp(x, y, 0.3)),
    "el-two-to-the-power": ([IMAGE], lambda lib, F, x: 2.0**x),
    "el-addcmul": ([IMAGE, IMAGE, IMAGE], lambda lib, F, x, y, z: lib.addcmul(x, y, z)),
    "el-logical-and": ([IMAGE, IMAGE], lambda lib, F, x, y: lib.logical_and(x > 0, y > 0)),
    "el-masked-fill": ([IMAGE], lambda lib, F, x: x.masked_fill(x > 0, 1.0)),
    "clamp": ([IMAGE], lambda lib, F, x: x.clamp(-1, 1)),
    "where": ([IMAGE, IMAGE], lambda lib, F, x, y: lib.where(x > 0, x, y)),
    "sum": ([IMAGE], lambda lib, F, x: x.sum((2, 3))),
    "mean-all": ([IMAGE], lambda lib, F, x: x.mean()),
    "std": ([IMAGE], lambda lib, F, x: x.std((0, 2, 3))),
    "var": ([IMAGE], lambda lib, F, x: x.var((0, 2, 3))),
    "mean-last": ([ROWS], lambda lib, F, x: x.mean(1)),
    "norm-inf": ([ROWS], lambda lib, F, x: x.norm(float("inf"), 1)),
    "median-all": ([ROWS], lambda lib, F, x: x.median()),
    "cummin-first": ([ROWS], lambda lib, F, x: x.cummin(0)[0]),
    "sum-last": ([ROWS], lambda lib, F, x: x.sum(1)),
    "sum-first": ([ROWS], lambda lib, F, x: x.sum(0)),
    "norm-last": ([ROWS], lambda lib, F, x: x.norm(2, 1)),
    "norm-all": ([IMAGE], lambda lib, F, x: x.norm()),
    "prod": ([(65536, 16)], lambda lib, F, x: x.prod(1)),
    "prod-last": ([ROWS], lambda lib, F, x: x.prod(1)),
    "prod-first": ([ROWS], lambda lib, F, x: x.prod(0)),
    "prod-all": ([ROWS], lambda lib, F, x: x.prod()),
    "logcumsumexp": ([ROWS], lambda lib, F, x: x.logcumsumexp(1)),
    "cumprod": ([ROWS], lambda lib, F, x: x.cumprod(1)),
    "cumprod-first": ([ROWS], lambda lib, F, x: x.cumprod(0)),
    "cumsum-first": ([ROWS], lambda lib, F, x: x.cumsum(0)),
    "cummax": ([ROWS], lambda lib, F, x: x.cummax(1)[0]),
    "max-first": ([ROWS], lambda lib, F, x: x.max(0)[0]),
    "max-all": ([ROWS], lambda lib, F, x: x.max()),
    "amax-first": ([ROWS], lambda lib, F, x: x.amax(0)),
    "argmin-first": ([ROWS], lambda lib, F, x: x.argmin(0)),
    "std-last": ([ROWS], lambda lib, F, x: x.std(1)),
    "norm-1": ([ROWS], lambda lib, F, x: x.norm(1, 1)),
    "norm-3": ([ROWS], lambda lib, F, x: x.norm(3, 1)),
    "logsumexp-first": ([ROWS], lambda lib, F, x: x.logsumexp(0)),
    "any": ([ROWS], lambda lib, F, x: (x > 4).any(1)),
    "count-nonzero": ([ROWS], lambda lib, F, x: x.count_nonzero(1)),
    "nansum": ([ROWS], lambda lib, F, x: x.nansum(1)),
    "argmax": ([ROWS], lambda lib, F, x: x.argmax(1)),
    "max-last": ([ROWS], lambda lib, F, x: x.max(1)[0]),
    "median": ([ROWS], lambda lib, F, x: x.median(1)[0]),
    "amax": ([IMAGE], lambda lib, F, x: x.amax((2, 3))),
    "logsumexp": ([ROWS], lambda lib, F, x: x.logsumexp(1)),
    "cumsum": ([ROWS], lambda lib, F, x: x.cumsum(1)),
    "sort": ([ROWS], lambda lib, F, x: x.sort(1)[0]),
    "topk": ([ROWS], lambda lib, F, x: x.topk(10, 1)[0]),
    "sort-first": ([ROWS], lambda lib, F, x: x.sort(0)[0]),
    "argsort": ([ROWS], lambda lib, F, x: x.argsort(1)),
    "topk-first": ([ROWS], lambda lib, F, x: x.topk(10, 0)[0]),
    "kthvalue": ([ROWS], lambda lib, F, x: x.kthvalue(10, 1)[0]),
    "median-first": ([ROWS], lambda lib, F, x: x.median(0)[0]),
    "unique": ([((100000,), 1000)], lambda lib, F, t: lib.unique(t)),
    "bincount": ([((1000000,), 1000)], lambda lib, F, t: lib.bincount(t)),
    "cat": ([IMAGE, IMAGE], lambda lib, F, x, y: lib.cat([x, y], 1)),
    "stack": ([IMAGE, IMAGE], lambda lib, F, x, y: lib.stack([x, y])),
    "chunk": ([IMAGE], lambda lib, F, x: lib.chunk(x, 2, 1)[1].contiguous()),
    "flip": ([IMAGE], lambda lib, F, x: x.flip(3)),
    "roll": ([IMAGE], lambda lib, F, x: lib.roll(x, 3, 3)),
    "repeat": ([(32, 32, 28, 28)], lambda lib, F, x: x.repeat(1, 1, 2, 2)),
    "index-columns": ([ROWS, ((1000,), 1000)], lambda lib, F, x, t: lib.index_select(x, 1, t)),
    "scatter-add": ([ROWS, (ROWS, 1000), ROWS], lambda lib, F, x, t, y: x.scatter_add(1, t, y)),
    "scatter-add-first": ([ROWS, (ROWS, 4096), ROWS], lambda lib, F, x, t, y: x.scatter_add(0, t, y)),
    "scatter": ([ROWS, (ROWS, 1000), ROWS], lambda lib, F, x, t, y: x.scatter(1, t, y)),
    "scatter-number": ([ROWS, ((4096, 10), 1000)], lambda lib, F, x, t: x.scatter(1, t, 1.0)),
    "gather-first": ([ROWS, (ROWS, 4096)], lambda lib, F, x, t: x.gather(0, t)),
    "index-add": ([ROWS, ((4096,), 4096), ROWS], lambda lib, F, x, t, y: x.index_add(0, t, y)),
    "index-add-columns": ([ROWS, ((1000,), 1000), ROWS], lambda lib, F, x, t, y: x.index_add(1, t, y)),
    "index-copy": ([ROWS, ((1000,), 4096), (1000, 1000)], lambda lib, F, x, t, y: x.index_copy(0, t, y)),
    "index-fill": ([ROWS, ((1000,), 4096)], lambda lib, F, x, t: x.index_fill(0, t, 1.0)),
    "index-put": ([ROWS, ((4096,), 4096), ((4096,), 1000), (4096,)], lambda lib, F, x, i, j, y: lib.index_put(x, (i, j), y)),
    "index-pairs": ([ROWS, ((100000,), 4096), ((100000,), 1000)], lambda lib, F, x, i, j: x[i, j]),
    "mask": ([ROWS], lambda lib, F, x: x[x > 0]),
    "masked-select": ([ROWS], lambda lib, F, x: lib.masked_select(x, x > 0)),
    "nonzero": ([ROWS], lambda lib, F, x: lib.nonzero(x > 0)),
    "slice": ([ROWS], lambda lib, F, x: x[:, 100:900].contiguous()),
    "index-rows": ([ROWS, ((4096,), 4096)], lambda lib, F, x, t: x[t]),
    "gather": ([ROWS, ((4096, 10), 1000)], lambda lib, F, x, t: x.gather(1, t)),
    "transpose": ([ROWS], lambda lib, F, x: x.t().contiguous()),
    # other uses
    "conv-1d": ([(16, 64, 1024), (64, 64, 5), (64,)], lambda lib, F, x, w, b: F.conv1d(x, w, b, padding=2)),
    "conv-3d": ([(2, 16, 16, 32, 32), (32, 16, 3, 3, 3), (32,)], lambda lib, F, x, w, b: F.conv3d(x, w, b, padding=1)),
    "conv-same": ([(8, 32, 32, 32), (32, 32, 4, 4), (32,)], lambda lib, F, x, w, b: F.conv2d(x, w, b, padding="same")),
    "conv-circular": (
        [(8, 32, 32, 32)],
        lambda lib, F, x: _layer(lib, "circular", lambda nn: nn.Conv2d(32, 32, 3, padding=1, padding_mode="circular"))(x),
    ),
    "deconv-1d": ([(16, 64, 256), (64, 32, 4), (32,)], lambda lib, F, x, w, b: F.conv_transpose1d(x, w, b, 2, 1)),
    "deconv-3d": ([(2, 16, 8, 16, 16), (16, 16, 2, 2, 2), (16,)], lambda lib, F, x, w, b: F.conv_transpose3d(x, w, b, 2)),
    "deconv-groups": ([(8, 64, 28, 28), (64, 16, 3, 3), (64,)], lambda lib, F, x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 1, 4)),
    "deconv-depthwise": ([(8, 64, 28, 28), (64, 1, 4, 4), (64,)], lambda lib, F, x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 0, 64)),
    "local-2d": ([(16, 16, 16, 16), (14, 14, 3, 3, 16, 16)], _unshared),
    "unfold-dilated": ([(8, 32, 32, 32)], lambda lib, F, x: F.unfold(x, 3, 2, 2, 1)),
    "fold-patches": ([(8, 768, 196)], lambda lib, F, x: F.fold(x, (224, 224), 16, stride=16)),
    "lp-pool-3": ([IMAGE], lambda lib, F, x: F.lp_pool2d(x.abs(), 3, 3, 2)),
    "lp-pool-1d": ([(64, 64, 1024)], lambda lib, F, x: F.lp_pool1d(x, 2, 2)),
    "maxpool-dilated": ([IMAGE], lambda lib, F, x: F.max_pool2d(x, 3, 1, 1, 2)),
    "avgpool-ceil": ([IMAGE], lambda lib, F, x: F.avg_pool2d(x, 3, 2, 1, True, False)),
    "adaptive-avg-1d": ([(64, 64, 1000)], lambda lib, F, x: F.adaptive_avg_pool1d(x, 16)),
    "adaptive-avg-3d": ([(4, 16, 32, 32, 32)], lambda lib, F, x: F.adaptive_avg_pool3d(x, 5)),
    "adaptive-max-1d": ([(64, 64, 1000)], lambda lib, F, x: F.adaptive_max_pool1d(x, 16)),
    "batch-norm-rows": ([(4096, 256), (256,), (256,)], lambda lib, F, x, w, b: F.batch_norm(x, None, None, w, b, True)),
    "layer-norm-images": ([IMAGE, IMAGE[1:], IMAGE[1:]], lambda lib, F, x, w, b: F.layer_norm(x, IMAGE[1:], w, b)),
    "dice": ([(4, 21, 128, 128), (4, 21, 128, 128)], lambda lib, F, x, y: _dice(lib, F, x.sigmoid(), y.detach())),
    "focal": ([ROWS, ((4096,), 1000)], lambda lib, F, x, t: _focal(lib, F, x, t)),
    "bce-positive-weight": ([ROWS, ROWS, (1000,)], lambda lib, F, x, y, w: F.binary_cross_entropy_with_logits(x, y.detach(), pos_weight=w.detach())),
    "kl-div-probabilities": ([ROWS, ROWS], lambda lib, F, x, y: F.kl_div(x, y.detach().abs(), reduction="batchmean")),
    "cross-entropy-ignored": ([ROWS, ((4096,), 1000)], lambda lib, F, x, t: F.cross_entropy(x, t, ignore_index=3)),
    "antialiased-cubic": ([(8, 3, 256, 256)], lambda lib, F, x: F.interpolate(x, size=(100, 100), mode="bicubic", antialias=True)),
    "bilinear-corners": ([(8, 32, 64, 64)], lambda lib, F, x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)),
    "bilinear-half": ([(8, 32, 128, 128)], lambda lib, F, x: F.interpolate(x, scale_factor=0.5, mode="bilinear")),
    "nearest-1d": ([(64, 64, 512)], lambda lib, F, x: F.interpolate(x, scale_factor=2)),
    "nearest-3d": ([(2, 16, 16, 32, 32)], lambda lib, F, x: F.interpolate(x, scale_factor=2)),
    "pad-constant-1d": ([(64, 64, 1024)], lambda lib, F, x: F.pad(x, (3, 3), value=1.0)),
    "pad-3d": ([(4, 16, 32, 32, 32)], lambda lib, F, x: F.pad(x, (1,) * 6, "replicate")),
    "pad-crop": ([IMAGE], lambda lib, F, x: F.pad(x, (-2, -2, -2, -2))),
    "grid-sample-3d": ([(2, 8, 16, 32, 32), (2, 16, 32, 32, 3)], lambda lib, F, x, g: F.grid_sample(x, g, align_corners=False)),
    "grid-sample-mirrored": ([(8, 3, 128, 128), (8, 128, 128, 2)], lambda lib, F, x, g: F.grid_sample(x, g, "bilinear", "reflection", False)),
    "dropout-1d": ([(64, 64, 1024)], lambda lib, F, x: F.dropout1d(x, 0.5, True)),
    "embedding-padded": ([((64, 128), 20000), (20000, 128)], lambda lib, F, t, w: F.embedding(t, w, padding_idx=0)),
    "embedding-bag-sum": ([((64, 128), 20000), (20000, 128)], lambda lib, F, t, w: F.embedding_bag(t, w, mode="sum")),
    "linear-small": ([(64, 128), (10, 128), (10,)], lambda lib, F, x, w, b: F.linear(x, w, b)),
    "linear-images": ([(64, 196, 192), (192, 192), (192,)], lambda lib, F, x, w, b: F.linear(x, w, b)),
    "einsum-heads": ([(8, 64, 4, 32), (8, 64, 4, 32)], lambda lib, F, x, y: lib.einsum("bqhd,bkhd->bhqk", x, y)),
    "einsum-trace": ([(64, 256, 256)], lambda lib, F, x: lib.einsum("bii->b", x)),
    "einsum-sum": ([IMAGE, (32,)], lambda lib, F, x, w: lib.einsum("nchw,c->nhw", x, w)),
    "matmul-vector": ([(2048, 1024), (1024,)], lambda lib, F, x, y: x @ y),
    "logsumexp-channels": ([(8, 21, 128, 128)], lambda lib, F, x: x.logsumexp(1)),
    "norm-fro": ([IMAGE], lambda lib, F, x: x.norm(dim=(2, 3))),
    "mean-channels": ([IMAGE], lambda lib, F, x: x.mean(1)),
    "max-channels": ([IMAGE], lambda lib, F, x: x.max(1)[0]),
    "argmax-channels": ([(8, 21, 128, 128)], lambda lib, F, x: x.argmax(1)),
    "cumsum-channels": ([IMAGE], lambda lib, F, x: x.cumsum(1)),
    "topk-few": ([(256, 1000)], lambda lib, F, x: x.topk(5)[0]),
    "sort-long": ([(1000000,)], lambda lib, F, x: x.sort()[0]),
    "sort-integers": ([(ROWS, 1000)], lambda lib, F, t: t.sort(1)[0]),
    "one-hot-pixels": ([((8, 64, 64), 21)], lambda lib, F, t: F.one_hot(t, 21)),
    "index-put-added": (
        [ROWS, ((4096,), 4096), ((4096,), 1000), (4096,)], lambda lib, F, x, i, j, y: lib.index_put(x, (i, j), y, accumulate=True),
    ),
    "stack-inner": ([IMAGE, IMAGE], lambda lib, F, x, y: lib.stack([x.relu(), y.relu()])),
    "cat-first": ([IMAGE, IMAGE], lambda lib, F, x, y: lib.cat([x, y])),
    "split-cat": ([IMAGE], lambda lib, F, x: lib.cat(x.split(8, 1)[::-1], 1)),
    "permute": ([IMAGE], lambda lib, F, x: x.permute(0, 2, 3, 1).contiguous()),
    "expand": ([(32, 32, 1, 1)], lambda lib, F, x: x.expand(*IMAGE).contiguous()),
    "assign-slice": ([IMAGE, (32, 32, 28, 28)], lambda lib, F, x, y: _assigned(x, y)),
    "from-bool": ([IMAGE], lambda lib, F, x: (x > 0).float()),
    "to-float64": ([IMAGE], lambda lib, F, x: x.detach().double()),
    "weight-norm": (
        [(256, 512)], lambda lib, F, x: _layer(lib, "weight norm", lambda nn: nn.utils.weight_norm(nn.Linear(512, 512)))(x),
    ),
    "spectral-norm": (
        [(256, 512)], lambda lib, F, x: _layer(lib, "spectral norm", lambda nn: nn.utils.spectral_norm(nn.Linear(512, 512)))(x),
    ),
    "clip-grad-norm": ([(1000, 1000), (1000, 1000)], lambda lib, F, x, y: _clipped(lib, x, y)),
    "parameters-to-vector": (
        [(1000, 1000), (1000, 1000)], lambda lib, F, x, y: lib.nn.utils.parameters_to_vector([x, y]),
    ),
    **{
        f"step-{name}": ([(512, 512), (512,)], lambda lib, F, w, b, name=name: _stepped(lib, name, (w, b), lr=0.01))
        for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "NAdam", "RAdam", "LBFGS")
    },
    "step-lbfgs-search": (
        [(512, 512), (512,)], lambda lib, F, w, b: _stepped(lib, "LBFGS", (w, b), max_iter=10, line_search_fn="strong_wolfe"),
    ),
}  # fmt: skip

# The same in float64, and on channels-last images.
OPS.update({
    f"{name}-f64": (*OPS[name], FLOAT64)
    for name in (
        "act-relu", "act-gelu", "act-tanh", "softmax", "batch-norm", "layer-norm", "maxpool-3s2p1", "avgpool-3s2p1", "cross-entropy", "mse",
        "bce-logits", "bilinear-x2", "grid-sample", "unfold", "linear", "cdist", "embedding", "add", "exp", "pow-fraction", "sum", "std",
        "cumsum", "sort", "cat", "gather", "conv-1d", "conv-same", "deconv-groups", "local-2d",
    )
})  # fmt: skip
OPS.update({
    f"{name}-cl": (*OPS[name], CHANNELS_LAST)
    for name in (
        "act-relu", "act-gelu", "act-prelu", "batch-norm", "batch-norm-eval", "group-norm", "instance-norm", "local-response-norm", "dropout-2d",
        "maxpool-3s2p1", "avgpool-3s2p1", "lp-pool", "max-unpool", "adaptive-avg", "adaptive-max", "cross-entropy-pixels", "softmax-channels",
        "bilinear-x2", "bicubic-x2", "nearest-x2", "antialiased", "bilinear-rgb", "area", "pad-zeros", "pad-reflect", "pad-circular", "pixel-shuffle",
        "pixel-unshuffle", "channel-shuffle", "grid-sample", "unfold", "add", "mul-channel", "sum", "mean-channels", "std", "amax", "cat", "stack",
        "chunk", "flip", "roll", "repeat", "cumsum-channels", "max-channels", "argmax-channels", "deconv-groups", "deconv-depthwise", "conv-same",
    )
})  # fmt: skip
