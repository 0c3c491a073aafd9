"""Who is at the other end of each descriptor, in eight bytes.

Fifteen thousand address objects would be most of what idle connections take; the system
forgets a peer that has reset its connection.
"""

from __future__ import annotations

from array import array
from typing import Any

__all__ = ["Peers"]


class Peers:
    """A number of 64 bits for each descriptor, or whatever does not fit into one."""

    __slots__ = ("_numbers", "_others")

    def __init__(self) -> None:
        self._numbers = array("Q")
        self._others: dict[int, Any] = {}

    def note(self, fd: int, peer: Any) -> None:
        """Remember a peer: a number from 0 to 2**64 - 1, or any other object."""
        if isinstance(peer, int):
            if fd >= len(self._numbers):
                self._numbers.extend([0] * (fd + 1 - len(self._numbers)))
            self._numbers[fd] = peer
            self.forget(fd)
        else:
            self._others[fd] = peer

    def of(self, fd: int) -> Any:
        """Give what was noted last."""
        return self._others[fd] if fd in self._others else self._numbers[fd]

    def forget(self, fd: int) -> None:
        """Forget the peer of a descriptor that is closed."""
        if self._others:
            self._others.pop(fd, None)
