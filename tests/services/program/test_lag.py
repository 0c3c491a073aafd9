"""Lag is how late timed calls come, and the longest of them are not forgotten in the mass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from services.program.lag import MINUTE, LagMeter


class Metered:
    """A meter on a clock that can stand still for its calls."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.heard: list[float] = []
        self.meter = LagMeter(self.clock, self.heard.append, 0.5, self.clock.seconds)
        self.meter.start()

    def run(self, seconds: float) -> None:
        self.clock.pump([0.125] * round(seconds / 0.125))


def test_call_in_time_has_no_lag() -> None:
    metered = Metered()
    metered.run(10)
    assert metered.heard == [0.0] * 20
    assert (metered.meter.longest(), metered.meter.p99()) == (0.0, 0.0)


def test_nothing_measured_is_no_lag() -> None:
    meter = LagMeter(Clock())
    assert (meter.longest(), meter.p99()) == (0.0, 0.0)


def test_longest_is_that_of_the_time_asked_for() -> None:
    metered = Metered()
    metered.clock.advance(0.5 + 3)
    metered.run(20)
    metered.clock.advance(0.5 + 1)
    assert (metered.meter.longest(10), metered.meter.longest(30)) == (1.0, 3.0)
    metered.run(10)
    assert (metered.meter.longest(10), metered.meter.longest()) == (0.0, 3.0)
    metered.run(MINUTE)
    assert metered.meter.longest() == 0.0


@pytest.mark.parametrize(("blocked", "p99"), [(0.5, 0.0), (4.0, 3.5), (30.0, 29.5)])
def test_call_that_came_late_stands_for_all_that_were_due_meanwhile(
    blocked: float, p99: float
) -> None:
    """Of a minute spent in one block of 30 s, half of all calls are late by up to 30 s."""
    metered = Metered()
    metered.run(MINUTE - blocked)
    metered.clock.advance(0.5 + blocked)
    assert metered.meter.p99() == pytest.approx(p99)


def test_hours_that_the_process_did_not_run_cost_no_memory() -> None:
    metered = Metered()
    for _ in range(3):
        metered.clock.advance(24 * 3600)
    assert metered.meter.p99() > 3600
    assert len(metered.meter._lags) == 1


def test_stopped_meter_leaves_no_call() -> None:
    metered = Metered()
    metered.run(1)
    metered.meter.stop()
    metered.meter.stop()
    assert metered.clock.getDelayedCalls() == []


def test_clock_that_seems_to_run_backwards_is_no_lag() -> None:
    clock, times = Clock(), iter([100.0, 99.0, 99.5])
    heard: list[float] = []
    LagMeter(clock, heard.append, 0.5, lambda: next(times)).start()
    clock.advance(0.5)
    assert heard == [0.0]


@given(st.lists(st.integers(0, 40).map(lambda eighths: eighths / 8), max_size=60))
def test_no_lag_is_longer_than_the_longest_and_memory_is_bounded(pauses: list[float]) -> None:
    metered = Metered()
    for pause in pauses:
        metered.clock.advance(pause)
    assert metered.meter.p99() <= metered.meter.longest()
    assert metered.meter.longest() == max(metered.heard[-120:], default=0.0) or sum(pauses) > MINUTE
    assert len(metered.meter._lags) <= 1 + MINUTE / 0.5
