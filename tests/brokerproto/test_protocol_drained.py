"""The broker's edge on a transport that drains many connections, one after the other."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone

from brokerproto.protocol import BrokerProtocol
from brokerproto.terms import Limits
from tests.brokerproto.edge import BrokerEdge, Socket


def drain(edge: BrokerEdge, *deliveries: tuple[Socket, str]) -> int:
    """Bring frames straight to the receivers; return how many had nothing to follow."""
    now, silently = edge.factory.drain_begins(), 0
    for socket, frame in deliveries:
        protocol, data = edge.protocol_of(socket), f"{frame}\n".encode()
        assert protocol.receiver is not None
        outcome = protocol.receiver.receive_data(data, now)
        if outcome is None:
            silently += 1
        else:
            protocol.received(outcome, data)
    edge.factory.drain_ends(silently)
    return silently


def test_a_heartbeat_in_order_needs_nothing_done() -> None:
    edge = BrokerEdge()
    sockets = [edge.accepts() for _ in range(3)]
    hellos = [(socket, f"NewEngine:e{n}:0:v=1") for n, socket in enumerate(sockets)]
    assert drain(edge, *hellos) == 0
    assert [len(socket.said()) for socket in sockets] == [1, 1, 1]
    for seq in (1, 2, 3):
        edge.passes(5)
        beats = [(socket, f"HeartBeat:e{n}:{seq}") for n, socket in enumerate(sockets)]
        assert drain(edge, *beats) == 3
        assert edge.broker.brake.heard == edge.broker.now == 5 * seq
    assert edge.broker.stats().heartbeats == 9
    assert [socket.said() for socket in sockets] == [[], [], []]


def test_nobody_is_heard_where_nothing_came() -> None:
    edge = BrokerEdge()
    edge.registers("a")
    edge.passes(5)
    assert drain(edge) == 0
    assert edge.broker.brake.heard == 0.0


def test_what_is_owed_is_written_at_once() -> None:
    edge = BrokerEdge()
    one, other = edge.registers("a"), edge.registers("b")
    edge.passes(5)
    assert drain(edge, (one, "HeartBeat:a:1"), (other, "HeartBeat:b:3")) == 0
    assert (one.said(), other.said()) == (["ACK:1"], ["ACK:3"])
    assert edge.broker.brake.heard == 5.0
    assert edge.broker.stats().missed == 2


def test_who_breaks_a_rule_is_told_so_and_what_follows_is_stale() -> None:
    edge = BrokerEdge()
    socket = edge.registers("a")
    drain(edge, (socket, "HeartBeat:a:0:x"))
    assert [frame.split(":")[1] for frame in socket.said()] == ["400"]
    assert socket.calls == ["half-close"]
    drain(edge, (socket, "HeartBeat:a:1"))
    assert edge.broker.stats().stale == 1
    socket.ends(ConnectionDone())
    assert edge.protocol_of(socket).receiver is None
    assert edge.is_idle()


def test_who_floods_is_not_read_for_a_while_also_by_a_drain() -> None:
    edge = BrokerEdge(Limits(interval=1))
    socket = edge.accepts()
    drain(edge, (socket, "NewEngine:a:0:v=1"))
    silently = sum(drain(edge, (socket, f"HeartBeat:a:{seq}")) for seq in range(1, 65))
    assert silently == 0
    assert socket.producerState == "paused"
    ticks: list[int] = []
    for seq in range(65, 70):
        edge.passes(1)
        ticks.append(drain(edge, (socket, f"HeartBeat:a:{seq}")))
    assert socket.producerState == "producing"
    # Sixty-four frames have their time only after 3.2 s.
    assert ticks == [0, 0, 0, 1, 1]


def test_a_protocol_has_no_dictionary() -> None:
    edge = BrokerEdge()
    protocol = edge.protocol_of(edge.registers("a"))
    assert isinstance(protocol, BrokerProtocol)
    assert not hasattr(protocol, "__dict__")
    assert protocol.session is not None
    assert not hasattr(protocol.session, "__dict__")
