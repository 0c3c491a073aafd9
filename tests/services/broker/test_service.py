"""A broker as a service, on a clock: it ticks, says how it stands, and stops in order."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.python.failure import Failure

from brokerproto.admission import Admission
from brokerproto.broker import Broker
from brokerproto.broker_session import BrokerSession
from brokerproto.fleet import Origin
from brokerproto.observer import Observer
from brokerproto.terms import Limits
from brokerproto.testing import RecordingCarrier
from services.broker.reporting import LoggingObserver, report_failure
from services.broker.service import BrokerService


class Port:
    """A listening port; says when it listens no longer."""

    def __init__(self, closed: Deferred[None] | None = None) -> None:
        self.asked = 0
        self._closed = closed

    def stopListening(self) -> Deferred[None]:
        self.asked += 1
        return succeed(None) if self._closed is None else self._closed


class House:
    """A broker, its service, and engines without sockets."""

    def __init__(self, *ports: Port, drain: int = 25, observer: Observer | None = None) -> None:
        self.clock = Clock()
        limits = Limits(interval=1, handshake=5, drain=drain)
        observer = observer or LoggingObserver()
        self.broker = Broker(self.clock.seconds, "b0", limits, observer, failed=report_failure)
        listening: list[Any] = list(ports)
        self.control = Port()
        self.service = BrokerService(self.broker, self.clock, listening, Random(1))
        control: Any = self.control
        self.service.control_port = control
        self.service.startService()

    def connected(self, data: bytes = b"") -> RecordingCarrier:
        carrier = RecordingCarrier()
        origin = Origin("192.0.2.1:5", "tcp://b:1")
        carrier.session = self.broker.open(carrier, origin)
        self.broker.receive_data(carrier.session, data)
        carrier.take()
        return carrier

    def gone(self, carrier: RecordingCarrier) -> None:
        session: Any = carrier.session
        session.carrier = None
        self.broker.lose(session, reset=False)

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.25] * round(seconds / 0.25))


def lines(events: Sequence[LogEvent]) -> list[tuple[str, str]]:
    return [(event["log_level"].name, formatEvent(event)) for event in events]


def test_how_the_fleet_stands_is_logged_every_ten_seconds() -> None:
    house = House()
    house.connected(b"NewEngine:e1:0:v=1;interval=60\nHeartBeat:e1:1\nHeartBeat:e1:3\n")
    with capturedLogs() as events:
        house.pass_time(30)
    stands = "1 connection, 1 engine registered, 0 late; 2 heartbeats, 1 missed; 0 left, 0 lost"
    assert lines(events) == [("info", stands)] * 3


def test_silence_is_judged_and_told_as_time_passes() -> None:
    house = House()
    with capturedLogs() as events:
        engine = house.connected(b"NewEngine:e1:0:v=1\n")
        stranger = house.connected(b"NewEng")
        house.pass_time(2.5)
        session: Any = engine.session
        house.broker.receive_data(session, b"HeartBeat:e1:1\n")
        house.pass_time(5.5)
    assert engine.take().startswith(b"PING\nPING\nPING\nFAILED:440:")
    assert stranger.take().startswith(b"FAILED:408:HANDSHAKE_TIMEOUT:")
    said = [line for line in lines(events) if line[0] != "debug"]
    assert said == [
        ("warn", "e1 is late: silent for 2.0 s"),
        ("info", "e1 is back in time"),
        ("warn", "e1 is late: silent for 2.0 s"),
        ("info", "refused 192.0.2.1:5 (no id): 408 HANDSHAKE_TIMEOUT, not registered in time"),
        ("warn", "e1 lost: timeout, after 6.5 s and 1 heartbeat"),
    ]


def test_tick_that_fails_is_logged_and_the_next_one_comes(
    logged_failures: list[Failure], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter([ZeroDivisionError])

    def fails_once(admission: Admission, now: float) -> list[BrokerSession]:
        for error in ticks:
            raise error
        return []

    house = House()
    engine = house.connected(b"NewEngine:e1:0:v=1\n")
    monkeypatch.setattr(Admission, "overdue", fails_once)
    house.pass_time(5)
    assert engine.take().endswith(b":HEARTBEAT_TIMEOUT:now:silent for too long\n")
    assert [failure.type for failure in logged_failures] == [ZeroDivisionError]
    logged_failures.clear()


def said(events: Sequence[LogEvent]) -> list[str]:
    return [text for level, text in lines(events) if level != "debug"]


def test_service_that_stops_listens_no_longer_and_tells_everybody() -> None:
    closed: Deferred[None] = Deferred()
    ports = [Port(), Port(closed)]
    house = House(*ports)
    ready = house.service.is_ready
    carriers = [house.connected(b"NewEngine:e1:0:v=1\n"), house.connected()]
    stopped: list[object] = []
    with capturedLogs() as events:
        house.service.stopService().addCallback(stopped.append)
        assert (ready, house.service.is_ready) == (True, False)
        assert [port.asked for port in ports] == [1, 1]
        assert [carrier.take() for carrier in carriers] == [b"", b""]
        closed.callback(None)
        for carrier in carriers:
            assert carrier.take() == b"FAILED:503:DRAINING:now:the broker stops\n"
            assert (stopped, house.control.asked) == ([], 0)
            house.gone(carrier)
        house.pass_time(0.25)
    assert (stopped, house.control.asked) == ([None], 1)
    assert said(events) == [
        "the broker stops; 1 engine is told so",
        "0 connections, 0 engines registered, 0 late; 0 heartbeats, 0 missed; 0 left, 1 lost",
    ]
    assert house.clock.getDelayedCalls() == []


def test_service_that_stops_waits_a_second_for_who_does_not_go() -> None:
    house = House(Port())
    house.connected(b"NewEngine:e1:0:v=1\n")
    stopped: list[object] = []
    house.service.stopService().addCallback(stopped.append)
    house.pass_time(1)
    early = list(stopped)
    house.pass_time(0.5)
    assert (early, stopped) == ([], [None])
    assert house.clock.getDelayedCalls() == []


def test_port_that_cannot_be_closed_keeps_nobody_from_hearing_of_the_end(
    logged_failures: list[Failure],
) -> None:
    class Stuck(Port):
        def stopListening(self) -> Deferred[None]:
            raise OSError("stuck")

    other = Port()
    house = House(Stuck(), other)
    engine = house.connected(b"NewEngine:e1:0:v=1\n")
    with capturedLogs() as events:
        stopped = house.service.stopService()
    assert other.asked == 1
    assert engine.take().startswith(b"FAILED:503")
    assert "could not be closed" in lines(events)[0][1]
    house.gone(engine)
    house.pass_time(1)
    assert stopped.called
    assert [str(failure.value) for failure in logged_failures] == ["stuck"]
    logged_failures.clear()


class FakeExitStatus:
    """Writes down how the process would have ended, and stops the service."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.statuses: list[int] = []
        self.stopped: list[object] = []

    def end(self, status: int) -> None:
        self.statuses.append(status)
        self.house.service.stopService().addCallback(self.stopped.append)


