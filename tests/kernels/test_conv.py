"""Convolution and its gradients against plain loops and SciPy, in every layout, on every instruction set, at the edge of memory."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from convkit_kernels import geometry
from convkit_kernels.algorithm import conv_algorithm
from convkit_kernels.cpu import microkernel
from tests.backend import SIMULATED, kernels, settings
from tests.helpers import LAYOUTS, memory_order, numbers, same, same_with_one_and_two_threads
from tests.kernels.test_matmul import precision  # noqa: F401
from tests.reference import conv as reference

KINDS = sorted(set(LAYOUTS) - {"other byte order"})  # bytes are put in order where arrays become tensors
CHANNELS = [1, 3, 4, 8, 10] if SIMULATED else [1, 3, 6, 10, 16, 33, 64]


def error(got, expected, terms):
    """|got - expected| relative to what sums of `terms` products of normal numbers come to, or to |expected| if that is greater."""
    assert got.shape == expected.shape
    size = max(np.linalg.norm(expected.ravel()), np.sqrt(float(terms) * max(1, expected.size)))
    return np.linalg.norm((got.astype(np.float64) - expected).ravel()) / size


def small(dtype, algorithm="direct"):
    return (2e-6 if dtype == np.float32 else 1e-13) * (3 if algorithm == "winograd" else 1)


class Case:
    """A geometry and arrays for it."""

    def __init__(self, window, batch, inside, channels, filters, dtype=np.float32, bias=True, layout="C order", seed=0, algorithm="direct"):
        self.window, self.inside, self.dtype, self.algorithm = window, tuple(inside), np.dtype(dtype), algorithm
        self.out = window.output_size(inside)
        self.x = LAYOUTS[layout](numbers(seed, (batch, channels, *inside), dtype))
        self.w = LAYOUTS[layout](numbers(seed + 1, (filters, channels // window.groups, *window.size), dtype))
        self.gy = LAYOUTS[layout](numbers(seed + 2, (batch, filters, *self.out), dtype))
        self.b = numbers(seed + 3, (filters,), dtype) if bias else None
        self.c = numbers(seed + 4, (channels,), dtype) if bias else None
        self.taps, self.layout = int(np.prod(window.size)), layout

    @classmethod
    def smaller(cls, window, batch, inside, channels, filters, *args, **options):
        """A case with fewer pixels and channels where each number is computed by Python."""
        if SIMULATED:
            inside = [min(n, span + (1 if window.rank == 3 else 3)) for n, span in zip(inside, window.span, strict=True)]
            groups = min(window.groups, 4)
            batch, channels, filters = min(batch, 2), min(channels, 12) if window.groups < 4 else 4, min(filters, 12) if window.groups < 4 else 4
            window = geometry.Window(window.size, window.stride, window.padding, window.dilation, groups)
        return cls(window, batch, inside, channels, filters, *args, **options)

    def __repr__(self):
        return f"Case({self.window}, x {self.x.shape}, w {self.w.shape}, {self.dtype}, {self.layout}, bias {self.b is not None}, {self.algorithm})"

    def run(self, kernels):
        """(y, gx, gw) from conv_forward, conv_input_grad and conv_weight_grad of a module."""
        with conv_algorithm(self.algorithm):
            return (
                kernels.conv_forward(self.x, self.w, self.b, self.window),
                kernels.conv_input_grad(self.gy, self.w, self.c, self.inside, self.window),
                kernels.conv_weight_grad(self.x, self.gy, self.window),
            )

    @property
    def terms(self):
        """Products in one element of y, gx and gw."""
        channels, filters, groups = self.x.shape[1], self.w.shape[0], self.window.groups
        return channels // groups * self.taps, filters // groups * self.taps, max(1, self.x.shape[0] * int(np.prod(self.out)))


@st.composite
def windows_of_three(draw, algorithm="winograd"):
    """Cases that every algorithm can do: 3x3 windows of stride 1, some dilated."""
    padding = tuple((draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(2))
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 3), (4, 2)]))
    inside = tuple(max(draw(st.integers(0, 1)), 2 * d + 1 - sum(p)) + draw(st.integers(0, 11)) for p, d in zip(padding, dilation, strict=True))
    return Case(
        geometry.Window((3, 3), (1, 1), padding, dilation, 1), draw(st.integers(0, 3)), inside, draw(st.sampled_from(CHANNELS)),
        draw(st.sampled_from(CHANNELS)), draw(st.sampled_from([np.float32, np.float64])), draw(st.booleans()), draw(st.sampled_from(KINDS)),
        draw(st.integers(0, 50)), algorithm,
    )  # fmt: skip


@st.composite
def cases(draw):
    rank = draw(st.integers(1, 3))

    def each(least, most):
        return tuple(draw(st.integers(least, most)) for _ in range(rank))

    kind = draw(st.sampled_from(["dense", "dense", "grouped", "depthwise"]))
    if kind == "dense":
        groups, channels, filters = 1, draw(st.sampled_from(CHANNELS)), draw(st.sampled_from(CHANNELS))
    elif kind == "grouped":
        groups = draw(st.integers(2, 4))
        channels, filters = groups * draw(st.sampled_from([1, 2, 3, 5, 8])), groups * draw(st.sampled_from([1, 2, 3, 5, 9, 17]))
    else:
        groups = channels = draw(st.sampled_from([1, 3, 10, 16, 33]))
        filters = channels * draw(st.sampled_from([1, 1, 2, 3]))
    most = ({1: 4, 2: 3, 3: 2} if SIMULATED else {1: 5, 2: 4, 3: 3})[rank]
    size, stride, dilation = each(1, most), each(1, 3), each(1, 3)
    padding = tuple((draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(rank))
    window = geometry.Window(size, stride, padding, dilation, groups)
    # From the smallest input that one window fits into to a few strides more.
    inside = tuple(
        max(draw(st.integers(0, 1)), span - sum(p)) + draw(st.integers(0, ({1: 5, 2: 2, 3: 1} if SIMULATED else {1: 12, 2: 6, 3: 3})[rank]))
        for span, p in zip(window.span, padding, strict=True)
    )
    return Case(
        window, draw(st.sampled_from([0, 1, 2, 3])), inside, channels, filters,
        draw(st.sampled_from([np.float32, np.float64])), draw(st.booleans()), draw(st.sampled_from(KINDS)), draw(st.integers(0, 50)),
    )  # fmt: skip


def window(size, stride=1, padding=0, dilation=1, groups=1):
    return geometry.window("test", size, stride, padding, dilation, groups)


@given(cases())
@example(Case(window((3, 3), 1, 1), 2, (5, 5), 3, 16))
@example(Case(window((1, 1)), 2, (3, 4), 33, 10))  # a plain product of matrices
@example(Case(window((1, 1), 2), 2, (3, 4), 6, 10))  # a stride over single pixels: phases of the input that no window sees
@example(Case(window((1, 1), 1, ((0, 1), (0, 0))), 2, (1, 1), 1, 1))  # rows of output that see padding alone
@example(Case(window((1, 3), (2, 1)), 2, (1, 5), 2, 3))
@example(Case(window((2, 2), 3), 1, (7, 7), 3, 6))
@example(Case(window((3, 3), 1, 1, groups=6), 2, (5, 4), 6, 6))
@example(Case(window((3, 3), 1, 1, groups=3), 1, (5, 4), 3, 9))
@example(Case(window((3, 2), 2, 1, groups=2), 2, (5, 4), 8, 8))  # groups of few channels, four at a time
@example(Case(window((3, 2), 1, 1, groups=2), 1, (5, 4), 4, 6))  # and one by one
@example(Case(window((3, 3), 2, ((0, 1), (2, 0)), 2), 1, (6, 7), 6, 33, np.float64))
@example(Case(window((3, 3), 1, 3), 1, (1, 1), 3, 3))  # most windows see nothing but padding
@example(Case(window((2, 2), 1, 1), 1, (0, 3), 2, 3))  # no input, only padding
@example(Case(window((3, 3, 3), (1, 2, 1), 1), 1, (4, 4, 4), 16, 16))
@settings(max_examples=150)
def test_against_plain_loops(case):
    for got, expected, terms, name in zip(case.run(kernels), case.run(reference), case.terms, ("y", "gx", "gw"), strict=True):
        assert got.dtype == case.dtype, name
        assert error(got, expected, terms) <= small(case.dtype, case.algorithm), name


def one_after_the_other(y, add, relu):
    y = y if add is None else y + add
    return np.where(y <= 0, y.dtype.type(0), y) if relu else y


@given(st.one_of(cases(), windows_of_three()), st.booleans(), st.booleans(), st.sampled_from(KINDS))
@example(Case(window((3, 3), 1, 1), 2, (5, 5), 8 if SIMULATED else 64, 1), True, True, "C order")  # tiles of one column
@example(Case(window((1, 1)), 2, (9, 4), 60 if SIMULATED else 600, 10), True, True, "channels-last")  # a sum in several chunks
@example(Case(window((1, 1)), 2, (9, 4), 60 if SIMULATED else 600, 10, layout="channels-last"), True, True, "C order")
@example(Case(window((3, 3), 1, 1, groups=16), 2, (9, 4), 16, 16), True, True, "C order")
@settings(max_examples=100)
def test_what_is_added_and_cut_off_in_the_same_pass_has_the_same_bits(case, adds, relu, kind):
    add = LAYOUTS[kind](numbers(case.taps, (len(case.x), len(case.w), *case.out), case.dtype)) if adds else None
    with conv_algorithm(case.algorithm):
        y = kernels.conv_forward(case.x, case.w, case.b, case.window)
        got = kernels.conv_forward(case.x, case.w, case.b, case.window, add, relu)
    assert got.dtype == y.dtype and memory_order(got) == memory_order(y)
    assert np.array_equal(got, one_after_the_other(y, add, relu))


@given(cases(), st.booleans(), st.booleans())
@settings(max_examples=30)
def test_sums_that_go_on_against_plain_loops(case, adds, relu):
    add = numbers(case.taps, (len(case.x), len(case.w), *case.out), case.dtype) if adds else None
    got, expected = (k.conv_forward(case.x, case.w, case.b, case.window, add, relu) for k in (kernels, reference))
    assert error(got, expected, case.terms[0]) <= small(case.dtype)


@pytest.mark.parametrize("algorithm", ["direct", "winograd"])
@pytest.mark.parametrize("filters", [1, 20])
def test_nan_inf_and_signed_zeros_at_the_cut(algorithm, filters):
    x, w = np.zeros((1, 16, 8, 8), np.float32), np.zeros((filters, 16, 3, 3), np.float32)
    values = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-30, -1e-30, 2.0], np.float32)
    add = np.broadcast_to(values, (1, filters, 8, 8))
    with conv_algorithm(algorithm):
        y = kernels.conv_forward(x, w, np.full(filters, -0.0, np.float32), window((3, 3), 1, 1), add, True)
    expected = np.broadcast_to(np.array([np.nan, np.inf, 0, 0, 0, 1e-30, 0, 2.0], np.float32), add.shape)
    assert np.array_equal(y, expected, equal_nan=True) and not np.signbit(y[~np.isnan(y)]).any()


@pytest.mark.parametrize("name", ["bands", "Winograd", "1x1", "depthwise", "space"])
def test_large_sums_that_go_on(name):
    case = LARGE[name]
    add = numbers(9, case.gy.shape, case.dtype)
    with conv_algorithm(case.algorithm):
        y = kernels.conv_forward(case.x, case.w, case.b, case.window)
        assert np.array_equal(kernels.conv_forward(case.x, case.w, case.b, case.window, add, True), one_after_the_other(y, add, True))
        assert same_with_one_and_two_threads(lambda: kernels.conv_forward(case.x, case.w, case.b, case.window, add, True))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("groups", [1, 2])
def test_zero_channels(dtype, groups):
    # A sum of no products is 0: y is the bias.
    win = window((2, 2), 1, 1, groups=groups)
    x, w, b = np.zeros((2, 0, 3, 3), dtype), np.zeros((4, 0, 2, 2), dtype), numbers(0, (4,), dtype)
    y = kernels.conv_forward(x, w, b, win)
    assert np.array_equal(y, np.broadcast_to(b.reshape(1, 4, 1, 1), (2, 4, 4, 4)))
    assert np.array_equal(kernels.conv_forward(x, w, b, win, y, True), np.maximum(y + y, 0))
    assert kernels.conv_input_grad(y, w, None, (3, 3), win).shape == x.shape
    assert kernels.conv_weight_grad(x, y, win).shape == w.shape


SCIPY = {
    "line": Case.smaller(window((5,), 2, ((2, 1),), 2), 2, (40,), 6, 10, np.float64),
    "plane": Case.smaller(window((3, 3), 1, 1), 2, (24, 31), 10, 16, np.float64),
    "plane, Winograd": Case.smaller(window((3, 3), 1, 1), 2, (24, 31), 10, 16, np.float64, algorithm="winograd"),
    "plane float32, Winograd": Case.smaller(window((3, 3), 1, 1), 2, (24, 31), 10, 16, np.float32, layout="channels-last", algorithm="winograd"),
    "plane float32": Case.smaller(window((3, 3), 1, 1), 2, (24, 31), 10, 16, np.float32, layout="channels-last"),
    "stem": Case.smaller(window((7, 7), 2, 3), 1, (45, 38), 3, 16, np.float32),
    "dilated": Case.smaller(window((3, 2), (1, 2), ((0, 3), (1, 2)), (3, 2)), 2, (19, 23), 6, 8, np.float64),
    "groups": Case.smaller(window((3, 3), 1, 1, groups=3), 2, (12, 14), 9, 12, np.float64),
    "depthwise": Case.smaller(window((3, 3), 2, 1, groups=12), 2, (15, 16), 12, 12, np.float64),
    "many bands": Case.smaller(window((3, 3), 1, 1), 1, (70, 64), 64, 3, np.float32),
    "space": Case.smaller(window((3, 2, 3), (2, 1, 1), 1), 1, (9, 8, 10), 3, 6, np.float64),
}


@pytest.mark.parametrize("name", SCIPY)
def test_against_scipy(name):
    from scipy import signal  # here, so that the processes started below need not wait for it

    case = SCIPY[name]
    win = case.window
    rank, groups = win.rank, win.groups
    x, w, gy = case.x.astype(np.float64), case.w.astype(np.float64), case.gy.astype(np.float64)
    c, k = x.shape[1] // groups, w.shape[0] // groups
    padded = np.pad(x, ((0, 0), (0, 0), *win.padding))
    holes = (slice(None), slice(None), *(slice(None, None, d) for d in win.dilation))
    spaced = np.zeros((*w.shape[:2], *win.span))  # the weights, holes between the taps
    spaced[holes] = w
    steps = tuple(slice(None, None, s) for s in win.stride)
    y = np.zeros(case.gy.shape) + case.b.reshape(1, -1, *(1,) * rank)
    # The gradients: gy with holes between its elements, correlated with what it met, or convolved with the weights.
    reach = tuple((o - 1) * s + 1 for o, s in zip(case.out, win.stride, strict=True))
    wide = np.zeros((*gy.shape[:2], *reach))
    wide[(slice(None), slice(None), *steps)] = gy
    used = (slice(None), slice(None), *(slice(r + span - 1) for r, span in zip(reach, win.span, strict=True)))
    gx, gw = np.zeros(padded.shape), np.zeros(spaced.shape)
    for n, i, j in itertools.product(range(len(x)), range(w.shape[0]), range(c)):
        channel = i // k * c + j
        y[n, i] += signal.correlate(padded[n, channel], spaced[i, j], "valid", "direct")[steps]
        gx[used][n, channel] += signal.convolve(wide[n, i], spaced[i, j], "full", "direct")
        gw[i, j] += signal.correlate(padded[used][n, channel], wide[n, i], "valid", "direct")
    gx = gx[(slice(None), slice(None), *(slice(p, p + size) for (p, _), size in zip(win.padding, case.inside, strict=True)))]
    gx = gx + case.c.reshape(1, -1, *(1,) * rank)
    for got, expected, name in zip(case.run(kernels), (y, gx, gw[holes]), ("y", "gx", "gw"), strict=True):
        assert error(got, expected, 1) <= small(case.dtype, case.algorithm), name


LARGE = {
    "bands": Case.smaller(window((3, 3), 1, 1), 3, (40, 56), 64, 33),
    "bands, no frame": Case.smaller(window((3, 3)), 2, (40, 56), 64, 16),
    "stride": Case.smaller(window((5, 5), 2, 2), 2, (61, 53), 16, 33),
    "Winograd": Case.smaller(window((3, 3), 1, 1), 3, (40, 55), 64, 33, algorithm="winograd"),
    "Winograd, wide weights": Case.smaller(window((3, 3), 1, ((2, 0), (1, 1))), 4, (9, 9), 256, 200, algorithm="winograd"),
    "wide weights": Case.smaller(window((3, 3), 1, 1), 4, (9, 9), 256, 200),  # fewer partial sums, by their memory
    "1x1": Case.smaller(window((1, 1)), 2, (30, 31), 64, 33),
    "depthwise": Case.smaller(window((3, 3), 1, 1, groups=64), 2, (57, 56), 64, 64),
    "space": Case.smaller(window((3, 3, 3), 1, 1), 1, (12, 20, 20), 10, 16),
}


@pytest.mark.parametrize("name", LARGE)
def test_the_three_sums_are_adjoint_and_independent_of_the_threads(name):
    case = LARGE[name]
    y, gx, gw = (a.astype(np.float64) for a in case.run(kernels))
    y -= case.b.reshape(1, -1, *(1,) * case.window.rank)
    gx -= case.c.reshape(1, -1, *(1,) * case.window.rank)
    # <gy, conv(x, w)> = <input_grad(gy, w), x> = <weight_grad(x, gy), w>
    products = [(y * case.gy).sum(), (gx * case.x).sum(), (gw * case.w).sum()]
    assert np.ptp(products) <= 2e-6 * np.linalg.norm(y) * np.linalg.norm(case.gy)
    assert same_with_one_and_two_threads(lambda: case.run(kernels))


@pytest.mark.cpu
@given(cases())
@settings(max_examples=40)
def test_same_bits_for_any_number_of_threads(case):
    assert same_with_one_and_two_threads(lambda: case.run(kernels))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_same_bits_for_any_layout_and_nothing_given_is_written(kind, groups):
    win = window((3, 2), (1, 2), 1, groups=groups)
    plain, other = (Case(win, 2, (6, 5), 4, 8, layout=k) for k in ("C order", kind))
    before = other.x.copy(), other.w.copy(), other.gy.copy()
    assert same(other.run(kernels), plain.run(kernels))
    assert same((other.x, other.w, other.gy), before)


def test_broadcast_inputs():
    win = window((3, 3), 1, 1)
    x, w, gy = np.float32(2.0), np.float32(0.5), np.float32(3.0)
    x, w, gy = np.broadcast_to(x, (2, 3, 5, 5)), np.broadcast_to(w, (4, 3, 3, 3)), np.broadcast_to(gy, (2, 4, 5, 5))
    assert same(kernels.conv_forward(x, w, None, win), kernels.conv_forward(x.copy(), w.copy(), None, win))
    assert same(kernels.conv_input_grad(gy, w, None, (5, 5), win), kernels.conv_input_grad(gy.copy(), w.copy(), None, (5, 5), win))
    assert same(kernels.conv_weight_grad(x, gy, win), kernels.conv_weight_grad(x.copy(), gy.copy(), win))


@pytest.mark.parametrize("inside", [(7,), (6, 7), (2, 3, 4) if SIMULATED else (5, 6, 7)])
def test_results_are_channels_last(inside):
    win = window((3,) * len(inside), 1, 1)
    y, gx, gw = Case(win, 2, inside, 3, 4).run(kernels)
    order = (0, *range(2, 2 + len(inside)), 1)
    assert memory_order(y) == memory_order(gx) == order
    assert gw.flags.c_contiguous


@given(cases(), st.data())
@settings(max_examples=60)
def test_nan_and_inf_reach_only_what_sees_them(case, data):
    if not case.x.size:
        return
    value = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))

    def struck(a):
        b = a.copy()
        b[tuple(data.draw(st.integers(0, n - 1)) for n in a.shape)] = value
        return b

    x, gy = struck(case.x), struck(case.gy)
    for run, arguments, clean in (
        ("conv_forward", (x, case.w, case.b, case.window), (case.x, case.w, case.b, case.window)),
        ("conv_input_grad", (gy, case.w, case.c, case.inside, case.window), (case.gy, case.w, case.c, case.inside, case.window)),
        ("conv_weight_grad", (x, case.gy, case.window), (case.x, case.gy, case.window)),
    ):
        with np.errstate(invalid="ignore"), conv_algorithm("direct"):
            got, expected = getattr(kernels, run)(*arguments), getattr(reference, run)(*arguments)
        hit = ~np.isfinite(expected)
        assert np.array_equal(got[hit], expected[hit].astype(got.dtype), equal_nan=True), run
        assert np.array_equal(got[~hit], getattr(kernels, run)(*clean)[~hit]), run


def test_nan_in_a_weight_or_bias_reaches_every_pixel_of_its_filter():
    case = Case(window((3, 3), 1, 1), 2, (5, 5), 6, 10)
    w, b = case.w.copy(), case.b.copy()
    w[3, 2, 1, 1], b[7] = np.nan, np.nan
    hit = np.isnan(kernels.conv_forward(case.x, w, b, case.window))
    assert hit[:, [3, 7]].all() and not np.delete(hit, [3, 7], axis=1).any()


@pytest.mark.parametrize("stride", [1, 2])
def test_tensor_cores(precision, stride):  # noqa: F811
    case = Case(window((3, 3), stride, 1), 1, (5, 5), 12, 12) if SIMULATED else Case(window((3, 3), stride, 1), 2, (13, 14), 64, 68)
    precision("tf32x3")
    for got, expected in zip(case.run(kernels), case.run(reference), strict=True):
        assert np.linalg.norm(got - expected) <= 2e-6 * np.linalg.norm(expected)


COMPACT = """
import numpy as np
from convkit_kernels.cpu import conv_forward, conv_input_grad, conv_weight_grad, matmul, microkernel
from tests.kernels.test_conv import Case, error, kernels, reference, small, window
from tests.helpers import numbers

