"""Real engines at a real broker: register, work, die, stop, come back; the account closes."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from services.scaletest.programs import Program, wait_until
from tests.e2e.peers import RawEngine
from tests.e2e.scene import BrokerProgram, Stage, signalled

pytestmark = pytest.mark.e2e

TICK = 0.25
"""Seconds between two looks of a broker whose engines beat once a second."""


def leave(broker: BrokerProgram, engines: Program) -> dict[str, Any]:
    """End an engines' process, and see what it sent accounted for; return the stats."""
    assert engines.end() == 0
    sent = engines.logged("heartbeats", "")
    stats = broker.until(registered=0, connections=0)
    assert sent == stats["heartbeats"] + stats["missed"]
    return stats


def messages(program: Program) -> list[str]:
    return [event["message"] for event in program.events()]


def test_fleet_registers_works_and_leaves_and_its_account_closes(
    stage: Stage, broker: BrokerProgram
) -> None:
    engines = stage.engines(broker.address, "fleet", "--count", "100")
    broker.until(registered=100)
    answer = broker.api.ask("/dowork", time=500, wait=10)
    assert answer["settled"]
    assert (answer["targets"], answer["states"]["done"]) == (100, 100)
    assert answer["latencies"]["done"]["min"] >= 500
    assert (answer["silent_total"], answer["failed_total"]) == (0, 0)
    again = broker.api.ask(f"/commands/{answer['command']}")
    assert again["states"] == answer["states"]
    stats = leave(broker, engines)
    assert (stats["missed"], stats["repeated"], stats["lost"]) == (0, 0, 0)
    assert stats["causes"] == {"left:stopped": 100}
    # Received, started and done, of each.
    assert (stats["reports"], stats["strange_reports"]) == (300, 0)


def test_killed_engine_exits_with_exactly_the_code(stage: Stage, broker: BrokerProgram) -> None:
    engines = {code: stage.engines(broker.address, f"mortal-{code}") for code in (3, 0)}
    broker.until(registered=2)
    for code, engine in engines.items():
        answer = broker.api.ask("/kill", code=code, engine=f"mortal-{code}", wait=10)
        assert (answer["targets"], answer["states"]["done"]) == (1, 1)
        assert engine.process.wait(10) == code
        assert f"killed by the broker: exit status {code}" in messages(engine)
    stats = broker.until(registered=0, connections=0)
    assert stats["causes"] == {"left:killed": 2}


def test_killed_virtual_engines_come_back_as_new_lives(stage: Stage, broker: BrokerProgram) -> None:
    engines = stage.engines(broker.address, "virtual", "--count", "10")
    broker.until(registered=10)
    answer = broker.api.ask("/kill", code=9, match="virtual-[1-3]", wait=10)
    assert (answer["targets"], answer["states"]["done"]) == (3, 3)
    broker.until(registered=10, registrations=13)
    epochs = {name: engine["epoch"] for name, engine in broker.engines().items()}
    assert sorted(name for name, epoch in epochs.items() if epoch == 2) == [
        "virtual-1",
        "virtual-2",
        "virtual-3",
    ]
    assert engines.process.poll() is None
    stats = leave(broker, engines)
    assert stats["causes"] == {"left:killed": 3, "left:stopped": 10}
    assert stats["missed"] == 0


