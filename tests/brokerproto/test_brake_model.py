"""The brake against a model that looks at everybody at each tick."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from brokerproto.liveness import Patience
from tests.brokerproto.brake_model import ModelBrake
from tests.brokerproto.braked_fleet import TICK, USUAL, Fleet, Peer


class BrakeMachine(RuleBasedStateMachine):
    """Each session hangs in the ring or waits; the model says who may be LOST when."""

    @initialize(size=st.sampled_from([12, 20, 45, 120]), slow=st.sampled_from([0, 1, 2, 7]))
    def start(self, size: int, slow: int) -> None:
        self.fleet = Fleet(size)
        self.model: ModelBrake[Peer] = ModelBrake(1, USUAL.late, USUAL.lost)
        for peer in self.fleet.peers[:: slow or size]:
            peer.timeout = 12.0
            peer.terms = Patience.of(3, 12)
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
                model.late_now(peer, now)
        late = len(detector.late | set(gone))
        model.switch(now, late, registered)
        due = [p for p in there if p not in model.waiting and now - p.seen >= p.timeout]
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
