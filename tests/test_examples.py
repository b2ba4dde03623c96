"""Every example runs, says what it should, and needs nothing but convkit."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "examples"
LAST_LINE = {
    "ladder": r"largest relative error against SciPy: \de-0[67]",
    "mnist_cnn": r"epoch 5  loss 0\.\d+  test accuracy 0\.9\d+",
    "own_op": r"1 xor 1 = -?0\.0\d",
    "regression": r"y = (1\.0|0\.9)\d -(2\.0|1\.9)\d x [+-]0\.0\d x\^2 \+0\.(5|4)\d x\^3",
}


def test_all_are_tested():
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == sorted(LAST_LINE)


@pytest.mark.parametrize("name", sorted(LAST_LINE))
def test_example(name):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-W", "error", str(FOLDER / f"{name}.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(LAST_LINE[name], done.stdout.splitlines()[-1]), done.stdout
