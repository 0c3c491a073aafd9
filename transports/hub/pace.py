"""Whether to look as soon as something is ready, or by the clock.

To be woken costs more than to read. Where many connections are ready one after the
other, it is cheaper to let them gather for a tick; where few are, or somebody arrives,
who waits for an answer, nothing is to be delayed.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from attrs import define, field

__all__ = ["EAGER", "FEWEST", "FEWEST_TO_STAY", "TICK", "WAKES", "Pace"]

TICK = 0.02
"""Seconds between two looks by the clock."""

WAKES = 4
"""Drains within a tick above which it is worth to look by the clock."""

FEWEST = 8
"""Connections that must have been ready within a tick for it: a few that talk back and
forth would wait for nothing."""

FEWEST_TO_STAY = 4
"""Connections that must be ready at each look, for the next to be by the clock too."""

EAGER = 0.1
"""Seconds after an arrival in which nothing is delayed."""


@define(eq=False)
class Pace:
    """Decides after each drain how the next one comes about.

    Attributes:
        is_by_clock: Whether the next is by the clock.
    """

    is_by_clock: bool = field(init=False, default=False)
    _eager_until: float = field(init=False, default=-math.inf)
    _since: float = field(init=False, default=-math.inf)
    _wakes: int = field(init=False, default=0)
    _seen: set[int] = field(init=False, factory=set)

    def arrived(self, now: float) -> None:
        """Take note of a connection that has been made; times are seconds."""
        self._eager_until = now + EAGER

    def drained(self, now: float, ready: Collection[int]) -> None:
        """Take note of a drain, and of the descriptors that were ready in it."""
        if self.is_by_clock:
            self.is_by_clock = len(ready) >= FEWEST_TO_STAY and now >= self._eager_until
            return
        if not 0 <= now - self._since < TICK:
            self._since, self._wakes = now, 0
            self._seen.clear()
        self._wakes += 1
        self._seen.update(ready)
        if self._wakes >= WAKES and len(self._seen) >= FEWEST and now >= self._eager_until:
            self.is_by_clock = True
            self._since = -math.inf
