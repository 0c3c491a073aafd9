"""Fakes and a wire in memory, for tests of brokers, engines and sessions.

Free of any test framework, of Twisted and of real time::

    clock = ManualClock()
    broker = Broker(clock.seconds, "b0", observer=RecordingObserver())
    engine = Engine(Life("e1", "a1"), RecordingWorker(), clock.seconds)
    wire = Wire(broker, engine)
    wire.exchange()             # hello and SUCCESS have been exchanged
    clock.advance(10.0)
    wire.tick()                 # the engine beats, the broker sweeps
    assert broker.stats().heartbeats == 1
"""

from __future__ import annotations

from typing import Any

from attrs import define, field

from brokerproto.account import Gap
from brokerproto.broker import Broker
from brokerproto.broker_session import BrokerSession
from brokerproto.commands import Command
from brokerproto.engine import Engine
from brokerproto.engine_session import EngineSession
from brokerproto.errors import RemoteProtocolError
from brokerproto.fleet import End, Member, Origin
from brokerproto.observer import Observer
from brokerproto.ownership import Ground

__all__ = ["ManualClock", "RecordingCarrier", "RecordingObserver", "RecordingWorker", "Wire"]


@define
class ManualClock:
    """Monotonic seconds that pass only when told to."""

    now: float = 0.0

    def seconds(self) -> float:
        """The time; pass this method wherever a clock is asked for."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@define(eq=False)
class RecordingCarrier:
    """Takes what a session owes whenever it is settled.

    Attributes:
        session: Whose bytes; set it after the session was opened.
        written: All bytes so far.
        settled: How many times it was settled.
    """

    session: BrokerSession | EngineSession | None = None
    written: bytes = b""
    settled: int = 0

    def settle(self) -> None:
        """Take what is owed."""
        self.settled += 1
        if self.session is not None:
            self.written += self.session.data_to_send()

    def take(self) -> bytes:
        """Settle, and return what was written since the last call."""
        self.settle()
        written, self.written = self.written, b""
        return written


@define(eq=False)
class RecordingObserver(Observer):
    """Writes down what a broker tells, as ``(what, engine id or address, detail)``."""

    events: list[tuple[str, str, Any]] = field(factory=list)

    def engine_registered(self, member: Member) -> None:
        """Note ``registered`` and the epoch."""
        self.events.append(("registered", member.engine_id, member.epoch))

    def engine_missed(self, member: Member, gap: Gap) -> None:
        """Note ``missed`` and how many."""
        self.events.append(("missed", member.engine_id, gap.missed))

    def engine_late(self, member: Member, silence: float) -> None:
        """Note ``late`` and the silence."""
        self.events.append(("late", member.engine_id, silence))

    def engine_recovered(self, member: Member) -> None:
        """Note ``recovered``."""
        self.events.append(("recovered", member.engine_id, None))

    def engine_paused(self, member: Member, rate: int, seconds: float) -> None:
        """Note ``paused`` and the seconds."""
        self.events.append(("paused", member.engine_id, seconds))

    def engine_taken_over(self, member: Member, origin: Origin, ground: Ground) -> None:
        """Note ``taken over`` and the ground."""
        self.events.append(("taken over", member.engine_id, ground.value))

    def engine_ended(self, end: End) -> None:
        """Note ``left`` or ``lost`` and the cause."""
        self.events.append((end.manner.value, end.engine_id, end.cause))

    def brake_applied(self, late: int, registered: int) -> None:
        """Note ``brake applied`` and how many are late."""
        self.events.append(("brake applied", "", late))

    def brake_released(self, seconds: float, evicted: int) -> None:
        """Note ``brake released`` and how many were lost meanwhile."""
        self.events.append(("brake released", "", evicted))

    def command_issued(self, command: Command) -> None:
        """Note ``issued`` and the verb; in place of an engine's id the command's."""
        self.events.append(("issued", command.command, command.verb))

    def peer_refused(
        self, origin: Origin, engine_id: str | None, error: RemoteProtocolError
    ) -> None:
        """Note ``refused`` and the code."""
        self.events.append(("refused", engine_id or origin.address, error.code))


@define
class RecordingWorker:
    """Works when the test says so: call `Engine.worked` to end a piece of work.

    Attributes:
        running: Milliseconds of the work that runs.
        started: Milliseconds of each piece begun.
        stopped: How many were dropped.
        exit_code: The status that the process would have ended with.
    """

    running: int | None = None
    started: list[int] = field(factory=list)
    stopped: int = 0
    exit_code: int | None = None

    def start(self, ms: int) -> None:
        """Take note."""
        self.running = ms
        self.started.append(ms)

    def stop(self) -> None:
        """Take note."""
        self.running = None
        self.stopped += 1

    def exit(self, code: int) -> None:
        """Take note."""
        self.exit_code = code


@define(eq=False)
class Wire:
    """One connection in memory between a broker and an engine, made at once.

    Attributes:
        broker: The broker.
        engine: The engine; it must have no other connection.
        broker_side: The broker's session.
        engine_side: The engine's session.
    """

    broker: Broker
    engine: Engine
    address: str = "wire"
    broker_side: BrokerSession = field(init=False)
    engine_side: EngineSession = field(init=False)
    _broker_carrier: RecordingCarrier = field(init=False, factory=RecordingCarrier)
    _engine_carrier: RecordingCarrier = field(init=False, factory=RecordingCarrier)

    def __attrs_post_init__(self) -> None:
        origin = Origin(self.address, "wire://")
        self.broker_side = self.broker.open(self._broker_carrier, origin)
        self.engine_side = self.engine.open(self._engine_carrier)
        self._broker_carrier.session = self.broker_side
        self._engine_carrier.session = self.engine_side

    @property
    def is_cut(self) -> bool:
        """Whether the connection is gone."""
        return self.engine.session is not self.engine_side

    def exchange(self) -> None:
        """Carry bytes both ways until nothing is owed; close where a side has ended."""
        while not self.is_cut:
            to_broker = self._engine_carrier.take()
            to_engine = self._broker_carrier.take()
            if to_broker:
                self.broker.receive_data(self.broker_side, to_broker)
            if to_engine:
                self.engine.receive_data(to_engine)
            if to_broker or to_engine:
                continue
            if not (self.broker_side.is_over or self.engine_side.is_over):
                return
            self.cut(reset=False)

    def tick(self) -> None:
        """Let both sides do what is due, and exchange."""
        if not self.is_cut and self.engine_side.due <= self.engine.seconds():
            self.engine_side.tick(self.engine.seconds())
        self.exchange()
        self.broker.tick()
        self.exchange()

    def cut(self, *, reset: bool = True) -> None:
        """Break the connection; bytes on the way are lost."""
        if not self.is_cut:
            self.engine.lose()
            self.broker.lose(self.broker_side, reset=reset)
