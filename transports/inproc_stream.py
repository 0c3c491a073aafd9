"""Both ends of a byte stream within one process, as Twisted transports.

An end holds what was written to it until the other end takes it, in a later
turn of the reactor. For the rest it does what Twisted's TCP connection does;
a protocol must not notice the difference.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, field, frozen
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IDelayedCall,
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    ITransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["HIGH_WATER", "InprocAddress", "Stream"]

HIGH_WATER = 64 * 1024
"""Bytes that wait above which an end pauses its registered producer, as on TCP."""

# So that two busy ends do not keep the reactor from everybody else.
_BYTES_PER_TURN = 64 * 1024

_log = Logger()


@implementer(IAddress)
@frozen
class InprocAddress:
    """Where an end of a stream is.

    Attributes:
        name: The name that is listened on.
        number: 0 for the listening side; its callers count from 1.
    """

    name: str
    number: int = 0

    def __str__(self) -> str:
        return f"inproc://{self.name}" + (f"#{self.number}" if self.number else "")


@implementer(ITransport, IConsumer, IPushProducer)
@define(eq=False)
class Stream:
    """One end of a stream: the transport of one protocol.

    It has TCP's `loseWriteConnection` and `abortConnection` too. Nothing
    arrives before `start` was called.

    Attributes:
        connected: True until the protocol is told that the connection is lost.
        disconnecting: True from `loseConnection` or `abortConnection` on.
    """

    _reactor: Any
    _host: InprocAddress
    _peer_address: InprocAddress
    connected: bool = field(init=False, default=True)
    disconnecting: bool = field(init=False, default=False)

    _peer: Stream = field(init=False, repr=False)
    _protocol: IProtocol | None = field(init=False, default=None)
    _on_lost: Callable[[], None] | None = field(init=False, default=None)

    _waiting: deque[bytes] = field(init=False, factory=deque, repr=False)
    _waiting_bytes: int = field(init=False, default=0)
    _turn: IDelayedCall | None = field(init=False, default=None)
    _aborted: bool = field(init=False, default=False)
    _write_closing: bool = field(init=False, default=False)
    _write_closed: bool = field(init=False, default=False)

    _reading: bool = field(init=False, default=True)
    _end_came: bool = field(init=False, default=False)
    _read_closed: bool = field(init=False, default=False)

    _producer: Any = field(init=False, default=None)
    _streaming: bool = field(init=False, default=False)
    _producer_paused: bool = field(init=False, default=False)

    @classmethod
    def pair(cls, reactor: Any, name: str, number: int) -> tuple[Stream, Stream]:
        """Make the calling and the listening end of a new stream."""
        listening, calling = InprocAddress(name), InprocAddress(name, number)
        near, far = cls(reactor, calling, listening), cls(reactor, listening, calling)
        near._peer, far._peer = far, near
        return near, far

    def start(self, protocol: IProtocol, on_lost: Callable[[], None] | None = None) -> None:
        """Connect `protocol` to this end.

        Args:
            protocol: What bytes go to from now on.
            on_lost: Called once, after the protocol's own ``connectionLost``.

        Raises:
            Exception: What the protocol raised in ``connectionMade``; the
                connection is then lost.
        """
        self._protocol, self._on_lost = protocol, on_lost
        try:
            protocol.makeConnection(self)
        except Exception:
            self._lose(Failure())
            raise
        self._take_more()

    def write(self, data: bytes) -> None:
        """Send `data`, which is kept as it is and not copied.

        Dropped once the connection is being closed, but not what a registered
        producer still has to give.

        Raises:
            TypeError: `data` is not `bytes`.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"only bytes can be written, not {type(data).__name__}")
        shut = self._write_closed or not self.connected
        closing = self._write_closing or self.disconnecting
        if not data or shut or (closing and self._producer is None):
            return
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        self._plan_turn()
        if self._streaming and not self._producer_paused and self._waiting_bytes > HIGH_WATER:
            self._producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send all of `data`, in order."""
        for part in data:
            self.write(part)

    def loseConnection(self) -> None:
        """Close when all that was written has been taken.

        A pull producer may first finish. Nothing is received any more.
        """
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self._plan_turn()
            self._peer._go_on()

    def loseWriteConnection(self) -> None:
        """End the outgoing half when all that was written has been taken."""
        if self.connected and not self._write_closing:
            self._write_closing = True
            self._plan_turn()

    def abortConnection(self) -> None:
        """Close at once; what waits on either side is dropped."""
        if self.connected and not self._aborted:
            self.disconnecting = self._aborted = True
            self._drop_waiting()
            self._reactor.callLater(0, self._lose, Failure(ConnectionAborted()), clean=False)

    def getHost(self) -> InprocAddress:
        """Give the address of this end."""
        return self._host

    def getPeer(self) -> InprocAddress:
        """Give the address of the other end."""
        return self._peer_address

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Ask `producer` for data as the other end takes it.

        Raises:
            RuntimeError: Another one is registered.
        """
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} is still registered")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer, self._streaming, self._producer_paused = producer, streaming, False
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """Ask nobody for data any more, and close if that was waited for."""
        self._producer, self._streaming, self._producer_paused = None, False, False
        self._go_on()

    def pauseProducing(self) -> None:
        """Let nothing arrive until `resumeProducing`; an abort still does."""
        self._reading = False

    def resumeProducing(self) -> None:
        """Let bytes, and their end, arrive again."""
        if self.connected and not self.disconnecting:
            self._reading = True
            self._take_more()

    def stopProducing(self) -> None:
        """Close, as `loseConnection`."""
        self.loseConnection()

    def _plan_turn(self) -> None:
        if self._turn is None and not self._aborted:
            self._turn = self._reactor.callLater(0, self._pass_on)

    def _go_on(self) -> None:
        """Look again at what could not be passed on, or not be ended."""
        closing = self.disconnecting or (self._write_closing and not self._write_closed)
        if self.connected and (self._waiting or closing):
            self._plan_turn()

    def _take_more(self) -> None:
        self._peer._go_on()
        if self._end_came and not self._read_closed:
            self._reactor.callLater(0, self._take_end)

    def _holds_back(self) -> bool:
        """Tell whether the peer's bytes must wait; one that is deaf lets them pass."""
        return (
            self.connected
            and not self.disconnecting
            and (self._protocol is None or not self._reading)
        )

    def _pass_on(self) -> None:
        self._turn = None
        budget = _BYTES_PER_TURN
        while self._waiting and budget > 0 and not self._peer._holds_back():
            data = self._waiting.popleft()
            self._waiting_bytes -= len(data)
            budget -= len(data)
            self._peer._receive(data)
        if not self.connected:
            return
        if not self._waiting:
            self._all_taken()
        elif not self._peer._holds_back():
            self._plan_turn()

    def _receive(self, data: bytes) -> None:
        if not self.connected and self._peer._read_closed and not self._peer.disconnecting:
            # The peer knows that this side ended and writes on: TCP answers with a reset.
            self._peer._lose(Failure(ConnectionLost()))
        if not self.connected or self.disconnecting:
            return
        assert self._protocol is not None
        try:
            self._protocol.dataReceived(data)
        except Exception:  # whatever a protocol raises costs it its connection
            failure = Failure()
            _log.failure("Unhandled error in {protocol!r}", failure, protocol=self._protocol)
            self._lose(failure)

    def _all_taken(self) -> None:
        if self._producer is not None and (self._producer_paused or not self._streaming):
            self._producer_paused = False
            self._producer.resumeProducing()
            if self._streaming:
                self._go_on()
        elif self.disconnecting:
            self._lose(Failure(ConnectionDone()))
        elif self._write_closing and not self._write_closed:
            self._close_write()

    def _close_write(self) -> None:
        self._write_closed = True
        self._peer._bring_end()
        half_closeable = IHalfCloseableProtocol(self._protocol, None)
        if half_closeable is not None:
            half_closeable.writeConnectionLost()
        if self._read_closed:
            self._lose(Failure(ConnectionDone()))

    def _bring_end(self) -> None:
        self._end_came = True
        self._take_more()
        self._go_on()

    def _take_end(self) -> None:
        if not self.connected or self._read_closed or self.disconnecting or self._holds_back():
            return
        self._read_closed = True
        half_closeable = IHalfCloseableProtocol(self._protocol, None)
        if half_closeable is not None:
            half_closeable.readConnectionLost()
        if half_closeable is None or self._write_closed:
            self._lose(Failure(ConnectionDone()))

    def _drop_waiting(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _lose(self, reason: Failure, *, clean: bool = True) -> None:
        """End this side for good, and let the other side know.

        Args:
            reason: What the protocol is told.
            clean: False where the other side is to see a reset.
        """
        if not self.connected:
            return
        self.connected = False
        self._drop_waiting()
        if clean:
            self._peer._bring_end()
        else:
            self._reactor.callLater(0, self._peer._lose, Failure(ConnectionLost()))
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        try:
            if self._protocol is not None:
                self._protocol.connectionLost(reason)
        finally:
            if self._on_lost is not None:
                self._on_lost()
