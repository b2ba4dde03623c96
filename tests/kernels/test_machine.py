"""What the machine can do: the numbers are those of work that was done."""

import numpy as np

from convkit_kernels.cpu import machine, runtime


def test_the_copy_that_is_timed_copies():
    x, y = np.arange(1000, dtype=np.uint8), np.zeros(1000, np.uint8)
    machine._copy(x, y)
    assert np.array_equal(x, y)


def test_the_products_that_are_timed_are_done():
    seen = []
    best = machine.best_seconds
    try:
        machine.best_seconds = lambda call, seconds: (seen.append(call), best(call, 0.01))[1]
        peak = machine.peak_gflops("float32")
    finally:
        machine.best_seconds = best
    y = seen[0].__closure__[[c for c in seen[0].__code__.co_freevars].index("y")].cell_contents
    assert (y == 1024).all() and len(y) == runtime.get_num_threads()  # ones times ones, 1024 steps
    assert peak > 0
    assert machine.seconds_of(1e9, 100.0, "float64") * 2 == machine.seconds_of(1e9, 100.0, "float32")
