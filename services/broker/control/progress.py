"""Whether the other side of a connection reads, and how much it may leave unread."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IPullProducer, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Sent", "close_now", "hold_little", "taken"]

_IN_KERNEL = 128 * 1024
"""Bytes written that the kernel is asked to hold; Linux sets aside twice as much."""

# tcpi_bytes_acked of struct tcp_info, in linux/tcp.h.
_ACKNOWLEDGED = struct.Struct("=120xQ")


@define
@implementer(IPullProducer)
class Sent:
    """Tells once when a transport has handed on all that was written to it.

    Args:
        transport: Something was written to it, and it has no producer.
        call: Does what is to be done then.
    """

    _transport: Any
    _call: Callable[[], object]
    _asked: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Be asked for more: at once, and then when nothing is left."""
        if self._asked:
            self._transport.unregisterProducer()
            self._call()
        self._asked = True

    def stopProducing(self) -> None:
        """Have nothing more to tell: the connection is gone."""


def hold_little(transport: Any) -> None:
    """Have the kernel hold little that is unread."""
    handle = _socket_of(transport)
    if handle is not None:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _IN_KERNEL)


def close_now(transport: Any) -> None:
    """Have a connection that was aborted close its file now, not in the next turn.

    In one turn many may be accepted, and each of them needs a file. Nobody may be at work
    with what this connection has sent.
    """
    if ITCPTransport(transport, None) is not None:
        # It may be called twice, which is what the abortion will do.
        transport.connectionLost(Failure(ConnectionAborted()))


def taken(transport: Any) -> object:
    """Give what changes whenever the other side takes something of what was written.

    Linux counts what was acknowledged. Elsewhere it shows less often: when the kernel
    has room for more.
    """
    handed = len(getattr(transport, "dataBuffer", b"")) - getattr(transport, "offset", 0)
    handle = _socket_of(transport)
    if handle is None or not hasattr(socket, "TCP_INFO"):
        return handed
    try:
        info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.size)
        return handed, _ACKNOWLEDGED.unpack(info)
    except (OSError, struct.error):
        return handed


def _socket_of(transport: Any) -> socket.socket | None:
    return transport.getHandle() if ITCPTransport(transport, None) is not None else None
