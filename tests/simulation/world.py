"""A whole broker and whole engines on one clock, over links that can be disturbed.

Nothing is simplified but time and chance: the clock stands still until it is moved, and
each draw gives the middle of its range. So what happens can be foretold to the tick.
"""

from __future__ import annotations

from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall
from twisted.internet.testing import MemoryReactorClock

from brokerproto.broker import Broker
from brokerproto.errors import RemoteProtocolError
from brokerproto.fleet import End, Member, Origin
from brokerproto.observer import Observer
from brokerproto.protocol import BrokerFactory
from brokerproto.terms import Limits
from services.scaletest.virtual_fleet import VirtualEngine, VirtualFleet
from transports import URI, transport_for
from transports.fault import FaultTransport, Switch

STEP = 0.25
"""Seconds that the clock is moved at once; all that engines do falls on such a moment."""

OFFSET = 0.125
"""By how much the broker's ticks come before that, so that nothing happens at once."""

Event = tuple[float, str]


class Middle(Random):
    """Draws the middle of each range."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


@define(eq=False)
class Recorder(Observer):
    """Writes down what the broker tells, and when."""

    clock: Any
    events: list[Event] = field(init=False, factory=list)

    def _note(self, event: str) -> None:
        self.events.append((self.clock.seconds(), event))

    def engine_registered(self, member: Member) -> None:
        self._note(f"{member.engine_id} registered, epoch {member.epoch}")

    def engine_late(self, member: Member, silence: float) -> None:
        self._note(f"{member.engine_id} late after {silence:g} s")

    def engine_recovered(self, member: Member) -> None:
        self._note(f"{member.engine_id} recovered")

    def engine_ended(self, end: End) -> None:
        self._note(f"{end.engine_id} {end.manner.value}: {end.cause}")

    def peer_refused(
        self, origin: Origin, engine_id: str | None, error: RemoteProtocolError
    ) -> None:
        self._note(f"{engine_id} refused: {error.code}")


@define(eq=False)
class World:
    """Time, a broker, and engines ``e-1``, ``e-2``, ...

    Args:
        interval: T, whole seconds.
    """

    interval: int = 10
    clock: Any = field(init=False, factory=MemoryReactorClock)
    observer: Recorder = field(init=False)
    broker: Broker = field(init=False)
    fleet: VirtualFleet = field(init=False)
    door: Switch = field(init=False, factory=Switch)
    _ports: list[Any] = field(init=False, factory=list)
    _ticking: LoopingCall = field(init=False)
    _is_standing_still: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(STEP - OFFSET)
        self.observer = Recorder(self.clock)
        limits = Limits(interval=self.interval)
        self.broker = Broker(self.clock.seconds, "b0", limits, self.observer)
        uri = URI.parse("inproc://world")
        served = FaultTransport(transport_for("inproc"), switch=self.door)
        factory = BrokerFactory(self.broker, self.clock, str(uri))
        listening = served.server_endpoint(self.clock, uri).listen(factory)
        listening.addCallback(self._ports.append)
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = self.clock
        self._ticking.start(self.broker.tick_length)
        self.fleet = VirtualFleet(self.clock, uri, "e", Middle())
        self.clock.advance(OFFSET)

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        seconds: float = self.clock.seconds()
        return seconds

    def pass_time(self, seconds: float) -> None:
        """Let time pass, in steps."""
        for _ in range(round(seconds / STEP)):
            self.clock.advance(STEP - OFFSET)
            self.settle()
            self.clock.advance(OFFSET)
            self.settle()

    def settle(self) -> None:
        """Let everything happen that needs no time."""
        while any(call.getTime() <= self.now for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)

    def stand_still(self) -> None:
        """Stop the broker's process: it neither reads nor ticks."""
        self._is_standing_still = True
        self.door.cut()

    def go_on(self, *, ticks_first: bool) -> None:
        """Let the broker's process go on, which reads at once, or ticks before that."""
        self._is_standing_still = False
        if ticks_first:
            self.pass_time(self.broker.tick_length)
        self.door.heal()
        self.settle()

    def drop(self, engine: VirtualEngine) -> None:
        """Have an engine lose its connection, and the broker not hear of it."""
        for link in engine.switch.links:
            link.cut()
        engine.hang_up()
        self.settle()

    def claim(self, engine_id: str) -> None:
        """Have a stranger ask for an id."""
        uri = URI.parse("inproc://world")
        endpoint = transport_for("inproc").client_endpoint(self.clock, uri)
        stranger = _Stranger()
        stranger.hello = f"NewEngine:{engine_id}:0:v=1;instance=f0\n".encode()
        endpoint.connect(Factory.forProtocol(lambda: stranger))
        self.settle()

    def take_events(self) -> list[Event]:
        """Take what the broker has told since the last time, in order."""
        taken, self.observer.events = self.observer.events, []
        return taken

    def close(self) -> None:
        """Let everybody leave, and see that nothing of them is left."""
        stopped: Deferred[Any] = self.fleet.stop()
        self.pass_time(3)
        assert stopped.called
        assert self.broker.connections == 0
        self._ticking.stop()
        self._ports[0].stopListening()
        self.pass_time(1)
        assert self.clock.getDelayedCalls() == []
        stats = self.broker.stats()
        assert stats.opened == stats.closed
        assert stats.registrations == stats.left + stats.lost
        unknown = self.fleet.sent - stats.heartbeats - stats.missed
        assert 0 <= unknown <= self.fleet.untold

    def _tick(self) -> None:
        if not self._is_standing_still:
            self.broker.tick()


class _Stranger(Protocol):
    """Says hello, and goes when it is told to."""

    hello = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self.hello)
