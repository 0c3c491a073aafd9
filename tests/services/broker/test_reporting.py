"""What a broker's log says of commands, and of a fleet that is late and lost all at once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from twisted.logger import FilteringLogObserver, capturedLogs, globalLogPublisher

from brokerproto.commands import Verb
from services.program.log_limits import OF_ONE_KIND, LogLimits
from services.program.log_output import LogWriter
from services.program.logs import TextFormat, without_library_chatter
from tests.services.broker.test_service import House, lines
from tests.services.program.test_log_limits import ThreadedClock


@pytest.mark.parametrize(
    ("verb", "value", "line"),
    [
        ("DOWORK", 60_000, "DOWORK 60000 ms to 2 engines: b0-1"),
        ("KILL", 3, "KILL 3 to 2 engines: b0-1"),
    ],
)
def test_each_command_has_a_line(verb: Verb, value: int, line: str) -> None:
    house = House()
    house.connected(b"NewEngine:e1:0:v=1\n")
    house.connected(b"NewEngine:e2:0:v=1\n")
    with capturedLogs() as events:
        house.broker.order(verb, value, list(house.broker.fleet))
    assert lines(events) == [("info", line)]
    [event] = events
    told = {name: event[name] for name in ("command", "verb", "value", "targets")}
    assert told == {"command": "b0-1", "verb": verb, "value": value, "targets": 2}


def test_what_is_not_told_while_the_brake_is_on_is_told_when_it_is_off() -> None:
    house = House()
    with capturedLogs() as events:
        engines = [house.connected(f"NewEngine:e{number}:0:v=1\n".encode()) for number in range(12)]
        house.pass_time(3)
        for number, engine in enumerate(engines[:5]):
            session: Any = engine.session
            house.broker.receive_data(session, f"HeartBeat:e{number}:1\n".encode())
        house.pass_time(2)
    said = [text for level, text in lines(events) if "brake" in text or "late" in text]
    assert said == [
        (
            "the brake is on: 12 of 12 engines are late, and the broker suspects itself; few are"
            " declared lost"
        ),
        (
            "the brake is off after 1.2 s; 0 engines were declared lost meanwhile, 12 late,"
            " 5 back in time"
        ),
        *(f"e{number} is late: silent for 2.0 s" for number in range(5)),
    ]


def test_who_sends_too_fast_is_named_as_often_as_the_log_allows() -> None:
    house = House()
    flooding = house.connected(b"NewEngine:e1:0:v=1\n")
    session: Any = flooding.session
    with capturedLogs() as events:
        house.broker.receive_data(session, b"HeartBeat:e1:0\n" * 100)
        house.broker.receive_data(session, b"HeartBeat:e1:0\n" * 100)
        house.pass_time(4)
        house.broker.receive_data(session, b"HeartBeat:e1:0\n" * 100)
    said = [line for line in lines(events) if line[0] != "debug"]
    assert said == [
        ("warn", "e1 sends more than 20 frames a second: it is not read for 1.9 s"),
        ("warn", "e1 sends more than 20 frames a second: it is not read for 3.2 s"),
    ]
    assert all(event["engine"] == "e1" for event in events)


def test_fleet_that_is_late_and_lost_at_once_has_a_bounded_log() -> None:
    """Each by the thousand; then the summaries, and the account exact."""
    written: list[str] = []
    house = House()
    writer = LogWriter(TextFormat("broker"), written.append)
    limits = LogLimits(writer, ThreadedClock(), seconds=house.clock.seconds)
    observer: Any = FilteringLogObserver(limits, [without_library_chatter])
    globalLogPublisher.addObserver(observer)
    try:
        carriers = [
            house.connected(f"NewEngine:e{number}:0:v=1\n".encode()) for number in range(3000)
        ]
        house.pass_time(3)
        for carrier in carriers:
            house.gone(carrier)
        limits.finish()
    finally:
        globalLogPublisher.removeObserver(observer)
    assert house.broker.stats().causes == {"lost:closed": 3000}
    said = Counter(line.partition("] ")[2].strip().partition(" ")[2][:4] for line in written)
    # The brake tells in a line of its own that so many are late.
    assert (said["is l"], said["lost"], said["line"]) == (0, OF_ONE_KIND, 1)
    assert sum("the brake is on" in line for line in written) == 1
    lost = "{engine} {manner}: {cause}, after {duration} s and {heartbeats}"
    summaries = [line for line in written if " left out " in line]
    assert len(summaries) == 1
    assert summaries[0].endswith(f" s: {lost}\n")
    assert limits.counts.left_out == 3000 - OF_ONE_KIND
