"""What the protocol reference says of a broker, once more, without any layers.

`ModelBroker` keeps one plain record for each connection, life and command, and looks at
all of them where the library has rings, buckets and shared terms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from random import Random
from typing import Any

from attrs import define, field

from brokerproto.errors import RemoteProtocolError
from brokerproto.messages import Bye, Heartbeat, NewEngine, Proof, Report, Unknown
from brokerproto.terms import Limits
from brokerproto.wire import decode
from tests.brokerproto.brake_model import ModelBrake
from tests.brokerproto.limits_model import Flow, cut_slow_readers, read, sweep
from tests.brokerproto.ownership_model import ModelOwnership

Event = tuple[str, str, Any]


@define(eq=False)
class Peer:
    """One connection."""

    address: str
    opened_at: float
    where: str = "hello"
    pending: bytes = b""
    engine_id: str = ""
    plain: bool = False
    interval: int = 0
    timeout: int = 0
    ack: int = 0
    labels: Mapping[str, str] = field(factory=dict)
    seen: float = 0.0
    excused: float = 0.0
    leaves_at: float | None = None
    pings: int = 0
    unknown_verbs: int = 0
    hello: NewEngine | None = None
    asked_at: float = 0.0
    waiting: list[bytes] = field(factory=list)
    said: list[str] = field(factory=list)
    flow: Flow = field(factory=Flow)


@define(eq=False)
class ModelLife:
    """One start of an engine; `settled` is the last number that came or is missing."""

    instance: str | None
    settled: int
    counted_at: float
    counted: int = 0
    missed: int = 0
    repeated: int = 0


@define(eq=False)
class Aim:
    """One command at one engine."""

    command: str
    verb: str
    value: int
    instance: str | None
    plain: bool
    step: str = "queued"
    error: str | None = None
    reported: str = "nothing"
    not_before: float = 0.0


@define(eq=False)
class ModelBroker:
    """The model; give it what the broker was given."""

    limits: Limits
    boot: str
    resume_key: bytes
    tick: float
    now: float = 0.0
    real: float = 0.0
    lost_time: float = 0.0
    horizon: float = 0.0
    draining: bool = False
    peers: list[Peer] = field(factory=list)
    registered: dict[str, Peer] = field(factory=dict)
    lives: dict[str, ModelLife] = field(factory=dict)
    earlier: list[ModelLife] = field(factory=list)
    epochs: Counter[str] = field(factory=Counter)
    aims: dict[tuple[str, str], Aim] = field(factory=dict)
    events: list[Event] = field(factory=list)
    ends: Counter[str] = field(factory=Counter)
    rejected: Counter[int] = field(factory=Counter)
    counts: Counter[str] = field(factory=Counter)
    ownership: ModelOwnership = field(init=False)
    brake: ModelBrake[Peer] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ownership = ModelOwnership(self, self.resume_key, self.tick)
        interval = self.limits.interval
        timeout = max(4 * interval, 2 * interval + 2)
        self.brake = ModelBrake(interval, min(1.5 * interval + 1, timeout / 2), timeout)

    def opened(self, address: str) -> Peer:
        peer = Peer(address, self.now)
        staying = [peer for peer in self.peers if peer.where != "over"]
        full = len(staying) >= self.limits.connections
        self.peers.append(peer)
        self.counts["opened"] += 1
        if full or self.draining:
            self._refuse(peer, 503 if self.draining else 507)
        return peer

    def heard(self, peer: Peer, data: bytes, real: float) -> None:
        *frames, peer.pending = (peer.pending + data).split(b"\n")
        self._read(peer, frames, real)
        # All that came at once is judged before anything new is said.
        if peer.plain and peer.where == "open":
            self._write_next(peer, real)
        read(self, peer, len(frames))

    def _read(self, peer: Peer, frames: list[bytes], real: float) -> None:
        for frame in frames:
            if peer.where == "over":
                self.counts["stale"] += 1
                continue
            if peer.where == "held":
                peer.waiting.append(frame)
                continue
            try:
                message = decode(frame, "engine")
            except RemoteProtocolError as error:
                self._refuse(peer, error.code)
            else:
                apply = self._in_hello if peer.where == "hello" else self._in_open
                apply(peer, message, real)
        if peer.interval:
            self.brake.heard = self.now

    def gone(self, peer: Peer, *, reset: bool) -> None:
        if peer.where == "open":
            self._free(peer, "lost", "reset" if reset else "closed")
        self.peers.remove(peer)
        self.counts["closed"] += 1

    def ticked(self, real: float, stayed: Collection[Peer]) -> None:
        longest = 2 * self.tick
        passed, self.real, before = real - self.real, real, self.now
        self.now += min(passed, longest)
        self.lost_time += passed - min(passed, longest)
        judged, self.horizon = self.horizon, before if passed > longest else self.now
        self._judge_all(self.horizon - judged, stayed)
        self.ownership.ticked(self.horizon)
        for peer in list(self.peers):
            waited = self.horizon - peer.opened_at
            if peer.where in ("hello", "held") and waited >= self.limits.handshake:
                self._refuse(peer, 408)
        sweep(self)

    def ordered(self, command: str, verb: str, value: int, ids: list[str], real: float) -> None:
        for engine_id in ids:
            peer = self.registered[engine_id]
            instance = self.lives[engine_id].instance
            aim = Aim(command, verb, value, instance, peer.plain)
            if peer.plain and verb == "DOWORK" and len(self._aims_at(peer, "queued")) >= 16:
                aim.step, aim.error = "failed", "queue-full"
            self.aims[command, engine_id] = aim
        self.events.append(("issued", command, verb))
        for engine_id in ids:
            self._write_next(self.registered[engine_id], real)
        cut_slow_readers(self)

    def drained(self, random: Random, spread: float, real: float) -> None:
        self.draining = True
        slots = [spread * (n + 0.5) / len(self.registered) for n in range(len(self.registered))]
        random.shuffle(slots)
        for peer, slot in zip(self.registered.values(), slots, strict=True):
            peer.leaves_at = real + slot if peer.plain else None
            peer.said += [] if peer.plain else [f"GOAWAY:{round(slot * 1000)}:reason=drain"]
        for peer in self.peers:
            if peer.where in ("hello", "held"):
                self._refuse(peer, 503)

    def seen_off(self, real: float) -> None:
        for peer in list(self.registered.values()):
            if peer.leaves_at is not None and real >= peer.leaves_at:
                self._refuse(peer, 503)

    @property
    def late(self) -> set[str]:
        return {engine_id for engine_id, peer in self.registered.items() if peer.pings}

    def total(self, what: str) -> int:
        lives = [*self.lives.values(), *self.earlier]
        return sum(int(getattr(life, what)) for life in lives)

    def _in_hello(self, peer: Peer, message: Any, real: float) -> None:
        if isinstance(message, NewEngine):
            self._greeted(peer, message, real)
        elif isinstance(message, Bye):
            peer.where = "over"
        else:
            self._refuse(peer, 405 if isinstance(message, Unknown) else 424)

    def _greeted(self, peer: Peer, hello: NewEngine, real: float) -> None:
        if hello.v == 0:
            self._refuse(peer, 426)
            return
        peer.engine_id = hello.engine_id
        if hello.engine_id in self.registered:
            self.ownership.contend(peer, hello, real)
        else:
            self.admit(peer, hello)

    def admit(self, peer: Peer, hello: NewEngine) -> None:
        name = peer.engine_id
        life = self.lives.get(name)
        known = life is not None and hello.instance is not None
        missing = 0
        if life is not None and known and life.instance == hello.instance:
            missing = hello.seq - life.settled
            if missing < 0:
                self._refuse(peer, 441)
                return
            life.missed += missing
            life.settled, life.counted_at = hello.seq, self.now
        else:
            self.earlier += [life] if life is not None else []
            self.lives[name] = ModelLife(hello.instance, hello.seq, self.now)
        self.registered[name] = peer
        self.epochs[name] += 1
        self.counts["registrations"] += 1
        self.events.append(("registered", name, self.epochs[name]))
        if missing:
            self.counts["gaps"] += 1
            self.events.append(("missed", name, missing))
        self._grant(peer, hello)
        frames, peer.waiting = peer.waiting, []
        self._read(peer, frames, self.real)

    def _grant(self, peer: Peer, hello: NewEngine) -> None:
        wish = hello.interval or 0
        own = self.limits.interval
        peer.where, peer.seen, peer.plain = "open", self.now, hello.v is None
        peer.interval = 10 if peer.plain else wish if own <= wish <= 300 else own
        peer.timeout = max(4 * peer.interval, 2 * peer.interval + 2)
        peer.ack, peer.labels = hello.ack or 0, dict(hello.labels)
        terms = f"v=1;epoch={self.epochs[peer.engine_id]};interval={peer.interval}"
        terms += f";timeout={peer.timeout}" + (f";ack={peer.ack}" if peer.ack else "")
        token = self.ownership.token(peer.engine_id)
        resume = f";resume={token}" if token else ""
        options = "" if peer.plain else f":{terms};herd=1{resume};boot={self.boot}"
        peer.said.append("SUCCESS:Registered" + options)

    def _in_open(self, peer: Peer, message: Any, real: float) -> None:
        if isinstance(message, NewEngine | Proof):
            self._refuse(peer, 431)
        elif isinstance(message, Bye):
            peer.where = "over"
            self._free(peer, "left", message.reason or "bye")
        elif isinstance(message, Unknown):
            peer.unknown_verbs += 1
            if peer.unknown_verbs == 3:
                self._refuse(peer, 405)
            else:
                self.counts["unknown_verbs"] += 1
                self.rejected[405] += 1
                peer.said.append("FAILED:405")
        elif isinstance(message, Report):
            self._alive(peer)
            self.ownership.answered(peer.engine_id)
            self._report(peer, message)
        else:
            assert isinstance(message, Heartbeat)
            self._beat(peer, message, real)

    def _alive(self, peer: Peer) -> None:
        peer.seen = max(self.now, peer.excused)
        self.brake.waiting.pop(peer, None)
        if peer.pings:
            peer.pings = 0
            self.events.append(("recovered", peer.engine_id, None))

    def _beat(self, peer: Peer, beat: Heartbeat, real: float) -> None:
        life = self.lives[peer.engine_id]
        missing = beat.seq - life.settled - 1
        allowed = 8 + int(2 * (self.now - life.counted_at) / peer.interval)
        if beat.engine_id != peer.engine_id or missing < -1 or missing > allowed:
            code = 442 if beat.engine_id != peer.engine_id else 441 if missing < 0 else 422
            self._refuse(peer, code)
            return
        self._alive(peer)
        if missing < 0:
            life.repeated += 1
        else:
            life.counted += 1
            life.missed += missing
            life.settled, life.counted_at = beat.seq, self.now
        if missing > 0:
            self.counts["gaps"] += 1
            self.events.append(("missed", peer.engine_id, missing))
        if peer.ack and (beat.seq % peer.ack == 0 or missing < 0):
            peer.said.append(f"ACK:{beat.seq}")
        self.ownership.answered(peer.engine_id)
        for aim in self._aims_at(peer, "written"):
            if peer.plain and aim.verb == "DOWORK" and real >= aim.not_before:
                aim.step = "done"

    def _judge_all(self, passed: float, stayed: Collection[Peer]) -> None:
        registered = list(self.registered.values())
        lost = [peer for peer in registered if self._is_lost(peer)]
        brake, now = self.brake, self.horizon
        change = brake.switch(now, len(self.late), len(registered))
        if change is not None:
            count = len(self.late) if brake.on else brake.evicted_of_late
            self.events.append((f"brake {change}", "", count))
        gone = [peer for peer in registered if peer not in stayed]
        for peer in brake.lost(lost, now) + brake.turns(now, passed, len(registered), gone):
            self._refuse(peer, 440)

    def _is_lost(self, peer: Peer) -> bool:
        """Judge one that is not put off; whoever may still be waited for is late at most."""
        if peer in self.brake.waiting:
            return False
        silence = self.horizon - peer.seen
        late = min(1.5 * peer.interval + 1, peer.timeout / 2)
        pings = 0 if silence < late else 1 if silence < (late + peer.timeout) / 2 else 2
        if silence < peer.timeout and pings > peer.pings:
            if not peer.pings:
                self.events.append(("late", peer.engine_id, silence))
                self.brake.late_now(peer, self.horizon)
            peer.pings = pings
            peer.said += [] if peer.plain else ["PING"]
        return silence >= peer.timeout

    def _aims_at(self, peer: Peer, *steps: str) -> list[Aim]:
        return [
            aim
            for (_, engine_id), aim in self.aims.items()
            if engine_id == peer.engine_id and aim.step in steps
        ]

    def _write_next(self, peer: Peer, real: float) -> None:
        queued = self._aims_at(peer, "queued")
        if peer.plain:
            kills = [aim for aim in queued if aim.verb == "KILL"]
            queued = [] if self._aims_at(peer, "written") else (kills[-1:] or queued[:1])
        for aim in queued:
            aim.step = "written"
            name = "" if peer.plain else f":command={aim.command}"
            peer.said.append(f"{aim.verb}:{aim.value}{name}")
            if peer.plain and aim.verb == "DOWORK":
                aim.not_before = real + max(1.0, aim.value / 1000)
                peer.excused = max(self.now, peer.excused) + aim.value / 1000
                peer.seen, peer.pings = peer.excused, 0
                self.brake.waiting.pop(peer, None)

    def _report(self, peer: Peer, report: Report) -> None:
        self.counts["reports"] += 1
        aim = self.aims.get((report.command, peer.engine_id))
        instance = self.lives[peer.engine_id].instance
        strange = aim is None or aim.plain or aim.instance != instance
        if aim is None or strange or (instance is None and aim.step == "lost"):
            self.counts["strange_reports"] += 1
            return
        order = ["nothing", "received", "started", "done", "failed"]
        new, old = order.index(report.state), order.index(aim.reported)
        if aim.step not in ("done", "failed") and new >= old + (aim.step != "lost"):
            aim.step, aim.error, aim.reported = report.state, report.error, report.state

    def _refuse(self, peer: Peer, code: int) -> None:
        was, peer.where = peer.where, "over"
        peer.said.append(f"FAILED:{code}")
        self.rejected[code] += 1
        self.counts["stale"] += len(peer.waiting)
        peer.waiting = []
        if was == "open":
            self._free(peer, "lost", "timeout" if code == 440 else str(code))
        else:
            self.events.append(("refused", peer.engine_id or peer.address, code))

    def _free(self, peer: Peer, manner: str, cause: str) -> None:
        peer.where = "over"
        self.brake.waiting.pop(peer, None)
        del self.registered[peer.engine_id]
        self.ends[f"{manner}:{cause}"] += 1
        self.events.append((manner, peer.engine_id, cause))
        for aim in self._aims_at(peer, "queued", "written", "received", "started"):
            killed = aim.verb == "KILL" and aim.step != "queued"
            aim.step = "done" if killed else "lost"
        self.ownership.released(peer.engine_id)
