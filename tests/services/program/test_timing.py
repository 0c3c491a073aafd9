"""Timers run by a clock that nobody sets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.pollreactor import PollReactor

from services.program.timing import keep_time

pytestmark = pytest.mark.fault("C111")


class Reactor:
    """As much of one as is looked at."""

    def __init__(self, seconds: Callable[[], float], calls: list[object]) -> None:
        self.seconds = seconds
        self._calls = calls

    def getDelayedCalls(self) -> list[object]:
        return self._calls


def loop_time() -> float:
    return 0.0


@pytest.mark.parametrize(
    ("before", "calls", "after"),
    [
        (time.time, [], time.monotonic),
        (time.time, [object()], time.time),
        (loop_time, [], loop_time),
    ],
)
def test_system_clock_is_replaced_and_only_that(
    before: Callable[[], float], calls: list[object], after: Callable[[], float]
) -> None:
    reactor = Reactor(before, calls)
    keep_time(reactor)
    assert reactor.seconds is after


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_timer_comes_when_it_is_due_though_the_clock_is_set(
    jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's clock is what Twisted has by default: if that changes, this fails."""
    reactor: Any = PollReactor()
    assert reactor.seconds is time.time
    try:
        keep_time(reactor)
        came: list[float] = []
        set_at = reactor.seconds()
        reactor.callLater(0.05, lambda: came.append(reactor.seconds() - set_at))
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + jump)
        for _ in range(10_000):
            if came:
                break
            reactor.iterate(0.001)
        assert came[0] >= 0.05
    finally:
        for reader in reactor.removeAll():
            reader.connectionLost(None)
