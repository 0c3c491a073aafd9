"""A process full of engines: what it logs, and when it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, capturedLogs, formatEvent

from brokerproto.broker import Broker
from brokerproto.errors import DialError
from brokerproto.life import Wishes
from brokerproto.protocol import BrokerFactory
from brokerproto.terms import Limits
from services.engine.dialler import Dialler
from services.engine.options import Options
from services.engine.plugin import engine_program
from services.engine.runner import Crew as Shared
from services.engine.runner import Runner
from services.engine.service import EngineService, reborn_after
from services.program.exit_status import ExitStatus
from tests.services.engine.dialled import Endpoint, RecordedWork, Transport
from transports import URI, transport_for

WELCOME = "SUCCESS:Registered:v=1;epoch=4;interval=10;timeout=40;ack=1;herd=1;boot=b0"
NEVER = "FAILED:415:BAD_ID:never:no such id"


class Reactor(MemoryReactorClock):
    """One that can be stopped, too."""

    def callFromThread(self, function: Callable[[], object]) -> None:
        self.callLater(0, function)


class Crew:
    """Engines of one process; each has an endpoint of its own."""

    def __init__(self, count: int, *, respawns: bool = False) -> None:
        self.clock: Any = cast(Any, Reactor)()
        self.exit_status = ExitStatus(self.clock)
        self.service = EngineService(self.clock, self.exit_status, "tcp://b:1")
        self.endpoints = [Endpoint(self.clock) for _ in range(count)]
        self.works = [RecordedWork() for _ in range(count)]
        for number, endpoint in enumerate(self.endpoints):
            shared = Shared(
                Dialler(self.clock, [endpoint]),
                partial(self.works.__getitem__, number),
                Wishes(),
                self.service,
                (lambda _deaths: 2.04) if respawns else None,
                Random(number),
            )
            self.service.runners.append(Runner(f"e{number}", shared))

    def register(self) -> list[Transport]:
        """Let all attempts that wait succeed, and all engines be welcome."""
        transports = [endpoint.succeed() for endpoint in self.endpoints]
        for transport in transports:
            transport.say(WELCOME)
        return transports

    def advance(self, seconds: float) -> None:
        self.clock.pump([0.0, seconds, 0.0])


def lines(events: Sequence[LogEvent]) -> list[tuple[str, str]]:
    """Give what the programs of this project said, and how loud."""
    return [
        (event["log_level"].name, formatEvent(event))
        for event in events
        if event["log_namespace"].startswith("services.")
    ]


def test_single_engine_has_one_line_for_each_change_of_its_state() -> None:
    crew = Crew(1)
    with capturedLogs() as events:
        crew.service.startService()
        crew.endpoints[0].fail(DialError("tcp://b:1", "no such host"))
        crew.advance(1)
        [transport] = crew.register()
        crew.advance(30)
        transport.go()
        crew.advance(1)
        crew.register()
    said = lines(events)
    registered = ("info", "registered at tcp://b:1 as e0, epoch 4; a heartbeat each 10 s")
    assert [line for line in said if "next try in" not in line[1]] == [registered, registered]
    retried = [line for line in said if "next try in" in line[1]]
    assert [level for level, _ in retried] == ["warn", "warn"]
    assert [text.partition("; next try in ")[0] for _, text in retried] == [
        "not registered as e0: cannot connect to tcp://b:1: no such host",
        "not registered as e0: the connection was closed",
    ]


def test_many_engines_have_one_line_a_second_while_something_changes() -> None:
    crew = Crew(5, respawns=True)
    with capturedLogs() as events:
        crew.service.startService()
        transports = crew.register()
        crew.advance(1)
        for transport in transports[:3]:
            transport.go()
        transports[3].say("FAILED:503:DRAINING:now:bye")
        transports[3].go()
        crew.advance(1)
        crew.advance(1)
        crew.advance(1)
    ends = "3 x the connection was closed; 1 x 503 DRAINING: bye"
    assert lines(events) == [
        ("info", "5 of 5 engines registered at tcp://b:1"),
        ("info", f"1 of 5 engines registered at tcp://b:1; {ends}"),
    ]


def test_killed_single_engine_that_respawns_says_so_and_ends_nothing() -> None:
    crew = Crew(1, respawns=True)
    with capturedLogs() as events:
        crew.service.startService()
        [transport] = crew.register()
        transport.say("KILL:3")
        transport.go()
        crew.advance(3)
        crew.register()
    assert crew.exit_status.status is None
    registered = ("info", "registered at tcp://b:1 as e0, epoch 4; a heartbeat each 10 s")
    killed = ("info", "e0 was killed by the broker with 3; starts again in 2.0 s")
    assert lines(events) == [registered, killed, registered]


@pytest.mark.parametrize("code", [0, 3, 255])
def test_killed_engine_ends_the_process_with_its_code(code: int) -> None:
    crew = Crew(1)
    with capturedLogs() as events:
        crew.service.startService()
        [transport] = crew.register()
        transport.say(f"KILL:{code}")
        before = crew.exit_status.status
        transport.go()
    assert (before, crew.exit_status.status) == (None, code)
    assert lines(events)[-1] == ("info", f"killed by the broker: exit status {code}")


def test_killed_virtual_engine_ends_nothing() -> None:
    crew = Crew(2, respawns=True)
    with capturedLogs() as events:
        crew.service.startService()
        transport, _ = crew.register()
        crew.advance(1)
        transport.say("KILL:9")
        transport.go()
        crew.advance(3)
    assert crew.exit_status.status is None
    assert lines(events)[-1] == (
        "info",
        "1 of 2 engines registered at tcp://b:1; 1 x killed with 9",
    )
    assert len(crew.endpoints[0].attempts) == 2


def test_process_ends_with_78_when_its_last_engine_stays_away() -> None:
    crew = Crew(2)
    with capturedLogs() as events:
        crew.service.startService()
        for endpoint in crew.endpoints:
            for _ in range(2):
                assert crew.exit_status.status is None
                transport = endpoint.succeed()
                transport.say(NEVER)
                transport.go()
                crew.advance(60)
    assert crew.exit_status.status == 78
    stays = [line for line in lines(events) if "stays away" in line[1]]
    assert stays == [
        ("error", f"e{number} stays away: 415 BAD_ID: no such id") for number in range(2)
    ]


def test_service_stops_when_all_connections_are_gone_and_says_what_was_sent() -> None:
    crew = Crew(2)
    crew.service.startService()
    transports = crew.register()
    for transport in transports:
        transport.is_stuck = True
        transport.take()
    crew.advance(10)
    gone: list[Any] = []
    with capturedLogs() as events:
        stopped: Any = crew.service.stopService()
        stopped.addCallback(gone.append)
        for transport in transports:
            assert transport.take()[-1] == "Bye:reason=stopped"
            assert gone == []
            transport.go()
    assert len(gone) == 1
    assert lines(events) == [("info", "sent 2 heartbeats in all")]
    assert crew.clock.getDelayedCalls() == []


def test_service_that_stops_has_no_summary_left() -> None:
    crew = Crew(3)
    crew.service.startService()
    crew.register()
    with capturedLogs() as events:
        crew.service.stopService()
    assert lines(events) == [("info", "sent 0 heartbeats in all")]
    assert crew.clock.getDelayedCalls() == []


@given(st.integers(1, 10_000), st.randoms(use_true_random=False))
def test_dead_engine_waits_one_to_three_seconds_doubling_to_thirty(
    deaths: int, random: Random
) -> None:
    seconds = reborn_after(deaths, random)
    assert (
        min(30.0, 2.0 ** min(deaths - 1, 10))
        <= seconds
        <= min(30.0, 3 * 2.0 ** min(deaths - 1, 10))
    )


def test_program_registers_works_and_stops_in_one_process() -> None:
    """The whole program, its broker in the same process, and no socket anywhere."""
    clock = MemoryReactorClock()
    broker = Broker(clock.seconds, "b0", Limits(interval=10))
    uri = URI.parse("inproc://whole-program")
    ports: list[Any] = []
    endpoint = transport_for("inproc").server_endpoint(clock, uri)
    endpoint.listen(BrokerFactory(broker, clock, str(uri))).addCallback(ports.append)
    options = Options({})
    options.parseOptions([f"--broker={uri}", "--id=e", "--count=3", "--label=node=n1"])
    program: Any = engine_program(clock, options)
    program.startService()
    clock.pump([0.01] * 20)
    assert [member.engine_id for member in broker.fleet] == ["e-1", "e-2", "e-3"]
    assert [member.labels for member in broker.fleet] == [{"node": "n1"}] * 3
    command = broker.order("DOWORK", 2000, broker.fleet)
    clock.pump([0.1] * 30)
    assert command.is_settled
    assert [entry.step.value for entry in command.entries.values()] == ["done"] * 3
    clock.pump([0.1] * 200)
    gone: list[Any] = []
    program.stopService().addCallback(gone.append)
    clock.pump([0.01] * 20)
    assert len(gone) == 1
    stats = broker.stats()
    assert (stats.registered, stats.left, stats.connections) == (0, 3, 0)
    service: Any = program.services[0]
    assert stats.heartbeats == sum(runner.heartbeats_sent for runner in service.runners) >= 3
    assert stats.missed == 0
    ports[0].stopListening()
    clock.pump([1.0] * 3)
    assert clock.getDelayedCalls() == []


def test_many_engines_connect_some_at_a_time_as_the_broker_registers_them() -> None:
    crew = Crew(450)
    dialled: list[int] = []

    def look() -> None:
        dialled.append(sum(len(endpoint.attempts) for endpoint in crew.endpoints))

    crew.service.startService()
    look()
    for _ in range(10):
        crew.advance(0.1)
        look()
    assert dialled == [100, *[200] * 10]
    # Whoever has failed waits by itself, and does not keep the others.
    for endpoint in crew.endpoints[:30]:
        endpoint.succeed().say(WELCOME)
    for endpoint in crew.endpoints[30:50]:
        endpoint.fail(DialError("tcp://b:1", "no such host"))
    crew.clock.advance(0.01)
    first = [len(endpoint.attempts) for endpoint in crew.endpoints]
    assert first == [1] * 250 + [0] * 200
    for endpoint in crew.endpoints[50:250]:
        endpoint.succeed().say(WELCOME)
    crew.clock.pump([0.01] * 3)
    assert [bool(endpoint.attempts) for endpoint in crew.endpoints] == [True] * 450
    crew.service.stopService()


def test_service_that_stops_while_it_starts_connects_nobody_any_more() -> None:
    crew = Crew(300)
    crew.service.startService()
    gone: list[Any] = []
    crew.service.stopService().addCallback(gone.append)
    crew.advance(60)
    assert len(gone) == 1
    assert sum(len(endpoint.attempts) for endpoint in crew.endpoints) == 100
    assert crew.clock.getDelayedCalls() == []


def test_line_names_the_most_frequent_reasons_where_there_are_many() -> None:
    crew = Crew(30)
    with capturedLogs() as events:
        crew.service.startService()
        for number, endpoint in enumerate(crew.endpoints):
            reason = [0, 0, 1, 1, 1, 2, 2, 2, 2, *[3] * 5, *[4] * 5, *[5] * 4, *[6] * 7][number]
            endpoint.fail(DialError("tcp://b:1", f"reason {reason}"))
        crew.clock.advance(1)
    [(_, line)] = lines(events)
    begin, *reasons = line.split("; ")
    assert begin == "0 of 30 engines registered at tcp://b:1"
    assert [reason.partition(" x ")[0] for reason in reasons] == ["7", "5", "5", "4", "4", "5"]
    assert reasons[-1] == "5 x for other reasons"
