"""Factors of this machine: measured, kept, read, and never the reason of a failure."""

import json
import math

import numpy as np
import pytest

from convkit_kernels.cpu import calibration, choice

FOUND = {"direct": {"sums": 1.5, "outer": 1.0}, "winograd": {"sums": 2.0, "outer": 0.5}}
NEIGHBOURS = ((0,), (-1, 0, 1), (-1, 0, 1))


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """`kept(content)`: as if a program started where `warmup` had left a file with this content, None for none."""

    def restart(content=None):
        if content is not None:
            (tmp_path / "costs.json").write_bytes(content)
        calibration.factors.cache_clear()
        choice.estimates.cache_clear()

    monkeypatch.setattr(calibration, "path", lambda: tmp_path / "costs.json")
    monkeypatch.setenv("CONVKIT_CALIBRATION", "")
    restart()
    yield restart
    monkeypatch.undo()
    restart()


def costs(which="sums"):
    return [e.cost for e in choice.estimates(which, 8, 64, 64, (1, 28, 28), NEIGHBOURS, (1, 1, 1), 1, True, 4)]


def test_without_a_file_the_built_in_constants_hold(kept):
    assert calibration.factors() is calibration.BUILT_IN


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\x00", b"[]", b"{}", b'"text"', b"3", json.dumps({**FOUND, "direct": {"sums": 1}}).encode(),
     *(json.dumps({**FOUND, "direct": {"sums": bad, "outer": 1}}).encode() for bad in (math.nan, math.inf, -1, 0, 1e9, "x", None, [1]))],
)  # fmt: skip
def test_a_damaged_file_counts_as_none(kept, content):
    kept(content)
    assert calibration.factors() is calibration.BUILT_IN
    with pytest.raises(ValueError):
        calibration.parsed(content)


def test_factors_multiply_costs_and_change_the_choice(kept):
    before = {which: costs(which) for which in ("sums", "outer")}
    assert choice.chosen(choice.estimates("sums", 8, 64, 64, (1, 28, 28), NEIGHBOURS, (1, 1, 1), 1, True, 4)) == "winograd"
    kept(json.dumps(FOUND).encode())
    assert calibration.factors() == FOUND
    assert costs() == pytest.approx([1.5 * before["sums"][0], 2 * before["sums"][1]])
    assert costs("outer") == pytest.approx([before["outer"][0], 0.5 * before["outer"][1]])
    kept(json.dumps({**FOUND, "winograd": {"sums": 8.0, "outer": 1.0}}).encode())
    assert choice.chosen(choice.estimates("sums", 8, 64, 64, (1, 28, 28), NEIGHBOURS, (1, 1, 1), 1, True, 4)) == "direct"


def test_the_environment_keeps_to_the_built_in_constants(kept, monkeypatch):
    monkeypatch.setenv("CONVKIT_CALIBRATION", "off")
    kept(json.dumps(FOUND).encode())
    assert not calibration.wished() and calibration.factors() is calibration.BUILT_IN


def test_what_is_measured_is_relative_to_the_built_in_constants(kept, monkeypatch):
    monkeypatch.setattr(calibration, "SHAPES", ((1, 16, 8),))
    # A clock by which everything takes as long as the constants say, direct sums half as long again.
    told = []
    monkeypatch.setattr("convkit_kernels.cpu.machine.peak_gflops", lambda **_: 100.0)

    def clock(call, seconds):
        with calibration.algorithm.choices() as found:
            call()
        (estimates, taken), *_ = found
        told.append(taken)
        return 1.5e-9 if taken == "direct" else 1e-9

    monkeypatch.setattr("convkit_kernels.cpu.machine.best_seconds", clock)
    monkeypatch.setattr("convkit_kernels.cpu.machine.seconds_of", lambda cost, gflops: 1e-9)
    expected = {"direct": {"sums": 1.5, "outer": 1.5}, "winograd": {"sums": 1.0, "outer": 1.0}}
    assert calibration.measured() == expected and told == ["direct", "winograd", "direct", "winograd"]


def test_it_really_measures(kept, monkeypatch):
    monkeypatch.setattr(calibration, "SHAPES", ((1, 16, 8),))
    found = calibration.measured(0.001)
    assert found.keys() == calibration.BUILT_IN.keys()
    assert all(np.isfinite(value) and value > 0 for sums in found.values() for value in sums.values())


def test_the_file_is_that_of_the_processor_and_the_kernels():
    assert calibration.path().parent == calibration.runtime.cache_folder() and calibration.path().suffix == ".json"
