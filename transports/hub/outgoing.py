"""What a connection sends: at once as far as the system takes it, the rest in its turn."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from transports.hub.flags import (
    ASKS_TO_WRITE,
    DEAD,
    DRAINED,
    IGNORED,
    LOSING,
    PAUSED,
    READING,
    STREAMING,
    WRITE_CLOSED,
    WRITE_CLOSING,
)
from transports.hub.handle import borrowed
from transports.hub.hub import READABLE, WRITABLE, Hub
from transports.hub.origin import Origin

__all__ = ["Outgoing", "lost"]

# So that one connection does not keep the hub from all others.
_SEND_LIMIT = 128 * 1024


def lost(error: OSError) -> Failure:
    """Give the reason of a connection that the system has lost."""
    reason = ConnectionLost(error.strerror or str(error))
    reason.__cause__ = error
    return Failure(reason)


class Outgoing:
    """The half of a connection that sends, and its producer; a `Connection` is made of it."""

    __slots__ = ("_fd", "_flags", "_origin", "_producer", "_protocol", "_unsent")

    def __init__(self, fd: int, origin: Origin) -> None:
        self._fd = fd
        self._flags = READING
        self._origin: Any = origin
        self._producer: Any = None
        self._protocol: Any = None
        self._unsent: bytearray | None = None

    def connectionLost(self, reason: Failure) -> None:
        """Close; see `Connection`."""
        raise NotImplementedError

    def loseConnection(self) -> None:
        """Close when all has been sent; see `Connection`."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Send `data`, at once as far as the system takes it.

        Raises:
            TypeError: `data` is not `bytes`.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"only bytes can be written, not {type(data).__name__}")
        flags = self._flags
        if self._fd < 0 or not data or flags & (WRITE_CLOSED | DEAD):
            return
        unsent = self._unsent
        if unsent is not None:
            unsent += data
        elif self._producer is not None and not flags & STREAMING:
            # It is asked for more when this has gone, which shows in a later turn.
            self._unsent = bytearray(data)
        else:
            sent = self._send(data)
            if sent == len(data) or self._flags & DEAD:
                return
            self._unsent = bytearray(data[sent:])
        if not flags & ASKS_TO_WRITE:
            self._attend()
        if flags & (STREAMING | PAUSED) == STREAMING and self._is_full():
            self._flags |= PAUSED
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send all of `data`, in order."""
        self.write(b"".join(data))

    def loseWriteConnection(self) -> None:
        """End the outgoing half when all that was written has been sent."""
        if self._fd >= 0 and not self._flags & (WRITE_CLOSING | DEAD):
            self._flags |= WRITE_CLOSING
            if self._unsent is None:
                self._settle_later()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Ask `producer` for data as the other end takes it.

        Raises:
            RuntimeError: Another one is registered.
        """
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} is still registered")
        if self._fd < 0:
            producer.stopProducing()
            return
        self._producer = producer
        self._flags &= ~PAUSED
        if streaming:
            self._flags |= STREAMING
        else:
            self._flags &= ~STREAMING
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """Ask nobody for data any more, and close if that was waited for."""
        self._producer = None
        self._flags &= ~(STREAMING | PAUSED)
        if self._fd >= 0 and self._unsent is None and self._flags & (LOSING | WRITE_CLOSING):
            self._settle_later()

    def stopConsuming(self) -> None:
        """Ask nobody for data any more, and close."""
        self.unregisterProducer()
        self.loseConnection()

    def _settle_later(self) -> None:
        self._origin.hub.settle_later(self)

    def _aim(self) -> None:
        """Have the hub bring bytes to the receiver, where there is one and it may."""
        if self._fd >= 0:
            may = self._flags & (READING | DRAINED) == READING | DRAINED
            receivers = self._origin.hub.receivers
            receivers[self._fd] = self._protocol.receiver if may else None

    def _attend(self) -> None:
        """Have the hub wait for what is waited for now."""
        flags = self._flags
        events = READABLE if flags & READING else 0
        if self._unsent is not None:
            events |= WRITABLE
            self._flags = flags | ASKS_TO_WRITE
        else:
            self._flags = flags & ~ASKS_TO_WRITE
        hub: Hub = self._origin.hub
        if not flags & IGNORED:
            hub.watch(self._fd, events)
        elif events:
            self._flags &= ~IGNORED
            hub.watch_again(self._fd, events)

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except OSError as exc:
            if exc.errno not in (errno.EAGAIN, errno.ENOBUFS):
                self._die(lost(exc))
            return 0

    def _die(self, reason: Failure) -> None:
        """Do nothing more, and tell why in a later turn."""
        if self._fd >= 0 and not self._flags & DEAD:
            self._flags = (self._flags | DEAD) & ~READING
            self._unsent = None
            self._aim()
            self._origin.hub.settle_later(self, reason)

    def _flush(self) -> None:
        unsent = self._unsent
        assert unsent is not None
        with memoryview(unsent) as all_of_it, all_of_it[:_SEND_LIMIT] as part:
            sent = self._send(part)
        del unsent[:sent]
        if not unsent and not self._flags & DEAD:
            self._unsent = None
            self._all_sent()
            if self._fd >= 0 and self._unsent is None:
                self._attend()

    def _all_sent(self) -> None:
        """Do what was to be done when nothing waits any more."""
        flags = self._flags
        producer = self._producer
        if producer is not None and (flags & PAUSED or not flags & STREAMING):
            self._flags &= ~PAUSED
            producer.resumeProducing()
            if flags & STREAMING and self._flags & (LOSING | WRITE_CLOSING):
                self._settle_later()
        elif flags & LOSING:
            self.connectionLost(connectionDone)
        elif flags & (WRITE_CLOSING | WRITE_CLOSED) == WRITE_CLOSING:
            self._close_write()

    def _close_write(self) -> None:
        self._flags |= WRITE_CLOSED
        try:
            with borrowed(self._fd, self._origin.family) as sock:
                sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # reading shows what became of it
        half_closeable: Any = IHalfCloseableProtocol(self._protocol, None)
        if half_closeable is not None:
            half_closeable.writeConnectionLost()

    def _is_full(self) -> bool:
        unsent = self._unsent
        return unsent is not None and len(unsent) > self._origin.buffer_size
