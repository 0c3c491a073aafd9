"""The ring of deadlines: each item once, at the first sweep from its deadline on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brokerproto.liveness import DeadlineRing

# Exact in binary, so that a sweep lands on a deadline itself, not only near it.
TICK = 0.5
EIGHTH = TICK / 8


class RingMachine(RuleBasedStateMachine):
    """The model is a list of items, each with the sweep from which it is due."""

    def __init__(self) -> None:
        super().__init__()
        self.ring: DeadlineRing[int] = DeadlineRing(TICK)
        self.now = 0.0
        self.swept = -1
        self.waiting: dict[int, tuple[float, int]] = {}
        self.items = 0

    def _put(self, deadline: float) -> None:
        self.items += 1
        self.ring.put(self.items, deadline)
        bucket = max(math.ceil(deadline / TICK), self.swept + 1)
        self.waiting[self.items] = (deadline, bucket)

    @rule(ahead=st.integers(-16, 200))
    def put(self, ahead: int) -> None:
        self._put(max(0.0, self.now + ahead * EIGHTH))

    @rule(steps=st.integers(0, 20) | st.integers(0, 2000), again=st.integers(0, 3))
    def sweep(self, steps: int, again: int) -> None:
        self.now += steps * EIGHTH
        before, self.swept = self.swept, max(self.swept, math.floor(self.now / TICK))
        expected = {item for item, (_, bucket) in self.waiting.items() if bucket <= self.swept}
        taken = []
        for item in self.ring.due(self.now):
            taken.append(item)
            deadline, bucket = self.waiting.pop(item)
            # Not before its deadline, and never put off by more than a tick.
            assert self.now >= deadline
            assert bucket > before
            if len(taken) <= again:
                self._put(self.now)
        assert len(taken) == len(set(taken))
        assert set(taken) == expected

    @invariant()
    def it_holds_what_has_not_been_due(self) -> None:
        assert len(self.ring) == len(self.waiting)


TestRingStateful = RingMachine.TestCase


@pytest.mark.parametrize(
    ("deadline", "due_at"), [(0.0, 0.0), (0.0625, 0.5), (0.5, 0.5), (0.5625, 1.0), (-3.0, 0.0)]
)
def test_an_item_is_due_at_the_first_sweep_from_its_deadline(
    deadline: float, due_at: float
) -> None:
    ring: DeadlineRing[str] = DeadlineRing(TICK)
    ring.put("item", deadline)
    if due_at:
        assert list(ring.due(due_at - EIGHTH)) == []
    assert list(ring.due(due_at)) == ["item"]
    assert list(ring.due(due_at + 100)) == []


def test_what_is_put_while_sweeping_waits_for_the_next_sweep() -> None:
    ring: DeadlineRing[str] = DeadlineRing(TICK)
    ring.put("first", 0.0)
    for item in ring.due(0.0):
        ring.put(item + " again", 0.0)
    assert list(ring.due(0.25)) == []
    assert list(ring.due(0.5)) == ["first again"]


def test_what_is_put_after_an_empty_jump_is_not_lost() -> None:
    ring: DeadlineRing[str] = DeadlineRing(TICK)
    assert list(ring.due(1e9)) == []
    ring.put("late", 3.0)
    assert list(ring.due(1e9 + 0.5)) == ["late"]


@given(st.lists(st.floats(0, 1000), max_size=30), st.floats(0.25, 15))
def test_every_item_is_due_once_whatever_the_tick(deadlines: list[float], tick: float) -> None:
    ring: DeadlineRing[int] = DeadlineRing(tick)
    for index, deadline in enumerate(deadlines):
        ring.put(index, deadline)
    due: dict[int, float] = {}
    for sweep in range(math.ceil(1000 / tick) + 3):
        for index in ring.due(sweep * tick):
            assert index not in due
            due[index] = sweep * tick
    assert sorted(due) == list(range(len(deadlines)))
    # Where a tick is no binary fraction, a sweep may come the last bit too early for its
    # bucket, and takes it a tick later.
    for index, deadline in enumerate(deadlines):
        assert -1e-9 <= due[index] - deadline <= 2 * tick + 1e-9
