"""The page about the log shows what is logged, and the bounds that hold."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from twisted.logger import LogEvent, capturedLogs, formatEvent

from brokerproto.broker import Broker
from brokerproto.fleet import Member, Origin
from brokerproto.terms import Limits
from brokerproto.testing import RecordingCarrier
from services.broker.reporting import LoggingObserver, report
from services.program.health import HELD_UP
from services.program.log_limits import OF_ONE_KIND, OF_ONE_PEER, TRACEBACKS, WINDOW
from services.program.log_output import LogWriter
from services.program.logs import TextFormat, json_format
from services.program.watchdog import PATIENCE
from tests.docs.page import Page
from tests.services.program.test_health import Process
from tests.services.program.test_log_limits import Limited
from tests.services.program.test_watchdog import Scene

PAGE = Page.of("docs/reference/log.md")


def shown() -> list[str]:
    """List the page's lines without their times; a stack is no line."""
    return [
        line.partition(" ")[2]
        for block in PAGE.blocks
        for line in block.text.splitlines()
        if not line.startswith(" ")
    ]


def printed(event: LogEvent) -> str:
    return TextFormat("broker")(event).partition(" ")[2].partition("\n")[0]


def test_bounds_are_the_programs() -> None:
    rows = PAGE.section("How much it says").table("at most", "lines")
    assert [int(row[1]) for row in rows] == [OF_ONE_PEER, OF_ONE_KIND, TRACEBACKS]
    prose = " ".join(PAGE.text.split())
    assert f"within {WINDOW:g} s from its first line" in prose
    assert f"that did nothing for {HELD_UP:g} s or more" in prose
    assert f"for more than {PATIENCE:g} s is told" in prose


def test_lines_of_a_broker_are_as_shown() -> None:
    now = 0.0
    broker = Broker(lambda: now, "2e3a5cd5", Limits(), LoggingObserver())
    members: list[Member] = []
    with capturedLogs() as events:
        for number in (1, 2, 3):
            carrier = RecordingCarrier()
            opened = carrier.session = broker.open(carrier, Origin("192.0.2.1:5", "tcp://b"))
            broker.receive_data(opened, f"NewEngine:engine-{number}:0:v=1\n".encode())
            member = broker.fleet.member_of(opened)
            assert member is not None
            members.append(member)
        broker.order("DOWORK", 2000, members)
        broker.order("KILL", 3, members)
        broker.observer.engine_late(members[1], 16.25)
        for member in members:
            session = member.session
            assert session is not None
            broker.receive_data(session, f"HeartBeat:{member.engine_id}:1\n".encode())
        report(broker)
    said = [printed(event) for event in events]
    block = [line for line in shown()[1:4] if "connections" not in line]
    assert [line for line in block if line not in said] == []
    standing = shown()[3].replace(" 1 late", " 0 late")
    assert standing in said
    orders = "`DOWORK 2000 ms to 3 engines: 2e3a5cd5-1`, `KILL 3 to 3 engines: 2e3a5cd5-2`"
    assert orders in PAGE.text
    assert all(f"[broker] {order}" in said for order in orders.strip("`").split("`, `"))


def test_line_about_lines_left_out_is_as_shown() -> None:
    limited = Limited()
    with capturedLogs() as ended:
        LoggingObserver().engine_ended(Ended())  # type: ignore[arg-type]
    [event] = ended
    for number in range(15_000):
        limited.log(event["log_format"], engine=f"e{number}")
    limited.clock.advance(WINDOW)
    assert len(limited.passed) == 201
    assert printed(limited.passed[-1]) in shown()
    fields = PAGE.section("How much it says").prose
    for name in ("left_out", "seconds", "like", "of"):
        assert f'"{name}": ' in json_format(limited.passed[-1])
        assert f"`{name}`" in fields


class Ended:
    """An end of which only the format is of interest."""

    def __getattr__(self, name: str) -> Any:
        return {"duration": 0.0, "counted": 0}.get(name, self)


def test_line_about_lost_lines_is_as_shown() -> None:
    lines: list[str] = []
    writer = LogWriter(TextFormat("broker"), lines.append)
    writer.lost = 317
    writer({"log_format": "x", "log_namespace": "services"})
    assert lines[0].partition(" ")[2].rstrip() in shown()


def test_line_about_a_program_held_up_is_as_shown() -> None:
    process = Process()
    process.run(1)
    with capturedLogs() as events:
        process.stand_still(6)
    process.health.stop()
    assert [printed({**event, "log_namespace": "services"}) for event in events] == [
        line for line in shown() if "held up" in line
    ]
    rows = PAGE.section("What holds a program up").table("seconds", "spent")
    whats = [part.rsplit(" ", 2)[0] for part in events[0]["why"].split(", ")]
    assert [row[0] for row in rows] == whats


def test_lines_about_a_blocked_reactor_are_as_shown() -> None:
    scene = Scene()
    scene.deaf = True
    with capturedLogs() as events:
        for _ in range(9):
            scene.look()
        scene.now += 0.1
        scene.heard_again()
    first, last = (formatEvent(event) for event in events)
    wanted = [line.partition("] ")[2] for line in shown() if "block" in line]
    assert wanted[0].partition(", and is in ")[0] == first.partition(", and is in ")[0]
    assert wanted[1] == last


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"])
def test_signals_are_those_that_there_are(name: str) -> None:
    assert hasattr(signal, name)
    rows = PAGE.section("Signals").table("signal", "what it does")
    assert any(name in row[0] for row in rows)
