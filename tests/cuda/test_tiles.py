"""The kernels that convolutions and products spend their time in: 16 bytes at a time, tensor cores where asked for, all in registers."""

import pytest

pytest.importorskip("numba_cuda", reason="the compiler, numba-cuda[cu13], is not installed")
pytestmark = pytest.mark.cpu  # in processes of their own

CODE = """
import sys
import numpy as np
from tests.cuda.compiling import *
without_gpu()
from numba import cuda
from convkit_kernels.cuda import tiles

terms = {terms}
kernel = tiles.family(True, False, True, tiles.TENSOR if terms else tiles.LARGE, terms)[np.dtype(np.float32)]
ptx, _ = cuda.compile_ptx(kernel.function, kernel.types, cc=(9, 0))
print(*(ptx.count(word) for word in ("ld.global.v4.f32", "st.global.v4.f32", "ld.shared.v4.f32", "fma.rn.f32", "mma.sync", ".f64", ".local")))
"""


@pytest.mark.parametrize("terms", [0, 1, 3])
def test_what_the_kernels_are_made_of(python, terms):
    told = python(CODE.format(terms=terms), NUMBA_ENABLE_CUDASIM=None).stdout
    loads, stores, shared, fma, mma, double, local = map(int, told.split())
    assert loads and stores and shared and not double and not local
    if terms:
        assert mma >= 2 * 4 * terms and not fma
    else:
        assert fma >= 8 * 8 and not mma
