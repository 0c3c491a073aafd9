"""The wheel against a model: who is ticked when, whatever is asked for, however late it turns."""

from __future__ import annotations

import math
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from brokerproto.engine_protocol import ReactorTicker
from brokerproto.ticker import Ticker
from brokerproto.wheel import SLOT, Wheel

# Halves of a slot: times fall on the edges of slots, and between them.
STEP = SLOT / 2
STEPS = st.integers(0, 200)


@define(eq=False)
class Sleeper:
    """Something to be ticked.

    Attributes:
        ticks: When it was.
        again: How long after a tick it asks for the next one; None for never.
        raises: Whether it fails when it is ticked.
    """

    ticker: Ticker
    alarm: Any = None
    ticks: list[float] = field(factory=list)
    again: float | None = None
    raises: bool = False

    def tick(self, now: float) -> None:
        self.ticks.append(now)
        if self.again is not None:
            self.ticker.tick_at(self, now + self.again)
        if self.raises:
            raise ZeroDivisionError


class WheelMachine(RuleBasedStateMachine):
    """The model: for each sleeper the earliest time that it has asked for since its last tick."""

    @initialize(start=st.integers(0, 10_000))
    def begin(self, start: int) -> None:
        self.clock = Clock()
        self.clock.rightNow = start * STEP
        self.wheel = Wheel(self.clock)
        self.sleepers: list[Sleeper] = []
        self.due: dict[Sleeper, float] = {}

    @rule(after=STEPS, again=st.none() | st.integers(1, 100))
    def joins(self, after: int, again: int | None) -> None:
        sleeper = Sleeper(self.wheel, again=None if again is None else again * STEP)
        self.sleepers.append(sleeper)
        self._asks(sleeper, after)

    @rule(data=st.data(), after=STEPS)
    def asks_again(self, data: st.DataObject, after: int) -> None:
        if self.sleepers:
            self._asks(data.draw(st.sampled_from(self.sleepers)), after)

    def _asks(self, sleeper: Sleeper, after: int) -> None:
        due = self.clock.seconds() + after * STEP
        self.wheel.tick_at(sleeper, due)
        self.due[sleeper] = min(due, self.due.get(sleeper, math.inf))

    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        if self.sleepers:
            sleeper = data.draw(st.sampled_from(self.sleepers))
            self.wheel.forget(sleeper)
            self.due.pop(sleeper, None)

    @rule(steps=STEPS)
    def time_passes(self, steps: int) -> None:
        for _ in range(steps):
            self._wakes(STEP)

    @rule(steps=st.integers(1, 100_000))
    def nothing_runs_for_a_while(self, steps: int) -> None:
        self._wakes(steps * STEP)
        # What was asked for meanwhile, and had passed already.
        self._wakes(STEP)
        self._wakes(STEP)

    def _wakes(self, seconds: float) -> None:
        """Let the reactor run once after so long, and see that the right ones are ticked."""
        before = self.clock.seconds()
        counts = {sleeper: len(sleeper.ticks) for sleeper in self.sleepers}
        self.clock.advance(seconds)
        now = self.clock.seconds()
        for sleeper in self.sleepers:
            ticked = len(sleeper.ticks) - counts[sleeper]
            due = self.due.get(sleeper, math.inf)
            assert ticked <= 1, "twice in one turn"
            if ticked:
                assert due <= now, "too early"
                del self.due[sleeper]
                if sleeper.again is not None:
                    self.due[sleeper] = now + sleeper.again
            else:
                # A slot that has begun before it was asked for has been ticked already.
                assert due > now - SLOT or due > before, "forgotten"

    @invariant()
    def one_timer_is_there_while_anybody_waits(self) -> None:
        if hasattr(self, "clock"):
            assert len(self.clock.getDelayedCalls()) == (1 if self.due else 0)
            assert all(
                (sleeper.alarm is not None) == (sleeper in self.due) for sleeper in self.sleepers
            )


TestWheel = WheelMachine.TestCase
TestWheel.settings = settings(stateful_step_count=30)


@given(st.lists(st.floats(0, 20), min_size=1, max_size=50), st.floats(0, 1e6))
def test_everybody_is_ticked_once_within_a_slot_and_never_early(
    waits: list[float], start: float
) -> None:
    clock = Clock()
    clock.rightNow = start
    wheel = Wheel(clock)
    sleepers = [Sleeper(wheel) for _ in waits]
    for sleeper, wait in zip(sleepers, waits, strict=True):
        wheel.tick_at(sleeper, start + wait)
    while clock.getDelayedCalls():
        [call] = clock.getDelayedCalls()
        clock.advance(max(0.0, call.getTime() - clock.seconds()))
    for sleeper, wait in zip(sleepers, waits, strict=True):
        [ticked] = sleeper.ticks
        assert start + wait <= ticked <= start + wait + 2 * SLOT


