"""A whole broker: honest engines, strangers who say anything, commands, and time.

The input is a script, one act a line; a line that is no act is passed over:

| line | act |
| --- | --- |
| ``0HeartBeat:a:1`` | stranger 0 (to 4) says the rest, and a line end; connects first |
| ``5Heart`` | stranger 0 (5 to 9: 0 to 4) says the rest, without a line end |
| ``-0``, ``!0`` | stranger 0 closes, is reset |
| ``a``, ``b``, ``c`` | the engine of this id connects |
| ``ax``, ``af``, ``ap9`` | its connection breaks, ends, breaks with 9 bytes on the way |
| ``az``, ``al``, ``aw``, ``aW`` | it sleeps or wakes, leaves, its work is done, has failed |
| ``t5``, ``s20`` | 5 ticks pass, the broker stands still for 20 |
| ``d250``, ``k3`` | everybody is sent DOWORK, KILL |
| ``e0`` | the broker ends stranger 0 |
"""

from __future__ import annotations

from collections import Counter
from random import Random
from zlib import crc32

from attrs import define, field

from brokerproto.broker import Broker
from brokerproto.broker_session import BrokerSession
from brokerproto.engine import Engine
from brokerproto.engine_session import EngineSession
from brokerproto.errors import DrainingError
from brokerproto.fleet import Origin
from brokerproto.life import Life
from brokerproto.messages import Unknown, Unusable
from brokerproto.stats import Stats
from brokerproto.terms import Limits
from brokerproto.testing import ManualClock, RecordingCarrier, RecordingObserver, RecordingWorker
from brokerproto.wire import decode

__all__ = ["check"]

_TICK = 0.25
_IDS = ("a", "b", "c")
_MOST_ACTS = 60
_MOST_TICKS = 150
# Long enough for a takeover to be allowed again, and for any silence to be noticed.
_TICKS_UNTIL_FREE = 1600


def check(data: bytes) -> None:
    """Play a script; the account closes after each act, and is exact at the end."""
    play = Play(Random(crc32(data)))
    for line in data.split(b"\n")[:_MOST_ACTS]:
        play.act(line[:1], line[1:])
        play.check()
    play.settle()


@define(eq=False)
class Stranger:
    """A connection on which anything may be said."""

    session: BrokerSession
    carrier: RecordingCarrier

    def listen(self) -> None:
        """Take what the broker says, and see that it is of the protocol."""
        *frames, rest = self.carrier.take().split(b"\n")
        assert rest == b""
        for frame in frames:
            assert not isinstance(decode(frame, "broker"), Unknown | Unusable), frame


@define(eq=False)
class Line:
    """One connection of an honest engine, and how many of its heartbeats arrived."""

    engine: Engine
    broker: Broker
    engine_side: EngineSession
    broker_side: BrokerSession
    engine_carrier: RecordingCarrier
    broker_carrier: RecordingCarrier
    arrived: int = 0
    pending: bytes = b""
    asleep: bool = False

    @classmethod
    def between(cls, engine: Engine, broker: Broker) -> Line:
        """Connect."""
        ours, theirs = RecordingCarrier(), RecordingCarrier()
        theirs.session = broker.open(theirs, Origin(engine.life.engine_id, "line://"))
        ours.session = engine.open(ours)
        return cls(engine, broker, ours.session, theirs.session, ours, theirs)

    @property
    def is_cut(self) -> bool:
        """Whether the connection is gone."""
        return self.engine.session is not self.engine_side

    def exchange(self, most: int | None = None) -> None:
        """Carry bytes both ways until nothing is owed, or `most` of them once."""
        while not self.is_cut:
            up, down = self.engine_carrier.take()[:most], self.broker_carrier.take()[:most]
            if up:
                self._carry(up)
            if down:
                self.engine.receive_data(down)
            if most is not None:
                return
            if not (up or down):
                if self.engine_side.is_over or self.broker_side.is_over:
                    self.cut(reset=False)
                return

    def cut(self, *, reset: bool) -> None:
        """End the connection; bytes on the way are lost."""
        if not self.is_cut:
            self.engine.lose()
            self.broker.lose(self.broker_side, reset=reset)

    def _carry(self, up: bytes) -> None:
        *frames, self.pending = (self.pending + up).split(b"\n")
        if not self.broker_side.is_over:
            self.arrived += sum(frame.startswith(b"HeartBeat:") for frame in frames)
        self.broker.receive_data(self.broker_side, up)


