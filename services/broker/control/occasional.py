"""Lines in the log about what strangers may do as often as they like."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["OTHERS", "WINDOW", "Occasional"]

WINDOW = 60.0
"""Seconds in which each subject has one line."""

OTHERS = "others"
"""The subject of all for whom there is no line left."""

_SUBJECTS = 10


class Occasional:
    """Allows one line for each subject in a window, and not for many subjects.

    Args:
        seconds: The clock.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._ends = 0.0
        self._since: dict[str, int] = {}
        self._told: set[str] = set()

    def due(self, subject: str) -> tuple[str, int] | None:
        """Take note that something happened; say whether it is time for a line.

        Returns:
            Whom the line is about, the subject or `OTHERS`, and how often it happened
            since the line before; None where there is to be none.
        """
        now = self._seconds()
        if now >= self._ends:
            self._ends = now + WINDOW
            # Whoever was quiet for a whole window makes room for another one.
            self._since = {each: n for each, n in self._since.items() if n and each in self._told}
            self._told.clear()
        if subject not in self._since and len(self._since) >= _SUBJECTS:
            subject = OTHERS
        count = self._since.get(subject, 0) + 1
        if subject in self._told:
            self._since[subject] = count
            return None
        self._told.add(subject)
        self._since[subject] = 0
        return subject, count
