"""The detector clock and the detector: who is late, who is lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brokerproto.liveness import (
    Detector,
    DetectorClock,
    Patience,
    Verdict,
    tick_length,
    worst_detection,
)

# Exact in binary, so that a tick lands on a threshold itself, not only near it.
TICK = 0.5
EIGHTH = TICK / 8
eighths = st.integers(0, 64).map(lambda n: n * EIGHTH)


USUAL = Patience.of(10, 40)


@define(eq=False)
class Peer:
    """What the detector watches."""

    seen: float = 0.0
    patience: Patience | None = USUAL
    pings: int = 0


@pytest.mark.parametrize(
    ("interval", "seconds"), [(1, 0.25), (5, 0.25), (6, 0.3), (10, 0.5), (20, 1), (300, 1)]
)
def test_a_tick_is_a_twentieth_of_the_interval_and_at_most_a_second(
    interval: float, seconds: float
) -> None:
    assert tick_length(interval) == seconds


@pytest.mark.parametrize(
    ("interval", "timeout", "expected"),
    [
        (10, 40, Patience(16, 28, 40)),
        (1, 4, Patience(2, 3, 4)),
        (300, 1200, Patience(451, 825.5, 1200)),
        (10, 22, Patience(11, 16.5, 22)),
        (10, 32, Patience(16, 24, 32)),
        (10, 31, Patience(15.5, 23.25, 31)),
        (1, 100, Patience(2.5, 51.25, 100)),
    ],
)
def test_patience_has_three_steps(interval: int, timeout: int, expected: Patience) -> None:
    assert Patience.of(interval, timeout) == expected


@pytest.mark.parametrize(
    ("passed", "granted", "withheld"),
    [
        (0.0, 0.0, False),
        (0.25, 0.25, False),
        (1.0, 1.0, False),
        (1.0625, 1.0, True),
        (3600.0, 1.0, True),
        (-5.0, 0.0, False),
    ],
)
def test_the_clock_advances_by_two_ticks_at_most(
    passed: float, granted: float, withheld: bool
) -> None:
    clock = DetectorClock(TICK, 100.0)
    assert (clock.now, clock.lost_time, clock.tick) == (0.0, 0.0, TICK)
    assert clock.advance(100.0 + passed) is withheld
    assert clock.now == granted
    assert clock.lost_time == max(0.0, passed) - granted


def test_a_clock_set_back_neither_runs_back_nor_makes_up_for_it() -> None:
    clock = DetectorClock(TICK, 100.0)
    clock.advance(90.0)
    clock.advance(90.5)
    assert (clock.now, clock.lost_time) == (0.5, 0.0)


@given(st.lists(eighths))
def test_the_clock_loses_no_time(steps: list[float]) -> None:
    clock, real = DetectorClock(TICK, 1000.0), 1000.0
    for step in steps:
        real += step
        before = clock.now
        withheld = clock.advance(real)
        assert clock.now - before == min(step, 2 * TICK)
        assert withheld is (step > 2 * TICK)
    assert clock.now + clock.lost_time == real - 1000.0


def watched(*peers: Peer, tick: float = TICK) -> Detector[Peer]:
    detector: Detector[Peer] = Detector(DetectorClock(tick, 0.0))
    for peer in peers:
        detector.watch(peer)
    return detector


def judge_until(detector: Detector[Peer], until: float) -> list[tuple[float, Verdict]]:
    """Tick to `until`, and return the verdicts with the detector's time."""
    verdicts = []
    tick = detector.clock.tick
    while detector.clock.now < until:
        for _, verdict in detector.tick(detector.clock.now + tick):
            verdicts.append((detector.clock.now, verdict))
    return verdicts


def test_silence_leads_from_late_to_lost_on_the_tick_of_each_threshold() -> None:
    peer = Peer()
    assert judge_until(watched(peer), 50.0) == [
        (16.0, Verdict.LATE),
        (28.0, Verdict.STILL_LATE),
        (40.0, Verdict.LOST),
    ]
    assert peer.pings == 2


@pytest.mark.parametrize("heard_at", [15.5, 0.5, 10.0])
def test_whoever_is_heard_in_time_is_not_late(heard_at: float) -> None:
    peer = Peer()
    detector = watched(peer)
    assert judge_until(detector, heard_at) == []
    peer.seen = detector.clock.now
    assert judge_until(detector, heard_at + 15.5) == []
    assert judge_until(detector, heard_at + 16.0) == [(heard_at + 16.0, Verdict.LATE)]


def hear(detector: Detector[Peer], peer: Peer) -> None:
    peer.seen, peer.pings = detector.clock.now, 0
    detector.late.discard(peer)


