"""Randomness that a test decides on."""

from __future__ import annotations

from random import Random


class Drawn(Random):
    """Draws one end of each range, and writes the ranges down.

    Args:
        end: 0 for the lower end, 1 for the upper one.
    """

    def __init__(self, end: int = 1) -> None:
        super().__init__(0)
        self.end = end
        self.ranges: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.ranges.append((a, b))
        return (a, b)[self.end]
