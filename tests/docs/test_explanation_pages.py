"""The explanations are true: what they tell happens, and their sums are right."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brokerproto.brake import evictions, most_late
from brokerproto.liveness import Patience, tick_length, worst_detection
from brokerproto.terms import Limits
from tests.brokerproto.simulated_fleet import SimulatedFleet
from tests.docs.page import ROOT, Page
from tests.docs.replay import BrokerSide, replay, side_for

LIVENESS = Page.of("docs/explanation/liveness.md")
ACCOUNT = Page.of("docs/explanation/account.md")
TICK = 0.25
PAGES = sorted(ROOT.glob("docs/explanation/*.md"))


def _conversations() -> Iterator[Any]:
    for path in PAGES:
        for block in Page.of(str(path.relative_to(ROOT))).blocks:
            if block.info == "conversation":
                yield pytest.param(block.text, id=f"{path.stem}-line-{block.line}")


@pytest.mark.parametrize("slice_length", [1 << 20, 1])
@pytest.mark.parametrize("conversation", list(_conversations()))
def test_conversation_happens_as_it_is_told(conversation: str, slice_length: int) -> None:
    replay(conversation, side_for("broker", conversation), slice_length)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_python_prints_what_the_page_shows(path: Path) -> None:
    examples = "".join(
        block.text for block in Page.of(str(path.relative_to(ROOT))).blocks if block.info == "pycon"
    )
    test = doctest.DocTestParser().get_doctest(examples, {}, path.name, str(path), 0)
    said: list[str] = []
    assert doctest.DocTestRunner().run(test, out=said.append).failed == 0, "".join(said)


def test_steps_of_silence_are_those_of_the_defaults() -> None:
    limits = Limits()
    patience = Patience.of(limits.interval, limits.timeout_of(limits.interval))
    rows = LIVENESS.section("From alive to lost").table(
        "silence", "what the broker does", "why then"
    )
    assert [row[0] for row in rows[1:]] == [
        f"{seconds:g} s" for seconds in (patience.late, patience.again, patience.lost)
    ]
    assert rows[0][0] == f"up to {limits.interval * 1.1:g} s"


def test_worst_detection_is_the_sum_of_its_parts() -> None:
    rows = LIVENESS.section("The worst detection time").table(
        "T",
        "timeout",
        "rounded up to a tick",
        "the tick comes after that",
        "and may be late itself",
        "worst detection",
    )
    assert [row[0] for row in rows] == ["1", "10", "60"]
    for row in rows:
        interval, timeout, *ticks, worst = map(float, row)
        assert timeout == Limits(interval=int(interval)).timeout_of(int(interval))
        assert ticks == [tick_length(interval)] * 3
        assert worst == timeout + sum(ticks) == worst_detection(timeout, ticks[0])


def test_brakes_limits_are_those_of_the_code() -> None:
    rows = LIVENESS.section("The brake").table(
        "registered engines", "may be late", "lost per second while the brake is on"
    )
    assert rows
    for row in rows:
        engines, late, lost = map(int, row)
        assert (late, lost) == (most_late(engines), evictions(engines))


def test_mishaps_end_as_the_page_says() -> None:
    rows = LIVENESS.section("The brake").table("what happens", "lost by timeout", "brake")
    assert len(rows) == 3
    for happens, lost, brake in rows:
        found = re.fullmatch(r"(60 %|all) are cut off for (\d+) s, then healed", happens)
        assert found is not None
        fleet = SimulatedFleet(300)
        fleet.cut(f"e{number}" for number in range(180 if found[1] == "60 %" else 300))
        fleet.passes(int(found[2]))
        since = fleet.stats.brake_since
        assert since is not None
        fleet.heal()
        for _ in range(100):
            if fleet.stats.brake:
                fleet.passes(TICK)
        on = fleet.clock.now - since
        fleet.passes(10)
        assert (fleet.stats.causes.get("lost:timeout", 0), fleet.stats.registered) == (
            int(lost),
            300,
        )
        assert brake == f"on for {on:g} s"


def test_rack_without_power_is_lost_in_the_time_that_the_page_says() -> None:
    fleet = SimulatedFleet(300)
    fleet.cut(f"e{number}" for number in range(180))
    fleet.passes(150)
    assert fleet.stats.registered == 120
    assert "lost piece by piece within two and a half minutes" in " ".join(LIVENESS.text.split())


HEADER = ("frame", "epoch", "sent", "counted", "missed", "counted in all", "missed in all")


@pytest.mark.parametrize("title", ["One engine's story", "When somebody forgets"])
def test_account_is_what_the_page_says_after_each_frame(title: str) -> None:
    section = ACCOUNT.section(title)
    lines = section.blocks[0].text.splitlines()
    rows = section.table(*HEADER)
    assert [row[0] for row in rows] == [line[3:] for line in lines if line.startswith("E: ")]
    side = BrokerSide()
    told = iter(rows)
    for line in lines:
        if line.endswith(" s pass"):
            side.let_pass(float(line.split()[1]))
        elif line == "-- the connection breaks":
            side.disconnect()
        elif line == "-- a new connection":
            side.connect()
        elif line.startswith("E: "):
            side.hear(line[3:].encode() + b"\n")
            _, *sums = next(told)
            kept = side.session.account
            member = side.broker.fleet.member_of(side.session)
            assert kept is not None
            assert member is not None
            totals = side.broker.fleet.totals
            assert list(map(int, sums)) == [
                member.epoch,
                kept.last - kept.first,
                kept.counted,
                kept.missed,
                totals.counted,
                totals.missed,
            ], line
            assert int(sums[1]) == int(sums[2]) + int(sums[3])


def test_engine_gives_up_after_as_many_heartbeats_as_the_page_says() -> None:
    conversation = (
        "E: NewEngine:e1:0:v=1;instance=a1;ack=1\n"
        "B: SUCCESS:Registered:v=1;epoch=1;interval=10;timeout=40;ack=1;herd=1;boot=7d1f0c22\n"
    )
    side = side_for("engine", conversation)
    replay(conversation, side)
    side.let_pass(1000)
    beats = 0
    while side.next_line() is not None:
        beats += 1
    assert side.is_over
    assert beats == 12
    assert "after the twelfth" in " ".join(LIVENESS.text.split())
