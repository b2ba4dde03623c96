"""Seeded random numbers.

A `Generator` is a seed and a count of draws.  Each number is a function of (seed, draw, position) alone: the same on any
machine, for any number of threads.
"""

from __future__ import annotations

from typing import Any


class Generator:
    """A stream of random numbers: `seed`, and `offset`, the number of draws so far.

    >>> Generator(7).seed
    7
    """

    def __init__(self, seed: int = 0):
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> Generator:
        """Start anew from `seed` (any integer; its lowest 64 bits count)."""
        if isinstance(seed, bool) or not hasattr(seed, "__index__") or (hasattr(seed, "ndim") and seed.ndim):
            raise TypeError(f"manual_seed: the seed must be an int, got {seed!r}")
        self.seed = int(seed) & (2**64 - 1)
        self.offset = 0
        return self

    def take(self) -> tuple[int, int]:
        """(seed, offset) of the next draw, which no other draw will share."""
        self.offset += 1
        return self.seed, self.offset - 1

    def get_state(self) -> dict[str, int]:
        """What `set_state` needs to go on from here."""
        return {"seed": self.seed, "offset": self.offset}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state that `get_state` gave."""
        self.seed, self.offset = int(state["seed"]), int(state["offset"])


default_generator = Generator(0)


def manual_seed(seed: int) -> Generator:
    """Seed the default generator, which weights, dropout and `rand` draw from."""
    return default_generator.manual_seed(seed)
