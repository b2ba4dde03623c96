"""What is done to a tile's sums before they are stored, emitted as tiles are."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir

from .lanes import I64
from .microkernel import compiled, isa


def positive(b: ir.IRBuilder, value: Any) -> Any:
    """0 in place of what is not above it; NaN stays."""
    zero = ir.Constant(value.type, None)
    return b.select(b.fcmp_ordered("<=", value, zero), zero, value)


def finish_kernel(dtype: np.dtype, add: bool, relu: bool) -> int:
    """Address of the code that finishes the sums of a tile while they are in the first-level cache, 0 if there is nothing to do:

        y[i, j] = max(y[i, j] + add[i, j], 0)      for i < rows and j < cols; without the sum or the maximum if not asked for

    It takes (y, add, ld, rows, cols): addresses, and how far apart the rows of both are, in elements.  Compiled on first use.
    """
    if not add and not relu:
        return 0
    return compiled(f"finish-{dtype.char}-{add}-{relu}", lambda: _emit_finish(dtype, add, relu))


def _emit_finish(dtype: np.dtype, adds: bool, relu: bool) -> ir.Module:
    lanes = isa().bytes // dtype.itemsize
    scalar, suffix = (ir.FloatType(), "f32") if dtype.itemsize == 4 else (ir.DoubleType(), "f64")
    vec, fp = ir.VectorType(scalar, lanes), scalar.as_pointer()
    module = ir.Module(f"finish_{suffix}" + "_add" * adds + "_relu" * relu)
    module.triple = llvm.get_process_triple()
    fn = ir.Function(module, ir.FunctionType(ir.VoidType(), [fp, fp, I64, I64, I64]), module.name)
    y, add, ld, rows, cols = fn.args
    entry, row, vectors, rest, numbers, row_end, done = (
        fn.append_basic_block(n) for n in ("entry", "row", "vectors", "rest", "numbers", "end", "done")
    )
    b = ir.IRBuilder(entry)
    zero, one = ir.Constant(I64, 0), ir.Constant(I64, 1)
    flat = b.icmp_signed("==", cols, ld)  # rows without a gap are one row: few columns fill vectors
    rows, cols = b.select(flat, one, rows), b.select(flat, b.mul(rows, cols), cols)
    whole = b.and_(cols, ir.Constant(I64, -lanes))
    b.cbranch(b.icmp_signed(">", rows, zero), row, done)

    def finished(kind: ir.Type, at: Any) -> None:
        place, more = (b.bitcast(b.gep(p, [at]), kind.as_pointer()) for p in (y, add))
        value = b.load(place, align=dtype.itemsize)
        value = b.fadd(value, b.load(more, align=dtype.itemsize)) if adds else value
        b.store(positive(b, value) if relu else value, place, align=dtype.itemsize)

    b.position_at_end(row)
    i, first = b.phi(I64), b.phi(I64)
    b.cbranch(b.icmp_signed(">", whole, zero), vectors, rest)
    b.position_at_end(vectors)
    j = b.phi(I64)
    finished(vec, b.add(first, j))
    j_next = b.add(j, ir.Constant(I64, lanes))
    b.cbranch(b.icmp_signed("<", j_next, whole), vectors, rest)
    b.position_at_end(rest)
    b.cbranch(b.icmp_signed("<", whole, cols), numbers, row_end)
    b.position_at_end(numbers)
    n = b.phi(I64)
    finished(scalar, b.add(first, n))
    n_next = b.add(n, one)
    b.cbranch(b.icmp_signed("<", n_next, cols), numbers, row_end)
    b.position_at_end(row_end)
    i_next, first_next = b.add(i, one), b.add(first, ld)
    b.cbranch(b.icmp_signed("<", i_next, rows), row, done)
    b.position_at_end(done)
    b.ret_void()
    for phi, begin, before, following, loop in (
        (i, zero, entry, i_next, row_end), (first, zero, entry, first_next, row_end),
        (j, zero, row, j_next, vectors), (n, whole, rest, n_next, numbers),
    ):  # fmt: skip
        phi.add_incoming(begin, before)
        phi.add_incoming(following, loop)
    return module
