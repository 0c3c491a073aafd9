"""Connections with one fault each."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, ITransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import classImplementsOnly, implementer

from tests.transports.conformance.harbour import Line

MUCH = 100_000


class SwapsBytes(Line):
    """Sends two single bytes, written one after the other, in the wrong order."""

    held = b""

    def write(self, data: bytes) -> None:
        if len(data) != 1:
            self.release()
            super().write(data)
        elif self.held:
            super().write(data)
            self.release()
        else:
            self.held = data
            self.harbour.clock.callLater(0, self.release)

    def release(self) -> None:
        held, self.held = self.held, b""
        super().write(held)


class RepeatsTheLast(Line):
    """Sends once more what was written last before loseConnection."""

    last = b""

    def writeSequence(self, data: Any) -> None:
        self.last = b"".join(data)[-8:]
        super().write(b"".join(data))

    def loseConnection(self) -> None:
        super().write(self.last)
        super().loseConnection()


class Counts(Line):
    """Knows how many writes there were."""

    writes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1
        super().write(data)


class DropsOneOfMany(Counts):
    def write(self, data: bytes) -> None:
        if self.writes != 7_777:
            super().write(data)
        else:
            self.writes += 1


class RepeatsOneOfMany(Counts):
    def write(self, data: bytes) -> None:
        super().write(data)
        if self.writes == 7_777:
            super().write(data)


class LosesTheLastOfMany(Counts):
    def write(self, data: bytes) -> None:
        if self.writes < 9_999:
            super().write(data)


class ForgetsFirstWords(Line):
    made = False

    def makeConnection(self, transport: Any) -> None:
        super().makeConnection(transport)
        self.made = True

    def write(self, data: bytes) -> None:
        if self.made:
            super().write(data)


class MixesConnections(Line):
    """Gives the words of the first connection to the second where there are many."""

    def write(self, data: bytes) -> None:
        lines = self.harbour.lines
        if len(lines) > 8 and self is lines[0]:
            lines[1].stream.write(data)
        else:
            super().write(data)


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


class NeverEndsWell(Tells): ...


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


class FlushesBeforeItAborts(Counts):
    """Does not abort while much that was written waits."""

    written = 0

    def write(self, data: bytes) -> None:
        self.written += len(data)
        super().write(data)

    def abortConnection(self) -> None:
        if self.written < MUCH:
            super().abortConnection()


class Producer:
    """Passes on to a producer what a line lets pass."""

    def __init__(self, producer: Any, deaf_to: str) -> None:
        self.producer, self.deaf_to = producer, deaf_to

    def pauseProducing(self) -> None:
        self.ask("pauseProducing")

    def resumeProducing(self) -> None:
        self.ask("resumeProducing")

    def stopProducing(self) -> None:
        self.ask("stopProducing")

    def ask(self, what: str) -> None:
        if what != self.deaf_to:
            getattr(self.producer, what)()


class SparesTheProducer(Line):
    """Never asks one thing of a producer."""

    what = "stopProducing"

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        super().registerProducer(Producer(producer, self.what), streaming)


class NeverPauses(SparesTheProducer):
    what = "pauseProducing"


class NeverResumes(SparesTheProducer):
    what = "resumeProducing"


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
    """Raises at what is written after the end."""

    def write(self, data: bytes) -> None:
        if not self.stream.connected:
            raise OSError("the socket is closed")
        super().write(data)


class PausesTooLate(Line):
    """Delivers once more before it pauses."""

    pausing = False

    def pauseProducing(self) -> None:
        self.pausing = True

    def resumeProducing(self) -> None:
        self.pausing = False
        super().resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        late = self.pausing
        super().dataReceived(data)
        if late and self.pausing:
            super().pauseProducing()


class DeliversAtOnce(Line):
    """Takes one kind of word across from within write."""

    def write(self, data: bytes) -> None:
        if data == b"?":
            self.other.inner.dataReceived(data)
        else:
            super().write(data)


class DeliversWhenResumed(Line):
    """Keeps what comes while it is paused, and delivers it from within resumeProducing."""

    paused = False
    kept = b""

    def pauseProducing(self) -> None:
        self.paused = True

    def dataReceived(self, data: bytes) -> None:
        if self.paused:
            self.kept += data
            super().pauseProducing()
        else:
            super().dataReceived(data)

    def resumeProducing(self) -> None:
        self.paused = False
        kept, self.kept = self.kept, b""
        if kept:
            self.inner.dataReceived(kept)
        super().resumeProducing()


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


class TellsStrangeAddress(Line):
    def getPeer(self) -> Any:
        peer = super().getPeer()
        return type(peer)("proxy", peer.number)


class KnowsNoHalfClose(Line):
    def loseWriteConnection(self) -> None:
        raise NotImplementedError("there is no half-close")


class IgnoresPauses(Line):
    def pauseProducing(self) -> None: ...


class IsNoConsumer(Line):
    """Does not say that it is one."""


classImplementsOnly(IsNoConsumer, ITransport, IPushProducer)
