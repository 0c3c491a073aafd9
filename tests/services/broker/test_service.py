"""A broker as a service, on a clock: it ticks, says how it stands, and stops in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.python.failure import Failure

from brokerproto.broker import Broker
from brokerproto.fleet import Origin
from brokerproto.terms import Limits
from brokerproto.testing import RecordingCarrier
from services.broker.reporting import LoggingObserver
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

    def __init__(self, *ports: Port) -> None:
        self.clock = Clock()
        limits = Limits(interval=1, handshake=5)
        self.broker = Broker(self.clock.seconds, "b0", limits, LoggingObserver())
        listening: list[Any] = list(ports)
        self.service = BrokerService(self.broker, self.clock, listening)
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
    stands = "1 connections, 1 engines registered, 0 late; 2 heartbeats, 1 missed; 0 left, 0 lost"
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
        ("warn", "e1 lost: timeout, after 6.5 s and 1 heartbeats"),
    ]


def test_tick_that_fails_is_logged_and_the_next_one_comes(
    logged_failures: list[Failure],
) -> None:
    class Faulty(LoggingObserver):
        def engine_late(self, member: Any, silence: float) -> None:
            raise ZeroDivisionError

    house = House()
    house.broker.observer = Faulty()
    engine = house.connected(b"NewEngine:e1:0:v=1\n")
    house.pass_time(5)
    assert engine.take().endswith(b":HEARTBEAT_TIMEOUT:now:silent for too long\n")
    [failure] = logged_failures
    assert isinstance(failure.value, ExceptionGroup)
    assert failure.value.subgroup(ZeroDivisionError) is not None
    logged_failures.clear()


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
            assert stopped == []
            house.gone(carrier)
        house.pass_time(0.25)
    assert stopped == [None]
    said = [text for level, text in lines(events) if level != "debug"]
    assert said == [
        "the broker stops; 1 engines are told so",
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
