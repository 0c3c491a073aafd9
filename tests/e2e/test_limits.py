"""More than the broker takes, or longer: who does so is told, and nobody else notices."""

from __future__ import annotations

import time

import pytest

from services.scaletest.programs import wait_until
from tests.e2e.peers import Peer, RawEngine, refused_with
from tests.e2e.scene import Scene, Stage

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


@pytest.mark.fault("C027")
def test_hello_that_drips_in_is_cut_at_the_deadline(scene: Scene) -> None:
    with scene.changed_by(opened=1, rejected__408=1), Peer.to(scene.address) as peer:
        began = time.monotonic()
        drops = iter("NewEngine:" + "drip" * 50)
        while peer.is_silent(0.1):
            peer.write(next(drops).encode())
        assert refused_with(peer.rest()) == 408
        assert time.monotonic() - began > 1.5


def test_refused_peer_that_does_not_go_is_cut_off(scene: Scene) -> None:
    """It has a second to read its last words; what it says meanwhile costs nothing."""
    with scene.changed_by(opened=1, rejected__415=1), Peer.to(scene.address) as peer:
        worked = scene.broker.cpu_seconds()
        began = time.monotonic()
        peer.send("NewEngine:;:0")
        assert refused_with(peer.rest()) == 415

        def is_cut_off() -> bool:
            try:
                peer.write(b"but I")
            except ConnectionError:
                return True
            return False

        wait_until("the peer to be cut off", is_cut_off)
        took = time.monotonic() - began
        assert took > 0.9
        assert scene.broker.cpu_seconds() - worked < took / 3
