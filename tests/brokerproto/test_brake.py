"""The brake: when it is on, whose LOST it puts off, and for how long."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from attrs import define, field
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from brokerproto.brake import PATIENT_INTERVALS, Brake, evictions, most_late
from brokerproto.liveness import Detector, DetectorClock, Patience, Verdict
from tests.brokerproto.brake_model import ModelBrake

TICK = 0.25
USUAL = Patience.of(1, 4)
LOST = Verdict.LOST


@define(eq=False)
class Peer:
    """What is watched, and how much looking at it has cost."""

    name: str = ""
    seen: float = 0.0
    pings: int = 0
    looks: int = 0
    terms: Patience | None = USUAL

    @property
    def patience(self) -> Patience | None:
        self.looks += 1
        return self.terms


@define(eq=False)
class Fleet:
    """Engines at one heartbeat a second, a detector, and the brake on it."""

    size: int
    tick: float = TICK
    real: float = 0.0
    peers: list[Peer] = field(init=False)
    brake: Brake[Peer] = field(init=False)
    lost: list[Peer] = field(init=False, factory=list)
    said: list[tuple[float, str]] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        detector: Detector[Peer] = Detector(DetectorClock(self.tick, 0.0))
        self.brake = Brake(detector, 1, USUAL)
        self.peers = [Peer(f"e{number}") for number in range(self.size)]
        for peer in self.peers:
            detector.watch(peer)

    @property
    def now(self) -> float:
        return self.brake.detector.clock.now

    @property
    def registered(self) -> int:
        return self.size - len(self.lost)

    def hears(self, peer: Peer) -> None:
        self.brake.heard = peer.seen = self.now
        if peer.pings:
            peer.pings = 0
            self.brake.recovered(peer)

    def passes(self, seconds: float, beating: int = 0) -> list[Peer]:
        """Let time pass while the first so many beat; return who was LOST."""
        lost = []
        for _ in range(round(seconds / self.tick)):
            for peer in self.peers[:beating]:
                self.hears(peer)
            lost += self.steps(self.tick)
        return lost

    def steps(self, seconds: float) -> list[Peer]:
        """Tick once, so many seconds after the last time."""
        self.real += seconds
        was_on = self.brake.is_on
        verdicts = self.brake.tick(self.real, self.registered)
        if self.brake.is_on is not was_on:
            self.said.append((self.now, "on" if self.brake.is_on else "off"))
        lost = [peer for peer, verdict in verdicts if verdict is LOST]
        for peer in lost:
            peer.terms = None
            self.brake.over(peer)
        self.lost += lost
        return lost


@pytest.mark.parametrize(
    ("registered", "late", "lost"),
    [
        (1, 10, 1),
        (10, 10, 1),
        (33, 10, 1),
        (34, 10, 1),
        (40, 12, 1),
        (300, 90, 3),
        (15_000, 4500, 150),
    ],
)
def test_limits_are_shares_of_the_fleet_and_never_nothing(
    registered: int, late: int, lost: int
) -> None:
    assert (most_late(registered), evictions(registered)) == (late, lost)


@pytest.mark.parametrize(("size", "silent"), [(10, 10), (100, 30), (300, 90), (36, 10)])
def test_as_many_as_may_be_late_are_judged_as_ever(size: int, silent: int) -> None:
    fleet = Fleet(size)
    assert len(fleet.passes(4.25, beating=size - silent)) == silent
    assert (fleet.said, fleet.brake.times, fleet.brake.evicted) == ([], 0, 0)


@pytest.mark.fault("C053")
@pytest.mark.parametrize(("size", "silent"), [(11, 11), (100, 31), (300, 91), (36, 11), (300, 180)])
def test_one_more_puts_the_brake_on(size: int, silent: int) -> None:
    fleet = Fleet(size)
    assert fleet.passes(4, beating=size - silent) == []
    assert fleet.said == [(2.0, "on")]
    assert fleet.brake.waiting == silent


@pytest.mark.parametrize(("until", "said"), [(1.0, [(2.75, "on")]), (1.25, [])])
def test_who_became_late_longer_ago_than_an_interval_does_not_count(
    until: float, said: list[tuple[float, str]]
) -> None:
    """Twenty of a hundred fall silent at once, and twenty more a little later."""
    fleet = Fleet(100)
    fleet.passes(until, beating=80)
    fleet.passes(2, beating=60)
    assert fleet.said == said
    assert len(fleet.brake.detector.late) == 40


@pytest.mark.parametrize("longer", [2, 60])
def test_engines_that_beat_less_often_count_for_an_interval_of_their_own(longer: int) -> None:
    fleet = Fleet(0)
    fleet.size = 40
    patience = Patience.of(longer, 4 * longer)
    for number in range(40):
        # Cut while they beat in any phase: they become late one by one.
        peer = Peer(f"e{number}", seen=longer * number / 40, terms=patience)
        fleet.peers.append(peer)
        fleet.brake.detector.watch(peer)
    assert fleet.passes(4 * longer) == []
    assert fleet.said != []


@pytest.mark.fault("C053")
@pytest.mark.parametrize("size", [40, 300, 1000])
def test_evictions_are_one_percent_a_second_and_the_longest_silent_first(size: int) -> None:
    fleet = Fleet(size)
    silent = size * 6 // 10
    for number, peer in enumerate(fleet.peers):
        peer.seen = -TICK * (number % 4)
    fleet.brake.detector.clock.now = fleet.brake.heard = 0.0
    fleet.passes(3.0, beating=size - silent)
    evicted: list[tuple[float, Peer]] = []
    for _ in range(1000):
        if not fleet.brake.is_on:
            break
        evicted += [(fleet.now, peer) for peer in fleet.passes(TICK, beating=size - silent)]
    assert not fleet.brake.is_on
    assert fleet.brake.evicted == fleet.brake.evicted_of_late == len(evicted)
    # Until no more than may be late are late.
    assert silent - len(evicted) <= most_late(size - len(evicted))
    assert silent - len(evicted) + 1 > most_late(size - len(evicted) + 1) - 1
    for at, _ in evicted:
        within = sum(at <= other < at + 1 for other, _ in evicted)
        assert within <= max(1, size // 100)
    assert [peer.seen for _, peer in evicted] == sorted(peer.seen for _, peer in evicted)
    # In the seconds without any, nothing is saved up.
    assert len(evicted) <= (evicted[-1][0] - 3.0) * max(1, size // 100) + 1


@pytest.mark.fault("C054")
def test_nobody_is_lost_for_ten_intervals_where_all_are_silent() -> None:
    fleet = Fleet(300)
    assert fleet.passes(2 + PATIENT_INTERVALS - TICK) == []
    assert fleet.said == [(2.0, "on")]
    assert fleet.brake.waiting == 300
    # Then as ever while it is on.
    assert 8 <= len(fleet.passes(4)) <= 12


@pytest.mark.fault("C054")
def test_those_who_are_heard_first_again_do_not_end_the_patience_with_the_others() -> None:
    fleet = Fleet(300)
    fleet.passes(4)
    assert fleet.passes(2 + PATIENT_INTERVALS - fleet.now - TICK, beating=100) == []
    assert fleet.brake.is_on
    assert 8 <= len(fleet.passes(4, beating=100)) <= 12
    assert fleet.lost == fleet.peers[100 : 100 + len(fleet.lost)]


@pytest.mark.fault("C054")
def test_there_is_no_patience_where_somebody_is_heard_all_the_time() -> None:
    fleet = Fleet(300)
    fleet.passes(4, beating=1)
    assert 8 <= len(fleet.passes(4, beating=1)) <= 12
    # From then on all are silent, and of the ten intervals some are left.
    fleet.passes(1.75)
    count = len(fleet.lost)
    assert fleet.passes(2 + PATIENT_INTERVALS - fleet.now - TICK) == []
    assert len(fleet.lost) == count


@pytest.mark.fault("C054")
def test_whoever_is_heard_while_put_off_is_judged_anew() -> None:
    fleet = Fleet(300)
    fleet.passes(8)
    waiting = fleet.brake.waiting
    assert waiting == 300
    fleet.hears(fleet.peers[7])
    assert fleet.brake.waiting == 299
    heard_at = fleet.now
    assert fleet.peers[7] not in fleet.brake.detector.late
    fleet.passes(1.75)
    assert fleet.peers[7].pings == 0
    fleet.passes(0.25)
    assert fleet.peers[7].pings == 1
    fleet.passes(2.25)
    assert fleet.now == heard_at + 4.25
    # Its time ran out last, so it waits behind all others.
    assert fleet.brake.waiting + len(fleet.lost) == 300
    assert fleet.peers[7] not in fleet.lost


@pytest.mark.fault("C054")
def test_the_rest_of_a_fleet_that_comes_back_has_its_timeout_again() -> None:
    fleet = Fleet(300)
    fleet.passes(8)
    for peer in fleet.peers[:210]:
        fleet.hears(peer)
    assert fleet.passes(3.75, beating=210) == []
    assert fleet.said == [(2.0, "on"), (8.25, "off")]
    for peer in fleet.peers[210:290]:
        fleet.hears(peer)
    assert fleet.passes(0.25, beating=290) == []
    # What does not come is lost, no faster than while the brake was on.
    gone: Counter[float] = Counter()
    for _ in range(20):
        for peer in fleet.passes(TICK, beating=290):
            gone[fleet.now] += 1
            assert peer in fleet.peers[290:]
    assert sum(gone.values()) == 10
    assert max(gone.values()) == 1


def test_sessions_that_are_over_are_forgotten() -> None:
    fleet = Fleet(20)
    fleet.passes(8)
    assert fleet.brake.waiting == len(fleet.brake.detector.late) == 20
    for peer in fleet.peers:
        peer.terms = None
        fleet.brake.over(peer)
    assert fleet.brake.waiting == len(fleet.brake.detector.late) == 0
    fleet.size = 0
    assert fleet.passes(60) == []
    assert fleet.said[-1] == (8.25, "off")


def test_whoever_is_put_off_costs_nothing_while_it_waits() -> None:
    fleet = Fleet(500)
    fleet.passes(5)
    looks = [peer.looks for peer in fleet.peers]
    assert fleet.passes(6) == []
    assert [peer.looks for peer in fleet.peers] == looks


@pytest.mark.fault("C050")
def test_a_stop_of_the_broker_counts_neither_for_the_brake_nor_for_evictions() -> None:
    fleet = Fleet(300)
    fleet.passes(3, beating=100)
    fleet.passes(4, beating=100)
    count = fleet.brake.evicted
    for _ in range(4):
        fleet.steps(3600)
    # Of each stop half a second counts, which is read by the tick after it.
    assert fleet.brake.evicted - count <= 4 * 0.5 * 3
    assert fleet.said == [(2.0, "on")]


class BrakeMachine(RuleBasedStateMachine):
    """Each session hangs in the ring or waits; the model says who may be LOST when."""

    @initialize(size=st.sampled_from([12, 20, 45, 120]))
    def start(self, size: int) -> None:
        self.fleet = Fleet(size)
        self.model: ModelBrake[Peer] = ModelBrake(1, USUAL.late, USUAL.lost)
        self.left: set[Peer] = set()

    @property
    def there(self) -> list[Peer]:
        return [peer for peer in self.fleet.peers if peer.terms is not None]

    @rule(first=st.integers(0, 119), many=st.integers(1, 120), steps=st.integers(1, 24))
    def some_beat(self, first: int, many: int, steps: int) -> None:
        for _ in range(steps):
            for peer in self.there[first : first + many]:
                self.fleet.hears(peer)
                self.model.waiting.pop(peer, None)
                self.model.heard = self.fleet.now
            self._tick(TICK)

    @rule(steps=st.integers(1, 60))
    def all_are_silent(self, steps: int) -> None:
        for _ in range(steps):
            self._tick(TICK)

    @rule(seconds=st.sampled_from([0.5, 0.75, 100.0]))
    def a_tick_is_late(self, seconds: float) -> None:
        self._tick(seconds)

    @rule(which=st.integers(0, 119))
    def one_leaves(self, which: int) -> None:
        if self.there:
            peer = self.there[which % len(self.there)]
            peer.terms = None
            self.fleet.brake.over(peer)
            self.model.waiting.pop(peer, None)
            self.fleet.size -= 1
            self.left.add(peer)

    def _tick(self, seconds: float) -> None:
        fleet, model, detector = self.fleet, self.model, self.fleet.brake.detector
        judged, there, was_late = detector.horizon, self.there, set(detector.late)
        registered = fleet.registered
        gone = fleet.steps(seconds)
        now = detector.horizon
        for peer in there:
            if peer.pings and peer not in was_late:
                model.late_now(now, USUAL.lost)
        late = len(detector.late | set(gone))
        model.switch(now, late, registered)
        due = [p for p in there if p not in model.waiting and now - p.seen >= USUAL.lost]
        at_once = model.lost(due, now)
        assert set(gone) == {*at_once, *model.turns(now, now - judged, registered, gone)}
        for peer in gone:
            model.waiting.pop(peer, None)

    @invariant()
    def everybody_hangs_in_the_ring_once_or_waits(self) -> None:
        brake: Any = self.fleet.brake
        ring = [p for bucket in brake.detector._ring._buckets.values() for p in bucket]
        watched = Counter(peer for peer in ring if peer.terms is not None)
        assert watched + Counter(dict.fromkeys(brake._waiting, 1)) == Counter(self.there)
        assert set(brake._waiting) <= brake.detector.late <= set(self.there)

    @invariant()
    def it_is_as_the_model_is(self) -> None:
        brake, model = self.fleet.brake, self.model
        assert (brake.is_on, brake.times, brake.evicted) == (model.on, model.times, model.evicted)
        assert brake.evicted_of_late == model.evicted_of_late
        assert brake.waiting == len(model.waiting)


TestBrakeStateful = BrakeMachine.TestCase
