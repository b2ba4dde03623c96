"""The walk in bands: what a plan says that taps read is what the window's formula reads, and every output pixel is in one unit."""

import math
from itertools import product

import numpy as np
import pytest

from convkit_kernels import geometry
from convkit_kernels.cpu import bands, conv

CASES = {
    "plain": (geometry.window("test", (3, 3)), (2, 5, 6, 2)),
    "framed": (geometry.window("test", (3, 3), 1, 1), (1, 4, 5, 3)),
    "strides": (geometry.window("test", (3, 2), (2, 3), (1, 0)), (2, 7, 9, 2)),
    "dilated": (geometry.window("test", (2, 3), 1, 2, (2, 1)), (1, 5, 4, 1)),
    "groups": (geometry.window("test", (3, 3), 1, 1, groups=2), (1, 4, 4, 4)),
    "volume": (geometry.window("test", (2, 2, 2), (1, 2, 1), 1), (1, 3, 4, 3, 2)),
    "many rows": (geometry.window("test", (3, 3), 1, 1), (1, 300, 40, 16)),
}


def box_in_python(source, walk, n, d, p0):
    """The box of a unit, flat from its first element on."""
    first = [int(walk[bands.LOW + i] + at * walk[bands.STEP + i]) for i, at in enumerate((d, p0, 0))]
    if not walk[bands.FRAMED]:
        return source.reshape(-1)[np.ravel_multi_index((n, *first, 0), source.shape) :]
    box = np.zeros((*walk[bands.BOX : bands.BOX + 3], source.shape[4]), source.dtype)
    for at in product(*(range(size) for size in box.shape[:3])):
        place = [a + b for a, b in zip(first, at, strict=True)]
        if all(0 <= p < size for p, size in zip(place, source.shape[1:4], strict=True)):
            box[at] = source[(n, *place)]
    return box.reshape(-1)


def seen(source, n, place):
    """The channels of a pixel, zeros outside the image."""
    inside = all(0 <= p < size for p, size in zip(place, source.shape[1:4], strict=True))
    return source[(n, *place)] if inside else np.zeros(source.shape[4])


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_walk_reads_what_the_window_sees(name, backward):
    window, shape = CASES[name]
    source = np.arange(1.0, math.prod(shape) + 1).reshape(shape[0], *(1,) * (5 - len(shape)), *shape[1:])
    if backward:  # the phases of an input gradient, whose source is the gradient of the output
        inside = window.input_size(shape[1:-1])
        phases, step, spread = bands.phases_of(window)[0], (1, 1, 1), window.canonical[1]
        size = (1,) * (3 - window.rank) + inside
    else:
        phases, step, spread = (bands.Phase((0, 0, 0), conv._taps(window)),), window.canonical[1], (1, 1, 1)
        size = conv._out(window, shape[1:-1])
    walk, offsets, begins = bands.walk_of(source.shape, 8, phases, step, size, spread, window.groups)
    # All taps in the order in which weights are packed: (phase, plane, row, column).
    taps = [(phase, *tap) for phase in phases for tap in product(*phase.taps)]
    rows_seen = {number: set() for number in range(len(phases))}
    units = walk[bands.N] * walk[bands.COUNT] * walk[bands.BANDS]
    channels, group = source.shape[4], source.shape[4] // window.groups
    for unit in range(units):
        n, d, p0, p1 = bands.unit_of.py_func(walk, unit)
        box = box_in_python(source, walk, n, d, p0)
        for number, phase in enumerate(phases):
            numbers = walk[number * bands.PHASE :]
            counts = numbers[bands.COUNTS : bands.COUNTS + 3]
            for p in range(p0, min(p1, counts[1]) if d < counts[0] else p0):
                assert (n, d, p) not in rows_seen[number]
                rows_seen[number].add((n, d, p))
                k0, k1 = bands.tap_rows.py_func(walk, number * bands.PHASE, p)
                for q, k in product((0, counts[2] - 1), range(numbers[bands.TAPS], numbers[bands.TAPS + 1])):
                    at = ((p - p0) * walk[bands.STEP + 1] * walk[bands.BOX + 2] + q * walk[bands.STEP + 2]) * channels + offsets[k]
                    expected = []
                    for owner, *tap in taps[begins[k] : begins[k] + numbers[bands.RUN] // group]:
                        assert owner is phase
                        place = [o * s + t for o, s, t in zip((d, p, q), step, tap, strict=True)]
                        expected.append(seen(source, n, place)[:group])
                        if not k0 <= k < k1:  # skipped, so it must see nothing
                            assert not expected[-1].any()
                    if k0 <= k < k1:
                        assert box[at : at + numbers[bands.RUN]].tolist() == np.concatenate(expected).tolist()
    for number, phase in enumerate(phases):
        counts = bands.counts_of(size, phase.first, spread)
        assert rows_seen[number] == set(product(range(shape[0]), range(counts[0]), range(counts[1])))


@pytest.mark.parametrize(
    "arguments, shape, able",
    [
        (((3, 3), 1, 1), (1, 4, 5, 3), True),
        (((3, 3), 1, 2), (1, 4, 5, 3), True),
        (((3, 3), 1, 3), (1, 4, 5, 3), False),  # the first row of output sees no row of the image
        (((3, 3), 1, 4, 4), (1, 2, 5, 3), True),  # only the middle taps see one
        (((1, 3, 3), 1, (0, 1, 1)), (1, 3, 4, 5, 2), True),
        (((2, 3, 3), 1, (0, 1, 1)), (1, 3, 4, 5, 2), False),  # two planes of taps
        (((1, 3, 3), 1, (1, 1, 1)), (1, 3, 4, 5, 2), False),  # a plane outside
    ],
)
def test_where_tiles_can_leave_out_what_is_outside(arguments, shape, able):
    window = geometry.window("test", *arguments)
    source, size = (shape[0], *(1,) * (5 - len(shape)), *shape[1:]), conv._out(window, shape[1:-1])
    phases = (bands.Phase((0, 0, 0), conv._taps(window)),)
    assert bands.can_be_cut(source, phases, window.canonical[1], size, (1, 1, 1)) == able


def test_frames_are_whole_cache_lines_for_each_thread():
    window, shape = CASES["framed"]
    walk, _, _ = bands.walk_of((1, 1, 4, 5, 3), 4, (bands.Phase((0, 0, 0), conv._taps(window)),), (1, 1, 1), (1, 4, 5), (1, 1, 1), 1)
    threads, size = bands.frames_of(walk)
    assert threads >= 1 and size % bands.LINE == 0 and size >= math.prod(walk[bands.BOX : bands.BOX + 3]) * shape[3]
