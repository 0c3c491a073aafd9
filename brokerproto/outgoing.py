"""What a broker's session owes to its peer, until somebody writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerproto.backlog import Unread, end_of_piece
from brokerproto.circumstances import Circumstances, Situated
from brokerproto.messages import Message
from brokerproto.wire import encode

__all__ = ["Outgoing"]


class Outgoing(Situated):
    """Frames on their way out of a session."""

    if not TYPE_CHECKING:
        __slots__ = ("_owed",)

    _owed: bytes

    def __init__(self, circumstances: Circumstances) -> None:
        self.circumstances = circumstances
        self._owed = b""

    def data_to_send(self, most: int | None = None) -> bytes:
        """Take the bytes owed to the peer; empty when none are, or all must wait.

        Args:
            most: How many bytes, but a whole frame at least; None for all.
        """
        if self.unread is not None:
            return self._waiting(self.unread, most)
        owed, self._owed = self._owed, b""
        if most is not None and len(owed) > most:
            end = end_of_piece(owed, most)
            owed, self._owed = owed[:end], owed[end:]
        return owed

    def hold_back(self, unread: Unread) -> None:
        """Have all that is owed wait in `unread`, which says when it may be taken."""
        if self.unread is None:
            self.unread = unread
            unread.add(self._owed)
            self._owed = b""

    def _drop_owed(self) -> None:
        self.unread, self._owed = None, b""

    def _send(self, message: Message) -> None:
        if self.unread is None:
            self._owed += encode(message)
        else:
            self.unread.add(encode(message))

    def _waiting(self, unread: Unread, most: int | None) -> bytes:
        taken = unread.take(most)
        if not unread.is_stuck and not unread:
            self.unread = None
        return taken
