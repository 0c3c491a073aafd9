"""A port of the hub: accepts many at once, as many as there is room for."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from transports.hub.connection import Connection
from transports.hub.hub import READABLE, Hub, hub_of
from transports.hub.origin import BUFFERED, Past
from transports.interfaces import IPacedPort

__all__ = ["AT_ONCE", "SHORT_OF_FILES", "Port"]

AT_ONCE = 64
"""Connections accepted at most before others have their turn."""

SHORT_OF_FILES = 1.0
"""Seconds until it is tried again to accept, where the system could not."""

# Of one caller, who is gone, or whom a firewall refuses.
_PASSING = {errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.EINTR}

_log = Logger()


@implementer(IPacedPort)
class Port:
    """Listens, and is the origin of what it accepts.

    Args:
        reactor: Whose hub it is in.
        factory: Makes the protocols.
        make_socket: Gives the socket, which listens.

    Attributes:
        room: See `IPacedPort`.
        buffer_size: See `origin.BUFFERED`.
        system_buffer_size: What is asked of the system for each connection; None where
            it decides.
        hub: The reactor's hub, while it listens.
    """

    connection: type[Connection] = Connection

    def __init__(
        self, reactor: Any, factory: IProtocolFactory, make_socket: Callable[[], socket.socket]
    ) -> None:
        self.room: Callable[[], int] = lambda: AT_ONCE
        self.buffer_size = BUFFERED
        self.system_buffer_size: int | None = None
        self._reactor, self._factory, self._make_socket = reactor, factory, make_socket
        self.hub: Hub
        self.family: int = socket.AF_UNSPEC
        self._host: Any = None
        self._socket: socket.socket | None = None
        self._is_paused = False
        self._trying_again: IDelayedCall | None = None
        self._is_short = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._factory!r}>"

    @property
    def factory(self) -> IProtocolFactory:
        """Makes the protocols."""
        return self._factory

    def startListening(self) -> None:
        """Listen.

        Raises:
            OSError: It cannot be.
        """
        sock = self._make_socket()
        try:
            sock.setblocking(False)
            self.family = sock.family
            self._host = self.address_of(sock)
            self.hub = hub_of(self._reactor)
            self.hub.join(sock.fileno(), self, READABLE)
        except BaseException:
            sock.close()
            raise
        self._socket = sock
        self._factory.doStart()

    def stopListening(self) -> Deferred[None]:
        """Listen no longer; what was accepted stays."""
        sock, self._socket = self._socket, None
        if sock is not None:
            self._forget_to_try()
            self.before_close()
            self.hub.leave(sock.fileno())
            sock.close()
            self._factory.doStop()
        return succeed(None)

    def getHost(self) -> IAddress:
        """Give the address listened on."""
        host: IAddress = self._host
        return host

    def limit_buffers(self, own: int, of_system: int) -> None:
        """See `IPacedPort`."""
        self.buffer_size, self.system_buffer_size = own, of_system

    def pauseProducing(self) -> None:
        """Let callers wait, in the system's queue."""
        self._is_paused = True
        self._attend()

    def resumeProducing(self) -> None:
        """Accept those who wait, and those who come."""
        self._is_paused = False
        self._attend()

    def stopProducing(self) -> None:
        """Listen no longer."""
        self.stopListening()

    # What the hub calls.

    def ready(self, events: int) -> None:
        """Accept those who wait; see `hub.Member`."""
        for _ in range(min(self.room(), AT_ONCE)):
            if self._socket is None or self._is_paused:
                return
            try:
                sock, address = self._socket.accept()
            except BlockingIOError:
                self._is_short = False
                return
            except OSError as exc:
                if exc.errno in _PASSING:
                    continue
                self._wait_for_files(exc)
                return
            self._welcome(sock, address)

    def readable(self, data: bytes | OSError) -> None:
        """See `hub.Member`; never called."""

    def followed(self, outcome: object, data: bytes) -> None:
        """See `hub.Member`; never called."""

    def settle(self, reason: Failure | None) -> None:
        """See `hub.Member`; never called."""

    def failed(self, reason: Failure) -> None:
        """See `hub.Member`: it listens on."""

    def connectionLost(self, reason: Failure) -> None:
        """See `hub.Member`."""
        self.stopListening()

    def forked(self, reason: Failure) -> None:
        """See `hub.Member`; both processes may listen."""
        if self._socket is not None:
            self.hub.watch_again(self._socket.fileno(), self._events())

    # What those who listen on another kind of address do otherwise.

    def address_of(self, sock: socket.socket) -> IAddress:
        """Give the address that a socket listens on."""
        raise NotImplementedError

    def met(self, sock: socket.socket, address: Any) -> None:
        """Remember who has called."""
        raise NotImplementedError

    def host_of(self, fd: int) -> IAddress:
        """See `Origin`."""
        raise NotImplementedError

    def peer_of(self, fd: int) -> IAddress:
        """See `Origin`."""
        raise NotImplementedError

    def before_close(self) -> None:
        """Do what must be done while nobody else can have the address."""

    def past_of(self, fd: int) -> Past:
        """See `Origin`."""
        return Past(self._host, self.peer_of(fd))

    def _welcome(self, sock: socket.socket, address: Any) -> None:
        sock.setblocking(False)
        with sock:
            if self.system_buffer_size is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.system_buffer_size)
            self.met(sock, address)
            try:
                protocol = self._factory.buildProtocol(self.peer_of(sock.fileno()))
                if protocol is not None:
                    self.connection(sock.detach(), self).start(protocol)
            except BaseException:  # it costs this caller its connection, and nobody else
                _log.failure("Unhandled error in {factory!r}", factory=self._factory)

    def _wait_for_files(self, error: OSError) -> None:
        if not self._is_short:
            self._is_short = True
            _log.warn(
                "no connection can be accepted: {reason}; others are left waiting",
                reason=error.strerror,
            )
        self._trying_again = self._reactor.callLater(SHORT_OF_FILES, self._try_again)
        self._attend()

    def _try_again(self) -> None:
        self._trying_again = None
        self._attend()

    def _forget_to_try(self) -> None:
        if self._trying_again is not None:
            self._trying_again.cancel()
            self._trying_again = None

    def _events(self) -> int:
        return 0 if self._is_paused or self._trying_again is not None else READABLE

    def _attend(self) -> None:
        if self._socket is not None:
            self.hub.watch(self._socket.fileno(), self._events())
