"""An engine that is told to end does so in order, wherever it stands, and within a bound."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from services.scaletest.programs import Program, wait_until
from tests.e2e.peers import RawBroker
from tests.e2e.scene import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.fault("C069")]

GRANTED = "SUCCESS:Registered:v=1;epoch=1;interval=60;timeout=240;ack=1;herd=1;boot=b0"
# As a resolver is whose servers do not answer: nothing can take the call back.
DEAF_RESOLVER = """
import socket, sys, time
def getaddrinfo(*arguments, **options):
    open("asked", "w").close()
    time.sleep(3600)
socket.getaddrinfo = getaddrinfo
"""


def said(engine: Program) -> list[str]:
    return [str(event["message"]) for event in engine.events()]


def signalled_until_gone(engine: Program, number: signal.Signals) -> None:
    def is_gone() -> bool:
        engine.process.send_signal(number)
        return engine.process.poll() is not None

    wait_until("the engine to end", is_gone)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_engine_told_in_the_middle_of_its_handshake_ends_without_a_word(
    stage: Stage, raw_broker: RawBroker, number: signal.Signals
) -> None:
    engine = stage.engines(raw_broker.address, "greeting")
    peer = raw_broker.accept()
    assert peer.frame().startswith("NewEngine:greeting:0:")
    engine.process.send_signal(number)
    assert peer.rest() == []
    # The broker does not close; little more than a second later it is left alone.
    assert engine.process.wait(300) == 0
    assert said(engine) == ["sent 0 heartbeats in all"]


def test_engine_at_work_says_so_and_waits_for_nobody_who_does_not_close(
    stage: Stage, raw_broker: RawBroker
) -> None:
    engine = stage.engines(raw_broker.address, "working")
    peer = raw_broker.accept()
    peer.frame()
    peer.send(GRANTED, "DOWORK:600000:command=b0-1")
    assert peer.frames(2) == ["Report:b0-1:received", "Report:b0-1:started"]
    engine.process.terminate()
    failed, bye = peer.rest()
    assert failed.startswith("Report:b0-1:failed:ms=")
    assert failed.endswith(";error=stopped")
    assert bye == "Bye:reason=stopped"
    assert engine.process.wait(300) == 0


def test_second_signal_ends_an_engine_that_waits_for_its_broker_to_close(
    stage: Stage, raw_broker: RawBroker
) -> None:
    engine = stage.engines(raw_broker.address, "impatient")
    peer = raw_broker.accept()
    peer.frame()
    peer.send(GRANTED)
    wait_until("the registration", lambda: said(engine))
    engine.process.terminate()
    assert peer.rest() == ["Bye:reason=stopped"]
    signalled_until_gone(engine, signal.SIGTERM)
    assert engine.process.returncode == 0


def test_engine_told_while_it_waits_for_its_slot_leaves_at_once(
    stage: Stage, raw_broker: RawBroker
) -> None:
    engine = stage.engines(raw_broker.address, "sent-away")
    peer = raw_broker.accept()
    peer.frame()
    peer.send(GRANTED, "GOAWAY:600000:reason=drain", "PING")
    assert peer.frame() == "HeartBeat:sent-away:1"
    engine.process.terminate()
    assert peer.rest() == ["Bye:reason=stopped"]
    assert engine.process.wait(300) == 0
    assert said(engine)[-1] == "sent 1 heartbeat in all"


def test_engine_sent_away_comes_back_with_its_work_and_its_number(
    stage: Stage, raw_broker: RawBroker
) -> None:
    engine = stage.engines(raw_broker.address, "returning")
    peer = raw_broker.accept()
    hello = peer.frame()
    peer.send(GRANTED, "DOWORK:600000:command=b0-1")
    reports = ["Report:b0-1:received", "Report:b0-1:started"]
    assert peer.frames(2) == reports
    peer.send("GOAWAY:300:reason=drain", "PING")
    *beats, bye = peer.rest()
    # One for the PING, and those whose time had come.
    sent = len(beats)
    assert beats == [f"HeartBeat:returning:{n}:busy=b0-1" for n in range(1, sent + 1)]
    assert sent >= 1
    assert bye == "Bye:reason=goaway"
    peer.socket.close()
    again = raw_broker.accept()
    assert again.frame() == hello.replace(":0:v=1", f":{sent}:v=1")
    again.send(GRANTED, "PING")
    assert again.frames(2) == [reports[-1], f"HeartBeat:returning:{sent + 1}:busy=b0-1"]
    assert any("the broker drains; next try in" in line for line in said(engine))
    engine.process.terminate()
    assert again.rest()[-1] == "Bye:reason=stopped"
    assert engine.process.wait(300) == 0


@pytest.mark.parametrize("signals", ["one", "two"])
def test_engine_that_looks_a_name_up_in_vain_ends_within_a_bound(
    stage: Stage, tmp_path: Path, signals: str
) -> None:
    """The look-up cannot be stopped: the engine ends without it, after 20 s or when asked twice."""
    (tmp_path / "sitecustomize.py").write_text(DEAF_RESOLVER)
    engine = stage.program(
        *("engine", "--broker", "tcp://broker.example:1337", "--id", "asking"),
        environment={"PYTHONPATH": str(tmp_path)},
    )
    wait_until("the look-up", (engine.folder / "asked").exists, 60)
    engine.process.terminate()
    wait_until("the farewell", lambda: said(engine) == ["sent 0 heartbeats in all"])
    if signals == "two":
        signalled_until_gone(engine, signal.SIGTERM)
    assert engine.process.wait(300) == 0
