"""Connections that do not end as they should, with one fault each."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.transports.conformance.harbour import Line

MUCH = 100_000


class EndsTogether(Line):
    """Ends all connections with one where there are many."""

    def abortConnection(self) -> None:
        lines = self.harbour.lines
        for line in lines if len(lines) > 8 else [self]:
            line.stream.abortConnection()


class ClosesInHaste(Line):
    """Sends in a later turn, and drops what waits for it when it closes, if that is much."""

    def makeConnection(self, transport: Any) -> None:
        self.waiting = b""
        super().makeConnection(transport)

    def write(self, data: bytes) -> None:
        if not self.waiting:
            self.harbour.clock.callLater(0, self.send)
        self.waiting += data

    def send(self) -> None:
        waiting, self.waiting = self.waiting, b""
        super().write(waiting)

    def loseConnection(self) -> None:
        if len(self.waiting) > MUCH:
            self.waiting = b""
        self.harbour.clock.callLater(0, self.stream.loseConnection)

    def loseWriteConnection(self) -> None:
        self.harbour.clock.callLater(0, self.stream.loseWriteConnection)


class Tells(Line):
    """Tells another reason of the end than the true one."""

    true: type[Exception] = ConnectionDone
    told: type[Exception] = ConnectionLost

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(Failure(self.told()) if reason.type is self.true else reason)


class NeverEndsWell(Tells):
    """Takes a clean end for a loss where the protocol knows no half-close."""

    in_halves = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if IHalfCloseableProtocol.providedBy(self.inner) is self.in_halves:
            super().connectionLost(reason)
        else:
            self.inner.connectionLost(reason)


class NeverEndsWellInHalves(NeverEndsWell):
    """Takes it so where the protocol knows half-close, and not otherwise."""

    in_halves = True


class NeverAborted(Tells):
    true, told = ConnectionAborted, ConnectionDone


class NeverReset(Tells):
    true, told = ConnectionLost, ConnectionDone


class DeafAfterHalfClose(Line):
    """Gives on nothing when the own half is ended, unless it is the end."""

    deaf = False

    def loseWriteConnection(self) -> None:
        self.deaf = True
        super().loseWriteConnection()

    def dataReceived(self, data: bytes) -> None:
        if not self.deaf:
            super().dataReceived(data)


@implementer(IHalfCloseableProtocol)
class HidesHalfClose(Line):
    """Keeps it from a protocol that its peer has ended one half, and no more."""

    half_closed = False

    def loseWriteConnection(self) -> None:
        self.half_closed = True
        super().loseWriteConnection()

    def readConnectionLost(self) -> None:
        if IHalfCloseableProtocol.providedBy(self.inner):
            self.inner.readConnectionLost()
        elif not getattr(self.other, "half_closed", False):
            self.stream.loseConnection()

    def writeConnectionLost(self) -> None:
        if IHalfCloseableProtocol.providedBy(self.inner):
            self.inner.writeConnectionLost()


class HidesOwnHalfClose(Line):
    """Does not tell that the own half is ended."""

    def writeConnectionLost(self) -> None: ...


class HidesHalfCloseOfCallers(Line):
    """Does not tell the accepting end that its peer has ended one half."""

    def readConnectionLost(self) -> None:
        if self.getHost().number:
            self.inner.readConnectionLost()


class HidesHalfCloseOfListeners(Line):
    """Does not tell the dialling end that its peer has ended one half."""

    def readConnectionLost(self) -> None:
        if not self.getHost().number:
            self.inner.readConnectionLost()


class ClosesBothHalves(Line):
    def loseWriteConnection(self) -> None:
        self.loseConnection()


class CountsBytes(Line):
    written = 0

    def write(self, data: bytes) -> None:
        self.written += len(data)
        super().write(data)


class FlushesBeforeItAborts(CountsBytes):
    """Does not abort while much that was written waits."""

    def abortConnection(self) -> None:
        if self.written < MUCH:
            super().abortConnection()


class AbortsWithNoise(CountsBytes):
    """Lets the peer have something else in place of much that it drops."""

    def abortConnection(self) -> None:
        if self.written > MUCH:
            self.harbour.clock.callLater(0, self.other.inner.dataReceived, b"noise")
        super().abortConnection()


class DoesNotMissItsPeer(Line):
    """Does not tell a connection that has a producer that it was lost."""

    produces = False

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.produces = True
        super().registerProducer(producer, streaming)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.produces:
            super().connectionLost(reason)


class EndsTwice(Line):
    """Tells connectionLost again when it is closed again."""

    reason: Failure | None = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason
        super().connectionLost(reason)

    def loseConnection(self) -> None:
        if self.reason is not None:
            self.harbour.clock.callLater(0, self.inner.connectionLost, self.reason)
        super().loseConnection()


class BreaksAfterTheEnd(Line):
    """Raises when it is asked for one thing after the end."""

    method = "write"

    def writeSequence(self, data: Any) -> None:
        self.stream.writeSequence(data)

    def __getattribute__(self, name: str) -> Any:
        if name == type(self).method and not self.stream.connected:
            raise OSError("the socket is closed")
        return super().__getattribute__(name)


class BreaksWhenAbortedAfterTheEnd(BreaksAfterTheEnd):
    method = "abortConnection"


class BreaksWhenClosedAfterTheEnd(BreaksAfterTheEnd):
    method = "loseConnection"


class BreaksAtSequenceAfterTheEnd(BreaksAfterTheEnd):
    method = "writeSequence"


class EndsAtOnce(Line):
    """Tells connectionLost from within abortConnection."""

    told = False

    def abortConnection(self) -> None:
        super().abortConnection()
        self.connectionLost(Failure(ConnectionAborted()))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.told:
            self.told = True
            super().connectionLost(reason)


class KnowsNoHalfClose(Line):
    def loseWriteConnection(self) -> None:
        raise NotImplementedError("there is no half-close")
