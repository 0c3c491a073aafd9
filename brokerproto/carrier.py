"""The seam between a session and whoever moves its bytes."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Carried", "Carrier", "settle"]


class Carrier(Protocol):
    """Whoever moves a session's bytes."""

    def settle(self) -> None:
        """Write what the session owes, and close where it is over.

        The owner of a session calls it after doing something to the session on its own
        account, that is, outside of ``receive_data``.
        """


class Carried(Protocol):
    """A session whose bytes somebody may move."""

    @property
    def carrier(self) -> Carrier | None:
        """Whoever moves them; None where the owner asks by itself."""


def settle(session: Carried) -> None:
    """Have a session's carrier settle, where it has one."""
    if session.carrier is not None:
        session.carrier.settle()