def test_killed_engine_that_respawns_comes_back_as_a_new_life_and_works(
    stage: Stage, broker: BrokerProgram
) -> None:
    engine = stage.engines(broker.address, "phoenix", "--respawn", "--label", "node=n1")
    broker.until(registered=1, heartbeats=1)
    answer = broker.api.ask("/kill", code=3, engine="phoenix", wait=10)
    assert (answer["targets"], answer["states"]["done"]) == (1, 1)
    broker.until(registered=1, registrations=2)
    again = broker.engines()["phoenix"]
    # A new life: its number begins at 0, and nothing of the old one is missing.
    assert (again["epoch"], again["account"]["first"], again["account"]["joined"]) == (2, 0, False)
    answer = broker.api.ask("/dowork", time=50, wait=10)
    assert (answer["targets"], answer["states"]["done"]) == (1, 1)
    assert engine.process.poll() is None
    said = messages(engine)
    registered = [n for n, message in enumerate(said) if message.startswith("registered at ")]
    [killed] = [n for n, message in enumerate(said) if "was killed by the broker with 3" in message]
    assert said[killed].startswith("phoenix was killed by the broker with 3; starts again in ")
    assert [said[n].partition(", ")[2][:8] for n in registered] == ["epoch 1;", "epoch 2;"]
    assert registered[0] < killed < registered[1]
    stats = leave(broker, engine)
    assert stats["causes"] == {"left:killed": 1, "left:stopped": 1}
    assert stats["missed"] == 0


@pytest.mark.fault("C056")
def test_kill_9_of_an_engines_process_is_noticed_at_once(
    stage: Stage, broker: BrokerProgram
) -> None:
    bystander = RawEngine.at(broker.address, "bystander")
    engines = stage.engines(broker.address, "doomed", "--count", "50")
    broker.until(registered=51)
    files = broker.open_files()
    engines.process.kill()
    broker.until(registered=1, connections=1)
    bystander.beat()
    stats = broker.stats()
    # By the end of the connection, not by silence. An ack that came too late to be read
    # makes a reset of it.
    assert set(stats["causes"]) <= {"lost:closed", "lost:reset"}
    assert (stats["lost"], stats["left"]) == (50, 0)
    assert (stats["missed"], stats["late"], stats["rejected"]) == (0, 0, {})
    broker.until_open_files(files - 50)
    # The ids are free, and the lives that come now are new ones.
    again = stage.engines(broker.address, "doomed", "--count", "50")
    broker.until(registered=51, registrations=101)
    assert {engine["epoch"] for name, engine in broker.engines().items() if "doomed" in name} == {2}
    assert again.end() == 0
    bystander.leave()
    stats = broker.until(registered=0)
    sent = again.logged("heartbeats", "")
    assert stats["heartbeats"] - 1 >= sent
    assert stats["missed"] == 0


@pytest.mark.fault("C057")
def test_kill_9_with_a_command_unread_resets_and_harms_nobody_else(
    stage: Stage, broker: BrokerProgram
) -> None:
    bystander = RawEngine.at(broker.address, "another-bystander")
    engines = stage.engines(broker.address, "cut-off", "--count", "20")
    broker.until(registered=21)
    signalled(engines, signal.SIGSTOP)
    answer = broker.api.ask("/dowork", time=1)
    assert answer["states"]["written"] == 21
    engines.process.kill()
    stats = broker.until(registered=1, connections=1)
    assert stats["causes"] == {"lost:reset": 20}
    command = bystander.until("DOWORK").rpartition("command=")[2]
    bystander.send(f"Report:{command}:done:ms=1")
    bystander.beat()
    record = broker.api.ask(f"/commands/{command}")
    assert (record["states"]["lost"], record["states"]["done"]) == (20, 1)
    assert record["settled"]
    bystander.leave()


@pytest.mark.fault("C050")
def test_broker_that_stood_still_loses_nobody(stage: Stage) -> None:
    """Five seconds, where four seconds of silence would be the end of an engine."""
    stop = 5.0
    broker = stage.broker()
    engines = stage.engines(broker.address, "patient", "--count", "100")
    asked = time.monotonic()
    before = broker.until(registered=100)
    signalled(broker.program, signal.SIGSTOP)
    began = time.monotonic()
    time.sleep(stop)
    signalled(broker.program, signal.SIGCONT)
    stopped = time.monotonic() - began
    beats = before["heartbeats"] + 100 * int(stop - 1)
    wait_until("the heartbeats of that time", lambda: broker.stats()["heartbeats"] > beats)
    after = broker.until(late=0, lost=0, left=0, registrations=100)
    # However long the machine stood still as well, that is no more than what passed.
    passed = time.monotonic() - asked
    assert stopped - 2 <= after["lost_time"] - before["lost_time"] <= passed
    late: set[str] = set()
    for event in broker.program.events():
        if " is late: " in event["message"]:
            late.add(event["engine"])
        elif event["message"].endswith(" is back in time"):
            late.remove(event["engine"])
    # While the brake is on the log does not say who is back.
    assert late == set() or after["brakes"]
    stats = leave(broker, engines)
    assert (stats["missed"], stats["lost"]) == (0, 0)


