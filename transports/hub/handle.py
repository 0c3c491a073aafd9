"""The socket of a descriptor, for as long as one call takes."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from attrs import frozen

__all__ = ["Handle", "borrowed", "close"]

_RESET = struct.pack("ii", 1, 0)


@contextmanager
def borrowed(fd: int, family: int) -> Iterator[socket.socket]:
    """Have a socket of a descriptor within; the descriptor stays open."""
    sock = socket.socket(family, socket.SOCK_STREAM, 0, fileno=fd)
    try:
        yield sock
    finally:
        sock.detach()


def close(fd: int, family: int, *, reset: bool = False) -> None:
    """Close a connection.

    Args:
        fd: Its descriptor.
        family: Of its socket.
        reset: Whether the peer is to see a reset, where there is one.
    """
    with socket.socket(family, socket.SOCK_STREAM, 0, fileno=fd) as sock, suppress(OSError):
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        else:
            # A child that was forked may have the descriptor too.
            sock.shutdown(socket.SHUT_RDWR)


@frozen
class Handle:
    """What stands in the place of a connection's socket.

    It raises OSError when the connection is gone: its descriptor may be another's.
    """

    family: int
    _descriptor: Callable[[], int]

    def fileno(self) -> int:
        """Give the descriptor; -1 when the connection is gone."""
        return self._descriptor()

    def setsockopt(self, *arguments: Any) -> None:
        """See `socket.socket`."""
        with self._socket() as sock:
            sock.setsockopt(*arguments)

    def getsockopt(self, *arguments: Any) -> Any:
        """See `socket.socket`."""
        with self._socket() as sock:
            return sock.getsockopt(*arguments)

    def getsockname(self) -> Any:
        """See `socket.socket`."""
        with self._socket() as sock:
            return sock.getsockname()

    def getpeername(self) -> Any:
        """See `socket.socket`."""
        with self._socket() as sock:
            return sock.getpeername()

    @contextmanager
    def _socket(self) -> Iterator[socket.socket]:
        fd = self._descriptor()
        if fd < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        with borrowed(fd, self.family) as sock:
            yield sock
