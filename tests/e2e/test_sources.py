"""Engines of one process that connect from several addresses of the machine."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from tests.e2e.scene import Stage

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere loopback has one address"),
]

ENGINES = 300


@pytest.mark.parametrize("io", ["reactor", "hub"])
def test_engines_are_spread_evenly_over_the_addresses_and_all_work(stage: Stage, io: str) -> None:
    broker = stage.broker()
    address = f"{broker.address}?io={io}"
    engines = stage.engines(
        address, "spread", "--count", str(ENGINES), "--source", "127.0.0.2,127.0.0.3"
    )
    broker.until(registered=ENGINES)
    listed = broker.api.ask("/engines", limit=ENGINES)["engines"]
    hosts = Counter(engine["address"].rpartition(":")[0] for engine in listed)
    assert hosts == {"127.0.0.2": ENGINES // 2, "127.0.0.3": ENGINES // 2}
    answer = broker.api.ask("/dowork", time=100, wait=10)
    assert (answer["targets"], answer["states"]["done"]) == (ENGINES, ENGINES)
    assert engines.end() == 0
    sent = engines.logged("heartbeats", "")
    stats = broker.until(registered=0, connections=0)
    assert (stats["heartbeats"], stats["missed"], stats["lost"]) == (sent, 0, 0)
    assert stats["causes"] == {"left:stopped": ENGINES}
