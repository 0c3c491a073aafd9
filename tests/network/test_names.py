"""Engines whose broker has a name that is not known, not told, or leads nowhere."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from twisted.names import dns

from tests.commands import run
from tests.network.name_server import Answer, NameServer
from tests.network.scene import PATIENCE, Engine, NetworkScene

pytestmark = [pytest.mark.network, pytest.mark.fault("C094")]

TRIES = 3
BOUNDS = ((0, 1), (0.5, 4), (0.5, 8))
"""Seconds between which the wait after each of them is drawn."""

SLOW = Answer(after=6)
"""Later than the 2 s for which a host of these tests waits, by far."""

UNTOLD = {
    "nosuch.test": Answer(code=dns.ENAME),
    "failing.test": Answer(code=dns.ESERVER),
    "empty.test": Answer(),
    "slow.test": SLOW,
}
UNTOLD_REASON = ": no such host, or its name cannot be looked up now"
CROWD = 40
MOST_THREADS = 16
"""Ten that look names up, the reactor's, and a few that the programs may have besides."""


@pytest.fixture
def names(scene: NetworkScene) -> Iterator[NameServer]:
    """A server of names, which the host ``asking`` asks."""
    host = scene.host("names")
    scene.host("asking").ask_names_of(host.address)
    server = NameServer(host)
    yield server
    server.close()


def engine_of(scene: NetworkScene, name: str, *arguments: str) -> Engine:
    engine_id = name.partition(".")[0]
    return scene.engine(engine_id, *arguments, on="asking", at=f"tcp://{name}:1337")


def test_engine_asks_for_its_brokers_name_until_it_is_told(
    scene: NetworkScene, names: NameServer
) -> None:
    names.known = {**UNTOLD, "crowded.test": SLOW, "ended.test": SLOW}
    broker = scene.broker()
    engines = [engine_of(scene, name) for name in UNTOLD]
    crowd = engine_of(scene, "crowded.test", "--count", str(CROWD))
    ended = engine_of(scene, "ended.test")
    drawn: list[float] = []
    for engine in engines:
        reasons = engine.until_setback(TRIES)
        assert all(
            reason.endswith(": no such host, or its name cannot be looked up now")
            for reason in reasons
        )
        pauses = engine.pauses()[:TRIES]
        assert all(low <= wait <= high for wait, (low, high) in zip(pauses, BOUNDS, strict=True))
        drawn += pauses
    assert len(set(drawn)) > len(drawn) / 2
    assert all(names.asked[name] >= TRIES for name in UNTOLD)
    # However many engines look a name up that nobody tells: few threads wait for it.
    assert len(os.listdir(f"/proc/{crowd.program.process.pid}/task")) <= MOST_THREADS
    # In the middle of a look-up, or between two of them.
    assert ended.leave() == 0
    told = Answer((scene.host("broker").address,))
    names.known = dict.fromkeys([*UNTOLD, "crowded.test"], told)
    broker.until(2 * PATIENCE, registered=len(engines) + CROWD)
    assert all(engine.leave() >= 0 for engine in [*engines, crowd])


def test_engine_finds_its_broker_where_one_address_is_dead_and_where_it_has_moved(
    scene: NetworkScene, names: NameServer
) -> None:
    nowhere = scene.host("nowhere")
    nowhere.cut()
    names.known = {
        "dual.test": Answer((scene.host("broker").address,), (nowhere.address6,)),
        "dead.test": Answer((nowhere.address,), (nowhere.address6,)),
        "moving.test": Answer((scene.host("broker").address,)),
    }
    first, second = scene.broker(), scene.broker(on="elsewhere")
    asked = run(*scene.host("asking").place.prefix, "getent", "ahosts", "dual.test")
    assert asked.split()[0] == nowhere.address6
    dual, dead, moving = (engine_of(scene, name) for name in names.known)
    # Of two addresses the one that answers is taken, without a setback.
    first.until(PATIENCE, registered=2)
    assert dual.setbacks() == []
    assert dead.until_setback(2)[-1].endswith(": no answer within 5 s")
    first.host.cut()
    names.known["moving.test"] = Answer((scene.host("elsewhere").address,))
    second.until_epoch("moving", 1)
    assert len(moving.setbacks()) >= 1
    names.known["dead.test"] = names.known["moving.test"]
    second.until_epoch("dead", 1)
    first.host.heal()
    for engine in (dual, dead, moving):
        engine.leave()
