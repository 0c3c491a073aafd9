"""The system's clock is set while a program runs, and it does what is due all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.peers import Peer, RawBroker, refused_with
from tests.e2e.scene import ANYWHERE, UNRATED, BrokerProgram, Stage

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.fault("C111"),
    pytest.mark.parametrize("jump", [-3600, 3600], ids=["back", "forward"]),
]

SETTABLE = """
import os, time
real = time.time
def settable():
    try:
        return real() + float(open(os.environ["CLOCK"]).read())
    except (OSError, ValueError):
        return real()
time.time = settable
"""


class Clock:
    """The system's clock as some programs see it."""

    def __init__(self, folder: Path) -> None:
        (folder / "sitecustomize.py").write_text(SETTABLE)
        self._set_by = folder / "clock"
        self.environment = {"PYTHONPATH": str(folder), "CLOCK": str(self._set_by)}

    def set_by(self, seconds: int) -> None:
        self._set_by.write_text(str(seconds))


def test_broker_judges_though_the_clock_is_set(stage: Stage, tmp_path: Path, jump: int) -> None:
    clock = Clock(tmp_path)
    told = (*ANYWHERE, *UNRATED, "--interval", "1", "--handshake-timeout", "2")
    broker = BrokerProgram(stage.program("broker", *told, environment=clock.environment))
    with Peer.to(broker.address) as before:
        broker.until(connections=1)
        clock.set_by(jump)
        assert refused_with(before.rest()) == 408
    with Peer.to(broker.address) as after:
        assert refused_with(after.rest()) == 408


def test_engine_beats_though_the_clock_is_set(
    stage: Stage, raw_broker: RawBroker, tmp_path: Path, jump: int
) -> None:
    clock = Clock(tmp_path)
    told = ("--broker", raw_broker.address, "--id", "e")
    stage.program("engine", *told, environment=clock.environment)
    peer = raw_broker.accept()
    assert peer.frame().startswith("NewEngine:e:0:")
    peer.send("SUCCESS:Registered:v=1;epoch=1;interval=1;timeout=4;herd=1;boot=b0")
    assert peer.frame().startswith("HeartBeat:e:1")
    clock.set_by(jump)
    beats = [peer.frame() for _ in range(3)]
    assert [beat.split(":")[2] for beat in beats] == ["2", "3", "4"]
    peer.socket.close()
