"""The seam between an engine's connection and whoever tells it that its time has come."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Ticked", "Ticker"]


class Ticked(Protocol):
    """Something that is to be told when its time has come.

    Attributes:
        alarm: What its ticker remembers of it; None while nothing is due.
    """

    alarm: Any

    def tick(self, now: float) -> None:
        """Do what is due, and ask for the next time where there is one.

        Args:
            now: Monotonic seconds; not before the time that was asked for.
        """


class Ticker(Protocol):
    """Tells many, or one, when their time has come.

    At most one time is kept for each: it is ticked once for it.
    """

    def tick_at(self, ticked: Ticked, due: float) -> None:
        """Have `ticked` ticked at `due`, or a little after, never before.

        Of two times that are asked for the earlier one holds: whoever is ticked while it
        has nothing to do asks again.

        Args:
            ticked: Whom.
            due: Monotonic seconds.
        """

    def forget(self, ticked: Ticked) -> None:
        """Tick `ticked` no more; nothing where it is not to be ticked anyway."""
