"""Protocols that write down what happens to them, for the tests of streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from transports import URI, transport_for

INPROC = transport_for("inproc")
NAME = URI.parse("inproc://name")


class Recorder(Protocol):
    """Writes down what happens to it, and does what a test told it to do then."""

    transport: Any

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.on_made: Callable[[], None] = lambda: None
        self.on_data: Callable[[bytes], None] = lambda data: None

    @property
    def received(self) -> bytes:
        return b"".join(event for event in self.events if isinstance(event, bytes))

    def connectionMade(self) -> None:
        self.on_made()

    def dataReceived(self, data: bytes) -> None:
        self.events.append(data)
        self.on_data(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.events.append(reason.type)


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Recorder):
    """Lives on with one half of its connection."""

    def readConnectionLost(self) -> None:
        self.events.append("read closed")

    def writeConnectionLost(self) -> None:
        self.events.append("write closed")


class Recorders(Factory):
    """Makes recorders of one kind, and counts its own beginnings and ends."""

    noisy = False

    def __init__(self, kind: Callable[[], Protocol | None] = Recorder) -> None:
        self.kind = kind
        self.made: list[Any] = []
        self.started = self.stopped = 0

    def startFactory(self) -> None:
        self.started += 1

    def stopFactory(self) -> None:
        self.stopped += 1

    def buildProtocol(self, addr: Any) -> Protocol | None:
        self.made.append(self.kind())
        return cast("Protocol | None", self.made[-1])


class Producer:
    """Writes down what it is asked for; a pull producer gives one part each time."""

    def __init__(self, consumer: Any, parts: int = 0) -> None:
        self.consumer, self.parts = consumer, parts
        self.asked: list[str] = []

    def resumeProducing(self) -> None:
        self.asked.append("resume")
        if self.parts:
            self.parts -= 1
            self.consumer.write(b"%d" % self.parts)
            if not self.parts:
                self.consumer.unregisterProducer()

    def pauseProducing(self) -> None:
        self.asked.append("pause")

    def stopProducing(self) -> None:
        self.asked.append("stop")


class Backwards(Clock):
    """Runs of the calls that are due the youngest first: a reactor promises no order."""

    def settle(self) -> None:
        while self.calls:
            run_due(self, -1)


def run_due(clock: Clock, which: int) -> None:
    """Run one of the calls that are due, counted as in a list."""
    due = [call for call in clock.calls if call.getTime() <= clock.seconds()]
    call = due[which % len(due)]
    clock.calls.remove(call)
    call.called = True
    call.func(*call.args, **call.kw)


class Meeting:
    """Two recorders that are connected, on a clock of their own."""

    def __init__(
        self, near: Callable[[], Recorder] = Recorder, far: Callable[[], Recorder] = Recorder
    ) -> None:
        self.clock = Clock()
        self.callers, self.listeners = Recorders(near), Recorders(far)
        self.port = listen(self.clock, self.listeners)
        self.dialled = dial(self.clock, self.callers)
        self.clock.advance(0)
        [self.near], [self.far] = self.callers.made, self.listeners.made

    def settle(self) -> None:
        self.clock.advance(0)


def listen(clock: Clock, factory: Factory, uri: URI = NAME) -> Any:
    waiting = INPROC.server_endpoint(clock, uri).listen(factory)
    assert waiting.called
    return waiting.result


def dial(clock: Clock, factory: Factory, uri: URI = NAME) -> list[Any]:
    """Dial; the list holds the outcome once there is one."""
    outcome: list[Any] = []
    INPROC.client_endpoint(clock, uri).connect(factory).addBoth(outcome.append)
    return outcome
