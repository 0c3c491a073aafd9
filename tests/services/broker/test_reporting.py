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
    lost = "{engine} {manner}: {cause}, after {duration} s and {heartbeats} heartbeats"
    summaries = [line.rpartition(" left out: ")[2] for line in written if " left out: " in line]
    assert summaries == [f"{lost}\n"]
    assert limits.counts.left_out == 3000 - OF_ONE_KIND
