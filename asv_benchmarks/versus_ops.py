"""Single operations for versus.py, at least one a family at a size that nets have: name: (shapes of the inputs, the call).

The call gets the library, its `nn.functional` and one tensor a shape; float tensors require gradients.  A shape may be a pair
(shape, n): integers below n.
"""

IMAGE = (32, 32, 56, 56)
ROWS = (4096, 1000)

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
    "softmax": ([ROWS], lambda lib, F, x: F.softmax(x, 1)),
    "log-softmax": ([ROWS], lambda lib, F, x: F.log_softmax(x, 1)),
    "softmax-channels": ([(8, 21, 128, 128)], lambda lib, F, x: F.softmax(x, 1)),
    "log-softmax-channels": ([(8, 21, 128, 128)], lambda lib, F, x: F.log_softmax(x, 1)),
    # norms
    "batch-norm": ([IMAGE, (32,), (32,)], lambda lib, F, x, w, b: F.batch_norm(x, None, None, w, b, True)),
    "layer-norm": ([(64, 196, 192), (192,), (192,)], lambda lib, F, x, w, b: F.layer_norm(x, (192,), w, b)),
    "group-norm": ([IMAGE, (32,), (32,)], lambda lib, F, x, w, b: F.group_norm(x, 8, w, b)),
    "instance-norm": ([IMAGE], lambda lib, F, x: F.instance_norm(x)),
    "local-response-norm": ([IMAGE], lambda lib, F, x: F.local_response_norm(x, 5)),
    "dropout": ([IMAGE], lambda lib, F, x: F.dropout(x, 0.5, True)),
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
    "adaptive-avg": ([IMAGE], lambda lib, F, x: F.adaptive_avg_pool2d(x, 7)),
    "adaptive-max": ([IMAGE], lambda lib, F, x: F.adaptive_max_pool2d(x, 7)),
    # losses
    "cross-entropy": ([ROWS, ((4096,), 1000)], lambda lib, F, x, t: F.cross_entropy(x, t)),
    "cross-entropy-pixels": ([(4, 21, 128, 128), ((4, 128, 128), 21)], lambda lib, F, x, t: F.cross_entropy(x, t)),
    "cross-entropy-small": ([(128, 10), ((128,), 10)], lambda lib, F, x, t: F.cross_entropy(x, t)),
    "nll": ([ROWS, ((4096,), 1000)], lambda lib, F, x, t: F.nll_loss(x, t)),
    "nll-pixels": ([(4, 21, 128, 128), ((4, 128, 128), 21)], lambda lib, F, x, t: F.nll_loss(x, t)),
    "mse": ([ROWS, ROWS], lambda lib, F, x, y: F.mse_loss(x, y)),
    "l1": ([ROWS, ROWS], lambda lib, F, x, y: F.l1_loss(x, y)),
    "smooth-l1": ([ROWS, ROWS], lambda lib, F, x, y: F.smooth_l1_loss(x, y)),
    "bce-logits": ([ROWS, ROWS], lambda lib, F, x, y: F.binary_cross_entropy_with_logits(x, y)),
    "kl-div": ([ROWS, ROWS], lambda lib, F, x, y: F.kl_div(x, y, log_target=True, reduction="batchmean")),
    # images
    "bilinear-x2": ([(8, 32, 64, 64)], lambda lib, F, x: F.interpolate(x, scale_factor=2, mode="bilinear")),
    "bicubic-x2": ([(8, 32, 64, 64)], lambda lib, F, x: F.interpolate(x, scale_factor=2, mode="bicubic")),
    "nearest-x2": ([(8, 32, 64, 64)], lambda lib, F, x: F.interpolate(x, scale_factor=2)),
    "trilinear-x2": ([(2, 16, 16, 32, 32)], lambda lib, F, x: F.interpolate(x, scale_factor=2, mode="trilinear")),
    "area": ([(8, 32, 128, 128)], lambda lib, F, x: F.interpolate(x, size=(48, 48), mode="area")),
    "antialiased": ([(8, 3, 256, 256)], lambda lib, F, x: F.interpolate(x, size=(100, 100), mode="bilinear", antialias=True)),
    "bilinear-rgb": ([(8, 3, 256, 256)], lambda lib, F, x: F.interpolate(x, size=(224, 224), mode="bilinear")),
    "pad-zeros": ([IMAGE], lambda lib, F, x: F.pad(x, (1, 1, 1, 1))),
    "pad-reflect": ([IMAGE], lambda lib, F, x: F.pad(x, (1, 1, 1, 1), "reflect")),
    "pixel-shuffle": ([(8, 128, 32, 32)], lambda lib, F, x: F.pixel_shuffle(x, 2)),
    "channel-shuffle": ([IMAGE], lambda lib, F, x: F.channel_shuffle(x, 4)),
    "grid-sample": ([(8, 16, 64, 64), (8, 64, 64, 2)], lambda lib, F, x, g: F.grid_sample(x, g, align_corners=False)),
    "grid-sample-rgb": ([(8, 3, 128, 128), (8, 128, 128, 2)], lambda lib, F, x, g: F.grid_sample(x, g, "nearest", align_corners=False)),
    "unfold": ([(8, 32, 32, 32)], lambda lib, F, x: F.unfold(x, 3, padding=1)),
    "unfold-patches": ([(8, 3, 224, 224)], lambda lib, F, x: F.unfold(x, 16, stride=16)),
    "fold": ([(8, 288, 1024)], lambda lib, F, x: F.fold(x, (32, 32), 3, padding=1)),
    # products, tables, distances
    "linear": ([(256, 1024), (512, 1024), (512,)], lambda lib, F, x, w, b: F.linear(x, w, b)),
    "matmul": ([(512, 512), (512, 512)], lambda lib, F, x, y: x @ y),
    "bmm": ([(64, 64, 64), (64, 64, 64)], lambda lib, F, x, y: x @ y),
    "einsum": ([(32, 64, 64), (32, 64, 48)], lambda lib, F, x, y: lib.einsum("bij,bik->bjk", x, y)),
    "bilinear-form": ([(64, 32), (64, 32), (16, 32, 32)], lambda lib, F, x, y, w: F.bilinear(x, y, w)),
    "embedding": ([((64, 128), 20000), (20000, 128)], lambda lib, F, t, w: F.embedding(t, w)),
    "embedding-bag": ([((64, 128), 20000), (20000, 128)], lambda lib, F, t, w: F.embedding_bag(t, w)),
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
    "el-addcmul": ([IMAGE, IMAGE, IMAGE], lambda lib, F, x, y, z: lib.addcmul(x, y, z)),
    "el-logical-and": ([IMAGE, IMAGE], lambda lib, F, x, y: lib.logical_and(x > 0, y > 0)),
    "el-masked-fill": ([IMAGE], lambda lib, F, x: x.masked_fill(x > 0, 1.0)),
    "clamp": ([IMAGE], lambda lib, F, x: x.clamp(-1, 1)),
    "where": ([IMAGE, IMAGE], lambda lib, F, x, y: lib.where(x > 0, x, y)),
    "sum": ([IMAGE], lambda lib, F, x: x.sum((2, 3))),
    "mean-all": ([IMAGE], lambda lib, F, x: x.mean()),
    "std": ([IMAGE], lambda lib, F, x: x.std((0, 2, 3))),
    "sum-last": ([ROWS], lambda lib, F, x: x.sum(1)),
    "sum-first": ([ROWS], lambda lib, F, x: x.sum(0)),
    "norm-last": ([ROWS], lambda lib, F, x: x.norm(2, 1)),
    "norm-all": ([IMAGE], lambda lib, F, x: x.norm()),
    "prod": ([(65536, 16)], lambda lib, F, x: x.prod(1)),
    "argmax": ([ROWS], lambda lib, F, x: x.argmax(1)),
    "max-last": ([ROWS], lambda lib, F, x: x.max(1)[0]),
    "median": ([ROWS], lambda lib, F, x: x.median(1)[0]),
    "amax": ([IMAGE], lambda lib, F, x: x.amax((2, 3))),
    "logsumexp": ([ROWS], lambda lib, F, x: x.logsumexp(1)),
    "cumsum": ([ROWS], lambda lib, F, x: x.cumsum(1)),
    "sort": ([ROWS], lambda lib, F, x: x.sort(1)[0]),
    "topk": ([ROWS], lambda lib, F, x: x.topk(10, 1)[0]),
    "cat": ([IMAGE, IMAGE], lambda lib, F, x, y: lib.cat([x, y], 1)),
    "index-columns": ([ROWS, ((1000,), 1000)], lambda lib, F, x, t: lib.index_select(x, 1, t)),
    "scatter-add": ([ROWS, (ROWS, 1000), ROWS], lambda lib, F, x, t, y: x.scatter_add(1, t, y)),
    "index-rows": ([ROWS, ((4096,), 4096)], lambda lib, F, x, t: x[t]),
    "gather": ([ROWS, ((4096, 10), 1000)], lambda lib, F, x, t: x.gather(1, t)),
    "transpose": ([ROWS], lambda lib, F, x: x.t().contiguous()),
}  # fmt: skip