print(microkernel.isa().name)
windows = [window((3, 3), 1, 1), window((3, 3)), window((2, 3), 2, 1), window((1, 1)), window((3, 3), 1, 2, 2)]
for dtype in (np.float32, np.float64):
    for i, (channels, filters) in enumerate([(1, 1), (3, 6), (10, 16), (6, 33), (16, 10), (33, 3), (5, 64)]):
        cases = [Case(windows[i % 5], 2, (5, 6), channels, filters, dtype)]
        if 1 < channels < 20:
            cases.append(Case(window((3, 3), 1, 1, 1, channels), 1, (4, 4), channels, 2 * channels, dtype))
            cases.append(Case(window((3, 3), 2, 1, 1, channels), 1, (4, 4), channels, channels, dtype))
        if cases[0].window.size == (3, 3) and cases[0].window.dilation == (1, 1):
            cases.append(Case(cases[0].window, 2, (5, 6), channels, filters, dtype, algorithm="winograd"))
        if i < 3:  # sums to few channels slide
            cases.append(Case(window((5, 5), 1, 2), 16, (5, 6), filters, min(filters, 6), dtype, layout="channels-last"))
        for case in cases:
            for got, expected, terms in zip(case.run(kernels), case.run(reference), case.terms):
                assert error(got, expected, terms) <= small(dtype, case.algorithm), case
            got, expected = (k.conv_forward(case.x, case.w, case.b, case.window, case.gy, True) for k in (kernels, reference))
            assert error(got, expected, case.terms[0]) <= small(dtype), case
        for m in (1, 7, 130):
            a, b, bias = numbers(1, (m, channels), dtype), numbers(2, (channels, filters), dtype), numbers(3, (filters,), dtype)
            for left in (a, np.asfortranarray(a)):
                assert error(matmul(left, b, bias), left.astype(float) @ b + bias, channels) <= small(dtype), (m, channels, filters)