@define(eq=False)
class Play:
    """A broker and everybody who talks to it."""

    random: Random
    clock: ManualClock = field(factory=ManualClock)
    observer: RecordingObserver = field(factory=RecordingObserver)
    broker: Broker = field(init=False)
    engines: dict[str, Engine] = field(init=False)
    lines: dict[str, Line] = field(init=False, factory=dict)
    arrived: Counter[str] = field(init=False, factory=Counter)
    strangers: dict[int, Stranger] = field(init=False, factory=dict)
    said: bytes = field(init=False, default=b"")
    births: int = field(init=False, default=0)
    ticks: int = field(init=False, default=0)
    stats: Stats = field(init=False)

    def __attrs_post_init__(self) -> None:
        limits = Limits(interval=1, handshake=3, connections=6)
        self.broker = Broker(self.clock.seconds, "b0", limits, self.observer)
        self.engines = {engine_id: self._born(engine_id) for engine_id in _IDS}
        self.stats = self.broker.stats()

    def act(self, verb: bytes, rest: bytes) -> None:
        """Do one act of the script."""
        if verb.isdigit():
            number = int(verb)
            self._say(number % 5, rest + b"\n" if number < 5 else rest)
        elif verb in (b"-", b"!") and _number(rest) in self.strangers:
            stranger = self.strangers.pop(_number(rest))
            self.broker.lose(stranger.session, reset=verb == b"!")
        elif verb == b"e" and _number(rest) in self.strangers:
            self.broker.end(self.strangers[_number(rest)].session, DrainingError("that is all"))
        elif verb in (b"a", b"b", b"c"):
            self._engine_acts(verb.decode(), rest[:1], rest[1:])
        elif verb == b"t":
            self._pass(min(_number(rest), _MOST_TICKS - self.ticks))
        elif verb == b"s":
            self.clock.advance(_TICK * min(_number(rest), 1000))
            self._pass(1)
        elif verb == b"d":
            self.broker.order("DOWORK", _number(rest) % 100_000, self.broker.fleet)
        elif verb == b"k":
            self.broker.order("KILL", _number(rest) % 256, self.broker.fleet)
        self._exchange()

    def check(self) -> None:
        """See what always holds."""
        now, before = self.broker.stats(), self.stats
        assert now.opened == now.closed + now.connections
        assert now.registrations == now.registered + now.left + now.lost
        assert sum(now.causes.values()) == now.left + now.lost
        assert now.late <= now.registered <= now.connections
        assert now.connections == len(self.strangers) + len(self.lines)
        sessions = [
            *(stranger.session for stranger in self.strangers.values()),
            *(line.broker_side for line in self.lines.values()),
        ]
        open_ones = {id(session) for session in sessions if session.is_open}
        assert {id(member.session) for member in self.broker.fleet} == open_ones
        for name in ("opened", "closed", "registrations", "heartbeats", "missed", "repeated"):
            assert getattr(now, name) >= getattr(before, name), name
        told = Counter(what for what, _, _ in self.observer.events)
        assert (told["registered"], told["left"], told["lost"]) == (
            now.registrations,
            now.left,
            now.lost,
        )
        self.stats = now

    def settle(self) -> None:
        """Let strangers go and engines come back: what they sent is in the account."""
        for stranger in self.strangers.values():
            self.broker.lose(stranger.session, reset=True)
        self.strangers.clear()
        for line in self.lines.values():
            line.asleep = False
        self._exchange()
        for engine_id in _IDS:
            self._come_back(engine_id)
            self._check_account(engine_id)
        for line in self.lines.values():
            self._note(line)
            line.cut(reset=True)
        self.lines.clear()
        self.check()
        assert self.stats.connections == self.stats.registered == self.stats.late == 0

    def _come_back(self, engine_id: str) -> None:
        for _ in range(_TICKS_UNTIL_FREE):
            self._engine_acts(engine_id, b"", b"")
            self._exchange()
            line = self.lines.get(engine_id)
            if line is not None and line.engine_side.is_open:
                return
            self._pass(1)
        raise AssertionError(f"{engine_id} cannot come back")

    def _check_account(self, engine_id: str) -> None:
        life = self.engines[engine_id].life
        # A stranger may have said that it is this very life.
        if life.instance.encode() in self.said:
            return
        member = self.broker.fleet.get(engine_id)
        assert member is not None
        assert member.instance == life.instance
        totals = member.account.totals
        arrived = self.arrived[life.instance] + self.lines[engine_id].arrived
        assert totals.repeated == 0
        assert life.seq == member.account.first + totals.counted + totals.missed
        # Its id may have been a stranger's meanwhile; the account then begins anew.
        if member.account.first == 0:
            assert totals.counted == arrived

    def _born(self, engine_id: str) -> Engine:
        self.births += 1
        life = Life(engine_id, f"{self.births:032x}")
        return Engine(life, RecordingWorker(), self.clock.seconds, self.random)

    def _say(self, number: int, data: bytes) -> None:
        if number not in self.strangers:
            carrier = RecordingCarrier()
            carrier.session = self.broker.open(carrier, Origin(f"stranger-{number}", "line://"))
            self.strangers[number] = Stranger(carrier.session, carrier)
        self.said += data
        self.broker.receive_data(self.strangers[number].session, data)

    def _engine_acts(self, engine_id: str, what: bytes, rest: bytes) -> None:
        engine, line = self.engines[engine_id], self.lines.get(engine_id)
        if line is None:
            self.lines[engine_id] = Line.between(engine, self.broker)
        elif what in (b"x", b"f"):
            line.cut(reset=what == b"x")
        elif what == b"p":
            line.engine_side.tick(max(line.engine_side.due, self.clock.now))
            line.exchange(_number(rest))
            line.cut(reset=True)
        elif what == b"z":
            line.asleep = not line.asleep
        elif what == b"l":
            engine.leave("stopped")
        elif what in (b"w", b"W"):
            engine.worked("crashed" if what == b"W" else None)

    def _pass(self, ticks: int) -> None:
        for _ in range(ticks):
            self.clock.advance(_TICK)
            self.ticks += 1
            for line in self.lines.values():
                if not line.asleep and line.engine_side.due <= self.clock.now:
                    line.engine_side.tick(self.clock.now)
            self._exchange()
            self.broker.tick()
            self._exchange()

    def _exchange(self) -> None:
        for engine_id, line in list(self.lines.items()):
            if not line.asleep:
                line.exchange()
            if line.is_cut:
                self._note(self.lines.pop(engine_id))
        for engine_id, engine in self.engines.items():
            assert isinstance(engine.worker, RecordingWorker)
            if engine.worker.exit_code is not None:
                self.engines[engine_id] = self._born(engine_id)
        for number, stranger in list(self.strangers.items()):
            stranger.listen()
            if stranger.session.is_over and self.random.randint(0, 3) == 0:
                self.broker.lose(self.strangers.pop(number).session, reset=False)

    def _note(self, line: Line) -> None:
        self.arrived[line.engine.life.instance] += line.arrived


def _number(text: bytes) -> int:
    """Read a few digits; 0 where there are none."""
    digits = text[:5]
    return int(digits) if digits.isdigit() else 0
