"""Which connections the control API has at one time, and who goes when one more comes.

Rule: control API's reference, section "Limits".
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

__all__ = ["MOST", "Connection", "Places"]

MOST = 64
"""Connections at one time."""


class Connection(Protocol):
    """What has a place.

    Attributes:
        source: Whose it is.
    """

    source: str

    def give_way(self) -> None:
        """Close at once: the place is another one's."""


class Places:
    """The connections that there are: those that wait for a request, and those at work.

    Those that find no place, because all are at work, are let in all the same where
    they are few: only to be told so.

    Args:
        most: How many places there are, 1 or more.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        # What one source leaves to all others, whatever it does.
        self.share = max(1, most * 3 // 4)
        # In the order in which they began to wait.
        self._waiting: dict[Connection, None] = {}
        self._working: dict[Connection, None] = {}
        self._surplus: set[Connection] = set()
        self._most_surplus = max(1, most // 8)

    def __len__(self) -> int:
        return len(self._waiting) + len(self._working)

    @property
    def working(self) -> int:
        """How many requests are being answered."""
        return len(self._working)

    def enter(self, newcomer: Connection) -> bool:
        """Let a connection in, if need be instead of the one that has waited longest.

        Where one source has its share or more, it is one of that source's that goes.

        Returns:
            False where it cannot even be told that there is no place.
        """
        if len(self) < self.most or self._make_room(newcomer.source):
            self._waiting[newcomer] = None
        elif len(self._surplus) < self._most_surplus:
            self._surplus.add(newcomer)
        else:
            return False
        return True

    def has(self, connection: Connection) -> bool:
        """Whether it has a place, and was not only let in to be told that there is none."""
        return connection not in self._surplus

    def work(self, connection: Connection) -> None:
        """Its request is complete."""
        if connection in self._waiting:
            del self._waiting[connection]
            self._working[connection] = None

    def wait(self, connection: Connection) -> None:
        """It has been answered, and waits for the next request."""
        if connection in self._working:
            del self._working[connection]
            self._waiting[connection] = None

    def leave(self, connection: Connection) -> None:
        """It is gone; one that was gone before may go again."""
        self._waiting.pop(connection, None)
        self._working.pop(connection, None)
        self._surplus.discard(connection)

    def is_crowded(self, source: str) -> bool:
        """Whether more requests of a source are at work than its share."""
        return sum(each.source == source for each in self._working) > self.share

    def _make_room(self, newcomer: str) -> bool:
        (greatest, count), *_ = Counter(
            each.source for each in (*self._waiting, *self._working)
        ).most_common(1)
        # Whoever has that many neither keeps nor drives anybody out.
        waiting = [each for each in self._waiting if each.source == greatest]
        if count < self.share or (not waiting and newcomer != greatest):
            waiting = list(self._waiting)
        if waiting:
            del self._waiting[waiting[0]]
            waiting[0].give_way()
        return bool(waiting)
