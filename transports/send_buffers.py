"""How much that nobody reads may wait on its way out of a listener's connections.

The system lets megabytes wait for each peer that does not read, and Twisted 64 KiB more
before it pauses a producer. Who has thousands of connections, and little to say on each,
keeps to less: what waits elsewhere can be counted.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IListeningPort

from transports.interfaces import IPacedPort

__all__ = ["BUFFERED", "SYSTEM_BUFFERED", "keep_send_buffers_small"]

BUFFERED = 1024
"""Bytes in a connection's own buffer above which its producer is paused. Twisted reads in
pieces of this size too: so nobody gets far beyond a rate before it can be held to it."""

SYSTEM_BUFFERED = 16 * 1024
"""What is asked of the system for each connection; Linux takes twice that, its own
bookkeeping included."""


class _FrugalServer:
    bufferSize = BUFFERED


class _FrugalUNIXServer(_FrugalServer):
    def __init__(self, sock: socket.socket, *others: Any) -> None:
        # Here, because it does not come from the listening socket as with TCP.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SYSTEM_BUFFERED)
        parent: Any = super()
        parent.__init__(sock, *others)


def keep_send_buffers_small(port: IListeningPort) -> bool:
    """Have the connections that a port accepts from now on buffer little.

    Args:
        port: One that listens.

    Returns:
        Whether that can be had: of Twisted's ports for TCP and UNIX sockets and of
        those that provide `IPacedPort`, not of others.
    """
    if IPacedPort.providedBy(port):
        paced: Any = port
        paced.limit_buffers(BUFFERED, SYSTEM_BUFFERED)
        return True
    if not isinstance(port, tcp.Port):
        return False
    frugal: type = _FrugalUNIXServer if isinstance(port, unix.Port) else _FrugalServer
    listening: Any = port
    listening.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SYSTEM_BUFFERED)
    kind = listening.transport
    listening.transport = type(f"Frugal{kind.__name__}", (frugal, kind), {})
    return True
