"""Window sizes against counting, and every check."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from convkit_kernels import geometry
from tests.reference import conv as conv_reference
from tests.reference import pool as pool_reference

WINDOW = geometry.window("op", (3, 3))


@st.composite
def windows(draw, ceil_mode=False):
    rank = draw(st.integers(1, 3))

    def each(strategy):
        return tuple(draw(strategy) for _ in range(rank))

    pairs = each(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    small = st.integers(1, 4)
    return geometry.Window(each(small), each(small), pairs, each(st.integers(1, 3)), 1, ceil_mode)


@given(windows(), st.data())
def test_output_size_counts_the_places_of_the_window(window, data):
    size = tuple(data.draw(st.integers(0, 12)) for _ in range(window.rank))
    counted = conv_reference.output_size(size, window)
    if 0 in counted:
        with pytest.raises(ValueError, match=r"^conv: the window covers .* but the padded input is only"):
            window.output_size(size, "conv")
    else:
        assert window.output_size(size) == counted


@given(windows(ceil_mode=True), st.data())
def test_ceil_mode_adds_a_window_that_starts_inside(window, data):
    size = tuple(data.draw(st.integers(1, 12)) for _ in range(window.rank))
    floor = geometry.Window(window.size, window.stride, window.padding, window.dilation)
    assume(0 not in conv_reference.output_size(size, floor))
    assert window.output_size(size) == pool_reference.output_size(size, window)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "expected"),
    [(7, 2, 2, 0, 4), (6, 2, 2, 0, 3), (5, 3, 2, 1, 3), (4, 2, 3, 1, 2), (3, 1, 2, 0, 2), (6, 3, 2, 0, 3), (2, 2, 3, 1, 1)],
)
def test_ceil_mode_gives_torch_s_sizes(size, kernel, stride, padding, expected):
    # Taken from torch.nn.functional.max_pool1d(torch.zeros(1, 1, size), kernel, stride, padding, ceil_mode=True).
    assert geometry.window("pool", (kernel,), stride, padding, ceil_mode=True).output_size((size,)) == (expected,)


@given(windows(), st.data())
def test_input_size_reads_the_formula_backwards(window, data):
    out = tuple(data.draw(st.integers(1, 6)) for _ in range(window.rank))
    inside = window.input_size(out)
    assume(all(n >= 0 for n in inside))
    assert window.output_size(inside) == out
    # The sizes that a stride skips are what output_padding chooses among.
    extra = tuple(s - 1 for s in window.stride)
    assert window.output_size(window.input_size(out, extra)) == out


def test_span_and_canonical():
    window = geometry.window("op", (3, 2), (2, 1), ((1, 0), (0, 2)), (1, 4))
    assert window.rank == 2
    assert window.span == (3, 5)
    assert window.canonical == ((1, 3, 2), (1, 2, 1), ((0, 0), (1, 0), (0, 2)), (1, 1, 4))
    assert hash(window) == hash(geometry.window("op", [3, 2], [2, 1], [[1, 0], [0, 2]], [1, 4]))


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_same_keeps_the_size(kernel, dilation):
    window = geometry.window("op", (kernel, kernel), padding="same", dilation=dilation)
    assert window.output_size((9, 4)) == (9, 4)
    before, after = window.padding[0]
    assert after - before == dilation * (kernel - 1) % 2


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))
def test_same_with_a_stride_divides_the_size(inside, kernel, stride, dilation):
    window = geometry.window("op", (kernel,), stride, "same", dilation, inside=(inside,))
    ((before, after),) = window.padding
    assert window.output_size((inside,)) == (-(-inside // stride),)
    assert 0 <= after - before <= 1
    least = (-(-inside // stride) - 1) * stride + window.span[0] - inside
    assert before + after == max(0, least)


@given(windows(), st.data())
def test_output_padding_for_reaches_every_size_of_a_stride(window, data):
    inside = tuple(data.draw(st.integers(1, 6)) for _ in range(window.rank))
    least = window.input_size(inside)
    extra = tuple(data.draw(st.integers(-1, s)) for s in window.stride)
    wanted = tuple(n + e for n, e in zip(least, extra, strict=True))
    if all(0 <= e < s for e, s in zip(extra, window.stride, strict=True)):
        assert geometry.output_padding_for("op", wanted, inside, window) == extra
    else:
        with pytest.raises(ValueError, match=r"op: output_size .* is out of reach: .* W: \("):
            geometry.output_padding_for("op", wanted, inside, window)


@pytest.mark.parametrize(
    ("padding", "pairs"),
    [
        (2, ((2, 2), (2, 2))), ((1, 2), ((1, 1), (2, 2))), ([1], ((1, 1), (1, 1))), ("valid", ((0, 0), (0, 0))),
        (((0, 1), (2, 3)), ((0, 1), (2, 3))), (((1,), (2,)), ((1, 1), (2, 2))),
    ],
)  # fmt: skip
def test_padding_forms(padding, pairs):
    assert geometry.window("op", (3, 3), padding=padding).padding == pairs


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"stride": 0}, ValueError, "conv2d: stride must be at least 1, got [0, 0]"),
        ({"stride": (1, 2, 3)}, ValueError, "conv2d: stride needs 2 numbers, one a dimension, got [1, 2, 3]"),
        ({"stride": 1.5}, TypeError, "conv2d: stride must be an int or 2 ints, got 1.5"),
        ({"stride": True}, TypeError, "conv2d: stride must be an int or 2 ints, got True"),
        ({"stride": (1, None)}, TypeError, "conv2d: stride must be an int or 2 ints, got (1, None)"),
        ({"stride": "12"}, TypeError, "conv2d: stride must be an int or 2 ints, got '12'"),
        ({"dilation": -1}, ValueError, "conv2d: dilation must be at least 1, got [-1, -1]"),
        ({"padding": -1}, ValueError, "conv2d: padding must be at least 0, got [-1, -1]"),
        ({"padding": ((0, 1), (-2, 0))}, ValueError, "conv2d: padding must be at least 0, got [-2, 0]"),
        ({"padding": ((0, 1),)}, ValueError, "conv2d: padding needs 2 (before, after) pairs, got [(0, 1)]"),
        ({"padding": ((0, 1, 2), (0, 1, 2))}, ValueError, "conv2d: padding needs 2 numbers"),
        ({"padding": (1, (1, 1))}, TypeError, "conv2d: padding must be an int or 2 ints"),
        ({"padding": "full"}, ValueError, "conv2d: padding must be 'valid', 'same' or numbers, got 'full'"),
        ({"padding": "same", "stride": 2}, ValueError, "conv2d: padding='same' with stride [2, 2] follows from the size of the input"),
        ({"groups": 0}, ValueError, "conv2d: groups must be at least 1, got 0"),
        ({"groups": 1.0}, TypeError, "conv2d: groups must be an int, got 1.0"),
        ({"groups": True}, TypeError, "conv2d: groups must be an int, got True"),
    ],
)
def test_window_errors(options, error, words):
    with pytest.raises(error) as caught:
        geometry.window("conv2d", (3, 3), **options)
    assert words in str(caught.value)


def test_window_size_errors():
    with pytest.raises(ValueError, match=r"conv2d: kernel_size must be at least 1, got \[0, 3\]"):
        geometry.window("conv2d", (0, 3))


@pytest.mark.parametrize(
    ("x", "w", "b", "groups", "words"),
    [
        ((2, 3, 8), (4, 3, 3, 3), None, 1, "conv2d: input must be 4-D [N, C, H, W], got shape [2, 3, 8]"),
        ((2, 4, 8, 8), (4, 3, 3, 3), None, 1, "conv2d: input has 4 channels but weight [4, 3, 3, 3] with groups=1 needs 3"),
        ((2, 6, 8, 8), (4, 3, 3, 3), None, 3, "weight [4, 3, 3, 3] has 4 output channels, not a positive multiple of groups=3"),
        ((2, 3, 8, 8), (0, 3, 3, 3), None, 1, "weight [0, 3, 3, 3] has 0 output channels"),
        ((2, 3, 8, 8), (4, 3, 3, 3), (3,), 1, "conv2d: bias must have shape [4], one number an output channel, got [3]"),
        ((2, 3, 8, 2), (4, 3, 3, 3), None, 1, "conv2d: the window covers [3, 3] (kernel [3, 3], dilation [1, 1])"),
    ],
)
def test_conv_errors(x, w, b, groups, words):
    with pytest.raises(ValueError) as caught:
        geometry.conv_shapes("conv2d", x, w, b, geometry.window("conv2d", (3, 3), groups=groups))
    assert words in str(caught.value)


def test_conv_shapes():
    window = geometry.window("conv2d", (3, 3), 2, 1, groups=2)
    assert geometry.conv_shapes("conv2d", (5, 4, 8, 7), (6, 2, 3, 3), (6,), window) == (5, 6, 4, 4)
    assert geometry.conv_transpose_shapes("t", (5, 6, 4, 4), (6, 2, 3, 3), (4,), window, (1, 0)) == (5, 4, 8, 7)


@pytest.mark.parametrize(
    ("x", "w", "b", "extra", "words"),
    [
        ((2, 6, 4), (6, 2, 3, 3), None, (0, 0), "t: input must be 4-D [N, C, H, W], got shape [2, 6, 4]"),
        ((2, 5, 4, 4), (5, 2, 3, 3), None, (0, 0), "t: weight [5, 2, 3, 3] has 5 input channels, not a positive multiple of groups=2"),
        ((2, 4, 4, 4), (6, 2, 3, 3), None, (0, 0), "t: input has 4 channels but weight [6, 2, 3, 3] needs 6"),
        ((2, 6, 4, 4), (6, 2, 3, 3), (2,), (0, 0), "t: bias must have shape [4], one number an output channel, got [2]"),
        ((2, 6, 4, 4), (6, 2, 3, 3), None, (2, 0), "t: output_padding must be smaller than stride or dilation, got output_padding [2, 0]"),
        ((2, 6, 4, 0), (6, 2, 3, 3), None, (0, 0), "t: the output would have size [7, -1]"),
    ],
)
def test_conv_transpose_errors(x, w, b, extra, words):
    with pytest.raises(ValueError) as caught:
        geometry.conv_transpose_shapes("t", x, w, b, geometry.window("t", (3, 3), 2, 1, groups=2), extra)
    assert words in str(caught.value)


def test_pooling_pads_at_most_half_of_what_the_window_covers():
    with pytest.raises(ValueError, match=r"pool: padding must be at most half the window, got padding \[\[2, 2\], \[2, 2\]\] and window \[3, 3\]"):
        geometry.pool_padding("pool", geometry.window("pool", (3, 3), padding=2))
    geometry.pool_padding("pool", geometry.window("pool", (3, 3), padding=2, dilation=2))


def test_places_of_windows():
    window = geometry.window("pool", (3, 2), (2, 1), (1, 0), (2, 1))
    assert window.places(0, 9, 3) == ([-1, 1, 3], [3, 3, 3], 2) and window.places(1, 3, 2) == ([0, 1], [2, 2], 1)
    grid = geometry.Grid((3, 5))
    assert grid.rank == 2 and grid.output_size((5, 3)) == (3, 5)
    assert grid.places(0, 5, 3) == ([0, 1, 3], [2, 3, 2], 1)  # 0 1, 1 2 3, 3 4
    assert grid.places(1, 3, 5) == ([0, 0, 1, 1, 2], [1, 2, 1, 2, 1], 1)
