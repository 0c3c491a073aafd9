"""Engines and brokers of the original's kind, which know no options, at ours."""

from __future__ import annotations

import time

import pytest

from services.scaletest.programs import Program, wait_until
from tests.e2e.peers import Peer, RawBroker, RawEngine
from tests.e2e.scene import Scene, Stage
from tests.e2e.terminal import Terminal, ended, said

pytestmark = pytest.mark.e2e


def plain_engine(scene: Scene, engine_id: str) -> RawEngine:
    engine = RawEngine.to(scene.address)
    assert engine.register(engine_id, options="") == "SUCCESS:Registered"
    return engine


def beat(engine: RawEngine) -> None:
    engine.seq += 1
    engine.send(f"HeartBeat:{engine.engine_id}:{engine.seq}")


def states(scene: Scene, command: str) -> dict[str, int]:
    """Give what is not 0 of a command's states."""
    asked = scene.api.ask(f"/commands/{command}")["states"]
    return {state: engines for state, engines in asked.items() if engines}


def test_plain_engine_is_sent_nothing_that_it_does_not_know(scene: Scene) -> None:
    with scene.changed_by(
        opened=1, registrations=1, heartbeats=3, repeated=1, lost=1, causes__lost__closed=1
    ):
        engine = plain_engine(scene, "plain")
        for _ in range(3):
            beat(engine)
        engine.send("HeartBeat:plain:3")
        assert engine.is_silent(0.3)
        known = scene.broker.engines()["plain"]
        assert (known["plain"], known["interval"]) == (True, 10)
        assert known["account"]["repeated"] == 1
        engine.socket.close()


def test_plain_engine_is_given_one_command_at_a_time_without_its_id(scene: Scene) -> None:
    with scene.changed_by(opened=1, registrations=1, heartbeats=4, lost=1, causes__lost__closed=1):
        engine = plain_engine(scene, "plain-worker")
        issued = time.monotonic()
        works = [scene.api.ask("/dowork", time=ms, engine="plain-worker") for ms in (100, 0, 7)]
        first, second, third = (work["command"] for work in works)
        assert engine.frame() == "DOWORK:100"
        # A heartbeat so soon may have been on its way before the work began.
        beat(engine)
        assert engine.is_silent(max(0.0, issued + 0.8 - time.monotonic()))
        assert states(scene, first) == {"written": 1}
        assert states(scene, second) == {"queued": 1}
        time.sleep(max(0.0, issued + 1.3 - time.monotonic()))
        beat(engine)
        assert engine.frame() == "DOWORK:0"
        assert (states(scene, first), states(scene, second)) == ({"done": 1}, {"written": 1})
        written = time.monotonic()
        last = scene.api.ask("/kill", code=4, engine="plain-worker")["command"]
        beat(engine)
        assert engine.is_silent(0.3)
        time.sleep(max(0.0, written + 1.2 - time.monotonic()))
        beat(engine)
        # It overtakes the work that waits.
        assert engine.frame() == "KILL:4"
        assert (states(scene, second), states(scene, third)) == ({"done": 1}, {"queued": 1})
        assert states(scene, last) == {"written": 1}
        engine.socket.close()
        wait_until("the KILL to be done", lambda: states(scene, last) == {"done": 1})
        assert states(scene, third) == {"lost": 1}


def test_every_connection_of_a_plain_engine_is_a_new_life(scene: Scene) -> None:
    with scene.changed_by(
        opened=3,
        registrations=2,
        heartbeats=2,
        lost=2,
        causes__lost__closed=2,
        rejected__409=1,
    ):
        engine = plain_engine(scene, "plain-again")
        with Peer.to(scene.address) as second:
            second.send("NewEngine:plain-again:0")
            [refusal] = second.rest()
        verb, code, name, seconds, _ = refusal.split(":", 4)
        assert (verb, code, name) == ("FAILED", "409", "DUPLICATE_ID")
        assert 1 <= int(seconds) <= 16
        beat(engine)
        engine.socket.close()
        wait_until("the id to be free", lambda: "plain-again" not in scene.broker.engines())
        engine = plain_engine(scene, "plain-again")
        beat(engine)
        known = scene.broker.engines()["plain-again"]
        assert (known["epoch"], known["account"]["first"]) == (2, 0)
        engine.socket.close()


@pytest.fixture
def engine(stage: Stage, raw_broker: RawBroker) -> Program:
    return stage.engines(raw_broker.address, "ours", "--ack", "1")


def greeted(raw_broker: RawBroker) -> Peer:
    """Accept our engine's connection, and read its hello."""
    peer = raw_broker.accept()
    verb, engine_id, seq, options = peer.frame().split(":")
    assert (verb, engine_id, seq) == ("NewEngine", "ours", "0")
    assert options.startswith("v=1;instance=")
    return peer


