"""What stands in for the network, the work and the log around an engine's runner."""

from __future__ import annotations

from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from brokerproto.life import Wishes
from brokerproto.messages import Success
from services.engine.dialler import Dialler
from services.engine.runner import Crew, Runner

WELCOME = "SUCCESS:Registered:v=1;epoch=1;interval=10;timeout=40;ack=1;herd=4;boot=b0"


class Handle:
    """A socket that remembers what was set."""

    def __init__(self) -> None:
        self.options: list[tuple[int, int, int]] = []

    def setsockopt(self, level: int, name: int, value: int) -> None:
        self.options.append((level, name, value))


class Transport:
    """A connection to a broker that a test plays; the part of one that engines use.

    Attributes:
        half_closed: Whether the engine has said that nothing more is coming.
        aborted: Whether it was cut off.
        is_stuck: Whether what was written never gets away.
    """

    def __init__(self, protocol: IProtocol) -> None:
        self.handle = Handle()
        self.half_closed = self.aborted = self.is_stuck = False
        self._written = b""
        self._protocol: Any = protocol
        self._gone = False

    def getHandle(self) -> Handle:
        return self.handle

    def write(self, data: bytes) -> None:
        self._written += data

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def loseConnection(self) -> None:
        if not self.is_stuck:
            self.go()

    def abortConnection(self) -> None:
        self.aborted = True
        self.go()

    def go(self, reason: BaseException | None = None) -> None:
        """End, as if the broker had closed."""
        if not self._gone:
            self._gone = True
            self._protocol.connectionLost(Failure(reason or ConnectionDone()))

    def say(self, *frames: str) -> None:
        """Deliver what the broker says."""
        self._protocol.dataReceived("".join(f"{frame}\n" for frame in frames).encode())

    def take(self) -> list[str]:
        """Take the frames that the engine has written."""
        lines = self._written.decode().split("\n")
        assert lines.pop() == ""
        self._written = b""
        return lines


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Every attempt waits until a test decides about it.

    Attributes:
        attempts: When they were made.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pending: list[tuple[IProtocolFactory, Deferred[IProtocol]]] = []
        self.attempts: list[float] = []
        self.cancelled = 0

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        self.attempts.append(self._clock.seconds())
        attempt: Deferred[IProtocol] = Deferred(self._cancel)
        self._pending.append((protocolFactory, attempt))
        return attempt

    def _cancel(self, _attempt: object) -> None:
        self.cancelled += 1

    def succeed(self) -> Transport:
        """Let the attempt that waits succeed."""
        [(factory, attempt)] = self._pending
        self._pending.clear()
        protocol: Any = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1337))
        transport = Transport(protocol)
        protocol.makeConnection(transport)
        attempt.callback(protocol)
        return transport

    def fail(self, error: BaseException) -> None:
        """Let it fail."""
        [(_, attempt)] = self._pending
        self._pending.clear()
        attempt.errback(Failure(error))


@define
class RecordedWork:
    """Work that a test ends."""

    started: list[int] = field(factory=list)
    stopped: int = 0
    over: Deferred[None] | None = None

    def start(self, ms: int) -> Deferred[None]:
        self.started.append(ms)
        self.over = Deferred()
        return self.over

    def stop(self) -> Deferred[None]:
        self.stopped += 1
        return succeed(None)


@define
class RecordedJournal:
    """Writes down what it hears."""

    entries: list[tuple[Any, ...]] = field(factory=list)

    def registered(self, runner: Runner, success: Success) -> None:
        self.entries.append(("registered", success.epoch))

    def lost(self, runner: Runner, reason: str, seconds: float) -> None:
        self.entries.append(("lost", reason, seconds))

    def gave_up(self, runner: Runner, reason: str) -> None:
        self.entries.append(("gave up", reason))

    def killed(self, runner: Runner, code: int, seconds: float | None) -> None:
        self.entries.append(("killed", code, seconds))

    def take(self) -> list[tuple[Any, ...]]:
        """Take what was heard since the last time."""
        entries, self.entries = self.entries, []
        return entries


class Rig:
    """A runner between a clock, an endpoint, some work and a journal."""

    def __init__(self, reborn_after: float | None = None, random: Random | None = None) -> None:
        self.clock = Clock()
        self.endpoint = Endpoint(self.clock)
        self.work = RecordedWork()
        self.journal = RecordedJournal()
        self.deaths: list[int] = []

        def reborn(deaths: int) -> float:
            self.deaths.append(deaths)
            assert reborn_after is not None
            return reborn_after

        crew = Crew(
            Dialler(self.clock, [self.endpoint]),
            lambda: self.work,
            Wishes(),
            self.journal,
            None if reborn_after is None else reborn,
            random or Random(1),
        )
        self.runner = Runner("e1", crew)

    def registered(self) -> Transport:
        """Let the attempt that waits succeed, and the broker welcome the engine."""
        transport = self.endpoint.succeed()
        transport.say(WELCOME)
        assert self.journal.take() == [("registered", 1)]
        transport.take()
        return transport

    def lost(self) -> tuple[str, float]:
        """Take the one loss that was heard of: why, and how long until the next try."""
        [(kind, reason, seconds)] = self.journal.take()
        assert kind == "lost"
        return reason, seconds

    def advance(self, seconds: float) -> None:
        """Let time pass, as evenly as a reactor does."""
        self.clock.pump([0.0, seconds, 0.0])
