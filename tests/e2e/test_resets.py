"""Connections that break, in every state: only that session ends, and all is accounted for."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from tests.e2e.peers import Peer, RawEngine, host_and_port
from tests.e2e.scene import Scene, Stage

pytestmark = [pytest.mark.e2e, pytest.mark.fault("C100")]

REGISTERED_AND_RESET = {"opened": 1, "registrations": 1, "lost": 1, "causes__lost__reset": 1}
LAST_NUMBER = 2**53 - 1


@pytest.mark.parametrize("sent", [b"", b"NewEngine:half-a-he", b"NewEngine:whole:0:v=1;ack="])
def test_reset_before_registration_is_a_connection_gone_and_no_more(
    scene: Scene, sent: bytes
) -> None:
    with scene.changed_by(opened=1):
        peer = Peer.to(scene.address)
        peer.write(sent)
        peer.reset()


def test_reset_together_with_its_hello_loses_at_most_that_engine(scene: Scene) -> None:
    with scene.changed_by(opened=20) as changes:
        before = scene.broker.stats()
        for number in range(20):
            peer = Peer.to(scene.address)
            peer.send(f"NewEngine:hello-and-gone-{number}:0:v=1")
            peer.reset()
        after = scene.broker.until(closed=before["closed"] + 20)
        # A reset may overtake a hello that was not read yet.
        registered = after["registrations"] - before["registrations"]
        for name in ("registrations", "lost", "causes__lost__reset"):
            changes[name] = registered


def test_reset_after_the_hello_is_one_engine_lost(scene: Scene) -> None:
    with scene.changed_by(heartbeats=2, **REGISTERED_AND_RESET):
        engine = scene.engine("snapped")
        engine.beat()
        engine.beat()
        engine.reset()


def test_reset_in_the_middle_of_a_heartbeat_counts_what_was_whole(scene: Scene) -> None:
    with scene.changed_by(heartbeats=1, **REGISTERED_AND_RESET):
        engine = scene.engine("torn")
        engine.beat()
        engine.write(b"HeartBeat:to")
        engine.reset()


def test_reset_while_the_broker_still_has_to_write(stage: Stage) -> None:
    broker = stage.broker("--frame-rate", "0", "--drain-timeout", "0")
    neighbour = RawEngine.at(broker.address, "neighbour")
    connected = socket.socket()
    # So small a window keeps most of the acks in the broker.
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connected.connect(host_and_port(broker.address))
    engine = RawEngine(connected)
    engine.register("deaf", LAST_NUMBER)
    repeats = 5_000
    engine.write(f"HeartBeat:deaf:{LAST_NUMBER}\n".encode() * repeats)
    broker.until(repeated=repeats, registered=2)
    assert broker.stats()["unread"] > 0
    engine.reset()
    neighbour.beat()
    stats = broker.until(connections=1, registered=1, lost=1, heartbeats=1, unread=0)
    assert stats["causes"] == {"lost:reset": 1}


def test_reset_at_the_end_of_a_refused_hello_changes_nothing_more(scene: Scene) -> None:
    with scene.changed_by(opened=1, rejected__415=1):
        peer = Peer.to(scene.address)
        peer.send("NewEngine:;:0")
        assert peer.frame().startswith("FAILED:415:")
        peer.reset()


def test_reset_of_a_newcomer_while_the_holder_is_asked_leaves_the_id_with_it(scene: Scene) -> None:
    with scene.changed_by(
        opened=2, registrations=1, probes=1, heartbeats=1, left=1, causes__left__bye=1
    ):
        holder = scene.engine("asked-for")
        newcomer = Peer.to(scene.address)
        newcomer.send("NewEngine:asked-for:0:v=1")
        assert holder.frame() == "PING"
        newcomer.reset()
        scene.broker.until(connections=4)
        holder.send("HeartBeat:asked-for:1")
        holder.until("ACK:1")
        holder.leave()


def test_reset_of_a_holder_that_is_asked_gives_the_newcomer_its_id_at_once(scene: Scene) -> None:
    with scene.changed_by(
        opened=2,
        registrations=2,
        probes=1,
        lost=1,
        causes__lost__reset=1,
        left=1,
        causes__left__bye=1,
    ):
        holder = scene.engine("given-up")
        newcomer = RawEngine.to(scene.address)
        newcomer.send("NewEngine:given-up:0:v=1")
        assert holder.frame() == "PING"
        holder.reset()
        assert newcomer.frame().startswith("SUCCESS:Registered:v=1;epoch=2;")
        newcomer.leave()


def test_reset_after_the_bye_is_still_a_leave(scene: Scene) -> None:
    with scene.changed_by(opened=1, registrations=1, left=1, causes__left__bye=1):
        engine = scene.engine("leaver")
        engine.send("Bye")
        assert engine.rest() == []
        engine.reset()


def test_resets_during_a_fan_out_lose_those_engines_alone(scene: Scene) -> None:
    """Fifty engines break off while a command is written to sixty."""
    with scene.changed_by(
        opened=60,
        registrations=60,
        left=10,
        causes__left__bye=10,
        lost=50,
        causes__lost__reset=50,
        reports=10,
    ):
        fragile = [scene.engine(f"fan-fragile-{n}") for n in range(50)]
        steady = [scene.engine(f"fan-steady-{n}") for n in range(10)]
        answers: list[dict[str, Any]] = []
        asking = threading.Thread(
            target=lambda: answers.append(scene.api.ask("/dowork", time=1, match="fan-*", wait=20))
        )
        asking.start()
        for engine in fragile:
            engine.reset()
        for engine in steady:
            command = engine.until("DOWORK").rpartition(":command=")[2]
            engine.send(f"Report:{command}:done:ms=1")
        asking.join(20)
        [answer] = answers
        states = answer["states"]
        # Who broke off before the command was issued is no target of it.
        assert states["done"] == 10
        assert states["lost"] == answer["targets"] - 10
        assert answer["settled"]
        for engine in steady:
            engine.leave()


@pytest.mark.fault("C047")
def test_thousand_registrations_and_ends_leave_no_descriptor_and_no_member(scene: Scene) -> None:
    """A hundred ids, each ten times: by Bye, by FIN and by reset in turn."""
    files = scene.broker.open_files()
    with scene.changed_by(
        opened=1000,
        registrations=1000,
        heartbeats=1000,
        left=400,
        causes__left__bye=400,
        lost=600,
        causes__lost__closed=300,
        causes__lost__reset=300,
    ):
        for turn in range(10):
            engines = [scene.engine(f"cycle-{n}") for n in range(100)]
            for engine in engines:
                engine.beat()
                if turn % 3 == 0:
                    engine.leave()
                elif turn % 3 == 1:
                    engine.socket.close()
                else:
                    engine.reset()
            scene.broker.until(registered=3)
    scene.broker.until_open_files(files)
    resident = scene.broker.resident()
    with scene.changed_by(opened=300, registrations=300, left=300, causes__left__bye=300):
        for _ in range(3):
            for engine in [scene.engine(f"cycle-{n}") for n in range(100)]:
                engine.leave()
    scene.broker.until_open_files(files)
    assert scene.broker.resident() - resident < 1024 * 1024
