"""A broker under mutated frames from many peers: nothing breaks, and nothing stays."""

from __future__ import annotations

from random import Random

import pytest

from fuzz.barrage import Barrage
from services.scaletest.programs import wait_until
from tests.e2e.peers import RawEngine, host_and_port
from tests.e2e.scene import Stage

pytestmark = pytest.mark.e2e

CONVERSATIONS = 600
NEIGHBOURS = 3


@pytest.mark.fault("C029")
def test_random_bytes_break_nothing_and_harm_nobody(stage: Stage) -> None:
    """What the broker logs as an error, or its exit, fails the test at its end."""
    broker = stage.broker()
    neighbours = [RawEngine.at(broker.address, f"neighbour-{n}") for n in range(NEIGHBOURS)]
    files = broker.open_files()
    barrage = Barrage(*host_and_port(broker.address), Random(29))
    for turn in range(CONVERSATIONS):
        barrage.converse()
        neighbours[turn % NEIGHBOURS].beat()
    barrage.end()
    broker.until(connections=NEIGHBOURS, opened=CONVERSATIONS + NEIGHBOURS)
    stats = broker.until(registered=NEIGHBOURS, late=0)
    # The barrage has to reach something.
    assert {"400", "405", "409", "415"} <= set(stats["rejected"])
    assert min(stats["left"], stats["missed"], stats["stale"], stats["repeated"]) > 0
    engines = broker.engines()
    for neighbour in neighbours:
        account = engines[neighbour.engine_id]["account"]
        assert (account["counted"], account["missed"]) == (neighbour.seq, 0)
    wait_until("all files to be closed", lambda: broker.open_files() <= files)
    for neighbour in neighbours:
        neighbour.leave()
    broker.until(connections=0, registered=0)
