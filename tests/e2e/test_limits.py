"""More than the broker takes: the surplus is told so, and nobody else notices."""

from __future__ import annotations

import pytest

from tests.e2e.peers import Peer, RawEngine
from tests.e2e.scene import Stage

pytestmark = pytest.mark.e2e


@pytest.mark.fault("C030")
def test_connection_beyond_the_cap_is_told_507_and_closed_at_once(stage: Stage) -> None:
    broker = stage.broker("--max-connections", "5")
    engines = [RawEngine.at(broker.address, f"inside-{n}") for n in range(5)]
    for turn in range(20):
        with Peer.to(broker.address) as surplus:
            if turn % 2:
                surplus.send("NewEngine:outside:0:v=1")
            [answer] = surplus.rest()
            assert answer == "FAILED:507:BROKER_FULL:5:no more connections"
        for engine in engines:
            engine.beat()
        assert broker.api.ask("/healthz") == {"status": "ok"}
    stats = broker.until(connections=5)
    assert (stats["opened"], stats["closed"], stats["rejected"]) == (25, 20, {"507": 20})
    assert (stats["registered"], stats["heartbeats"], stats["missed"]) == (5, 100, 0)
    assert stats["stale"] == 10
    engines.pop().leave()
    broker.until(connections=4)
    engines.append(RawEngine.at(broker.address, "late-comer"))
    for engine in engines:
        engine.beat()
        engine.leave()
    broker.until(connections=0, heartbeats=105, left=6, lost=0)
