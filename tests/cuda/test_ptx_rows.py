"""As test_ptx.py: the families with the most kernels, in a file of their own so that another process can take them."""

import pytest

from tests.cuda.compiling import ROWS
from tests.cuda.test_ptx import check, compiled

pytest.importorskip("numba_cuda", reason="the compiler, numba-cuda[cu13], is not installed")
pytestmark = pytest.mark.cpu


@pytest.mark.parametrize("family", ROWS)
def test_kernels_compile_for_every_gpu(python, family):
    check(compiled(python, ROWS)[family])
