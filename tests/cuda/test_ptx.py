"""The compiler's output for every kernel, without a GPU: see `tests/cuda/compiling.py` for how, and for what must hold."""

import ast
import functools
import json

import pytest

from tests.cuda import calls
from tests.cuda.compiling import ROWS, WINDOWS, complaints, exports

pytest.importorskip("numba_cuda", reason="the compiler, numba-cuda[cu13], is not installed")
pytestmark = pytest.mark.cpu  # in processes of their own


@functools.cache
def compiled(python, families):
    """{family: what is to be known of its kernels}, of those of a file of tests: from one process, which learns once what kernels share."""
    lines = python(f"from tests.cuda.compiling import main; main({families!r})", NUMBA_ENABLE_CUDASIM=None).stdout.splitlines()
    kernels = [json.loads(line) for line in lines]
    return {family: [kernel for kernel in kernels if family in kernel["families"]] for family in families}


def check(found):
    assert found
    wrong = [f"{kernel['kernel']}\n    {what}" for kernel in found for what in complaints(kernel)]
    assert not wrong, "\n".join(wrong)


FAMILIES = tuple(sorted(set(exports("cuda")) - set(ROWS) - set(WINDOWS)))


@pytest.mark.parametrize("family", FAMILIES)
def test_kernels_compile_for_every_gpu(python, family):
    check(compiled(python, FAMILIES)[family])


def test_the_calls_name_every_public_kernel():
    assert set(calls.CALLS) == {name for names in exports("cpu").values() for name in names}
    assert {name for names in exports("cuda").values() for name in names} <= set(calls.CALLS)


def test_the_calls_launch_every_kernel(python):
    code = """
from tests.cuda.compiling import *
without_gpu()
from tests.cuda import calls
for names in exports("cuda").values():
    launches(names, (*calls.FLOATS, *calls.WHOLE))
print(untried())
"""
    nowhere = {f"convkit_kernels.cuda.grid.grid_grad_nearest_{rank}d" for rank in (2, 3)}  # the gradient is zero, which needs no kernel
    assert set(ast.literal_eval(python(code, NUMBA_ENABLE_CUDASIM=None).stdout)) == nowhere


def test_what_is_wrong_is_seen(python):
    code = """
from tests.cuda.compiling import *
without_gpu()
from convkit_kernels.cuda.launch import cuda, kernel
from convkit_kernels.cuda.memory import empty

@kernel("iTiTi")
def doubled(n, x, x0, y, y0):
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        y[y0 + i] = 0.1 * x[x0 + i]

@kernel("iTiTi")
def in_memory(n, x, x0, y, y0):
    a = cuda.local.array(64, x.dtype)
    for i in range(n):
        a[i % 64] = x[x0 + i]
    y[y0] = a[n % 64]

x = empty((8,), "float32")
Noted.calling = ("abs", "float32")
doubled[x.dtype](8, 8, x.flat, x.offset, x.flat, x.offset)
in_memory[x.dtype](8, x.flat, x.flat, 0.5, x.flat)
in_memory[x.dtype].blocks((1, 70000), 2048, 8, x.flat, 0, x.flat, 0)
for noted in Noted.every.values():
    print(list(complaints({"families": ["conv"], **facts(compiled(noted))})))
"""
    doubled, in_memory = map(ast.literal_eval, python(code).stdout.splitlines())
    assert len(doubled) == 1 and doubled[0].startswith("float64 in a kernel of float32")
    wrong = ["4 arguments for 5", "argument 0 is Flat", "argument 2 is float", "70000", "256 bytes of local arrays"]
    assert all(any(what in line for line in in_memory) for what in wrong), in_memory
