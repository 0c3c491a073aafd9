"""Time in which a broker did not run, and what waits in its sockets meanwhile."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as installed_reactor
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.task import deferLater

from brokerproto.broker import Broker
from brokerproto.protocol import BrokerFactory
from brokerproto.terms import Limits
from brokerproto.testing import ManualClock, RecordingObserver
from tests.transports.sockets import until

reactor: Any = installed_reactor

PEERS = 300
# At one heartbeat a second an engine is late after two.
TICK = 0.25


async def turn() -> None:
    """Let the reactor read once what can be read, as it does between two ticks."""
    await deferLater(reactor, 0, lambda: None)


@pytest.mark.fault("C050")
@pytest.mark.fault("C051")
async def test_nobody_is_judged_before_what_came_in_a_gap_was_read(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    clock, observer = ManualClock(), RecordingObserver()
    broker = Broker(clock.seconds, "b0", Limits(interval=1), observer)
    # What is written to such a socket is there to be read at once.
    path = str(tmp_path / "broker")
    port = await UNIXServerEndpoint(reactor, path).listen(BrokerFactory(broker, reactor, "ipc://"))
    peers = []
    for number in range(PEERS):
        peer = socket.socket(socket.AF_UNIX)
        request.addfinalizer(peer.close)
        peer.connect(path)
        peer.sendall(b"NewEngine:e%d:0:v=1\n" % number)
        peers.append(peer)
        await turn()
    await until(lambda: len(broker.fleet) == PEERS)
    observer.events.clear()

    async def passes(seconds: float, *, beat: int | None = None) -> None:
        clock.advance(seconds)
        if beat is not None:
            for number, peer in enumerate(peers):
                peer.sendall(b"HeartBeat:e%d:%d\n" % (number, beat))
        broker.tick()
        await turn()

    for beat in range(1, 11):
        for _ in range(5):
            await passes(TICK)
        # Silent for 1.75 s, and one stop after the other: of each no more than 0.5 s may
        # count, and in the first there are heartbeats.
        await passes(3600, beat=beat)
        await passes(3600)
        assert broker.stats().heartbeats == PEERS * beat
    assert observer.events == []
    broker.close(None)
    await until(lambda: broker.connections == 0)
    await port.stopListening()
