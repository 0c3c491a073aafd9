"""What the connections that came about in one way have in common."""

from __future__ import annotations

import socket
from typing import Any, Protocol

from twisted.internet.interfaces import IAddress

from transports.hub.hub import Hub

__all__ = ["BUFFERED", "Origin", "Past"]

BUFFERED = 64 * 1024
"""Bytes that wait above which a producer is paused, as on Twisted's TCP; and no more are
read at once."""


class Origin(Protocol):
    """A port, or an address that is dialled.

    Attributes:
        hub: Carries them.
        family: Of their sockets.
        buffer_size: See `BUFFERED`.
    """

    hub: Hub
    family: int
    buffer_size: int

    @property
    def factory(self) -> Any:
        """Makes their protocols."""

    def host_of(self, fd: int) -> IAddress:
        """Give the address of this end of one of them."""

    def peer_of(self, fd: int) -> IAddress:
        """Give the address of the other end."""

    def past_of(self, fd: int) -> Past:
        """Give what knows these addresses when the descriptor is closed."""


class Past:
    """The addresses of a connection that is lost."""

    __slots__ = ("_host", "_peer")

    family: int = socket.AF_UNSPEC

    def __init__(self, host: IAddress, peer: IAddress) -> None:
        self._host, self._peer = host, peer

    def host_of(self, fd: int) -> IAddress:
        """See `Origin`."""
        return self._host

    def peer_of(self, fd: int) -> IAddress:
        """See `Origin`."""
        return self._peer
