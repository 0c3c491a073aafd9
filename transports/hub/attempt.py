"""A socket that is being connected; thousands may be, each with its own time."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import (
    ConnectBindError,
    TimeoutError,  # noqa: A004 - Twisted's name for it
    getConnectError,
)
from twisted.python.failure import Failure

from transports.hub.hub import WRITABLE, hub_of

__all__ = ["bind_error", "dial"]

# The name of it came to Python with 3.12.
_CHOOSE_PORT_WHEN_CONNECTING = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)

_UNDER_WAY = {errno.EINPROGRESS, errno.EALREADY}
_DONE = {0, errno.EISCONN}


def bind_error(number: int | None) -> ConnectBindError:
    """Make the error of a socket that cannot be had, or not at the address wanted."""
    return ConnectBindError(number, os.strerror(number or errno.EINVAL))


def dial(reactor: Any, family: int, address: Any, source: Any, seconds: float) -> Deferred[int]:
    """Connect a socket, in a later turn.

    Args:
        reactor: Whose hub waits for it.
        family: Of the socket.
        address: Where to, as sockets have it.
        source: Where from, likewise; None where the system chooses.
        seconds: How long it may take.

    Returns:
        The descriptor, which does not block; or ConnectError, in one of its kinds. It
        can be cancelled.
    """
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as exc:
        return fail(bind_error(exc.errno))
    try:
        sock.setblocking(False)
        if source is not None:
            # Else each port would serve one connection, whatever it is to.
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_IP, _CHOOSE_PORT_WHEN_CONNECTING, 1)
            sock.bind(source)
    except OSError as exc:
        sock.close()
        return fail(bind_error(exc.errno))
    number = sock.connect_ex(address)
    if number not in _DONE and number not in _UNDER_WAY:
        sock.close()
        return fail(getConnectError((number, os.strerror(number))))
    return _Attempt(reactor, sock, address, seconds).done


class _Attempt:
    """One socket that is being connected."""

    __slots__ = ("_address", "_hub", "_socket", "_timer", "done")

    factory: Any = None

    def __init__(self, reactor: Any, sock: socket.socket, address: Any, seconds: float) -> None:
        self.done: Deferred[int] = Deferred(self._cancelled)
        self._socket: socket.socket | None = sock
        self._address = address
        self._hub = hub_of(reactor)
        try:
            self._hub.join(sock.fileno(), self, WRITABLE)
        except OSError as exc:
            sock.close()
            self._socket, self._timer = None, None
            self.done.errback(bind_error(exc.errno))
            return
        self._timer = reactor.callLater(seconds, self._timed_out)

    def ready(self, events: int) -> None:
        """Look whether it is connected; see `hub.Member`."""
        assert self._socket is not None
        number = self._socket.connect_ex(self._address)
        if number in _DONE:
            sock = self._taken()
            self.done.callback(sock.detach())
        elif number not in _UNDER_WAY:
            self._fail(getConnectError((number, os.strerror(number))))

    def readable(self, data: bytes | OSError) -> None:
        """See `hub.Member`; never called."""

    def followed(self, outcome: object, data: bytes) -> None:
        """See `hub.Member`; never called."""

    def settle(self, reason: Failure | None) -> None:
        """See `hub.Member`; never called."""

    def failed(self, reason: Failure) -> None:
        """See `hub.Member`."""
        self.connectionLost(reason)

    def forked(self, reason: Failure) -> None:
        """See `hub.Member`; it stays the parent's."""
        self.connectionLost(reason)

    def connectionLost(self, reason: Failure) -> None:
        """See `hub.Member`."""
        self._fail(reason)

    def _taken(self) -> socket.socket:
        """Give the socket, of which nothing more is waited for."""
        sock, self._socket = self._socket, None
        assert sock is not None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._hub.leave(sock.fileno())
        return sock

    def _fail(self, reason: Any) -> None:
        if self._socket is not None:
            self._taken().close()
            self.done.errback(reason)

    def _cancelled(self, _: Deferred[int]) -> None:
        if self._socket is not None:
            self._taken().close()

    def _timed_out(self) -> None:
        self._timer = None
        self._fail(TimeoutError())
