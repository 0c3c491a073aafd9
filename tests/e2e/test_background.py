"""Programs in the background, side by side in one directory, and under ``twist``."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from services.scaletest.programs import ControlAPI, wait_until
from tests.e2e.scene import ANYWHERE
from tests.e2e.terminal import Terminal, ended, said

pytestmark = pytest.mark.e2e


def registered(api: ControlAPI, engines: int) -> None:
    wait_until(f"{engines} engines", lambda: api.ask("/stats")["registered"] == engines)


def test_broker_and_engine_in_the_background_of_one_directory(terminal: Terminal) -> None:
    started = terminal.run("twistd", "broker", *ANYWHERE, "--interval", "1")
    assert (started.status, started.out, started.err) == (0, "", "")
    port = terminal.logged("broker.log", "accepting engines on tcp://127.0.0.1:")
    api = ControlAPI(terminal.logged("broker.log", "control API on "))
    started = terminal.run("twistd", "engine", "--host", "127.0.0.1", "--port", port)
    assert (started.status, started.out, started.err) == (0, "", "")
    registered(api, 1)
    assert terminal.files() == ["broker.log", "broker.pid", "engine.log", "engine.pid"]
    terminal.logged("engine.log", f"registered at tcp://127.0.0.1:{port} as ")

    os.kill(terminal.background("engine.pid"), signal.SIGTERM)
    wait_until("the engine to end", lambda: "engine.pid" not in terminal.files())
    registered(api, 0)
    assert terminal.run("twistd", "engine", "--host", "127.0.0.1", "--port", port).status == 0
    registered(api, 1)
    assert api.ask("/kill", code=3, wait=10)["states"]["done"] == 1
    wait_until("the next engine to end", lambda: "engine.pid" not in terminal.files())
    terminal.logged("engine.log", "killed by the broker: exit status 3")
    registered(api, 0)
    assert api.ask("/stats")["causes"] == {"left:stopped": 1, "left:killed": 1}
    os.kill(terminal.background("broker.pid"), signal.SIGTERM)
    wait_until("the broker to end", lambda: "broker.pid" not in terminal.files())
    assert terminal.files() == ["broker.log", "engine.log"]
    for program in ("broker", "engine"):
        lines = terminal.read(f"{program}.log").splitlines()
        assert all(f"Z [{program}" in line and line.isprintable() for line in lines), lines
        warnings = [line for line in lines if f"Z [{program}] " not in line]
        # A machine that stood still is the one thing that may be told.
        assert all(" held up for " in line for line in warnings), warnings
    assert "0 connections, 0 engines registered" in lines_of(terminal, "broker.log")[-1]
    assert " in all" in lines_of(terminal, "engine.log")[-1]


def lines_of(terminal: Terminal, name: str) -> list[str]:
    return terminal.read(name).splitlines()


def test_programs_in_the_foreground_of_one_directory_do_not_meet(terminal: Terminal) -> None:
    broker = terminal.start("twistd", "-n", "broker", *ANYWHERE, "--interval", "1")
    address = said(broker, "accepting engines on ")
    api = ControlAPI(said(broker, "control API on "))
    engines = [terminal.start("twistd", "-n", "engine", "--broker", address) for _ in range(2)]
    registered(api, 2)
    ids = {engine["id"] for engine in api.ask("/engines")["engines"]}
    assert {int(engine_id.rpartition("-")[2]) for engine_id in ids} == {
        engine.pid for engine in engines
    }
    assert terminal.files() == []
    for process in (*engines, broker):
        process.terminate()
        outcome = ended(process)
        assert (outcome.status, outcome.err) == (0, "")
    assert terminal.files() == []


def test_twist_runs_both_programs(terminal: Terminal) -> None:
    text = ("--log-format", "text")
    broker = terminal.start("twist", "broker", *ANYWHERE, *text)
    address = said(broker, "accepting engines on ")
    api = ControlAPI(said(broker, "control API on "))
    engine = terminal.start("twist", "engine", *text, "--broker", address, "--id", "by-twist")
    assert said(engine, "registered at ").startswith(f"{address} as by-twist, epoch 1")
    answer = api.ask("/dowork", time=50, wait=10)
    assert answer["states"]["done"] == 1
    assert api.ask("/kill", code=5, wait=10)["states"]["done"] == 1
    assert ended(engine).status == 5
    broker.terminate()
    assert ended(broker).status == 0


def test_defaults_of_both_programs_find_each_other(terminal: Terminal) -> None:
    """The commands of the README, where the ports that they name are free."""
    if not all(map(_is_free, (1337, 8080))):
        pytest.skip("port 1337 or 8080 of this machine is in use")
    broker = terminal.start("twistd", "-n", "broker")
    assert said(broker, "accepting engines on ") == "tcp://127.0.0.1:1337"
    assert said(broker, "control API on ") == "http://127.0.0.1:8080"
    engine = terminal.start("twistd", "-n", "engine", "--host", "127.0.0.1")
    assert said(engine, "registered at ").startswith("tcp://127.0.0.1:1337 as ")
    for process in (engine, broker):
        process.terminate()
        assert ended(process).status == 0


def _is_free(port: int) -> bool:
    # Whoever asked on this port a moment ago may have left it in TIME_WAIT.
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    return not any(
        fields[1].endswith(f":{port:04X}") and fields[3] == "0A"
        for fields in map(str.split, listening.splitlines())
    )