def leaves(house: House) -> FakeExitStatus:
    """Have the service do what a signal asks for."""
    exit_status: Any = FakeExitStatus(house)
    house.service.leave(exit_status)
    fake: FakeExitStatus = exit_status
    return fake


def goes_away(house: House, engine: RecordingCarrier) -> None:
    session: Any = engine.session
    house.broker.receive_data(session, b"Bye:reason=goaway\n")
    house.gone(engine)


@pytest.mark.fault("C068")
def test_drain_goes_on_until_the_last_engine_has_left() -> None:
    port = Port()
    house = House(port)
    ready = house.service.is_ready
    engines = [
        house.connected(f"NewEngine:e{number}:0:v=1;interval=60\n".encode()) for number in (1, 2)
    ]
    plain = house.connected(b"NewEngine:p1:0\n")
    newcomer = house.connected()
    with capturedLogs() as events:
        exit_status = leaves(house)
        assert (ready, house.service.is_ready, port.asked) == (True, False, 1)
        assert newcomer.take() == b"FAILED:503:DRAINING:now:the broker stops\n"
        house.gone(newcomer)
        delays = [int(engine.take().split(b":")[1]) for engine in engines]
        assert {*delays} < {833, 2500, 4167}
        house.pass_time(0.75)
        goes_away(house, engines.pop())
        house.pass_time(3.5)
        assert plain.take() == b"FAILED:503:DRAINING:now:the broker stops\n"
        house.gone(plain)
        house.pass_time(0.25)
        assert (exit_status.statuses, house.control.asked) == ([], 0)
        goes_away(house, engines.pop())
        house.pass_time(0.25)
    assert (exit_status.statuses, exit_status.stopped) == ([0], [None])
    assert (port.asked, house.control.asked) == (1, 1)
    assert said(events) == [
        "draining: 3 engines leave over 5.0 s; a second signal ends the broker at once",
        *["draining: 1 engine is still here"] * 4,
        "the broker stops",
        "0 connections, 0 engines registered, 0 late; 0 heartbeats, 0 missed; 2 left, 1 lost",
    ]
    assert house.clock.getDelayedCalls() == []


