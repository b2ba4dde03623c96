import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convkit_kernels.cpu import windows
from tests.backend import settings
from tests.helpers import dtypes, numbers, relative_error, same, tolerance


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 4), width=st.integers(1, 40), output=st.integers(1, 40), channels=st.sampled_from([1, 1, 2, 3, 5, 16, 33, 70]),
    spaced=st.integers(0, 5), dtype=dtypes, op=st.sampled_from(["max", "sum", "weighted"]), seed=st.integers(0, 999),
)  # fmt: skip
def test_a_walk_over_drawn_tables(rows, width, output, channels, spaced, dtype, op, seed):
    """Columns that lie `spaced` apart, or, for 0, anywhere; each sees up to three taps; an output row sees up to two input rows."""
    draw = np.random.default_rng(seed)
    first = np.arange(output) * spaced - 1 if spaced else draw.integers(-1, width, output)
    apart = int(draw.integers(1, 3))
    place = first[:, None] + np.arange(3) * apart
    seen = (place >= 0) & (place < width) & (draw.random(place.shape) < 0.8)
    row_start = np.append(0, np.cumsum(draw.integers(0, 3, 3)))
    row_seen = np.stack([draw.integers(0, rows, row_start[-1]), draw.integers(0, 3, row_start[-1]) * 3], axis=1).reshape(-1, 2)
    walk = windows.walk_of((row_start, row_seen), (first, apart, seen), (rows, width, output), channels, np.dtype(dtype))
    x = np.round(numbers(seed, (2, rows, width, channels), dtype), 1)
    x.ravel()[:: 7 + seed % 11] = -np.inf if op == "max" else 0.5
    y, won = np.empty((2, 3, output, channels), dtype), np.empty((2, 3, output, channels), np.uint8)
    by_row = draw.random(3 if op == "sum" else len(row_seen)).astype(dtype) + dtype(0.5)
    by_place, by_tap = draw.random(output).astype(dtype) + dtype(0.5), draw.random(3).astype(dtype) + dtype(0.5)
    if op == "sum":
        columns = np.where(walk.elements < 0, 1, by_place[walk.elements // channels]).astype(dtype)
    else:  # weights of the walk's own taps, the same for all its lanes
        taps = walk.table[walk.plan[-1] :].reshape(-1, windows.TAP_SIZE)[:, 1]
        columns = np.repeat(by_tap[taps], 1 if walk.vectors else windows.lanes_of(np.dtype(dtype)))
    row_factors = by_row if by_row.size else np.ones(1, dtype)
    columns = columns if columns.size else np.ones(1, dtype)
    windows.planned(op, walk, y.size, row_factors, columns, int(op == "max")).run(x.ravel(), y.ravel(), won)
    for o in range(3):
        for q in range(output):
            pairs = [
                (a, k, x[:, row_seen[a, 0], place[q, k]].astype(np.float64))
                for a in range(row_start[o], row_start[o + 1])
                for k in range(3)
                if seen[q, k]
            ]
            if op == "max":
                values = np.array([v for _, _, v in pairs]).reshape(-1, 2, channels)
                expected = values.max(axis=0) if pairs else np.full((2, channels), -np.inf)
                number = np.array([row_seen[a, 1] + k for a, k, _ in pairs])
                assert same(y[:, o, q], expected.astype(dtype))
                assert np.array_equal(won[:, o, q], number[values.argmax(axis=0)] if pairs else np.zeros((2, channels)))
                continue
            factors = [1.0 if op == "sum" else float(by_row[a]) * float(by_tap[k]) for a, k, _ in pairs]
            over = float(by_row[o]) * float(by_place[q]) if op == "sum" else 1.0
            expected, scale = (
                sum((f * g(v) for f, (_, _, v) in zip(factors, pairs, strict=True)), np.zeros((2, channels))) / over for g in (float_, np.abs)
            )
            assert relative_error(y[:, o, q], expected, scale) < tolerance(dtype, 5e-7, 1e-15)


def float_(v):
    return v


@pytest.mark.parametrize("op", ["max", "sum"])
def test_nothing_is_read_outside_the_lines(op):
    """NaN before and behind x would show; so would writing there."""
    for channels, stride in ((1, 1), (1, 2), (1, 3), (3, 2), (20, 2)):
        memory = np.full(64 + 9 * channels + 64, np.nan, np.float32)
        x = memory[64 : 64 + 9 * channels]
        x[:] = 1
        output = (9 + 2 - 3) // stride + 1
        first = np.arange(output) * stride - 1
        place = first[:, None] + np.arange(3)
        columns = first, 1, (place >= 0) & (place < 9)
        walk = windows.walk_of((np.array([0, 1]), np.zeros((1, 2), np.int64)), columns, (1, 9, output), channels, x.dtype)
        out, won = np.full(output * channels + 64, -3, np.float32), np.full(output * channels + 64, 99, np.uint8)
        y, ones = out[: output * channels], np.ones(max(walk.elements.size, 1), np.float32)
        windows.planned(op, walk, y.size, ones, ones, int(op == "max")).run(x, y, won)
        assert np.isfinite(y).all() and (out[y.size :] == -3).all() and (won[y.size :] == 99).all()
