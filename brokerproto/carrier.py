"""The seam between a session and whoever moves its bytes."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Carrier"]


class Carrier(Protocol):
    """Whoever moves a session's bytes."""

    def settle(self) -> None:
        """Write what the session owes, and close where it is over.

        The owner of a session calls it after doing something to the session on its own
        account, that is, outside of ``receive_data``.
        """