"""


@pytest.mark.cpu
@pytest.mark.parametrize("isa", ["plain", "avx2", "avx512", "neon"])
def test_every_instruction_set(isa, python):
    known = microkernel._host_isas()
    if isa not in known:
        pytest.skip(f"this machine has {', '.join(known)}, not {isa}")
    assert python(COMPACT, CONVKIT_ISA=isa).stdout.split() == [isa]


@pytest.mark.cpu
def test_an_unknown_instruction_set_is_named(python):
    code = """
import numpy as np
from convkit_kernels.cpu import matmul
try:
    matmul(np.ones((2, 2)), np.ones((2, 2)))
except ValueError as error:
    print(error)
"""
    told = python(code, CONVKIT_ISA="sse9").stdout
    assert told.startswith("CONVKIT_ISA: must be one of ") and told.endswith("plain on this machine, got 'sse9'\n")


GUARDED = """
import ctypes, mmap, sys, types
import numpy as np
from importlib import import_module

from tests.kernels.test_conv import Case, kernels, window
from tests.helpers import numbers, same

# import_module, because the package has functions of these names.
conv, outer, matmul, winograd, copy = (import_module('convkit_kernels.cpu.' + name) for name in ('conv', 'outer', 'matmul', 'winograd', 'copy'))
PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
kept = []