@pytest.mark.fault("C068")
def test_who_does_not_leave_in_time_is_told_when_the_time_is_over() -> None:
    house = House(Port(), drain=7)
    deaf = house.connected(b"NewEngine:e1:0:v=1;interval=60\n")
    exit_status = leaves(house)
    assert deaf.take() == b"GOAWAY:2500:reason=drain\n"
    house.pass_time(6.75)
    assert (deaf.take(), exit_status.statuses) == (b"", [])
    house.pass_time(0.5)
    assert (deaf.take(), exit_status.statuses) == (
        b"FAILED:503:DRAINING:now:the broker stops\n",
        [0],
    )
    house.pass_time(1.5)
    assert exit_status.stopped == [None]
    assert house.clock.getDelayedCalls() == []


def test_nobody_to_send_away_is_nothing_to_wait_for() -> None:
    house = House(Port())
    with capturedLogs() as events:
        exit_status = leaves(house)
    assert (exit_status.statuses, exit_status.stopped) == ([0], [None])
    assert said(events) == [
        "the broker stops",
        "0 connections, 0 engines registered, 0 late; 0 heartbeats, 0 missed; 0 left, 0 lost",
    ]


def test_drain_that_may_take_no_time_tells_everybody_at_once() -> None:
    house = House(Port(), drain=0)
    engine = house.connected(b"NewEngine:e1:0:v=1\n")
    exit_status = leaves(house)
    assert engine.take() == b"FAILED:503:DRAINING:now:the broker stops\n"
    assert (exit_status.statuses, house.broker.is_draining) == ([0], False)
    house.gone(engine)
    house.pass_time(0.25)
    assert exit_status.stopped == [None]


def test_service_that_is_stopped_while_it_drains_waits_for_nobody() -> None:
    house = House(Port())
    engine = house.connected(b"NewEngine:e1:0:v=1\n")
    drained = house.service.drain()
    house.service.stopService()
    assert engine.take() == b"GOAWAY:2500:reason=drain\nFAILED:503:DRAINING:now:the broker stops\n"
    house.pass_time(0.25)
    assert drained.called
    house.gone(engine)
    house.pass_time(0.25)
    assert house.clock.getDelayedCalls() == []


def test_port_that_never_closes_keeps_no_engine_waiting_for_its_slot() -> None:
    house = House(Port(Deferred()))
    engine = house.connected(b"NewEngine:e1:0:v=1\n")
    leaves(house)
    assert engine.take() == b"GOAWAY:2500:reason=drain\n"


def test_carrier_that_fails_ends_no_drain(logged_failures: list[Failure]) -> None:
    class Failing:
        def settle(self) -> None:
            raise OSError("no way")

    house = House(Port())
    first, second = (house.connected(f"NewEngine:e{n}:0:v=1\n".encode()) for n in (1, 2))
    session: Any = first.session
    session.carrier = Failing()
    exit_status = leaves(house)
    assert second.take().startswith(b"GOAWAY:")
    for engine in (first, second):
        house.gone(engine)
    house.pass_time(0.25)
    assert exit_status.stopped == [None]
    [failure] = logged_failures
    assert str(failure.value) == "no way"
    logged_failures.clear()


def test_what_was_under_way_is_told_at_the_end() -> None:
    house = House(Port())
    engine = house.connected(b"NewEngine:e1:0:v=1;instance=a1\n")
    other = house.connected(b"NewEngine:e2:0:v=1;instance=a2\n")
    session: Any = engine.session
    settled = house.broker.order("DOWORK", 5, [*house.broker.fleet][:1])
    house.broker.receive_data(session, f"Report:{settled.command}:done\n".encode())
    for _ in range(12):
        house.broker.order("DOWORK", 60_000, house.broker.fleet)
    house.broker.receive_data(session, b"Report:b0-13:done\n")
    with capturedLogs() as events:
        leaves(house)
        for each in (engine, other):
            goes_away(house, each)
        house.pass_time(0.25)
    told = [text for text in said(events) if "command" in text]
    assert told == [
        *(
            f"command b0-{number}, DOWORK 60000 to 2 engines: 0 done, 0 failed,"
            " 2 left before their end"
            for number in range(4, 13)
        ),
        "command b0-13, DOWORK 60000 to 2 engines: 1 done, 0 failed, 1 left before their end",
        "2 earlier commands were under way",
    ]


def test_stop_goes_on_where_an_end_fails(logged_failures: list[Failure]) -> None:
    class Faulty(LoggingObserver):
        def engine_ended(self, end: Any) -> None:
            raise ZeroDivisionError

    house = House(observer=Faulty())
    engine = house.connected(b"NewEngine:e1:0:v=1\n")
    stopped = house.service.stopService()
    house.gone(engine)
    house.pass_time(1)
    assert stopped.called
    assert house.control.asked == 1
    assert house.clock.getDelayedCalls() == []
    assert [failure.type for failure in logged_failures] == [ZeroDivisionError]
    logged_failures.clear()
