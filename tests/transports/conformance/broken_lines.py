"""Connections that do not deliver as they should, with one fault each."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IPushProducer, ITransport
from zope.interface import classImplementsOnly

from tests.transports.conformance.harbour import Line


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
        data = list(data)
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


class TellsStrangeAddress(Line):
    def getPeer(self) -> Any:
        peer = super().getPeer()
        return type(peer)("proxy", peer.number)


class PausesOnlyFromWithin(Line):
    """Pauses when it is asked from within dataReceived, and not otherwise."""

    delivering = False

    def dataReceived(self, data: bytes) -> None:
        self.delivering = True
        super().dataReceived(data)
        self.delivering = False

    def pauseProducing(self) -> None:
        if self.delivering:
            super().pauseProducing()


class ForgetsWithoutProducer(Line):
    """Drops what is written when its producer is gone."""

    gone = False

    def unregisterProducer(self) -> None:
        self.gone = True
        super().unregisterProducer()

    def write(self, data: bytes) -> None:
        if not self.gone:
            super().write(data)


class IgnoresPauses(Line):
    def pauseProducing(self) -> None: ...


class IsNoConsumer(Line):
    """Does not say that it is one."""


classImplementsOnly(IsNoConsumer, ITransport, IPushProducer)
