"""What the people's clock showed at a moment that a monotonic one has told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from attrs import define, field

__all__ = ["WallClock"]

_SET = 1.0
"""Seconds by which the two clocks must part until the wall clock counts as set anew."""


@define(eq=False)
class WallClock:
    """Dates moments.

    A moment has the same date in every answer, unless the wall clock is set: then it has
    the one that today's clock would have shown.

    Args:
        seconds: A monotonic clock.
        wall: POSIX seconds, as ``time.time``.
    """

    _seconds: Callable[[], float]
    _wall: Callable[[], float]
    _ahead: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._ahead = self._wall() - self._seconds()

    def date(self, moment: float) -> str:
        """Give a monotonic moment in UTC, as ISO 8601 with milliseconds."""
        ahead = self._wall() - self._seconds()
        if abs(ahead - self._ahead) > _SET:
            self._ahead = ahead
        shown = datetime.fromtimestamp(moment + self._ahead, UTC).replace(tzinfo=None)
        return f"{shown.isoformat(timespec='milliseconds')}Z"