@pytest.mark.fault("C058")
def test_stopped_engines_are_late_or_lost_by_how_long_they_stopped(
    stage: Stage, broker: BrokerProgram
) -> None:
    """At one heartbeat a second an engine is late after 2 s of silence, and lost after 4."""
    stopped_at: dict[str, float] = {}
    stopped_for: dict[str, float] = {}
    stops: dict[str, Callable[[], bool]] = {
        "short": lambda: time.monotonic() > stopped_at["short"] + 1.2,
        "longer": lambda: broker.engines()["longer"]["state"] == "late",
        "long": lambda: "long" not in broker.engines(),
    }
    engines = {name: stage.engines(broker.address, name) for name in stops}
    broker.until(registered=3)
    last = {name: engine["account"]["last"] for name, engine in broker.engines().items()}

    def beaten_again(name: str) -> bool:
        return bool(broker.engines()[name]["account"]["last"] > last[name])

    def stop(name: str) -> None:
        """Stop an engine right after a heartbeat, until it is as it was to become."""
        wait_until("a heartbeat", lambda: beaten_again(name))
        signalled(engines[name], signal.SIGSTOP)
        stopped_at[name] = time.monotonic()
        wait_until(f"{name} to be so", stops[name])
        signalled(engines[name], signal.SIGCONT)
        stopped_for[name] = time.monotonic() - stopped_at[name]

    with ThreadPoolExecutor() as threads:
        list(threads.map(stop, stops))
    broker.until(registered=3, registrations=4, late=0)
    said = [m for m in messages(broker.program) if m.split()[0] in stops]
    # Where the machine stood still, what was to be short was not.
    if stopped_for["short"] < 1.5:
        assert not any(message.startswith("short ") for message in said)
    longer = [message for message in said if message.startswith("longer ")]
    assert re.fullmatch(r"longer is late: silent for 2\.\d s", longer[0])
    assert longer[1:] == ["longer is back in time"]
    assert any(re.match(r"long lost: timeout, after ", message) for message in said)
    stats = broker.stats()
    assert (stats["lost"], stats["causes"]) == (1, {"lost:timeout": 1})
    assert stats["rejected"] == {"440": 1}
    assert broker.engines()["long"]["epoch"] == 2
    assert any("440 HEARTBEAT_TIMEOUT" in message for message in messages(engines["long"]))
    sent = 0
    for engine in engines.values():
        assert engine.end() == 0
        sent += engine.logged("heartbeats", "")
    stats = broker.until(registered=0)
    assert sent == stats["heartbeats"] + stats["missed"]


@pytest.mark.fault("C059")
def test_engine_at_work_says_so_and_is_never_late(stage: Stage, broker: BrokerProgram) -> None:
    """The work lasts longer than the silence after which an engine would be lost."""
    engine = stage.engines(broker.address, "worker")
    broker.until(registered=1)
    command = broker.api.ask("/dowork", time=5000)["command"]
    wait_until("the engine to be busy", lambda: broker.engines()["worker"]["busy"] == command)
    began = broker.engines()["worker"]["account"]["counted"]

    def done() -> bool:
        worker = broker.engines()["worker"]
        assert worker["state"] == "alive"
        return bool(broker.api.ask(f"/commands/{command}")["states"]["done"])

    wait_until("the work to be done", done)
    wait_until("the engine to be idle", lambda: broker.engines()["worker"]["busy"] is None)
    assert broker.engines()["worker"]["account"]["counted"] - began >= 3
    assert not any("late" in message for message in messages(broker.program) if "worker" in message)
    stats = leave(broker, engine)
    assert (stats["missed"], stats["causes"]) == (0, {"left:stopped": 1})


