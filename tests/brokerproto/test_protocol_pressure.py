"""The broker's Twisted edge where one side is too fast for the other."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from brokerproto.broker import Broker
from brokerproto.terms import Limits
from tests.brokerproto.edge import BrokerEdge, Socket


class Narrow(Socket):
    """A connection that takes `space` bytes more, and then no more until it is emptied."""

    def __init__(self, space: int = 100) -> None:
        super().__init__()
        self.size = self.space = space
        self.widest = 0

    def write(self, data: bytes) -> None:
        self.io.write(data)
        self.widest = max(self.widest, len(data))
        self.space -= len(data)
        producer: Any = self.producer
        if self.space <= 0 and producer is not None:
            producer.pauseProducing()

    def empties(self) -> list[str]:
        """Let the peer read all; return what was written since the last time."""
        said = self.said()
        self.space = self.size
        producer: Any = self.producer
        if producer is not None:
            producer.resumeProducing()
        return said


def registers(edge: BrokerEdge, socket: Socket, engine_id: str = "a") -> Any:
    edge.accepts(socket)
    socket.hears(f"NewEngine:{engine_id}:0:v=1;ack=1")
    return socket


def orders(edge: BrokerEdge, count: int) -> None:
    for _ in range(count):
        edge.broker.order("DOWORK", 5, list(edge.broker.fleet))


@pytest.fixture
def edge() -> BrokerEdge:
    return BrokerEdge(Limits(interval=1, unread=20_000))


def test_a_full_connection_is_written_to_no_more_until_it_takes_more(edge: BrokerEdge) -> None:
    socket = registers(edge, Narrow())
    orders(edge, 100)
    held = edge.broker.stats().unread
    assert held > 2000
    heard = socket.empties()
    assert len(heard) < 10
    while edge.broker.stats().unread:
        heard += socket.empties()
    heard += socket.empties()
    assert heard[1:] == [f"DOWORK:5:command=b0-{n}" for n in range(1, 101)]
    orders(edge, 1)
    assert socket.said() == ["DOWORK:5:command=b0-101"]


def test_what_waited_goes_in_pieces(edge: BrokerEdge) -> None:
    socket = registers(edge, Narrow(5000))
    orders(edge, 700)
    assert edge.broker.stats().unread > 8192
    socket.empties()
    assert edge.broker.stats().unread > 0
    assert socket.widest <= 4096


@pytest.mark.fault("C034")
def test_who_reads_nothing_is_cut_off_at_once_and_others_get_theirs(edge: BrokerEdge) -> None:
    deaf, other = registers(edge, Narrow()), registers(edge, Socket(), "b")
    other.said()
    deaf.reads = False
    sent = 0
    while deaf.connected:
        orders(edge, 1)
        sent += 1
        assert other.said() == [f"DOWORK:5:command=b0-{sent}"]
        assert edge.broker.stats().unread <= 20_000
    assert deaf.calls == ["abort"]
    assert deaf.producer is None
    stats = edge.broker.stats()
    assert (stats.connections, stats.registered, stats.unread) == (1, 1, 0)
    assert stats.causes == {"lost:508": 1}
    assert edge.is_idle()


@pytest.mark.fault("C101")
def test_who_takes_nothing_for_ten_seconds_is_cut_off(edge: BrokerEdge) -> None:
    deaf = registers(edge, Narrow(10))
    deaf.hears("HeartBeat:a:1")
    for seq in range(2, 11):
        edge.passes(1)
        deaf.hears(f"HeartBeat:a:{seq}")
    edge.passes(0.75)
    assert deaf.calls == []
    edge.passes(0.25)
    assert deaf.calls == ["abort"]
    assert edge.broker.stats().causes == {"lost:508": 1}


def test_a_session_that_ends_is_told_so_behind_what_it_has_not_read(edge: BrokerEdge) -> None:
    socket = registers(edge, Narrow())
    socket.reads = False
    orders(edge, 30)
    socket.hears("What is this")
    heard = socket.said()
    assert [frame.split(":")[0] for frame in heard] == ["SUCCESS", *["DOWORK"] * 30, "FAILED"]
    assert socket.calls == ["half-close"]
    assert socket.producer is None
    edge.clock.advance(1)
    assert socket.calls == ["half-close", "abort"]
    assert edge.is_idle()


def test_who_says_nothing_more_is_sent_all_that_is_owed(edge: BrokerEdge) -> None:
    socket = registers(edge, Narrow())
    orders(edge, 30)
    edge.protocol_of(socket).readConnectionLost()
    assert len(socket.said()) == 31
    assert socket.calls == ["close"]
    assert socket.producer is None
    assert edge.broker.stats().unread == 0
    assert edge.is_idle()


def test_a_full_connection_that_is_lost_leaves_nothing(edge: BrokerEdge) -> None:
    socket = registers(edge, Narrow())
    orders(edge, 30)
    protocol = edge.protocol_of(socket)
    socket.ends(ConnectionDone())
    assert edge.broker.stats().unread == 0
    # What a transport may still do, as it ends.
    protocol.stopProducing()
    protocol.pauseProducing()
    protocol.resumeProducing()
    edge.passes(20)
    assert edge.broker.stats().causes == {"lost:closed": 1}


def test_a_newcomer_that_is_refused_at_once_produces_nothing() -> None:
    edge = BrokerEdge(Limits(connections=1))
    edge.registers("a")
    socket = edge.accepts()
    assert socket.producer is None
    assert socket.calls == ["half-close"]


# Reading


def test_who_sends_too_fast_is_not_read_for_a_while(edge: BrokerEdge) -> None:
    socket = registers(edge, Socket())
    socket.hears(*(f"HeartBeat:a:{seq}" for seq in range(1, 64)))
    assert socket.producerState == "producing"
    socket.hears(*(f"HeartBeat:a:{seq}" for seq in range(64, 1000)))
    assert socket.producerState == "paused"
    assert len(socket.said()) == 1000
    edge.passes(3)
    assert socket.producerState == "paused"
    edge.passes(0.5)
    assert socket.producerState == "producing"
    assert edge.broker.stats().reads_paused == 1
    assert edge.broker.stats().late == 0


def test_who_is_refused_while_it_is_not_read_can_still_close(edge: BrokerEdge) -> None:
    socket = registers(edge, Socket())
    socket.hears(*(f"HeartBeat:a:{seq}" for seq in range(1, 1000)), "What", "What", "What")
    assert socket.calls == ["half-close"]
    assert socket.producerState == "producing"
    paused = registers(edge, Socket(), "b")
    paused.hears(*(f"HeartBeat:b:{seq}" for seq in range(1, 1000)))
    assert paused.producerState == "paused"
    edge.broker.close(None)
    assert paused.producerState == "producing"


def test_a_broker_that_fails_over_a_newcomer_keeps_no_connection(
    logged_failures: list[Failure], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    edge = BrokerEdge()
    monkeypatch.setattr(Broker, "open", fails)
    newcomer = edge.accepts()
    assert newcomer.calls == ["abort"]
    assert [failure.type for failure in logged_failures] == [ZeroDivisionError]
    logged_failures.clear()
    assert edge.is_idle()
