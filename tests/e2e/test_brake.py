"""Real engines that fall silent together: the broker suspects itself first."""

from __future__ import annotations

import signal
import time
from datetime import datetime
from typing import Any

import pytest

from services.scaletest.programs import Program, wait_until
from tests.e2e.scene import BrokerProgram, Stage, signalled

pytestmark = pytest.mark.e2e

FLEET, PART = 300, 180
# At one heartbeat a second: lost after 4 s, or where all are silent, not in the first ten.
TIMEOUT, PATIENT = 4.0, 10.0


def fleet(stage: Stage, broker: BrokerProgram) -> tuple[Program, Program]:
    """Start all engines, in two processes."""
    part = stage.engines(broker.address, "part", "--count", str(PART), "--work", "pretend")
    rest = stage.engines(broker.address, "rest", "--count", str(FLEET - PART), "--work", "pretend")
    broker.until(registered=FLEET, seconds=60)
    wait_until(
        "each to beat", lambda: all(each["account"]["counted"] for each in all_of(broker)), 30
    )
    return part, rest


def all_of(broker: BrokerProgram) -> list[dict[str, Any]]:
    engines: list[dict[str, Any]] = broker.api.ask("/engines", limit=FLEET)["engines"]
    return engines


def ran_for(stats: dict[str, Any]) -> float:
    """Give the seconds in which the broker ran."""
    return float(stats["uptime"] - stats["lost_time"])


def leave(broker: BrokerProgram, *programs: Program) -> dict[str, Any]:
    """End the engines, and see all that they sent accounted for."""
    sent = 0
    for program in programs:
        assert program.end() == 0
        sent += program.logged("heartbeats", "")
    stats = broker.until(registered=0, connections=0)
    assert sent == stats["heartbeats"] + stats["missed"]
    return stats


def said(broker: BrokerProgram, beginning: str) -> list[dict[str, Any]]:
    return [each for each in broker.program.events() if each["message"].startswith(beginning)]


@pytest.mark.fault("C053")
def test_of_a_fleet_whose_larger_part_is_silent_one_percent_a_second_is_lost(stage: Stage) -> None:
    broker = stage.broker()
    part, rest = fleet(stage, broker)
    signalled(part, signal.SIGSTOP)
    began = broker.until(brake=True, seconds=60)
    assert began["late"] > began["registered"] * 0.3
    # None of those who were stopped is lost but at the brake's pace.
    wait_until("some to be lost", lambda: broker.stats()["evicted"] >= 9, 60)
    later = broker.stats()
    assert later["evicted"] - began["evicted"] <= 3 * (ran_for(later) - ran_for(began)) + 3
    signalled(part, signal.SIGCONT)
    stats = broker.until(brake=False, late=0, registered=FLEET, seconds=90)
    assert (stats["brake_since"], stats["brakes"]) == (None, 1)
    assert stats["causes"].get("lost:timeout", 0) == stats["evicted"]
    [on] = said(broker, "the brake is on: ")
    [off] = said(broker, "the brake is off after ")
    assert (on["level"], off["level"]) == ("warn", "warn")
    assert on["registered"] <= FLEET < on["late"] * 3.4
    assert off["evicted"] <= stats["evicted"]
    leave(broker, part, rest)


@pytest.mark.fault("C054")
def test_broker_that_hears_nobody_for_six_intervals_loses_nobody(stage: Stage) -> None:
    broker = stage.broker()
    programs = fleet(stage, broker)
    before = broker.stats()
    for program in programs:
        signalled(program, signal.SIGSTOP)
    wait_until(
        "six seconds of the broker", lambda: ran_for(broker.stats()) > ran_for(before) + 6, 60
    )
    silent = broker.stats()
    for program in programs:
        signalled(program, signal.SIGCONT)
    assert (silent["brake"], silent["late"] + silent["lost"]) == (True, FLEET)
    stats = broker.until(brake=False, late=0, registered=FLEET, seconds=90)
    # Nobody, unless they were kept silent for longer than was meant.
    since = datetime.fromisoformat(silent["brake_since"])
    for end in broker.api.ask("/history", manner="lost", limit=FLEET)["history"]:
        assert (datetime.fromisoformat(end["ended"]) - since).total_seconds() >= PATIENT
    assert stats["lost"] == stats["evicted"]
    assert stats["registrations"] == FLEET + stats["lost"]
    leave(broker, *programs)


@pytest.mark.fault("C108")
def test_machine_that_is_suspended_loses_nobody(stage: Stage) -> None:
    """Both sides stand still for longer than makes a silent engine lost."""
    broker = stage.broker()
    programs = fleet(stage, broker)
    before = broker.stats()
    for program in (*programs, broker.program):
        signalled(program, signal.SIGSTOP)
    time.sleep(TIMEOUT + 2)
    for program in (*programs, broker.program):
        signalled(program, signal.SIGCONT)
    wait_until(
        "the account to go on",
        lambda: broker.stats()["heartbeats"] > before["heartbeats"] + 2 * FLEET,
        60,
    )
    stats = broker.until(late=0, registered=FLEET, lost=0, registrations=FLEET)
    assert stats["lost_time"] - before["lost_time"] >= TIMEOUT
    assert leave(broker, *programs)["missed"] == 0
