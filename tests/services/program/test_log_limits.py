"""However much happens, a log has so many lines of it, and says how many more there were."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure

from services.program.log_limits import (
    KINDS,
    OF_ONE_KIND,
    OF_ONE_PEER,
    TRACEBACKS,
    WINDOW,
    LogLimits,
)


class ThreadedClock(Clock):
    """A clock that can be asked from threads, and does at once what they ask."""

    def callFromThread(self, function: Any) -> None:
        function()


class Limited:
    """Limits on a clock, and what they pass on."""

    def __init__(self) -> None:
        self.clock = ThreadedClock()
        self.passed: list[LogEvent] = []
        observer: Any = self.passed.append
        self.limits = LogLimits(observer, self.clock, seconds=self.clock.seconds)

    def log(self, text: str = "something", **fields: Any) -> None:
        fields.setdefault("log_level", LogLevel.warn)
        self.limits({"log_namespace": "services.x", "log_format": text, **fields})

    @property
    def summaries(self) -> list[LogEvent]:
        return [event for event in self.passed if "left_out" in event]

    @property
    def texts(self) -> list[str]:
        return [formatEvent(event) for event in self.passed]


@pytest.fixture
def limited() -> Limited:
    return Limited()


def failed(kind: type[Exception]) -> Failure:
    try:
        raise kind("some data")
    except kind:
        return Failure()


def test_fleet_that_is_lost_at_once_makes_a_bounded_number_of_lines(limited: Limited) -> None:
    for number in range(15_000):
        limited.log("{engine} lost: {cause}", engine=f"e{number}", cause="timeout")
    assert len(limited.passed) == OF_ONE_KIND
    assert limited.limits.counts.left_out == 15_000 - OF_ONE_KIND
    limited.clock.advance(WINDOW)
    assert len(limited.passed) == OF_ONE_KIND + 1
    [summary] = limited.summaries
    assert summary["left_out"] == 15_000 - OF_ONE_KIND
    assert (summary["like"], summary["of"]) == ("{engine} lost: {cause}", "services.x")
    assert summary["log_level"] is LogLevel.warn
    assert formatEvent(summary) == (
        "14800 lines were left out in the last 30 s: {engine} lost: {cause}"
    )
    assert limited.clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    "peer",
    [
        {"engine": "tireless"},
        {"address": "192.0.2.1:{port}"},
        {"address": "[2001:db8::1]:{port}"},
        {"address": "unix socket"},
    ],
)
def test_peer_that_never_tires_makes_a_few_lines_and_takes_no_place(
    limited: Limited, peer: dict[str, str]
) -> None:
    for port in range(1000):
        limited.log(**{name: value.format(port=port) for name, value in peer.items()})
    assert len(limited.passed) == OF_ONE_PEER
    limited.log(engine="another")
    limited.log(address="192.0.2.2:5")
    assert len(limited.passed) == OF_ONE_PEER + 2
    limited.clock.advance(WINDOW)
    assert [event["left_out"] for event in limited.summaries] == [1000 - OF_ONE_PEER]


def test_addresses_of_our_own_are_no_peers(limited: Limited) -> None:
    for port in range(20):
        limited.log("accepting engines on {address}", address=f"tcp://*:{port}")
    assert len(limited.passed) == 20


def test_kinds_do_not_take_each_others_places(limited: Limited) -> None:
    for _ in range(OF_ONE_PEER + 1):
        limited.log("one", engine="e")
        limited.log("two", engine="e")
        limited.log("one", engine="e", log_namespace="services.y")
    assert len(limited.passed) == 3 * OF_ONE_PEER


def test_kind_that_comes_again_tells_first_what_was_left_out(limited: Limited) -> None:
    """The timer may be late: the reactor has something else to do."""
    for _ in range(OF_ONE_KIND + 7):
        limited.log()
    limited.clock.rightNow += WINDOW + 1
    limited.log("something")
    assert limited.texts[OF_ONE_KIND:] == [
        "7 lines were left out in the last 31 s: something",
        "something",
    ]
    limited.clock.advance(0)
    assert len(limited.summaries) == 1


def test_nothing_is_said_and_no_timer_runs_where_nothing_is_left_out(limited: Limited) -> None:
    for _ in range(OF_ONE_KIND):
        limited.log()
    assert limited.clock.getDelayedCalls() == []
    limited.clock.advance(10 * WINDOW)
    assert limited.summaries == []


def test_one_timer_serves_all_kinds(limited: Limited) -> None:
    for kind in range(5):
        limited.clock.advance(1)
        for _ in range(OF_ONE_PEER + 1 + kind):
            limited.log(f"kind {kind}", engine="e")
            assert len(limited.clock.getDelayedCalls()) <= 1
    limited.clock.pump([1] * int(WINDOW + 5))
    assert [(each["like"], each["left_out"]) for each in limited.summaries] == [
        (f"kind {kind}", kind + 1) for kind in range(5)
    ]
    assert limited.clock.getDelayedCalls() == []


def test_end_tells_at_once_what_was_left_out(limited: Limited) -> None:
    for _ in range(OF_ONE_PEER + 3):
        limited.log(engine="e")
    limited.limits.finish()
    assert [event["left_out"] for event in limited.summaries] == [3]
    assert limited.clock.getDelayedCalls() == []
    for _ in range(OF_ONE_PEER + 3):
        limited.log(engine="e")
    assert len(limited.passed) == OF_ONE_PEER + 1 + OF_ONE_PEER + 3


def test_tracebacks_are_bounded_by_where_they_come_from(limited: Limited) -> None:
    other = failed(KeyError)
    for _ in range(TRACEBACKS + 5):
        limited.log("it failed", log_failure=failed(ValueError), log_level=LogLevel.critical)
    limited.log("it failed", log_failure=other, log_level=LogLevel.critical)
    assert len(limited.passed) == TRACEBACKS + 1
    limited.clock.advance(WINDOW)
    [summary] = limited.summaries
    assert summary["log_level"] is LogLevel.critical
    assert (summary["left_out"], summary["like"][:25]) == (5, "it failed (ValueError in ")
    assert "some data" not in summary["like"]


def test_old_style_errors_are_told_apart_by_their_failures(limited: Limited) -> None:
    for kind in (ValueError, KeyError):
        for _ in range(TRACEBACKS + 1):
            limited.log("{log_text}", log_text="Unhandled Error", failure=failed(kind))
    assert len(limited.passed) == 2 * TRACEBACKS


def test_tables_stay_small_whatever_comes(limited: Limited) -> None:
    for number in range(20_000):
        limited.log(f"data as a format {number}", engine=f"e{number}")
    windows = limited.limits._windows
    assert len(windows) == KINDS + 1
    assert len(limited.passed) == KINDS + OF_ONE_KIND
    assert sum(len(window.peers) for window in windows.values()) == KINDS + OF_ONE_KIND
    limited.clock.advance(WINDOW)
    assert [event["left_out"] for event in limited.summaries] == [20_000 - KINDS - OF_ONE_KIND]
    limited.log("another")
    assert limited.passed[-1]["log_format"] == "another"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b {engine}"]),
            st.sampled_from([None, "e1", "e2"]),
            st.sampled_from([0, 0, 0, 0.25, 20]),
            st.integers(1, 150),
        ),
        max_size=40,
    )
)
def test_every_event_is_passed_on_or_counted_and_none_of_both(
    script: list[tuple[str, str | None, float, int]],
) -> None:
    limited = Limited()
    sent: Counter[str] = Counter()
    for text, engine, pause, times in script:
        for _ in range(times):
            limited.log(text, **({} if engine is None else {"engine": engine}))
        sent[text] += times
        limited.clock.advance(pause)
    limited.limits.finish()
    told: Counter[str] = Counter()
    for event in limited.passed:
        told[str(event.get("like", event["log_format"]))] += event.get("left_out", 1)
    assert told == sent
    assert limited.clock.getDelayedCalls() == []


def test_any_thread_may_log(limited: Limited) -> None:
    def log() -> None:
        for _ in range(500):
            limited.log()

    threads = [threading.Thread(target=log) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    limited.limits.finish()
    assert limited.summaries[0]["left_out"] == 2000 - OF_ONE_KIND


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"log_format": None, "log_namespace": 3, "log_level": "high"},
        {"engine": ["no", "text"], "address": b"192.0.2.1:5"},
        {"log_failure": "no failure"},
    ],
)
def test_event_that_is_odd_passes(limited: Limited, event: LogEvent) -> None:
    limited.limits(event)
    assert limited.passed == [event]
