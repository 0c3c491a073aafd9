"""Drive one broker, several engines and strangers beside a model of the broker."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
)

from brokerproto.broker_session import BrokerSession
from brokerproto.commands import Verb
from brokerproto.engine import Engine
from brokerproto.fleet import Origin
from brokerproto.life import Life, Wishes
from brokerproto.terms import Limits
from brokerproto.testing import (
    ManualClock,
    RecordingCarrier,
    RecordingObserver,
    RecordingWorker,
    Wire,
)
from tests.brokerproto.crowd import CrowdMachine, Stranger
from tests.brokerproto.limits_model import waiting
from tests.brokerproto.shadowed_broker import ShadowedBroker

# The tick at an interval of one second; exact in binary, so that the run lands on
# deadlines, not only near them.
TICK = 0.25
IDS = ("a", "b", "c")
COUNTED = ["opened", "closed", "registrations", "probes", "gaps", "stale", "unknown_verbs"]
COUNTED += ["reports", "strange_reports"]


class BrokerMachine(CrowdMachine):
    """Three engines come and go; strangers say this and that; time passes."""

    @initialize(
        seed=st.integers(0, 99),
        cap=st.sampled_from([4, 50, 50]),
        rate=st.sampled_from([1, 20, 0]),
        crowded=st.booleans(),
    )
    def start(self, seed: int, cap: int, rate: int, crowded: bool) -> None:
        self.random = Random(seed)
        self.clock = ManualClock()
        self.observer = RecordingObserver()
        limits = Limits(
            interval=1, handshake=3, connections=cap, frame_rate=rate, unread=60, unread_in_all=99
        )
        self.broker = ShadowedBroker(self.clock.seconds, "b0", limits, self.observer)
        self.broker.shadow()
        self.births = 0
        self.engines = {engine_id: self._born(engine_id) for engine_id in IDS}
        self.wires: dict[str, Wire] = {}
        self.asleep: set[str] = set()
        self.orphans: list[BrokerSession] = []
        self.strangers: list[Stranger] = []
        if crowded:
            for engine_id in IDS:
                self.engine_connects(engine_id)
            self.plain_engine_says_hello()
            self.command("DOWORK", 250, set())

    def _born(self, engine_id: str) -> Engine:
        self.births += 1
        life = Life(engine_id, f"{self.births:x}")
        labels = self.random.choice([{}, {"node": "n1"}, {"node": "n2", "spot": ""}])
        wishes = Wishes(ack=self.random.choice([0, 1, 3]), labels=labels)
        return Engine(life, RecordingWorker(), self.clock.seconds, self.random, wishes)

    def _exchange(self) -> None:
        for engine_id, wire in list(self.wires.items()):
            if engine_id not in self.asleep:
                wire.exchange()
            if wire.is_cut:
                del self.wires[engine_id]
                self.asleep.discard(engine_id)
        for engine_id, engine in self.engines.items():
            assert isinstance(engine.worker, RecordingWorker)
            if engine.worker.exit_code is not None:
                self.engines[engine_id] = self._born(engine_id)

    # Engines

    @rule(engine_id=st.sampled_from(IDS))
    def engine_connects(self, engine_id: str) -> None:
        if engine_id not in self.wires:
            self.wires[engine_id] = Wire(self.broker, self.engines[engine_id], engine_id)
            self._exchange()

    @rule(data=st.data(), reset=st.booleans(), beats=st.integers(0, 3))
    def wire_is_cut_with_half_its_bytes_on_the_way(
        self, data: st.DataObject, reset: bool, beats: int
    ) -> None:
        """Let some heartbeats be sent of which only the first bytes arrive."""
        wire = self._a_wire(data)
        if wire is None:
            return
        for _ in range(beats):
            wire.engine_side.tick(max(wire.engine_side.due, self.clock.now))
        to_broker, to_engine = wire._engine_carrier.take(), wire._broker_carrier.take()
        arrived = to_broker[: data.draw(st.integers(0, len(to_broker)))]
        if arrived:
            self.broker.receive_data(wire.broker_side, arrived)
        wire.engine.receive_data(to_engine[: data.draw(st.integers(0, len(to_engine)))])
        wire.cut(reset=reset)
        self._exchange()

    def _a_wire(self, data: st.DataObject) -> Wire | None:
        wire = self.wires.get(data.draw(st.sampled_from(IDS)))
        return wire if wire is None or not wire.is_cut else None

    @rule(data=st.data())
    def only_the_engine_notices_the_end(self, data: st.DataObject) -> None:
        wire = self._a_wire(data)
        if wire is not None:
            self.orphans.append(wire.broker_side)
            wire.engine.lose()
            self._exchange()

    @precondition(lambda self: self.orphans)
    @rule(reset=st.booleans())
    def the_broker_notices_too(self, reset: bool) -> None:
        self.broker.lose(self.orphans.pop(), reset=reset)

    @rule(engine_id=st.sampled_from(IDS))
    def engine_falls_asleep_or_wakes(self, engine_id: str) -> None:
        if engine_id in self.wires:
            self.asleep ^= {engine_id}
            self._exchange()

    @rule(engine_id=st.sampled_from(IDS), error=st.sampled_from([None, "crashed"]))
    def work_ends(self, engine_id: str, error: str | None) -> None:
        self.engines[engine_id].worked(error)
        self._exchange()

    @rule(engine_id=st.sampled_from(IDS), reason=st.sampled_from([None, "stopped"]))
    def engine_leaves(self, engine_id: str, reason: str | None) -> None:
        self.engines[engine_id].leave(reason)
        self._exchange()

    # Strangers

    @rule(
        engine_id=st.sampled_from([*IDS, "p", "r"]),
        seq=st.integers(0, 3),
        options=st.sampled_from(
            [
                *("", ":v=1", ":v=99;instance=f1;ack=1", ":v=1;instance=f2;interval=2;ack=2"),
                *(":v=0", ":label-node=n3", ":v=1;label-node=n1;!label-a=b", ":v=1;label-=n3"),
            ]
        ),
    )
    def stranger_says_hello(self, engine_id: str, seq: int, options: str) -> None:
        stranger = self.opens()
        stranger.engine_id, stranger.seq = engine_id, seq
        self.say(stranger, f"NewEngine:{engine_id}:{seq}{options}\n")

    @rule()
    def plain_engine_says_hello(self) -> None:
        self.stranger_says_hello("p", 0, "")

    @rule(
        frame=st.sampled_from(
            ["", "HeartBeat:a:1\n", "What:1\n", "Bye\n", "NewEngine:-:0\n", "NewEngine:a:x\n"]
        )
    )
    def stranger_says_something_else(self, frame: str) -> None:
        self.say(self.opens(), frame)

    def opens(self) -> Stranger:
        carrier = RecordingCarrier()
        session = self.broker.open(carrier, Origin(f"peer{len(self.strangers)}", "wire://"))
        carrier.session = session
        stranger = Stranger(session, carrier, self.broker.shadows[session])
        self.strangers.append(stranger)
        return stranger

    def say(self, stranger: Stranger, text: str, cut: int = 0) -> None:
        for part in (text[:cut], text[cut:]):
            self.broker.receive_data(stranger.session, part.encode())

    def _a_stranger(self, data: st.DataObject) -> Stranger | None:
        known = [stranger for stranger in self.strangers if stranger.engine_id]
        known = [stranger for stranger in known if stranger.session.is_open] or known
        return data.draw(st.sampled_from(known)) if known else None

    @rule(
        data=st.data(),
        steps=st.lists(st.sampled_from([1, 1, 1, 1, 0, 2, 4, 9, 11, -1]), min_size=1, max_size=3),
        cut=st.sampled_from([0, 0, 0, 5, 17]),
        bad=st.sampled_from(["", "", "oops!\n", "What\n", "Bye\n"]),
    )
    def stranger_beats(self, data: st.DataObject, steps: list[int], cut: int, bad: str) -> None:
        stranger = self._a_stranger(data)
        if stranger is None:
            return
        text = ""
        for step in steps:
            stranger.seq = max(0, stranger.seq + step)
            text += f"HeartBeat:{stranger.engine_id}:{stranger.seq}\n"
        self.say(stranger, text + bad, cut)

    @rule(ticks=st.sampled_from([1, 3, 4]), bad=st.sampled_from(["", "", "oops!\n", "Bye\n"]))
    def plain_engines_beat_after_a_while(self, ticks: int, bad: str) -> None:
        self.time_passes(ticks)
        for stranger in self.strangers:
            if stranger.session.is_open and stranger.shadow.plain:
                stranger.seq += 1
                self.say(stranger, f"HeartBeat:{stranger.engine_id}:{stranger.seq}\n{bad}")

    @rule(
        data=st.data(),
        frame=st.sampled_from(
            [
                "HeartBeat:a:1",
                "What",
                "Proof:" + "0" * 64 + ":" + "0" * 64,
                "Report:b0-1:done",
                "Report:b0-1:failed:error=queue-full",
                "NewEngine:r:0",
                "Bye:reason=bored",
                "HeartBeat",
            ]
        ),
    )
    def stranger_goes_on(self, data: st.DataObject, frame: str) -> None:
        stranger = self._a_stranger(data)
        if stranger is not None:
            self.say(stranger, f"{frame}\n")

    @rule(data=st.data(), reset=st.booleans())
    def stranger_goes(self, data: st.DataObject, reset: bool) -> None:
        if self.strangers:
            stranger = data.draw(st.sampled_from(self.strangers))
            self.strangers.remove(stranger)
            self.broker.lose(stranger.session, reset=reset)

    # Commands and time

    @rule(
        verb=st.sampled_from(["DOWORK", "DOWORK", "KILL"]),
        value=st.sampled_from([0, 1, 250, 2500]),
        spared=st.sets(st.sampled_from([*IDS, "p", "r"])),
    )
    def command(self, verb: Verb, value: int, spared: set[str]) -> None:
        members = [member for member in self.broker.fleet if member.engine_id not in spared]
        self.broker.order(verb, value % 256 if verb == "KILL" else value, members)
        self._exchange()

    @rule(ticks=st.integers(1, 20))
    def time_passes(self, ticks: int) -> None:
        for _ in range(ticks):
            self.passes()

    def passes(self) -> None:
        """Let a tick pass, with all that is due in it."""
        self.clock.advance(TICK)
        for engine_id, wire in self.wires.items():
            if engine_id not in self.asleep and wire.engine_side.due <= self.clock.now:
                wire.engine_side.tick(self.clock.now)
        self._exchange()
        self._tick()

    @rule(ticks=st.integers(1, 100))
    def the_broker_stands_still(self, ticks: int) -> None:
        self.clock.advance(ticks * TICK)
        self._tick()

    def _tick(self) -> None:
        # Who comes first within one tick is nobody's business.
        self._agrees_on_events()
        self.broker.tick()
        self.observer.events.sort(key=str)
        self.broker.model.events.sort(key=str)
        self._agrees_on_events()
        self._exchange()

    # What always holds

    @invariant()
    def _agrees_on_events(self) -> None:
        assert self.observer.events == self.broker.model.events
        self.observer.events.clear()
        self.broker.model.events.clear()

    @invariant()
    def says_what_the_model_says(self) -> None:
        for stranger in self.strangers:
            frames = stranger.carrier.take().decode().splitlines()
            said = [
                ":".join(frame.split(":")[:2]) if frame.startswith("FAILED") else frame
                for frame in frames
            ]
            if waiting(stranger.shadow) is None:
                assert said == stranger.shadow.said
                stranger.shadow.said = []

    @invariant()
    def counts_are_those_of_the_model(self) -> None:
        model, stats = self.broker.model, self.broker.stats()
        assert stats.connections == len(model.peers)
        assert stats.registered == len(model.registered) == len(self.broker.fleet)
        assert stats.late == len(model.late)
        assert stats.opened == stats.closed + stats.connections
        for name in COUNTED:
            assert getattr(stats, name) == model.counts[name], name
        assert stats.takeovers == model.ownership.takeovers
        assert sum(stats.takeovers.values()) == stats.causes.get("lost:410", 0)
        assert (stats.heartbeats, stats.missed) == (model.total("counted"), model.total("missed"))
        assert stats.repeated == model.total("repeated")
        assert stats.causes == model.ends
        assert stats.left + stats.lost == stats.registrations - stats.registered
        assert stats.rejected == model.rejected
        assert stats.lost_time == model.lost_time
        assert stats.draining == model.draining
        assert self.broker.now == model.now

    @invariant()
    def the_late_are_those_who_were_pinged(self) -> None:
        late = self.broker.detector.late
        assert late == {m.session for m in self.broker.fleet if m.session and m.session.pings}
        assert {session.engine_id for session in late} == self.broker.model.late

    @invariant()
    def epochs_and_accounts_are_those_of_the_model(self) -> None:
        model = self.broker.model
        for member in self.broker.fleet:
            life = model.lives[member.engine_id]
            assert member.epoch == model.epochs[member.engine_id]
            assert (member.account.last, member.instance) == (life.settled, life.instance)
            assert member.labels == model.registered[member.engine_id].labels

    @invariant()
    def ledger_is_that_of_the_model(self) -> None:
        for command in self.broker.ledger:
            steps = {}
            for engine_id, entry in command.entries.items():
                aim = self.broker.model.aims[command.command, engine_id]
                assert (entry.step.value, entry.error) == (aim.step, aim.error)
                steps[engine_id] = entry.step
            assert command.states == Counter(steps.values())
            assert sum(command.states.values()) == len(command.entries)

    def teardown(self) -> None:
        """Let everybody go, come back, and count what was sent."""
        if not hasattr(self, "broker"):
            return
        for session in [*self.orphans, *(stranger.session for stranger in self.strangers)]:
            self.broker.lose(session, reset=True)
        self.asleep.clear()
        self._exchange()
        for engine_id in IDS:
            self.engine_connects(engine_id)
            member = self.broker.fleet.get(engine_id)
            life = self.engines[engine_id].life
            assert member is not None
            assert member.instance == life.instance
            totals = member.account.totals
            assert life.seq == member.account.first + totals.counted + totals.missed
            self.wires[engine_id].cut()
        assert self.broker.connections == len(self.broker.fleet) == 0
        assert not self.broker.detector.late


TestBroker = BrokerMachine.TestCase