@pytest.mark.fault("C088")
def test_two_commands_back_to_back_are_two_frames_and_two_results(
    stage: Stage, broker: BrokerProgram
) -> None:
    engines = stage.engines(broker.address, "quick", "--count", "20")
    witness = RawEngine.at(broker.address, "witness")
    broker.until(registered=21)
    first = broker.api.ask("/dowork", time=200)["command"]
    second = broker.api.ask("/dowork", time=100)["command"]
    frames = witness.frames(2)
    assert frames == [f"DOWORK:200:command={first}", f"DOWORK:100:command={second}"]
    for command in (first, second):
        witness.send(f"Report:{command}:done:ms=1")

    def all_done() -> bool:
        states = [broker.api.ask(f"/commands/{command}")["states"] for command in (first, second)]
        return [state["done"] for state in states] == [21, 21]

    wait_until("both to be done by all", all_done)
    # One after the other, in order.
    done = broker.api.ask(f"/commands/{second}")["latencies"]["done"]
    assert done["max"] >= 250
    witness.leave()
    stats = leave(broker, engines)
    assert stats["strange_reports"] == 0


def test_engines_outlive_their_broker_and_go_on_at_the_next_one(stage: Stage, port: int) -> None:
    first = stage.broker(port=port)
    engines = stage.engines(first.address, "loyal", "--count", "5")
    first.until(registered=5)
    accounts = wait_until("all to beat", lambda: beaten(first))
    first.program.process.kill()
    first.program.process.wait()
    second = stage.broker(port=port)
    second.until(registered=5)
    for name, engine in second.engines().items():
        # The same life, which this broker meets in the middle: what was sent before is
        # not its to miss.
        assert engine["account"]["joined"]
        assert engine["account"]["first"] >= accounts[name]
        assert engine["epoch"] == 1
    assert engines.end() == 0
    assert second.until(registered=0)["missed"] == 0


def beaten(broker: BrokerProgram) -> dict[str, int] | None:
    """Give each engine's last heartbeat, once there is one of every engine."""
    last = {name: engine["account"]["last"] for name, engine in broker.engines().items()}
    return last if all(last.values()) else None


@pytest.mark.fault("C096")
def test_silent_engine_is_pinged_twice_and_then_lost_in_the_time_announced(
    broker: BrokerProgram,
) -> None:
    [promise] = [m for m in messages(broker.program) if "a heartbeat is due" in m]
    assert promise.endswith("each 1 s; lost after 4 s of silence, noticed within 4.75 s")
    engine = RawEngine.to(broker.address)
    engine.register("sleepy", options="ack=1")
    engine.beat()
    began = time.monotonic()
    times = []
    for expected in ("PING", "PING", "FAILED:440:HEARTBEAT_TIMEOUT:now:silent for too long"):
        assert engine.frame() == expected
        times.append(time.monotonic() - began)
    assert engine.rest() == []
    engine.socket.close()
    late, again, lost = times
    # A step may come a tick early. How late it may come, a clock of the tests' own tells:
    # this machine may have much else to do.
    assert late >= 2 - TICK
    assert again >= 3 - TICK
    assert lost >= 4 - TICK
    stats = broker.until(registered=0, connections=0, late=0)
    assert (stats["heartbeats"], stats["missed"]) == (1, 0)
    assert (stats["causes"], stats["rejected"]) == ({"lost:timeout": 1}, {"440": 1})
    said = [m for m in messages(broker.program) if m.startswith("sleepy ")]
    assert [m.split()[1:3] for m in said] == [["is", "late:"], ["lost:", "timeout,"]]