def guarded(shape, dtype, at_end):
    "An array that touches a page nobody may touch: the one after its end, or the one before its begin."
    shape, dtype = tuple(np.atleast_1d(shape)), np.dtype(dtype)
    count = int(np.prod(shape))
    room = -(-max(1, count * dtype.itemsize) // PAGE) * PAGE
    memory = mmap.mmap(-1, room + 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (start, start + PAGE + room):
        assert libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0) == 0
    kept.append(memory)
    offset = PAGE + (room - count * dtype.itemsize if at_end else 0)
    return np.frombuffer(memory, dtype, count, offset).reshape(shape)

def copied(a):
    "A guarded copy, in the same memory order."
    if a is None:
        return None
    order = sorted(range(a.ndim), key=lambda i: -a.strides[i])
    b = guarded(tuple(a.shape[i] for i in order), a.dtype, at_end).transpose(np.argsort(order))
    b[...] = a
    return b

class Numpy(types.ModuleType):
    "NumPy, with guarded arrays for results and scratch."
    def __getattr__(self, name):
        return getattr(np, name)
    def empty(self, shape, dtype=float):
        a = guarded(shape, dtype, at_end)
        a.view(np.uint8).fill(255) if a.size else None  # nan: whatever is not written shows
        return a
    def zeros(self, shape, dtype=float):
        a = guarded(shape, dtype, at_end)
        a.fill(0)
        return a
    def array(self, *args, **options):
        return copied(np.array(*args, **options))

def cases():
    for dtype in (np.float32, np.float64):
        for channels in (1, 3, 5, 8, 15, 16, 33):
            for win, filters in (
                (window((3, 3)), channels), (window((3, 3), 1, 1), 5), (window((2, 2), 2), 17), (window((3, 3), 2, 1), channels),
                (window((1, 1)), 9), (window((1, 1), 2), 3), (window((3, 3), 1, 1, 2), 2),
                (window((3, 3), 1, 0, 1, channels), channels), (window((2, 3), 1, 1, 1, channels), 3 * channels),
            ):
                layout = "channels-last" if channels % 2 else "C order"
                if channels < 6:  # sums to few channels slide
                    yield Case(window((5, 5), 1, 2), 16, (5, 7), channels, 6, dtype, layout="channels-last")
                    yield Case(window((5, 5), 1, (0, 3)), 16, (5, 7), channels, 16, dtype, layout="channels-last")
                yield Case(win, 1, (5, 7), channels, filters, dtype, layout=layout)
                if win.size == (3, 3) and win.stride == win.dilation == (1, 1) and win.groups == 1:
                    yield Case(win, 1, (5, 7), channels, filters, dtype, layout=layout, algorithm="winograd")

def products():
    for dtype in (np.float32, np.float64):
        for m in (1, 5, 14, 15, 130):
            for n in (1, 3, 8, 15, 33):
                for k in (1, 7):
                    yield numbers(m, (m, k), dtype), numbers(n, (k, n), dtype), numbers(k, (n,), dtype)

expected = [case.run(kernels) for case in cases()]  # compiles, with NumPy's own memory
expected_products = [(matmul.matmul(*p), matmul.matmul(np.asfortranarray(p[0]), *p[1:])) for p in products()]
for at_end in (True, False):
    conv.np = outer.np = matmul.np = winograd.np = copy.np = Numpy("numpy")
    for case, results in zip(cases(), expected):
        for name in ("x", "w", "gy", "b", "c"):
            setattr(case, name, copied(getattr(case, name)))
        print(case, file=sys.stderr, flush=True)
        assert same(case.run(kernels), results), case
        kept.clear()
    for (a, b, bias), results in zip(products(), expected_products):
        print("matmul", a.shape, b.shape, a.dtype, file=sys.stderr, flush=True)
        for left, result in zip((a, np.asfortranarray(a)), results):
            assert same(matmul.matmul(copied(left), copied(b), copied(bias)), result)
        kept.clear()
    conv.np = outer.np = matmul.np = winograd.np = copy.np = np
print("done")
"""


@pytest.mark.cpu
@pytest.mark.parametrize("isa", ["best", "plain"])
def test_nothing_outside_the_arrays_is_touched(isa, python):
    pytest.importorskip("mmap")
    done = python(GUARDED, check=False, CONVKIT_ISA="" if isa == "best" else isa)
    last = done.stderr.strip().splitlines()[-1:]
    assert done.returncode == 0, f"exit status {done.returncode} (-11: a guard page was touched) at {last}\n{done.stderr[-3000:]}"
    assert done.stdout == "done\n"
