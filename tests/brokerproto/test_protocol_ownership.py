"""Two connections and one id behind Twisted's transports: what is written and closed."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionDone

from tests.brokerproto.edge import BrokerEdge, Socket

NEWCOMER = "NewEngine:a:0:v=1;instance=b2;ack=1"


@pytest.fixture
def edge() -> BrokerEdge:
    return BrokerEdge()


def asking(edge: BrokerEdge) -> tuple[Socket, Socket]:
    """Have a newcomer wait for what the holder says."""
    holder, newcomer = edge.registers("a"), edge.accepts()
    newcomer.hears(NEWCOMER)
    assert newcomer.said() == []
    return holder, newcomer


def test_ping_is_written_at_once_and_the_answer_refuses_the_newcomer(edge: BrokerEdge) -> None:
    holder, newcomer = asking(edge)
    assert holder.said() == ["PING"]
    holder.hears("HeartBeat:a:1")
    assert holder.said() == ["ACK:1"]
    (refusal,) = newcomer.said()
    assert refusal.startswith("FAILED:409:")
    assert newcomer.calls == ["half-close"]
    newcomer.ends(ConnectionDone())
    assert holder.calls == []
    assert edge.is_idle()


@pytest.mark.fault("C041")
def test_superseded_connection_is_aborted_when_nobody_closes_it(edge: BrokerEdge) -> None:
    holder, newcomer = asking(edge)
    holder.reads = False
    edge.passes(2)
    (success,) = newcomer.said()
    assert ";epoch=2;" in success
    assert holder.said()[-1].startswith("FAILED:410:SUPERSEDED:never:")
    assert holder.calls == ["half-close"]
    edge.passes(1)
    assert holder.calls == ["half-close", "abort"]
    assert not holder.connected
    assert edge.broker.connections == 1
    newcomer.hears("HeartBeat:a:1")
    assert newcomer.said() == ["ACK:1"]
    assert edge.is_idle()


def test_newcomer_that_says_too_much_is_read_on_when_it_has_the_id(edge: BrokerEdge) -> None:
    _, newcomer = asking(edge)
    beats = [f"HeartBeat:a:{seq}" for seq in range(1, 400)]
    newcomer.hears(*beats)
    assert newcomer.producerState == "paused"
    edge.passes(2)
    assert newcomer.producerState == "producing"
    assert newcomer.said()[1:] == [f"ACK:{seq}" for seq in range(1, 400)]
    assert edge.broker.stats().heartbeats == 399


def test_newcomer_is_told_when_the_holders_connection_ends(edge: BrokerEdge) -> None:
    holder, newcomer = asking(edge)
    holder.ends(ConnectionDone())
    (success,) = newcomer.said()
    assert ";epoch=2;" in success
    assert edge.is_idle()
