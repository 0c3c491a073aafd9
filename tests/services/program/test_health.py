"""What holds a process up is measured, explained, and told in few lines."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from services.program.health import HELD_UP, THROTTLED_SHARE, ProcessHealth
from services.program.lag import MINUTE
from services.program.log_limits import LogCounts
from tests.services.program.kernel import Kernel

PERIOD = 0.125


class RunningClock(Clock):
    """A reactor that runs already."""

    def callWhenRunning(self, function: Any) -> None:
        function()


@define
class Process:
    """A process on a clock, and what its log says."""

    clock: RunningClock = field(factory=RunningClock)
    kernel: Kernel = field(factory=lambda: Kernel(50.0, 7.0, 3.0))
    counts: LogCounts = field(factory=LogCounts)
    health: ProcessHealth = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.health = ProcessHealth(
            self.clock, self.counts, PERIOD, self.clock.seconds, lambda: self.kernel
        )
        self.health.start()

    def run(self, seconds: float) -> None:
        self.clock.pump([PERIOD] * round(seconds / PERIOD))

    def stand_still(self, seconds: float, **spent: float) -> None:
        for name, value in spent.items():
            setattr(self.kernel, name, getattr(self.kernel, name) + value)
        self.clock.advance(PERIOD + seconds)


def test_process_that_runs_well_says_nothing() -> None:
    process = Process()
    with capturedLogs() as events:
        process.run(3 * MINUTE)
        process.stand_still(HELD_UP - PERIOD)
        process.health.stop()
    assert not events
    figures = process.health.figures
    assert (figures.degraded, figures.held_up, figures.held_up_for) == (False, 0, 0.0)
    assert figures.lag_recent == figures.lag_minute == HELD_UP - PERIOD
    assert process.clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("spent", "told"),
    [
        (
            {},
            ("0.0", "0.0", "0.0", "0.0", "4.0"),
        ),
        (
            {"runs": 3.5},
            ("3.5", "0.0", "0.0", "0.0", "0.5"),
        ),
        (
            {"runs": 0.25, "waits": 3.75, "throttles": 3.5},
            ("0.2", "0.0", "3.8", "3.5", "0.0"),
        ),
        (
            {"throttles": 60.0},
            ("0.0", "0.0", "0.0", "4.0", "0.0"),
        ),
    ],
)
def test_time_that_it_was_held_up_is_told_with_what_it_was_spent_on(
    spent: dict[str, float], told: tuple[str, ...]
) -> None:
    process = Process()
    process.run(5)
    with capturedLogs() as events:
        process.stand_still(4, **spent)
    whats = ("at work", "collecting garbage", "waiting for a CPU", "throttled", "stopped or asleep")
    why = ", ".join(f"{what} {seconds} s" for what, seconds in zip(whats, told, strict=True))
    assert [formatEvent(event) for event in events] == [f"held up for 4.0 s: {why}"]
    figures = process.health.figures
    assert (figures.degraded, figures.held_up, figures.held_up_for) == (True, 1, 4.0)
    process.run(MINUTE)
    assert not process.health.figures.degraded
    assert process.health.figures.held_up == 1
    process.health.stop()


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Collect nothing meanwhile: it would be measured."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_pauses_of_the_collector_show() -> None:
    process = Process()
    pauses = process.health._garbage
    process.run(1)
    pauses.count, pauses.total, pauses.longest = 3, 1.75, 1.5
    with capturedLogs() as events:
        process.stand_still(2, runs=2.0)
    assert "collecting garbage 1.8 s" in formatEvent(events[0])
    figures = process.health.figures
    assert (figures.collections, figures.collecting, figures.longest_collection) == (3, 1.75, 1.5)
    process.health.stop()


def test_what_the_system_does_not_tell_is_left_out() -> None:
    process = Process()
    process.kernel.close()
    process.run(1)
    with capturedLogs() as events:
        process.stand_still(2)
        process.health.stop()
    assert formatEvent(events[0]) == "held up for 2.0 s: collecting garbage 0.0 s"
    assert (process.health.figures.waited, process.health.figures.throttled) == (None, None)


def test_process_that_is_held_up_without_end_says_so_every_ten_seconds() -> None:
    process = Process()
    with capturedLogs() as events:
        for _ in range(20):
            process.stand_still(1.5, runs=1.0)
            process.run(0.5)
        process.health.stop()
    told = [(event["times"], event["seconds"]) for event in events]
    assert (len(told), sum(times for times, _ in told)) == (5, 20)
    assert told[:2] == [(1, 1.5), (5, 7.5)]
    assert formatEvent(events[1]).startswith("held up 5 times, for 7.5 s: at work 5.0 s, ")
    assert process.health.figures.held_up_for == 30.0


@pytest.mark.parametrize("tells", [True, False])
def test_process_that_is_much_throttled_says_so_once_a_minute(tells: bool) -> None:
    process = Process()
    process.health._tells_throttling = tells
    with capturedLogs() as events:
        for _ in range(round(2.5 * MINUTE)):
            process.kernel.throttles = (process.kernel.throttles or 0.0) + 0.5
            process.run(1)
        process.run(2 * MINUTE)
        process.health.stop()
    told = [event["seconds"] for event in events]
    assert len(told) == (4 if tells else 0)
    assert all(THROTTLED_SHARE * MINUTE < seconds <= 0.5 * MINUTE + 1 for seconds in told)
    if tells:
        assert formatEvent(events[0]) == (
            "throttled for 6.5 s of the last minute: it has too little CPU time"
        )


@pytest.mark.fault("C052")
def test_process_that_is_much_throttled_is_degraded_though_it_is_never_late() -> None:
    process = Process()
    seen = []
    for throttled in (0.9, 1.1):
        for _ in range(round(2 * MINUTE)):
            process.kernel.throttles = (
                process.kernel.throttles or 0.0
            ) + throttled * THROTTLED_SHARE
            process.run(1)
        seen.append(process.health.figures.degraded)
    process.run(2 * MINUTE)
    seen.append(process.health.figures.degraded)
    assert seen == [False, True, False]
    assert len(process.health._throttled) <= MINUTE + 2
    process.health.stop()


def test_figures_tell_what_became_of_the_log() -> None:
    process = Process(counts=LogCounts(left_out=3, lost=4))
    figures = process.health.figures
    assert (figures.log_left_out, figures.log_lost) == (3, 4)
    process.health.stop()


def test_health_that_never_began_has_figures_and_an_end() -> None:
    health = ProcessHealth(Clock())
    figures = health.figures
    assert (figures.degraded, figures.lag_p99) == (False, 0.0)
    assert (figures.ran, figures.waited) == (0.0, None)
    health.stop()