def test_plain_broker_is_served_as_it_expects(engine: Program, raw_broker: RawBroker) -> None:
    peer = greeted(raw_broker)
    peer.send("SUCCESS:Registered")
    engine.logged("engine", "registered at")
    # One at a time is all that an original broker's engine can take; ours takes more.
    peer.send("DOWORK:200", "DOWORK:100")
    wait_until("the work to be done", lambda: worked(engine) == 2)
    peer.send("KILL:7")
    heard = peer.rest()
    assert all(frame.startswith("HeartBeat:ours:") for frame in heard), "no report, no Bye"
    peer.socket.close()
    assert engine.process.wait(10) == 7


def worked(engine: Program) -> int:
    return sum("work is over" in event["message"] for event in engine.events())


@pytest.mark.parametrize(
    "refusal",
    ["FAILLED:Duplicate Engine ID ours", "FAILED:409:DUPLICATE_ID:now:this id is registered"],
)
def test_refused_engine_closes_by_fin_and_tries_again(
    engine: Program, raw_broker: RawBroker, refusal: str
) -> None:
    peer = greeted(raw_broker)
    peer.send(refusal)
    # An original broker keeps the socket open after a refusal, and dies of a reset.
    assert peer.rest() == []
    reason = engine.logged("reason", "not registered as ours: 409 DUPLICATE_ID: ")
    assert reason.endswith(refusal.rpartition(":")[2])
    again = greeted(raw_broker)
    again.send("SUCCESS:Registered")
    engine.logged("epoch", "registered at")


@pytest.mark.fault("C023")
@pytest.mark.fault("C024")
def test_hostile_words_of_a_broker_make_one_line_each(
    stage: Stage, terminal: Terminal, raw_broker: RawBroker
) -> None:
    words = {
        "forger": 'x"},{"level":"critical","message":"forged"}',
        "formatter": "{0.__class__.__init__.__globals__} %s %n {secret} {reason} \\n \\x1b[2J",
        "painter": "\x1b[2J\x1b]0;title\x07",
    }
    engines = {name: stage.engines(raw_broker.address, name) for name in words}
    at_terminal = ("twistd", "-n", "engine", "--broker", raw_broker.address, "--id", "text")
    as_text = terminal.start(*at_terminal)
    words["text"] = words["formatter"]
    for _ in words:
        peer = raw_broker.accept()
        name = peer.frame().split(":")[1]
        peer.send(f"FAILED:500:INTERNAL:60:{words[name]}")
    reasons = {
        name: engine.logged("reason", "not registered as ") for name, engine in engines.items()
    }
    # What is not printable ASCII is a breach of the grammar, and is not repeated.
    painted = reasons.pop("painter")
    assert painted.startswith("400 BAD_FRAME: ")
    assert painted.isprintable()
    assert reasons == {name: f"500 INTERNAL: {words[name]}" for name in reasons}
    for engine in engines.values():
        [event] = engine.events()
        assert event["level"] == "warn"
    text = said(as_text, "Z [engine#warn] not registered as text: ")
    assert text.startswith(f"500 INTERNAL: {words['text']}; next try in 6")
    as_text.terminate()
    assert ended(as_text).out.count("\n") == 1, "the last line of all"


def test_engine_reset_by_its_broker_comes_back(engine: Program, raw_broker: RawBroker) -> None:
    peer = greeted(raw_broker)
    peer.send("SUCCESS:Registered:v=1;epoch=1;interval=1;timeout=4;ack=1;herd=1")
    beat_frame = peer.frame()
    assert beat_frame.startswith("HeartBeat:ours:1")
    peer.send("ACK:1")
    peer.reset()
    again = raw_broker.accept()
    hello = again.frame()
    # The same life goes on, with the number of the last heartbeat that was sent.
    assert hello.startswith("NewEngine:ours:")
    assert int(hello.split(":")[2]) >= 1
    again.send("SUCCESS:Registered:v=1;epoch=2;interval=1;timeout=4;ack=1;herd=1")
    again.until("HeartBeat:ours:")


def test_report_of_work_is_repeated_after_a_new_registration(
    engine: Program, raw_broker: RawBroker
) -> None:
    welcome = "SUCCESS:Registered:v=1;epoch=1;interval=300;timeout=1200;herd=1"
    peer = greeted(raw_broker)
    peer.send(welcome, "DOWORK:0:command=b-1", "DOWORK:zz:command=b-2")
    assert peer.until("Report:b-1:done").startswith("Report:b-1:done:ms=")
    peer.socket.close()
    again = raw_broker.accept()
    again.frame()
    again.send(welcome)
    repeated = again.frames(2)
    assert {frame.split(":")[1]: frame.split(":")[2] for frame in repeated} == {
        "b-1": "done",
        "b-2": "failed",
    }