@pytest.mark.parametrize("patience", [Patience.of(10, 40), Patience.of(1, 100)])
@pytest.mark.parametrize("step", ["late", "again"])
def test_a_recovered_peer_is_judged_by_the_whole_patience_again(
    patience: Patience, step: str
) -> None:
    peer = Peer(patience=patience)
    detector = watched(peer, tick=0.25)
    judge_until(detector, getattr(patience, step) + 1.0)
    hear(detector, peer)
    recovered = detector.clock.now
    assert judge_until(detector, recovered + patience.lost) == [
        (recovered + patience.late, Verdict.LATE),
        (recovered + patience.again, Verdict.STILL_LATE),
        (recovered + patience.lost, Verdict.LOST),
    ]


def test_a_peer_is_late_once_where_ticks_were_too_few_for_both_steps() -> None:
    peer = Peer(patience=Patience(1.0, 1.25, 4.0))
    detector = watched(peer)
    assert judge_until(detector, 5.0) == [
        (1.0, Verdict.LATE),
        (1.5, Verdict.STILL_LATE),
        (4.0, Verdict.LOST),
    ]
    both = Peer(patience=Patience(1.125, 1.25, 4.0))
    detector = watched(both)
    assert judge_until(detector, 5.0) == [(1.5, Verdict.LATE), (4.0, Verdict.LOST)]
    assert both.pings == 2


def test_a_peer_that_is_lost_at_its_first_look_has_been_late_as_well() -> None:
    peer = Peer(patience=Patience(1.0625, 1.125, 1.25))
    detector = watched(peer)
    assert judge_until(detector, 1.5) == [(1.5, Verdict.LOST)]
    assert (peer.pings, detector.late) == (2, {peer})


@define(eq=False)
class CountingPeer:
    """Counts how often it is looked at."""

    seen: float = 0.0
    pings: int = 0
    looks: int = 0

    @property
    def patience(self) -> Patience | None:
        self.looks += 1
        return USUAL


def test_a_silent_peer_costs_a_few_looks_and_not_one_each_tick() -> None:
    peer = CountingPeer()
    detector: Detector[CountingPeer] = Detector(DetectorClock(TICK, 0.0))
    detector.watch(peer)
    for tick in range(1, 81):
        detector.tick(tick * TICK)
    assert detector.clock.now == 40.0
    assert peer.looks < 10


def test_the_late_are_listed_until_they_are_heard() -> None:
    peer, other = Peer(), Peer()
    detector = watched(peer, other)
    judge_until(detector, 10.0)
    hear(detector, other)
    judge_until(detector, 16.0)
    assert detector.late == {peer}
    hear(detector, peer)
    judge_until(detector, 25.5)
    assert detector.late == set()
    judge_until(detector, 26.0)
    assert detector.late == {other}


def test_a_peer_that_nobody_waits_for_is_dropped() -> None:
    peer, stranger = Peer(), Peer(patience=None)
    detector = watched(peer, stranger)
    peer.patience = None
    assert judge_until(detector, 50.0) == []
    peer.patience = Patience.of(10, 40)
    assert judge_until(detector, 200.0) == []


@pytest.mark.fault("C050")
def test_a_stopped_broker_judges_nobody_until_it_has_read_again() -> None:
    peers = [Peer() for _ in range(300)]
    detector = watched(*peers)
    judge_until(detector, 39.5)
    # Stopped for an hour, with half a second to go: only the tick after may judge.
    assert detector.tick(39.5 + 3600.0) == []
    assert detector.clock.lost_time == 3599.0
    for peer in peers:
        hear(detector, peer)
    assert detector.tick(39.5 + 3600.5) == []


@pytest.mark.fault("C050")
def test_one_stop_after_the_other_holds_nothing_unread_against_anybody() -> None:
    peer = Peer(patience=Patience(16.0, 28.0, 41.0))
    detector = watched(peer)
    judge_until(detector, 39.5)
    # What came since the tick before may still wait in a socket.
    for horizon, expected in [(39.5, []), (40.5, []), (41.5, [(peer, Verdict.LOST)])]:
        assert detector.tick(detector.clock.lost_time + detector.clock.now + 3600.0) == expected
        assert detector.horizon == horizon == detector.clock.now - 2 * TICK


def test_time_withheld_is_not_silence() -> None:
    peer = Peer()
    detector = watched(peer)
    real = 0.0
    for _ in range(15):
        real += 100.0
        assert detector.tick(real) == []
    assert detector.clock.now == 15.0
    assert judge_from(detector, real, 2) == [(16.0, Verdict.LATE)]


