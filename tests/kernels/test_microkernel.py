"""The register tiles, called one by one through ctypes, against NumPy; nothing beyond their columns is read or written."""

import ctypes
import functools
import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convkit_kernels.cpu import microkernel
from convkit_kernels.cpu.microkernel import Piece, Tile, row_split, tile_for, tile_kernel
from tests.backend import settings
from tests.helpers import numbers, relative_error, tolerance

PROTOTYPE = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 14)


@functools.cache
def tiles(dtype):
    """Every shape of tile that `tile_for` chooses from, but those along the sum."""
    found = {tile_for(m, n, np.dtype(dtype)) for m in range(1, 30) for n in range(1, 200)}
    narrow = {tile_for(m, n, np.dtype(dtype), across=a) for m in range(1, 30) for n in (1, 6, 16) for a in (2, 3, 5)}
    return sorted(found | narrow, key=lambda t: (t.lanes, t.vectors, t.across))


@st.composite
def calls(draw):
    dtype = np.dtype(draw(st.sampled_from(["float32", "float64"])))
    tile = draw(st.sampled_from(tiles(dtype)))
    return {
        "dtype": dtype,
        "tile": tile,
        "rows": draw(st.integers(1, tile.rows)),
        "cols": draw(st.integers(1, tile.columns)),
        "taps": draw(st.integers(1, 4)),
        "run": draw(st.integers(1, 9)),
        "unit_rows": draw(st.booleans()),
        "masked": draw(st.booleans()),
        "lanewise": draw(st.booleans()),
        "wide": draw(st.integers(0, 3)),
        "seed": draw(st.integers(0, 99)),
    }


@given(calls())
@settings(max_examples=150)
def test_a_tile_computes_its_sum(call):
    dtype, tile, rows, cols, taps, run = (call[k] for k in ("dtype", "tile", "rows", "cols", "taps", "run"))
    xrow = 1 if call["unit_rows"] else run + call["wide"]
    xinc = rows + call["wide"] if call["unit_rows"] else 1
    across = tile.across
    winc = tile.columns if not call["masked"] else cols + call["wide"]
    ldy = tile.columns + call["wide"]
    rng = np.random.default_rng(call["seed"])
    reach = (rows + across - 2) * xrow + (run - 1) * xinc + tile.columns
    xtaps, wtaps = rng.integers(0, 50, taps), rng.integers(0, 50, taps)
    x, w = numbers(call["seed"], (reach + 50,), dtype), numbers(call["seed"] + 1, ((across * run - 1) * winc + tile.columns + 50,), dtype)
    start = numbers(call["seed"] + 2, (tile.columns,), dtype)
    start[cols:] = np.nan
    if call["masked"]:  # what lies beyond the last row's columns must not be used
        w[max(wtaps) + (across * run - 1) * winc + cols :] = np.nan
    y = np.full((rows, ldy), 7, dtype)
    PROTOTYPE(tile_kernel(tile, rows, dtype, call["unit_rows"], call["masked"], call["lanewise"]))(
        x.ctypes.data, xtaps.ctypes.data, xrow, xinc, w.ctypes.data, wtaps.ctypes.data, winc, taps, run,
        start.ctypes.data, 0, y.ctypes.data, ldy, cols,
    )  # fmt: skip
    expected = np.tile(start[:cols].astype(np.float64), (rows, 1))
    terms = np.abs(expected)
    for k, s, t in itertools.product(range(taps), range(across), range(run)):
        place = xtaps[k] + (np.arange(rows) + s) * xrow + t * xinc
        weights = w[wtaps[k] + (s * run + t) * winc + np.arange(cols)].astype(np.float64)
        if call["lanewise"]:  # every column has numbers of its own in x
            products = x[place[:, None] + np.arange(cols)] * weights
        else:
            products = np.outer(x[place].astype(np.float64), weights)
        expected += products
        terms += np.abs(products)
    assert relative_error(y[:, :cols], expected, terms) <= tolerance(dtype)  # a single sum may be small by chance
    assert (y[:, cols:] == 7).all()


