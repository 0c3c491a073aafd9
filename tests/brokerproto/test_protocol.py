"""The broker's Twisted edge, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, ISSLTransport
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure
from zope.interface import alsoProvides

from brokerproto.account import Account
from brokerproto.broker import Broker
from brokerproto.broker_session import BrokerSession
from brokerproto.carrier import Carrier
from brokerproto.carrying import FLUSH_DEADLINE
from brokerproto.errors import DuplicateIdError, RemoteProtocolError
from brokerproto.fleet import Origin
from brokerproto.framing import Framing
from brokerproto.ledger import Ledger
from brokerproto.protocol import BrokerFactory, address_text
from brokerproto.terms import Grant, Limits
from tests.brokerproto.edge import BrokerEdge, Socket
from transports.inproc import InprocAddress


@pytest.fixture
def edge() -> BrokerEdge:
    return BrokerEdge()


def test_bytes_go_both_ways(edge: BrokerEdge) -> None:
    socket = edge.accepts()
    socket.protocol.dataReceived(b"NewEngine:a:0:v=1;ack=1\nHeart")
    socket.protocol.dataReceived(b"Beat:a:1\n")
    assert [frame.split(":")[0] for frame in socket.said()] == ["SUCCESS", "ACK"]
    assert edge.broker.stats().heartbeats == 1


def test_an_engine_is_known_by_where_it_came_from_and_arrived(edge: BrokerEdge) -> None:
    edge.registers("a")
    member = edge.broker.fleet.get("a")
    assert member is not None
    assert member.origin == Origin("127.0.0.1:4000", "tcp://*:1337")


def test_what_the_broker_says_of_itself_is_written_at_once(edge: BrokerEdge) -> None:
    socket = edge.registers("a")
    edge.broker.order("DOWORK", 5, list(edge.broker.fleet))
    assert socket.said() == ["DOWORK:5:command=b0-1"]
    edge.passes(16)
    assert socket.said() == ["PING"]


def test_nothing_is_written_where_nothing_is_owed(edge: BrokerEdge) -> None:
    written: list[bytes] = []

    class Watched(Socket):
        def write(self, data: bytes) -> None:
            written.append(data)

    socket = edge.accepts(Watched())
    socket.hears("NewEngine:a:0:v=1")
    socket.hears("HeartBeat:a:1")
    assert len(written) == 1


def test_a_transport_may_deliver_whole_messages(edge: BrokerEdge) -> None:
    socket = edge.accepts(framing="message")
    socket.protocol.dataReceived(b"NewEngine:a:0:v=1;ack=1")
    socket.protocol.dataReceived(b"HeartBeat:a:1")
    assert socket.said()[1:] == ["ACK:1"]
    assert socket.calls == []
    socket.protocol.dataReceived(b"HeartBeat:a:2\n")
    assert socket.said()[0].startswith("FAILED:400:")


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (IPv4Address("TCP", "192.0.2.1", 1234), "192.0.2.1:1234"),
        (IPv6Address("TCP", "::1", 1234), "[::1]:1234"),
        (UNIXAddress("/run/x"), "unix"),
        (UNIXAddress(None), "unix"),
        (InprocAddress("here", 3), "inproc://here#3"),
        (None, "None"),
    ],
)
def test_an_address_is_named_as_people_write_it(address: IAddress | None, text: str) -> None:
    assert address_text(address) == text


# The end of a connection


def test_last_words_are_written_before_the_end_and_the_peer_is_still_read(
    edge: BrokerEdge,
) -> None:
    calls: list[str] = []

    class Watched(Socket):
        def write(self, data: bytes) -> None:
            calls.append(data.decode()[:10])

        def loseWriteConnection(self) -> None:
            calls.append("half-close")

    socket = edge.accepts(Watched())
    socket.hears("NewEngine:-:0")
    assert calls == ["FAILED:415", "half-close"]
    socket.hears("HeartBeat:a:1", "HeartBeat:a:2")
    assert calls == ["FAILED:415", "half-close"]
    assert edge.broker.stats().stale == 2


def test_tls_ends_both_halves_for_it_says_goodbye_itself(edge: BrokerEdge) -> None:
    encrypted = Socket()
    alsoProvides(encrypted, ISSLTransport)
    socket = edge.accepts(encrypted)
    socket.hears("NewEngine:-:0")
    assert socket.calls == ["close"]


def test_a_peer_that_never_ends_is_cut_off_after_one_second(edge: BrokerEdge) -> None:
    assert FLUSH_DEADLINE == 1.0
    socket = edge.accepts()
    socket.reads = False
    socket.hears("NewEngine:-:0")
    edge.clock.advance(0.5)
    socket.hears("More:1")
    edge.clock.advance(0.499)
    assert socket.calls == ["half-close"]
    edge.clock.advance(0.001)
    assert socket.calls == ["half-close", "abort"]
    assert edge.broker.stats().connections == 0
    assert edge.is_idle()


def test_a_peer_that_ends_in_time_is_not_cut_off(edge: BrokerEdge) -> None:
    socket = edge.accepts()
    socket.hears("NewEngine:-:0")
    socket.ends(ConnectionDone())
    assert edge.is_idle()
    assert socket.calls == ["half-close"]


def test_a_transport_that_has_no_halves_is_closed(edge: BrokerEdge) -> None:
    transport: Any = StringTransportWithDisconnection()
    protocol: Any = edge.factory.buildProtocol(None)
    transport.protocol = protocol
    protocol.makeConnection(transport)
    protocol.dataReceived(b"NewEngine:-:0\n")
    assert transport.value().startswith(b"FAILED:415:BAD_ID:never:")
    assert not transport.connected
    assert edge.is_idle()
    assert edge.broker.stats().connections == 0


def test_whoever_says_nothing_more_is_answered_and_closed(edge: BrokerEdge) -> None:
    socket = edge.registers("a")
    edge.protocol_of(socket).readConnectionLost()
    assert socket.calls == ["close"]
    assert edge.observer.events[-1] == ("lost", "a", "closed")
    assert edge.is_idle()


def test_whoever_says_nothing_more_and_reads_nothing_is_cut_off(edge: BrokerEdge) -> None:
    socket = edge.registers("a")
    socket.reads = False
    edge.protocol_of(socket).readConnectionLost()
    edge.protocol_of(socket).readConnectionLost()
    edge.clock.advance(0.999)
    assert "abort" not in socket.calls
    edge.clock.advance(0.001)
    assert socket.calls[-1] == "abort"
    assert edge.is_idle()
    edge.protocol_of(socket).readConnectionLost()
    edge.protocol_of(socket).writeConnectionLost()


def test_an_end_that_both_sides_want_is_one_end(edge: BrokerEdge) -> None:
    socket = edge.accepts()
    socket.reads = False
    socket.hears("NewEngine:-:0")
    edge.protocol_of(socket).readConnectionLost()
    assert socket.calls == ["half-close", "close"]
    assert len(edge.clock.getDelayedCalls()) == 1
    edge.clock.advance(1)
    assert socket.calls == ["half-close", "close", "abort"]
    assert edge.is_idle()


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        (ConnectionDone(), "closed"),
        (ConnectionLost(), "reset"),
        (OSError("no route"), "reset"),
    ],
)
def test_a_lost_connection_is_closed_or_reset(
    edge: BrokerEdge, reason: Exception, cause: str
) -> None:
    socket = edge.registers("a")
    socket.ends(reason)
    assert edge.observer.events[-1] == ("lost", "a", cause)
    assert edge.broker.stats().connections == 0
    assert edge.is_idle()


def test_a_connection_that_is_gone_is_written_to_no_more(edge: BrokerEdge) -> None:
    socket = edge.registers("a")
    session = edge.protocol_of(socket).session
    assert session is not None
    socket.ends(ConnectionDone())
    edge.protocol_of(socket).settle()
    assert session.carrier is None
    edge.protocol_of(socket).connectionLost(Failure(ConnectionDone()))
    assert edge.broker.stats().closed == 1


def test_a_silent_engine_hears_why_and_is_cut_off(edge: BrokerEdge) -> None:
    socket = edge.registers("a")
    socket.reads = False
    edge.passes(40)
    assert socket.said()[-1].startswith("FAILED:440:HEARTBEAT_TIMEOUT:now:")
    assert socket.calls == ["half-close"]
    edge.passes(1)
    assert socket.calls == ["half-close", "abort"]
    assert edge.broker.stats().causes == {"lost:timeout": 1}
    assert edge.is_idle()


@pytest.mark.fault("C027")
def test_a_hello_of_a_byte_a_second_is_refused_after_ten(edge: BrokerEdge) -> None:
    socket = edge.accepts()
    for byte in b"NewEngine":
        edge.passes(1)
        socket.protocol.dataReceived(bytes([byte]))
    assert socket.said() == []
    edge.passes(1)
    assert socket.said()[0].startswith("FAILED:408:HANDSHAKE_TIMEOUT:now:")
    assert socket.calls == ["half-close"]


@pytest.mark.fault("C030")
def test_a_connection_beyond_the_cap_is_told_so_without_a_hello() -> None:
    edge = BrokerEdge(Limits(connections=3))
    engines = [edge.registers(f"e{n}") for n in range(3)]
    surplus = [edge.accepts() for _ in range(100)]
    for number, socket in enumerate(surplus):
        assert socket.said()[0].startswith("FAILED:507:BROKER_FULL:5:")
        # Only a few are waited for: descriptors are what is short.
        assert socket.calls == ["half-close" if number < 4 else "close"]
    for n, socket in enumerate(engines):
        socket.hears(f"HeartBeat:e{n}:1")
        assert socket.said() == ["ACK:1"]
    edge.clock.advance(1)
    assert edge.broker.stats().connections == 3
    assert edge.is_idle()


@pytest.mark.fault("C030")
def test_who_is_on_the_way_out_holds_no_place_against_a_newcomer() -> None:
    edge = BrokerEdge(Limits(connections=3))
    engines = [edge.registers(f"e{n}") for n in range(3)]
    surplus = [edge.accepts() for _ in range(10)]
    engines[0].hears("Bye")
    edge.registers("newcomer")
    assert [socket.said()[0][:10] for socket in surplus] == ["FAILED:507"] * 10


@pytest.mark.fault("C047")
def test_ten_thousand_short_visits_leave_nothing_but_their_ids(edge: BrokerEdge) -> None:
    for n in range(10_000):
        socket = edge.accepts()
        socket.hears(f"NewEngine:e{n % 1000}:0:v=1;instance={n:x}")
        socket.ends(ConnectionDone())
    stats = edge.broker.stats()
    assert (stats.connections, stats.registered, stats.late) == (0, 0, 0)
    assert (stats.opened, stats.closed, stats.registrations) == (10_000, 10_000, 10_000)
    assert stats.causes == {"lost:closed": 10_000}
    assert edge.broker.fleet.remembered == 1000
    assert edge.is_idle()
    socket = edge.accepts()
    socket.hears("NewEngine:e7:0:v=1")
    assert ";epoch=11;" in f";{socket.said()[0].split(':')[2]};"


# A broker that fails


class FaultError(Exception):
    """A fault of the broker."""


def _fails(*_: object) -> None:
    raise FaultError


def test_a_broker_that_fails_ends_one_session_and_logs_it(
    edge: BrokerEdge, logged_failures: list[Failure], monkeypatch: pytest.MonkeyPatch
) -> None:
    hit, other = edge.registers("a"), edge.registers("b")
    monkeypatch.setattr(Ledger, "report", _fails)
    hit.hears("Report:b0-1:done")
    assert hit.said()[-1].startswith("FAILED:500:INTERNAL:5:")
    assert hit.calls == ["half-close"]
    assert [failure.type for failure in logged_failures] == [FaultError]
    logged_failures.clear()
    other.hears("HeartBeat:b:2")
    assert other.said() == ["ACK:2"]
    stats = edge.broker.stats()
    assert (stats.registered, stats.causes) == (1, {"lost:500": 1})
    hit.ends(ConnectionDone())
    assert edge.is_idle()


# A decision that takes its time


class Undecided:
    """In place of a broker: decides about hellos when the test says so."""

    now = 0.0

    def __init__(self) -> None:
        self.sessions: list[BrokerSession] = []

    def open(self, carrier: Carrier, origin: Origin, framing: Framing) -> BrokerSession:
        session = BrokerSession(0.0, framing)
        session.carrier = carrier
        self.sessions.append(session)
        return session

    def received(self, session: BrokerSession, events: object, data: bytes) -> None:
        pass

    def lose(self, session: BrokerSession, *, reset: bool) -> None:
        session.lose()


def accept(session: BrokerSession) -> None:
    assert session.hello is not None
    terms = Limits().grant(session.hello)
    session.accept(Grant(terms, Account(0, 0.0)), 0.0)


def refuse(session: BrokerSession) -> None:
    error: RemoteProtocolError = DuplicateIdError("in use", 5)
    session.end(error)


@pytest.mark.parametrize("decide", [accept, refuse])
def test_reading_pauses_while_too_much_waits_for_a_decision(
    edge: BrokerEdge, decide: Callable[[BrokerSession], None]
) -> None:
    undecided: Any = Undecided()
    broker: Broker = undecided
    socket = Socket()
    factory = BrokerFactory(broker, edge.clock, "tcp://*:1337")
    socket.connect(factory.buildProtocol(socket.peerAddr))
    (session,) = undecided.sessions
    socket.hears("NewEngine:a:0:v=1;ack=1")
    beats = b"".join(b"HeartBeat:a:%d\n" % seq for seq in range(1, 400))
    socket.protocol.dataReceived(beats[:4095])
    assert socket.producerState == "producing"
    socket.protocol.dataReceived(beats[4095:4096])
    assert socket.producerState == "paused"
    socket.protocol.dataReceived(b"")
    assert socket.producerState == "paused"
    decide(session)
    session.carrier.settle()
    assert socket.producerState == "producing"
    accepted = decide is accept
    assert len(socket.said()) == (1 + beats[:4096].count(b"\n") if accepted else 1)
    assert socket.calls == ([] if accepted else ["half-close"])
    socket.ends(ConnectionDone())


def test_several_factories_may_share_one_broker(edge: BrokerEdge) -> None:
    for n, address in enumerate(["tcp://*:1", "inproc://b"]):
        socket = Socket()
        factory = BrokerFactory(edge.broker, edge.clock, address)
        assert factory.address == address
        socket.connect(factory.buildProtocol(None))
        socket.hears(f"NewEngine:e{n}:0")
    assert [member.origin.transport for member in edge.broker.fleet] == [
        "tcp://*:1",
        "inproc://b",
    ]
