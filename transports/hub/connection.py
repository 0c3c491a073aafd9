"""A connection of the hub: what Twisted's are, in less than 150 bytes."""

from __future__ import annotations

import os
import select
import socket
from typing import Any

from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    ILoggingContext,
    IPushProducer,
    ISystemHandle,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from transports.hub.flags import DEAD, DRAINED, IGNORED, LOSING, READ_CLOSED, READING
from transports.hub.handle import Handle, borrowed, close
from transports.hub.hub import READABLE, WRITABLE, Hub
from transports.hub.outgoing import Outgoing, lost

__all__ = ["Connection", "TCPConnection"]

_HANG_UP: int = ~(READABLE | WRITABLE)

_ABORTED = Failure(ConnectionAborted())

_log = Logger()


@implementer(ITransport, IConsumer, IPushProducer, ISystemHandle, ILoggingContext)
class Connection(Outgoing):
    """One connection, as the transport of one protocol.

    Args:
        fd: Its descriptor, which does not block.
        origin: What it has in common with others.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._protocol!r}>"

    def start(self, protocol: Any) -> None:
        """Connect a protocol to this end.

        Raises:
            Exception: What the protocol raised; the connection is then lost. Or OSError,
                where the system watches no more descriptors; then it is closed.
        """
        hub: Hub = self._origin.hub
        self._protocol = protocol
        try:
            hub.join(self._fd, self, READABLE)
        except OSError:
            fd, self._fd = self._fd, -1
            close(fd, self._origin.family)
            self.released()
            raise
        hub.arrived()
        try:
            protocol.makeConnection(self)
        except BaseException:
            self.connectionLost(Failure())
            raise
        if self._fd >= 0 and hasattr(protocol, "receiver") and hub.lanes.join(self.factory):
            self._flags |= DRAINED
            self._aim()

    @property
    def factory(self) -> Any:
        """Made the protocol; until the connection is lost."""
        return self._origin.factory

    @property
    def connected(self) -> bool:
        """Whether the protocol was not yet told that the connection is lost."""
        return self._fd >= 0

    @property
    def disconnected(self) -> bool:
        """Whether it was."""
        return self._fd < 0

    @property
    def disconnecting(self) -> bool:
        """Whether `loseConnection` was called."""
        return bool(self._flags & LOSING)

    def fileno(self) -> int:
        """Give the descriptor; -1 when the connection is lost."""
        return self._fd

    def logPrefix(self) -> str:
        """See `ILoggingContext`."""
        return type(self._protocol).__name__

    def getHandle(self) -> Handle:
        """Give what stands in the place of the socket."""
        return Handle(self._origin.family, self.fileno)

    def getHost(self) -> Any:
        """Give the address of this end, an IAddress."""
        return self._origin.host_of(self._fd)

    def getPeer(self) -> Any:
        """Give the address of the other end, an IAddress."""
        return self._origin.peer_of(self._fd)

    def loseConnection(self) -> None:
        """Close when all that was written has been sent; nothing is received any more.

        A pull producer may first finish, and a push producer that is paused.
        """
        flags = self._flags
        if self._fd < 0 or flags & (LOSING | DEAD):
            return
        self._flags = (flags | LOSING) & ~READING
        self._aim()
        if self._unsent is not None or self._producer is not None:
            self._attend()
        if self._unsent is None:
            self._settle_later()

    def abortConnection(self) -> None:
        """Close at once, with a reset; what waits is dropped."""
        self._die(_ABORTED)

    def pauseProducing(self) -> None:
        """Let nothing arrive until `resumeProducing`."""
        if self._fd >= 0 and self._flags & READING:
            self._flags &= ~READING
            self._aim()
            self._attend()

    def resumeProducing(self) -> None:
        """Let bytes, and their end, arrive again."""
        if self._fd >= 0 and not self._flags & (READING | LOSING | READ_CLOSED | DEAD):
            self._flags |= READING
            self._aim()
            self._attend()

    def stopProducing(self) -> None:
        """Close, as `loseConnection`."""
        self.loseConnection()

    def connectionLost(self, reason: Failure) -> None:
        """Close, and tell the protocol why; for the hub, which does so between calls."""
        fd = self._fd
        if fd < 0:
            return
        origin = self._origin
        hub: Hub = origin.hub
        if self._flags & DRAINED:
            hub.lanes.leave(self.factory)
        past = origin.past_of(fd)
        hub.leave(fd)
        self._fd = -1
        if hub.is_separating:
            os.close(fd)
        else:
            close(fd, origin.family, reset=reason.check(ConnectionAborted) is not None)
        self._flags &= LOSING
        self._unsent, self._origin = None, past
        producer, self._producer = self._producer, None
        protocol, self._protocol = self._protocol, None
        if producer is not None:
            _told(producer.stopProducing)
        _told(protocol.connectionLost, reason)
        self.released()

    def released(self) -> None:
        """Do what is due when the connection is no more."""

    def failed(self, reason: Failure) -> None:
        """See `hub.Member`."""
        self.connectionLost(reason)

    def forked(self, reason: Failure) -> None:
        """See `hub.Member`; it stays the parent's."""
        self.connectionLost(reason)

    def ready(self, events: int) -> None:
        """See `hub.Member`."""
        if self._flags & DEAD:
            return
        if events & ~WRITABLE and self._flags & READING:
            self._read()
        elif events & _HANG_UP:
            self._hung_up()
        if events & WRITABLE and self._unsent is not None:
            self._flush()

    def readable(self, data: bytes | OSError) -> None:
        """See `hub.Member`."""
        if isinstance(data, OSError):
            self.connectionLost(lost(data))
        elif data:
            self._protocol.dataReceived(data)
            if self._flags & DRAINED:
                self._aim()
        else:
            self._ended()

    def followed(self, outcome: object, data: bytes) -> None:
        """See `hub.Member`."""
        self._protocol.received(outcome, data)
        if self._flags & DRAINED:
            self._aim()

    def settle(self, reason: Failure | None) -> None:
        """See `hub.Member`."""
        if self._fd < 0:
            return
        if reason is not None:
            self.connectionLost(reason)
        elif self._unsent is None and not self._flags & DEAD:
            self._all_sent()

    def _read(self) -> None:
        origin = self._origin
        try:
            data: bytes | OSError = os.read(self._fd, origin.buffer_size)
        except BlockingIOError:
            return
        except OSError as exc:
            data = exc
        if self._flags & DRAINED:
            origin.hub.lanes.begin(self.factory)
        self.readable(data)

    def _ended(self) -> None:
        """Do what is due when the peer says nothing more."""
        self._flags = (self._flags | READ_CLOSED) & ~READING
        half_closeable: Any = IHalfCloseableProtocol(self._protocol, None)
        if half_closeable is not None:
            self._aim()
            self._attend()
            half_closeable.readConnectionLost()
        else:
            self.connectionLost(connectionDone)

    def _hung_up(self) -> None:
        """Do what is due at a hang-up, or an error, that was not found by reading."""
        asked = select.poll()
        asked.register(self._fd, 0)
        found = sum(events for _, events in asked.poll(0))
        # Nothing is lost where nothing was to come, nor to go.
        is_over = self._flags & READ_CLOSED and self._unsent is None
        if found & select.POLLERR and not is_over:
            with borrowed(self._fd, self._origin.family) as sock:
                number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self.connectionLost(lost(OSError(number, os.strerror(number))))
        elif found and self._unsent is not None:
            self._flush()
        elif found:
            # The system would tell it again and again; and what came before may be read yet.
            self._flags |= IGNORED
            self._origin.hub.ignore(self._fd)


@implementer(ITCPTransport)
class TCPConnection(Connection):
    """A connection over TCP."""

    __slots__ = ()

    def getTcpNoDelay(self) -> bool:
        """Tell whether each write is sent at once."""
        return bool(self.getHandle().getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Have each write sent at once, or not."""
        self.getHandle().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """Tell whether the system looks after a connection that is silent."""
        return bool(self.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Have the system look after a connection that is silent, or not."""
        self.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)


def _told(call: Any, *arguments: Any) -> None:
    try:
        call(*arguments)
    except BaseException:  # the connection is gone either way
        _log.failure("Unhandled error in {call!r}", call=call)