@given(
    st.sampled_from(["float32", "float64"]), st.integers(1, 8), st.integers(1, 12), st.integers(1, 4), st.integers(1, 70), st.integers(0, 3),
    st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=100)
def test_columns_sum_along_their_vectors(name, columns, rows, taps, run, wide, seed):
    dtype = np.dtype(name)
    columns = min(columns, microkernel.isa().bytes // dtype.itemsize)
    xrow, winc, ldy = run + wide, taps * run + wide, columns + wide
    order = np.random.default_rng(seed).permutation(taps)
    xtaps, wtaps = order * (rows * xrow), order * run
    x, w = numbers(seed, (taps, rows, xrow), dtype), numbers(seed + 1, (columns, winc), dtype)
    x[:, :, run:], w[:, taps * run :] = np.nan, np.nan  # not part of any sum
    start, y = numbers(seed + 2, (columns,), dtype), np.full((rows, ldy), 7, dtype)
    PROTOTYPE(tile_kernel(Tile(1, columns, 12), rows, dtype))(
        x.ctypes.data, xtaps.ctypes.data, xrow, 1, w.ctypes.data, wtaps.ctypes.data, winc, taps, run,
        start.ctypes.data, 0, y.ctypes.data, ldy, columns,
    )  # fmt: skip
    of_x, of_w = x[:, :, :run].astype(np.float64), w[:, : taps * run].reshape(columns, taps, run).astype(np.float64)
    # A single sum may be small by chance.
    expected, size = (f(start.astype(np.float64)) + np.einsum("krt,jkt->rj", f(of_x), f(of_w)) for f in (np.positive, np.abs))
    assert (np.abs(y[:, :columns] - expected) <= tolerance(dtype) * np.abs(size)).all()
    assert (y[:, columns:] == 7).all()


@given(st.integers(1, 14), st.integers(1, 4), st.integers(1, 3), st.integers(1, 9), st.booleans(), st.data())
@settings(max_examples=30)
def test_pieces_of_a_row_of_taps_are_for_some_rows(rows, wide, lines, run, merged, data):
    # Of each row of taps (merged into one entry of the tables, or an entry each) a tap is for the rows from `first` to before `end`.
    dtype = np.dtype(np.float32)
    tile = tile_for(rows, 20, dtype)
    seen = [sorted((data.draw(st.integers(0, rows)), data.draw(st.integers(0, rows)))) for _ in range(wide)]
    pieces = tuple(Piece(*((0, s) if merged else (s, 0)), 1, *ends) for s, ends in enumerate(seen))
    xrow, winc, entries = run, tile.columns, 1 if merged else wide
    order = np.random.default_rng(run).permutation(lines * entries)
    xtaps, wtaps = order * (run * wide), order * (run * wide * winc)
    x, w = numbers(1, (lines * wide * run * wide + (rows + wide) * xrow,), dtype), numbers(2, (lines * wide * run * wide * winc,), dtype)
    y, start = np.full((rows, tile.columns), 7, dtype), numbers(3, (tile.columns,), dtype)
    PROTOTYPE(tile_kernel(replace(tile, rows=rows), rows, dtype, pieces=pieces))(
        x.ctypes.data, xtaps.ctypes.data, xrow, 1, w.ctypes.data, wtaps.ctypes.data, winc, len(order), run,
        start.ctypes.data, 0, y.ctypes.data, tile.columns, tile.columns,
    )  # fmt: skip
    expected = np.tile(start.astype(np.float64), (rows, 1))
    for line, (s, (first, end)), i, t in itertools.product(range(lines), enumerate(seen), range(rows), range(run)):
        if first <= i < end:
            entry, skip = (line, s * run) if merged else (line * wide + s, 0)
            begin = wtaps[entry] + (skip + t) * winc
            expected[i] += x[xtaps[entry] + skip + i * xrow + t].astype(np.float64) * w[begin : begin + tile.columns]
    assert relative_error(y, expected) <= 10 * tolerance(dtype)


@given(calls())
@settings(max_examples=30)
def test_a_tile_goes_on_from_its_own_result(call):
    # start and y may be one array: that is how partial sums are continued.
    dtype, tile, rows, cols = (call[k] for k in ("dtype", "tile", "rows", "cols"))
    tile = replace(tile, across=1)
    x, w = numbers(3, (rows,), dtype), numbers(4, (tile.columns,), dtype)
    y = numbers(5, (rows, tile.columns), dtype)
    before, zero = y.copy(), np.zeros(1, np.int64)
    PROTOTYPE(tile_kernel(tile, rows, dtype))(
        x.ctypes.data, zero.ctypes.data, 1, 1, w.ctypes.data, zero.ctypes.data, tile.columns, 1, 1,
        y.ctypes.data, tile.columns, y.ctypes.data, tile.columns, cols,
    )  # fmt: skip
    expected = before.astype(np.float64)
    expected[:, :cols] += np.outer(x, w).astype(np.float64)[:, :cols]
    assert relative_error(y, expected) <= tolerance(dtype)


def test_kernels_are_compiled_once():
    tile = tile_for(14, 16, np.dtype(np.float32))
    assert tile_kernel(tile, 1, np.dtype(np.float32)) == tile_kernel(tile, 1, np.dtype(np.float32))
    assert tile_kernel(tile, 1, np.dtype(np.float32)) != tile_kernel(tile, 1, np.dtype(np.float32), masked=True)


@given(st.integers(0, 1000), st.integers(1, 14))
def test_row_split_covers_all_rows_once(count, most):
    height, many, count_of_tiles = row_split(count, most)
    assert height <= most and 0 <= many <= count_of_tiles
    if count:
        assert many * height + (count_of_tiles - many) * (height - 1) == count
        starts = [t * height - max(0, t - many) for t in range(count_of_tiles + 1)]
        assert starts[0] == 0 and starts[-1] == count and all(a < b for a, b in zip(starts, starts[1:], strict=False))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tiles_fit_the_registers(dtype):
    this = microkernel.isa()
    for tile in tiles(dtype):
        assert tile.lanes * np.dtype(dtype).itemsize <= this.bytes
        registers = 32 if this.name in ("avx512", "neon") else 16
        # the sums, one row of weights, one broadcast number
        assert tile.rows * tile.vectors + tile.across * tile.vectors + 1 <= registers
        assert tile.columns == tile.lanes * tile.vectors


def test_few_columns_take_a_narrow_tile():
    for columns in (1, 2, 4):
        assert tile_for(14, columns, np.dtype(np.float64)).columns <= max(columns, microkernel.isa().bytes // 8)


def test_tiles_are_chosen_for_the_rows_too():
    """Of the tiles that fill the registers, the one whose height cuts the rows best."""
    for rows, name, vectors, height in ((14, "avx512", 2, 14), (16, "avx512", 4, 6), (28, "avx512", 2, 14), (12, "avx2", 2, 6)):
        if microkernel.isa().name == name:
            assert tile_for(rows, 512, np.dtype(np.float32)) == Tile(microkernel.isa().bytes // 4, vectors, height)


def test_isa_by_name(monkeypatch):
    monkeypatch.setenv("CONVKIT_ISA", "plain")
    assert microkernel.isa.__wrapped__().name == "plain"
    monkeypatch.setenv("CONVKIT_ISA", "")
    assert microkernel.isa.__wrapped__().name == next(iter(microkernel._host_isas()))
    monkeypatch.setenv("CONVKIT_ISA", "mmx")
    with pytest.raises(ValueError, match=r"CONVKIT_ISA: must be one of .*plain on this machine, got 'mmx'"):
        microkernel.isa.__wrapped__()
