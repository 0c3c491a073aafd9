"""Engines that are cut off from their broker for a while."""

from __future__ import annotations

import time

import pytest

from tests.network.scene import PATIENCE, DistantBroker, Engine, NetworkScene

pytestmark = [pytest.mark.network, pytest.mark.fault("C097")]

INTERVAL = 4
LATE = 7
TICK = 0.25


def test_partitions_are_survived_seen_and_accounted_for(scene: NetworkScene) -> None:
    """For half an interval, two and six of them, from right after a heartbeat."""
    broker = scene.broker()
    engines = [
        scene.engine(name, "--interval", str(INTERVAL)) for name in ("half", "double", "sixfold")
    ]
    half, double, sixfold = engines
    broker.until(PATIENCE, registered=3)
    cut_at = cut_after_a_heartbeat(scene, broker, engines)
    before = broker.account("double")["last"]

    def is_over(name: str, intervals: int, wanted: str) -> bool:
        lasted = time.monotonic() - cut_at[name]
        return lasted >= intervals * INTERVAL and state_of(broker, name) == wanted

    scene.until("the end of the second", lambda: is_over("double", 2, "late"))
    double.host.heal()
    scene.until("the end of the third", lambda: is_over("sixfold", 6, "gone"))
    sixfold.host.heal()
    broker.until_epoch("sixfold", 2)
    # Nobody has noticed the first.
    assert state_of(broker, "half") == "alive"
    assert [half.setbacks(), broker.said("half", "silence"), broker.ends("half")] == [[], [], []]
    # The second was late, once; what it had sent meanwhile came when the way was free.
    [(silence,)] = broker.said("double", "silence")
    assert LATE - TICK <= silence <= LATE + 3 * TICK
    assert state_of(broker, "double") == "alive"
    assert [double.setbacks(), broker.ends("double")] == [[], []]
    assert broker.account("double")["last"] > before
    # The third was lost for its silence, and had given its broker up by itself before.
    [(cause, _)] = broker.ends("sixfold")
    assert cause == "timeout"
    assert sixfold.setbacks() != []
    [(missed, first, last)] = broker.said("sixfold", "missed", "first", "last")
    assert missed == last - first + 1 == broker.account("sixfold")["missed"]
    for engine in engines:
        sent = engine.leave()
        [end] = broker.api.ask("/history", match=engine.engine_id, limit=1)["history"]
        assert (end["cause"], end["epoch"]) == ("stopped", 2 if engine is sixfold else 1)
        assert end["account"]["missed"] == (missed if engine is sixfold else 0)
        assert end["account"]["counted"] + end["account"]["missed"] == sent
    stats = broker.until(connections=0)
    assert (stats["gaps"], stats["missed"]) == (1, missed)
    assert stats["causes"] == {"lost:timeout": 1, "left:stopped": 3}


def state_of(broker: DistantBroker, engine_id: str) -> str:
    return str(broker.engines().get(engine_id, {}).get("state", "gone"))


def cut_after_a_heartbeat(
    scene: NetworkScene, broker: DistantBroker, engines: list[Engine]
) -> dict[str, float]:
    """Cut each engine off right after its next heartbeat, the first for half an interval."""
    before = {name: engine["account"]["last"] for name, engine in broker.engines().items()}
    cut_at: dict[str, float] = {}

    def all_are_cut() -> bool:
        registered = broker.engines()
        for engine in engines:
            name = engine.engine_id
            if name not in cut_at and registered[name]["account"]["last"] > before[name]:
                engine.host.cut(INTERVAL // 2 if engine is engines[0] else None)
                cut_at[name] = time.monotonic()
        return len(cut_at) == len(engines)

    scene.until("a heartbeat of each", all_are_cut)
    return cut_at
