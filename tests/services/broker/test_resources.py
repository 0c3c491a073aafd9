"""What is left of files and memory, and what that means for newcomers."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from brokerproto.broker import Broker
from services.broker.resources import Capacity, ResourceWatch
from services.program.memory import Memory

MIB = 1024 * 1024


class House:
    def __init__(self) -> None:
        self.clock = Clock()
        self.broker = Broker(self.clock.seconds, "b0")
        self.memory: Memory | None = None
        self.files = 20_000
        self.watch = ResourceWatch(
            self.broker, self.clock, 65_536, lambda: self.memory, lambda: self.files
        )
        self.broker.admission.connections = Capacity.within(self.files, 65_536).engines
        self.watch.startService()

    def uses(self, percent: int) -> bool:
        """Use so much of the memory, and tell whether newcomers are refused then."""
        self.memory = Memory(percent * MIB, 100 * MIB)
        self.clock.advance(1)
        return self.broker.admission.is_short_of_memory


@pytest.mark.parametrize(
    ("files", "wanted", "engines", "control"),
    [
        (-1, 65_536, 65_536, 65_536),
        (1_000_000, 65_536, 65_536, 488),
        (20_000, 65_536, 19_488, 488),
        (1024, 65_536, 922, 78),
        (1024, 5, 5, 78),
        (100, 65_536, 68, 8),
        (10, 65_536, 1, 8),
    ],
)
def test_files_are_divided(files: int, wanted: int, engines: int, control: int) -> None:
    assert Capacity.within(files, wanted) == Capacity(engines, control)


@pytest.mark.fault("C039")
def test_newcomers_are_refused_above_eighty_percent() -> None:
    house = House()
    with capturedLogs() as events:
        assert [house.uses(percent) for percent in (50, 80, 81, 90, 95)] == [
            *(False, False, True, True, True),
        ]
        assert [house.uses(percent) for percent in (70, 81, 80, 80, 80, 80)] == [True] * 6
        assert not house.uses(80)
    assert [formatEvent(event) for event in events] == [
        "memory: 81 of 100 MiB; no newcomer is let in above 80 %",
        "memory: below 80 %; newcomers are let in",
    ]


def test_without_a_limit_of_memory_nobody_is_refused() -> None:
    house = House()
    house.clock.advance(1)
    assert not house.broker.admission.is_short_of_memory


@pytest.mark.fault("C031")
def test_a_limit_of_files_that_somebody_changes_is_heeded() -> None:
    house = House()
    with capturedLogs() as events:
        for files in (20_000, 100, 100, 5_000):
            house.files = files
            house.clock.advance(1)
    assert house.broker.admission.connections == 4_500
    assert [formatEvent(event) for event in events] == [
        "open files: 100 now; at most 68 connections",
        "open files: 5000 now; at most 4500 connections",
    ]


def test_a_look_that_fails_is_logged_and_the_next_one_comes(
    logged_failures: list[Failure],
) -> None:
    house = House()
    memory = Memory(90, 100)
    looks = iter(range(10))

    def fails() -> Memory:
        if next(looks) == 0:
            raise ZeroDivisionError
        return memory

    house.watch._memory = fails
    house.clock.advance(1)
    house.clock.advance(1)
    assert house.broker.admission.is_short_of_memory
    [failure] = logged_failures
    assert failure.check(ZeroDivisionError)
    logged_failures.clear()


def test_watch_that_stops_leaves_nothing() -> None:
    house = House()
    house.watch.stopService()
    assert house.clock.getDelayedCalls() == []