def judge_from(detector: Detector[Peer], real: float, ticks: int) -> list[tuple[float, Verdict]]:
    verdicts = []
    for step in range(1, ticks + 1):
        verdicts += [(detector.clock.now, each) for _, each in detector.tick(real + step * TICK)]
    return verdicts


def test_the_worst_case_is_three_ticks_beyond_the_timeout() -> None:
    assert worst_detection(40, 0.5) == 41.5


@given(
    interval=st.integers(1, 300),
    extra=st.integers(0, 600),
    last_heard=st.integers(0, 1_000),
)
def test_a_death_is_detected_within_the_time_that_is_told(
    interval: int, extra: int, last_heard: int
) -> None:
    timeout, tick = 2 * interval + 2 + extra, tick_length(interval)
    peer = Peer(patience=Patience.of(interval, timeout))
    detector = watched(peer, tick=tick)
    heard = last_heard * tick / 100
    for at, following in pairwise(tick * step for step in range(10_000)):
        if at <= heard:
            hear(detector, peer)
        verdicts = [verdict for _, verdict in detector.tick(following)]
        if Verdict.LOST in verdicts:
            assert timeout - tick <= following - heard <= worst_detection(timeout, tick)
            return
    pytest.fail("never lost")


class DetectorMachine(RuleBasedStateMachine):
    """The model looks at each silence itself, and allows the ring one tick."""

    def __init__(self) -> None:
        super().__init__()
        self.detector: Detector[Peer] = Detector(DetectorClock(TICK, 0.0))
        self.real = 0.0
        self.peers: list[Peer] = []
        self.told: dict[Peer, Verdict | None] = {}

    @rule(interval=st.sampled_from([1, 2, 4]), extra=st.sampled_from([0, 1, 20]))
    def join(self, interval: int, extra: int) -> None:
        timeout = 2 * interval + 2 + extra
        peer = Peer(self.detector.clock.now, Patience.of(interval, timeout))
        self.peers.append(peer)
        self.told[peer] = None
        self.detector.watch(peer)

    @rule(which=st.integers(0, 20))
    def leave(self, which: int) -> None:
        if self.peers:
            peer = self.peers.pop(which % len(self.peers))
            peer.patience = None
            self.detector.late.discard(peer)

    @rule(which=st.integers(0, 20))
    def beat(self, which: int) -> None:
        if self.peers:
            peer = self.peers[which % len(self.peers)]
            hear(self.detector, peer)
            self.told[peer] = None

    @rule(steps=st.integers(1, 40))
    def stop_for_a_while(self, steps: int) -> None:
        self.real += 2 * TICK + steps * EIGHTH
        before = self.detector.clock.now
        verdicts = self.detector.tick(self.real)
        assert self.detector.clock.now == before + 2 * TICK
        # By this tick all has been read that had come by the last one.
        assert self.detector.horizon == before
        self._judge(verdicts)

    @rule(steps=st.lists(st.integers(1, 16), min_size=1, max_size=12))
    def time_passes(self, steps: list[int]) -> None:
        for step in steps:
            self.real += step * EIGHTH
            self._judge(self.detector.tick(self.real))
            assert self.detector.horizon == self.detector.clock.now

    def _judge(self, verdicts: list[tuple[Peer, Verdict]]) -> None:
        now = self.detector.horizon
        assert len({id(peer) for peer, _ in verdicts}) == len(verdicts)
        for peer, verdict in verdicts:
            assert peer in self.peers
            patience = peer.patience
            assert patience is not None
            silence, before = now - peer.seen, self.told[peer]
            if verdict is Verdict.LATE:
                assert before is None
                assert patience.late <= silence < patience.lost
            elif verdict is Verdict.STILL_LATE:
                assert before is Verdict.LATE
                assert patience.again <= silence < patience.lost
            else:
                assert silence >= patience.lost
                self.peers.remove(peer)
                peer.patience = None
                self.detector.late.discard(peer)
            self.told[peer] = verdict
        for peer in self.peers:
            patience, told = peer.patience, self.told[peer]
            assert patience is not None
            silence = now - peer.seen - TICK
            assert silence < patience.lost
            assert silence < patience.late or told is not None
            assert silence < patience.again or peer.pings == 2

    @invariant()
    def the_late_are_those_that_were_told_of(self) -> None:
        late = {peer for peer in self.peers if self.told[peer] is not None}
        assert self.detector.late == late
        assert {peer for peer in self.peers if peer.pings} == late


TestDetectorStateful = DetectorMachine.TestCase
