"""Machines that stand still, and peers that do not read."""

from __future__ import annotations

import signal
import socket
import time

import pytest

from tests.e2e.peers import RawEngine
from tests.e2e.scene import signalled
from tests.network.scene import PATIENCE, NetworkScene

pytestmark = pytest.mark.network

TICK = 0.25
PAUSE = 6
"""Seconds, as 60 where engines beat each tenth second."""

ENGINES = 20

CERTAINLY_STUCK = 40_000
"""Bytes: less waits only until the peer's system has taken the little that it takes."""


@pytest.mark.fault("C108")
def test_nobody_is_lost_when_both_sides_stand_still(scene: NetworkScene) -> None:
    """As machines that are moved, or put to sleep: their network is away as well."""
    broker = scene.broker()
    engines = scene.engine("moved", "--count", str(ENGINES))
    broker.until(PATIENCE, registered=ENGINES)
    programs = [broker.program, engines.program]
    for first_to_wake in programs:
        broker.until_beaten(f"moved-{ENGINES}")
        for program in programs:
            signalled(program, signal.SIGSTOP)
        engines.host.unplug()
        time.sleep(PAUSE)
        engines.host.plug()
        for program in sorted(programs, key=lambda program: program is not first_to_wake):
            signalled(program, signal.SIGCONT)
        broker.until_beaten(f"moved-{ENGINES}")
    stats = broker.until(PATIENCE, registered=ENGINES, late=0)
    assert stats["lost_time"] >= 2 * (PAUSE - 1)
    # Nobody was lost for silence. Of a process that is stopped the system goes on: it gives
    # up what was under way when the network went, and that engine comes back, once a time.
    assert "lost:timeout" not in stats["causes"]
    epochs = [engine["epoch"] for engine in broker.engines().values()]
    assert max(epochs) <= 1 + len(programs)
    sent = engines.leave()
    stats = broker.until(connections=0)
    assert stats["heartbeats"] + stats["missed"] == sent


@pytest.mark.fault("C101")
def test_peer_whose_window_stays_closed_is_cut_off_and_nobody_else(scene: NetworkScene) -> None:
    broker = scene.broker("--frame-rate", "0")
    engines = scene.engine("well", "--count", str(ENGINES))
    broker.until(PATIENCE, registered=ENGINES)
    witness = scene.raw_engine("witness", on="deaf")
    deaf = scene.host("deaf").place.call(deaf_engine, scene.address())
    deaf.register("deaf", options="ack=1;interval=60")
    witness.beat()
    # Acks and commands fill its window, and then wait in the broker.
    while broker.stats()["unread"] < CERTAINLY_STUCK:
        deaf.send(*(f"HeartBeat:deaf:{deaf.seq + n}" for n in range(1, 501)))
        deaf.seq += 500
        broker.api.ask("/dowork", engine="deaf", time=1)
        witness.send("HeartBeat:witness:1")
    witness.send("Bye")
    scene.until("its end", lambda: broker.ends("deaf"))
    [(cause, duration)] = broker.ends("deaf")
    [(_, until_stuck)] = broker.ends("witness")
    assert cause == "508"
    assert 10 - TICK <= duration <= until_stuck + 10 + 3 * TICK
    assert engines.setbacks() == []
    with pytest.raises(ConnectionResetError):
        deaf.rest()
    [end] = broker.api.ask("/history", match="deaf")["history"]
    heard = end["account"]["counted"]
    sent = engines.leave()
    stats = broker.until(connections=0)
    assert stats["causes"] == {"left:bye": 1, "left:stopped": ENGINES, "lost:508": 1}
    assert (stats["missed"], stats["heartbeats"]) == (0, sent + witness.seq + heard)


def deaf_engine(address: str) -> RawEngine:
    """Connect with a window of a few kilobytes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    connected = socket.socket()
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connected.connect((host, int(port)))
    return RawEngine(connected)
