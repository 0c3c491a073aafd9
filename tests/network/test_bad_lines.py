"""Ways that lose packets and take their time, and ways that are forgotten when idle."""

from __future__ import annotations

import pytest

from tests.network.scene import PATIENCE, NetworkScene

pytestmark = pytest.mark.network

INTERVAL = 4
ENGINES = 20
HEARTBEATS = 8
"""Of each engine; a system repeats a lost packet as often within four seconds as ever."""

GIVEN_UP_AFTER = 4


@pytest.mark.fault("C098")
def test_loss_and_delay_cost_nobody_a_heartbeat(scene: NetworkScene) -> None:
    """One packet in ten is lost, from one half or to the other, and 0.4 to 1.2 s pass."""
    broker = scene.broker("--interval", str(INTERVAL))
    for way in ("from", "to"):
        scene.host(way).lose_one_in_ten(way)
    slow = f"fault+{scene.address()}?delay=800&jitter=400&seed="
    halves = [
        scene.engine(way, "--count", str(ENGINES), at=f"{slow}{seed}")
        for seed, way in enumerate(("from", "to"))
    ]
    broker.until(PATIENCE, registered=2 * ENGINES)

    def all_have_beaten() -> bool:
        engines = broker.api.ask("/engines", limit=1000)["engines"]
        return all(engine["account"]["last"] >= HEARTBEATS for engine in engines)

    scene.until("the heartbeats", all_have_beaten)
    registered = broker.api.ask("/engines", limit=1000)["engines"]
    assert {engine["epoch"] for engine in registered} == {1}
    stats = broker.stats()
    assert (stats["causes"], stats["rejected"]) == ({}, {})
    assert (stats["missed"], stats["gaps"], stats["repeated"]) == (0, 0, 0)
    # Whose Bye takes longer than the second there is for last words is reset.
    assert sum(half.leave() for half in halves) >= broker.until(connections=0)["heartbeats"]


@pytest.mark.fault("C104")
def test_heartbeats_keep_a_connection_from_being_forgotten(scene: NetworkScene) -> None:
    """Each goes by a router that forgets after 2 s; one beats each second, one each fourth."""
    broker = scene.broker()
    host = scene.host("behind")
    host.be_forgotten()
    often = scene.engine("often", on="behind")
    seldom = scene.engine("seldom", "--interval", str(INTERVAL), on="behind")
    broker.until(PATIENCE, registered=2)
    # What it sends is dropped, and it notices as when the broker's host is gone.
    seldom.until_setback()
    broker.until_epoch("seldom", 2)
    assert 1 <= broker.account("seldom")["missed"] <= GIVEN_UP_AFTER
    assert [often.setbacks(), broker.said("often", "silence"), broker.ends("often")] == [[], [], []]
    assert broker.account("often")["missed"] == 0
    assert broker.account("often")["counted"] >= INTERVAL
    sent = often.leave()
    [end] = broker.api.ask("/history", match="often")["history"]
    assert end["account"] == {"counted": sent, "missed": 0, "repeated": 0}
