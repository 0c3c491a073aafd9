"""How long the collection of garbage holds everything up."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping

from attrs import define, field

__all__ = ["GarbagePauses"]


@define(eq=False)
class GarbagePauses:
    """Counts the collector's pauses, and how long they were.

    Args:
        seconds: A clock that is never set.

    Attributes:
        count: Collections since the start, of any generation.
        total: Their seconds.
        longest: Seconds of the longest.
    """

    _seconds: Callable[[], float] = time.perf_counter
    count: int = field(init=False, default=0)
    total: float = field(init=False, default=0.0)
    longest: float = field(init=False, default=0.0)
    _began: float | None = field(init=False, default=None)

    def start(self) -> None:
        """Begin to measure."""
        gc.callbacks.append(self.phase)

    def stop(self) -> None:
        """Measure no longer."""
        if self.phase in gc.callbacks:
            gc.callbacks.remove(self.phase)

    def phase(self, phase: str, _details: Mapping[str, int]) -> None:
        """Take note of what the collector does; see `gc.callbacks`."""
        now = self._seconds()
        if phase == "start":
            self._began = now
        elif self._began is not None:
            pause = now - self._began
            self._began = None
            self.count += 1
            self.total += pause
            self.longest = max(self.longest, pause)
