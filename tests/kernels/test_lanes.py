"""Vectors of emitted code: one number in all lanes, masks of the first lanes, and loads and stores that touch no more."""

import ctypes

import numpy as np
import pytest
from llvmlite import binding as llvm
from llvmlite import ir

from convkit_kernels.cpu.lanes import I64, accesses, below, splat
from convkit_kernels.cpu.microkernel import compiled

LANES = 4


def copy_some(kind, begin, fill):
    """Code for (x, y, count): y[0] = x in lanes begin + lane < count, else `fill`; y[1] = x in those lanes only; y[2] = the first lane of y[0]."""
    vec = ir.VectorType(kind, LANES)
    module = ir.Module(f"copy_{kind}_{begin}_{fill}")
    module.triple = llvm.get_process_triple()
    fn = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 3), module.name)
    b = ir.IRBuilder(fn.append_basic_block("entry"))
    x, y, count = fn.args
    load, store = accesses(module, vec, ir.Constant(vec, [fill] * LANES) if fill else None)
    first, second, third = (b.inttoptr(b.add(y, ir.Constant(I64, 64 * i)), vec.as_pointer()) for i in range(3))
    mask = below(b, count, LANES, begin)
    value = load(b, b.inttoptr(x, vec.as_pointer()), mask)
    store(b, value, first)
    store(b, load(b, b.inttoptr(x, kind.as_pointer())), second, mask)
    store(b, splat(b, b.extract_element(value, ir.Constant(I64, 0)), LANES), third)
    b.ret_void()
    return module


@pytest.mark.parametrize(("kind", "dtype", "fill"), [
    (ir.FloatType(), np.float32, 0), (ir.DoubleType(), np.float64, -1.0), (ir.IntType(32), np.int32, 0), (ir.IntType(8), np.int8, 7),
])  # fmt: skip
@pytest.mark.parametrize("begin", [0, 2])
def test_some_lanes(kind, dtype, fill, begin):
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(compiled(f"lanes-{dtype.__name__}-{begin}-{fill}", lambda: copy_some(kind, begin, fill)))
    size = np.dtype(dtype).itemsize
    for count in range(LANES + 3):
        x, y = np.arange(1, 2 * LANES, dtype=dtype), np.full((3, 64 // size), 99, dtype)
        run(x[1:].ctypes.data, y.ctypes.data, count)  # at an odd element
        some = [begin + lane < count for lane in range(LANES)]
        read = [x[1 + lane] if some[lane] else fill for lane in range(LANES)]
        np.testing.assert_array_equal(y[0, :LANES], read)
        np.testing.assert_array_equal(y[1, :LANES], [x[1 + lane] if some[lane] else 99 for lane in range(LANES)])
        np.testing.assert_array_equal(y[2, :LANES], [read[0]] * LANES)
        assert (y[:, LANES:] == 99).all()
