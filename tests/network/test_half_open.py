"""Connections of which one side is gone, and the other one was not told."""

from __future__ import annotations

import signal
import time

import pytest

from tests.e2e.peers import RawEngine
from tests.e2e.scene import signalled
from tests.network.scene import PATIENCE, NetworkScene

pytestmark = pytest.mark.network

TICK = 0.25
LATE, LOST = 2.0, 4.0
"""Detector seconds of silence, for engines that beat once a second."""

GIVEN_UP_AFTER = 4
"""Heartbeats into the void within 3.5 s, where each comes after 0.9 s at least."""


@pytest.mark.fault("C095")
@pytest.mark.fault("C096")
def test_both_sides_notice_that_the_other_is_gone(scene: NetworkScene) -> None:
    """A host goes with all its connections, and nobody says a word."""
    broker = scene.broker()
    # Once it answers it has opened all that it will; the asking itself needs a file as well.
    broker.stats()
    time.sleep(0.5)
    files = broker.open_files()
    engine = scene.engine("gone", "--label", "side=far")
    broker.until(PATIENCE, registered=1)
    silent = scene.raw_engine("silent", on="gone")
    broker.until_beaten("gone")
    engine.host.cut()
    engine.until_setback()
    broker.until(PATIENCE, registered=0, connections=0)
    broker.until_open_files(files)
    for name in ("gone", "silent"):
        [(silence,)] = broker.said(name, "silence")
        assert LATE - TICK <= silence <= LATE + 3 * TICK
    # It never said anything, so that it was registered for as long as it was silent.
    [(cause, duration)] = broker.ends("silent")
    assert cause == "timeout"
    assert LOST - TICK <= duration <= LOST + 3 * TICK
    [(cause, _)] = broker.ends("gone")
    assert cause == "timeout"
    engine.host.heal()
    broker.until_epoch("gone", 2)
    # What it sent while nobody heard it tells how long it took to notice, in its own time.
    missed = broker.account("gone")["missed"]
    assert 1 <= missed <= GIVEN_UP_AFTER
    assert engine.setbacks()[0] == "the connection was closed"
    sent = engine.leave()
    stats = broker.until(connections=0)
    assert (stats["gaps"], stats["heartbeats"] + stats["missed"]) == (1, sent)
    silent.socket.close()


@pytest.mark.fault("C095")
def test_engine_gives_up_a_broker_whose_system_answers_and_which_does_not(
    scene: NetworkScene,
) -> None:
    """As where a system has no TCP_USER_TIMEOUT: nothing tells but the missing ACKs."""
    broker = scene.broker()
    engine = scene.engine("unheard")
    broker.until(PATIENCE, registered=1)
    signalled(broker.program, signal.SIGSTOP)
    try:
        [reason, *_] = engine.until_setback()
    finally:
        signalled(broker.program, signal.SIGCONT)
    assert reason == "the broker was silent for 12 heartbeats of 1 s"
    broker.until_epoch("unheard", 2)
    # All that was sent in vain lay there to be read, and the end of it.
    assert broker.account("unheard")["missed"] == 0
    assert broker.ends("unheard")[0][0] in ("closed", "410")
    engine.leave()


@pytest.mark.fault("C041")
def test_id_of_an_engine_whose_host_is_gone_is_taken_over_elsewhere(scene: NetworkScene) -> None:
    broker = scene.broker("--interval", "4")
    before = scene.raw_engine("witness-before", on="elsewhere")
    after = scene.raw_engine("witness-after", on="elsewhere")
    old = scene.raw_engine("twin", on="here")
    scene.host("here").unplug()
    before.leave()
    new = scene.raw_engine("twin", on="elsewhere")
    after.leave()
    assert broker.engines()["twin"]["epoch"] == 2
    stats = broker.until(registered=1)
    assert (stats["takeovers"], stats["probes"]) == ({"silent": 1}, 1)
    assert stats["causes"] == {"left:bye": 2, "lost:410": 1}
    # From the witness's end to the old one's, on the broker's clock: what the newcomer waited.
    [(_, asked_at)] = broker.ends("witness-before")
    [(_, granted_at)] = broker.ends("witness-after")
    [(cause, taken_at)] = broker.ends("twin")
    assert cause == "410"
    # The question is dated with the tick before it, which may be a tick late itself.
    assert taken_at - asked_at >= 2 - 2 * TICK
    assert taken_at - granted_at <= TICK
    # The old one's host is back: what it says is too late, and changes nothing.
    scene.host("here").plug()
    old.send("HeartBeat:twin:1")
    assert is_told_or_reset(old)
    new.beat()
    assert broker.account("twin")["counted"] == 1
    new.leave()
    assert broker.until(registered=0, connections=0)["takeovers"] == {"silent": 1}


def is_told_or_reset(engine: RawEngine) -> bool:
    try:
        return engine.rest()[-1].startswith("FAILED:410:")
    except ConnectionResetError:
        return True


@pytest.mark.fault("C100")
def test_engines_come_back_when_a_firewall_has_reset_one_side(scene: NetworkScene) -> None:
    """The side that was not reset holds a connection that nobody has any more."""
    broker = scene.broker()
    engines = [scene.engine(name) for name in ("neighbour", "engine-reset", "broker-reset")]
    neighbour, itself, its_broker = engines
    broker.until(PATIENCE, registered=3)
    itself.host.reset("from")
    its_broker.host.reset("to")
    itself.until_setback()
    itself.host.reset_no_more("from")
    scene.until("the broker's reset", lambda: broker.ends("broker-reset"))
    its_broker.host.reset_no_more("to")
    broker.until_epoch("engine-reset", 2)
    broker.until_epoch("broker-reset", 2)
    # Taken over with its token, or lost before, where it was slow to come back.
    [(cause, _)] = broker.ends("engine-reset")
    assert cause in ("410", "timeout")
    [(cause, _)] = broker.ends("broker-reset")
    assert cause == "reset"
    assert [broker.ends("neighbour"), neighbour.setbacks()] == [[], []]
    sent = sum(engine.leave() for engine in engines)
    stats = broker.until(connections=0)
    assert stats["heartbeats"] + stats["missed"] == sent