class CountingClock(Clock):
    """One that counts its turns: each delayed call is one."""

    turns = 0

    def callLater(self, delay: float, callable: Any, *args: object, **kw: object) -> Any:  # noqa: A002
        self.turns += 1
        return super().callLater(delay, callable, *args, **kw)


def test_thousands_share_one_timer_and_a_standstill_is_made_up_for_in_several_turns() -> None:
    clock = CountingClock()
    wheel = Wheel(clock)
    sleepers = [Sleeper(wheel, again=10.0) for _ in range(2100)]
    for number, sleeper in enumerate(sleepers):
        wheel.tick_at(sleeper, number * 10 / len(sleepers))
    assert len(clock.getDelayedCalls()) == 1
    before = clock.turns
    clock.advance(60)
    # Four more for the rest of those that are due, and one for what comes then.
    assert clock.turns - before == 5
    assert {len(sleeper.ticks) for sleeper in sleepers} == {1}


@define(eq=False)
class Parting(Sleeper):
    """One that has others forgotten when it is ticked."""

    others: list[Sleeper] = field(factory=list)

    def tick(self, now: float) -> None:
        super().tick(now)
        for other in self.others:
            self.ticker.forget(other)


@pytest.mark.parametrize("first", [1, 550])
def test_who_leaves_in_the_middle_of_a_turn_is_not_ticked(first: int) -> None:
    clock = Clock()
    wheel = Wheel(clock)
    parting = Parting(wheel)
    sleepers = [parting, *(Sleeper(wheel) for _ in range(600))]
    for sleeper in sleepers:
        wheel.tick_at(sleeper, 1.0)
    parting.others = sleepers[first:]
    clock.advance(2)
    assert [len(sleeper.ticks) for sleeper in sleepers] == [1] * first + [0] * (601 - first)
    assert clock.getDelayedCalls() == []


def test_error_of_one_is_not_the_next_ones(logged_failures: list[Failure]) -> None:
    clock = Clock()
    wheel = Wheel(clock)
    sleepers = [Sleeper(wheel, raises=number == 1) for number in range(3)]
    for sleeper in sleepers:
        wheel.tick_at(sleeper, 1.0)
    clock.advance(1)
    assert [sleeper.ticks for sleeper in sleepers] == [[1.0]] * 3
    [failure] = logged_failures
    assert failure.check(ZeroDivisionError)
    logged_failures.clear()


@pytest.mark.parametrize("make", [ReactorTicker, Wheel])
def test_earlier_of_two_times_holds(make: Any) -> None:
    clock = Clock()
    ticker: Ticker = make(clock)
    sleeper = Sleeper(ticker)
    for due in (5.0, 3.0, 8.0):
        ticker.tick_at(sleeper, due)
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(2.9)
    assert sleeper.ticks == []
    clock.advance(0.1)
    clock.pump([1.0] * 10)
    assert sleeper.ticks == [3.0]
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("make", [ReactorTicker, Wheel])
def test_forgetting_twice_is_no_mistake(make: Any) -> None:
    clock = Clock()
    ticker: Ticker = make(clock)
    sleeper, other = Sleeper(ticker), Sleeper(ticker)
    ticker.tick_at(sleeper, 5.0)
    ticker.tick_at(other, 6.0)
    ticker.forget(sleeper)
    ticker.forget(sleeper)
    clock.pump([1.0] * 10)
    assert (sleeper.ticks, other.ticks) == ([], [6.0])
    assert clock.getDelayedCalls() == []


def test_time_that_was_asked_for_first_does_not_come_back_later() -> None:
    clock = Clock()
    wheel = Wheel(clock)
    sleeper, other = Sleeper(wheel), Sleeper(wheel)
    # While somebody waits, the wheel does not begin anew.
    wheel.tick_at(other, 100.0)
    for due in (5.0, 1.0):
        wheel.tick_at(sleeper, due)
    clock.advance(1)
    wheel.tick_at(sleeper, 9.0)
    clock.pump([0.5] * 20)
    assert sleeper.ticks == [1.0, 9.0]
