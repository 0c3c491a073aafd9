"""The engine's Twisted edge, on a clock that the test moves."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost

from brokerproto.engine import Engine, EngineObserver
from brokerproto.engine_protocol import EngineFactory, EngineProtocol
from brokerproto.engine_session import EngineSession
from brokerproto.errors import (
    HandshakeTimeoutError,
    LocalProtocolError,
    ProtocolError,
    SilentBrokerError,
)
from tests.brokerproto.edge import EngineEdge, Socket
from tests.brokerproto.engine_conversation import GRANTED


class Ends(EngineObserver):
    """Remembers why each connection ended."""

    def __init__(self) -> None:
        self.failures: list[ProtocolError | None] = []

    def ended(self, engine: Engine, session: EngineSession) -> None:
        self.failures.append(session.failure)


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def edge(ends: Ends) -> EngineEdge:
    return EngineEdge(ends)


def timers(edge: EngineEdge) -> list[float]:
    return sorted(call.getTime() for call in edge.clock.getDelayedCalls())


def test_hello_is_said_when_the_connection_is_made(edge: EngineEdge) -> None:
    socket = Socket()
    socket.connect(edge.factory.buildProtocol(None))
    assert socket.said() == ["NewEngine:e:0:v=1;instance=a1;ack=1"]


def test_heartbeats_come_when_they_are_due(edge: EngineEdge) -> None:
    socket = edge.connects(GRANTED)
    edge.clock.advance(9.999)
    assert socket.said() == []
    edge.clock.advance(0.001)
    assert socket.said() == ["HeartBeat:e:1"]
    socket.hears("ACK:1")
    edge.clock.pump([1.0] * 11)
    assert socket.said() == ["HeartBeat:e:2"]


def test_bytes_that_come_in_pieces_are_put_together(edge: EngineEdge) -> None:
    socket = edge.connects()
    for byte in f"{GRANTED}\nPING\n".encode():
        socket.protocol.dataReceived(bytes([byte]))
    assert socket.said() == ["HeartBeat:e:1"]


def test_one_timer_is_enough_for_everything(edge: EngineEdge) -> None:
    socket = edge.connects()
    assert timers(edge) == [30.0]
    socket.hears(GRANTED)
    assert timers(edge) == [10.0]
    for _ in range(20):
        edge.clock.advance(1)
        socket.hears("PING")
        assert len(timers(edge)) == 1
    socket.hears("GOAWAY:500")
    assert timers(edge) == [20.5]
    edge.clock.advance(0.5)
    assert socket.said()[-1] == "Bye:reason=goaway"
    socket.ends(ConnectionDone())
    assert timers(edge) == []


def test_a_timer_that_comes_too_early_is_set_again(edge: EngineEdge) -> None:
    socket = edge.connects(GRANTED)
    socket.hears("GOAWAY:500")
    socket.hears("GOAWAY:7000")
    assert timers(edge) == [0.5]
    edge.clock.advance(0.5)
    assert socket.said() == []
    assert timers(edge) == [7.0]
    edge.clock.advance(6.5)
    assert socket.said() == ["Bye:reason=goaway"]


def test_a_connection_that_is_gone_leaves_no_timer(edge: EngineEdge) -> None:
    for frames in ((), (GRANTED,), (GRANTED, "GOAWAY:5"), ("FAILED:409:DUPLICATE_ID:5:",)):
        socket = edge.connects(*frames)
        assert timers(edge) != []
        socket.ends(ConnectionLost())
        assert timers(edge) == []
        assert edge.engine.session is None


def test_success_that_never_comes_ends_the_attempt(edge: EngineEdge, ends: Ends) -> None:
    socket = edge.connects()
    edge.clock.advance(30)
    assert socket.calls == ["half-close"]
    socket.ends(ConnectionDone())
    assert [type(failure) for failure in ends.failures] == [HandshakeTimeoutError]


def test_a_broker_that_says_nothing_is_left(edge: EngineEdge, ends: Ends) -> None:
    socket = edge.connects("SUCCESS:Registered:v=1;interval=1;timeout=4;ack=1")
    edge.clock.pump([0.25] * 64)
    assert len(socket.said()) == 12
    assert socket.calls[:2] == ["half-close", "close"]
    assert [type(failure) for failure in ends.failures] == [SilentBrokerError]
    assert timers(edge) == []


# The end of a connection


@pytest.mark.parametrize("refusal", ["FAILLED:in use", "FAILED:409:DUPLICATE_ID:5:in use"])
def test_a_refused_engine_closes_and_never_resets(edge: EngineEdge, refusal: str) -> None:
    socket = edge.connects(refusal)
    assert socket.calls == ["half-close"]
    edge.clock.advance(1)
    assert socket.calls == ["half-close", "close"]
    assert timers(edge) == []


def test_only_a_broker_that_reads_nothing_is_cut_off(edge: EngineEdge) -> None:
    socket = edge.connects(GRANTED)
    socket.reads = False
    edge.engine.leave("stopped")
    assert socket.said() == ["Bye:reason=stopped"]
    edge.clock.advance(0.999)
    assert socket.calls == ["half-close"]
    edge.clock.advance(0.001)
    assert socket.calls == ["half-close", "close"]
    edge.clock.advance(0.1)
    assert socket.calls == ["half-close", "close", "abort"]
    assert timers(edge) == []


def test_what_comes_after_the_end_is_read_and_passed_over(edge: EngineEdge) -> None:
    socket = edge.connects(GRANTED)
    edge.engine.leave()
    socket.said()
    socket.hears("PING", "DOWORK:5:command=c-1")
    assert socket.said() == []
    assert edge.worker.started == []


def test_a_broker_that_says_nothing_more_is_closed(edge: EngineEdge, ends: Ends) -> None:
    socket = edge.connects(GRANTED)
    protocol: Any = socket.protocol
    protocol.readConnectionLost()
    assert socket.calls == ["close"]
    assert ends.failures == [None]
    assert timers(edge) == []


def test_a_killed_process_ends_when_its_last_words_are_out(edge: EngineEdge) -> None:
    socket = edge.connects(GRANTED)
    socket.hears("DOWORK:5:command=c-1", "KILL:3:command=c-2")
    assert socket.said()[-2:] == ["Report:c-2:done", "Bye:reason=killed"]
    assert socket.calls == ["half-close"]
    exits = [edge.worker.exit_code]
    socket.ends(ConnectionDone())
    assert [*exits, edge.worker.exit_code] == [None, 3]
    assert timers(edge) == []


def test_work_that_ends_is_reported_at_once(edge: EngineEdge) -> None:
    socket = edge.connects(GRANTED)
    socket.hears("DOWORK:5:command=c-1")
    socket.said()
    edge.engine.worked()
    assert socket.said() == ["Report:c-1:done:ms=0"]


def test_work_that_ends_later_finds_nobody_to_write_to(edge: EngineEdge) -> None:
    socket = edge.connects(GRANTED)
    socket.hears("DOWORK:5:command=c-1")
    socket.ends(ConnectionDone())
    socket.said()
    edge.engine.worked()
    protocol: Any = socket.protocol
    protocol.settle()
    protocol.connectionLost()
    assert socket.said() == []


# One engine, many connections


def test_an_engine_comes_back_on_a_new_connection(edge: EngineEdge) -> None:
    first = edge.connects(GRANTED)
    edge.clock.advance(10)
    first.ends(ConnectionDone())
    second = Socket()
    second.connect(edge.factory.buildProtocol(None))
    assert second.said() == ["NewEngine:e:1:v=1;instance=a1;ack=1"]


def test_a_second_connection_beside_the_first_is_an_error_of_ours(edge: EngineEdge) -> None:
    first = edge.connects(GRANTED)
    second = Socket()
    with pytest.raises(LocalProtocolError):
        second.connect(edge.factory.buildProtocol(None))
    second.ends(ConnectionDone())
    first.hears("PING")
    assert first.said() == ["HeartBeat:e:1"]


def test_an_engine_may_be_told_that_messages_are_whole(edge: EngineEdge) -> None:
    factory = EngineFactory(edge.engine, edge.clock, "message")
    protocol = factory.buildProtocol(None)
    assert isinstance(protocol, EngineProtocol)
    socket = Socket()
    socket.connect(protocol)
    protocol.dataReceived(GRANTED.encode())
    protocol.dataReceived(b"PING")
    assert socket.said()[-1] == "HeartBeat:e:1"
