"""/dowork, /kill and /commands: who is sent what, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from services.broker.control.accepted import MAX_GLOBS
from services.broker.control.views import NAMED
from tests.services.broker.controlled import BOOT, Controlled

STATES = ("queued", "written", "received", "started", "done", "failed", "lost")
STEPS = STATES[1:]


@pytest.fixture
def three() -> Controlled:
    return Controlled("a-1", "a-2", "B-1")


def closes(record: Any) -> bool:
    """Whether every number of a record fits every other."""
    states = record["states"]
    return (
        tuple(states) == STATES
        and sum(states.values()) == record["targets"]
        and record["silent_total"] == states["queued"] + states["written"]
        and len(record["silent"]) == min(record["silent_total"], NAMED)
        and record["failed_total"] == states["failed"]
        and len(record["failed"]) == min(record["failed_total"], NAMED)
        and record["settled"]
        is (states["done"] + states["failed"] + states["lost"] == record["targets"])
    )


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("path", "frame"),
    [
        ("/dowork", f"DOWORK:50000:command={BOOT}-1"),
        ("/dowork?", f"DOWORK:50000:command={BOOT}-1"),
        ("/dowork?time=0", f"DOWORK:0:command={BOOT}-1"),
        ("/dowork?time=86400000", f"DOWORK:86400000:command={BOOT}-1"),
        ("/kill", f"KILL:0:command={BOOT}-1"),
        ("/kill?code=255", f"KILL:255:command={BOOT}-1"),
        ("/kill?%63ode=%37", f"KILL:7:command={BOOT}-1"),
    ],
)
def test_command_reaches_every_engine(
    three: Controlled, path: str, frame: str, method: str
) -> None:
    answer = three.answer_to(path, method)
    assert answer.status == 200
    assert three.sent == {"a-1": [frame], "a-2": [frame], "B-1": [frame]}
    assert answer.json["targets"] == 3
    assert closes(answer.json)


def test_record_tells_what_was_commanded(three: Controlled) -> None:
    record = three.get("/dowork?time=20")
    assert record == {
        "command": f"{BOOT}-1",
        "verb": "DOWORK",
        "time": 20,
        "issued": "2026-11-22T00:00:00.000Z",
        "targets": 3,
        "settled": False,
        "states": dict.fromkeys(STATES, 0) | {"written": 3},
        "latencies": dict.fromkeys(STEPS)
        | {"written": {"n": 3, "min": 0, "p50": 0, "p90": 0, "p99": 0, "max": 0}},
        "silent": ["a-1", "a-2", "B-1"],
        "silent_total": 3,
        "failed": [],
        "failed_total": 0,
    }
    record = three.get("/kill?code=3")
    assert (record["command"], record["verb"], record["code"]) == (f"{BOOT}-2", "KILL", 3)
    assert "time" not in record


def test_record_is_kept_and_follows_the_reports(three: Controlled) -> None:
    issued = three.get("/dowork?time=20")
    assert three.get(f"/commands/{BOOT}-1") == issued
    three.clock.advance(0.25)
    three.engines["a-1"].reports("received", "started", "done")
    three.engines["a-2"].reports("received")
    three.engines["B-1"].reports("failed:error=queue-full")
    record = three.get(f"/commands/{BOOT}-1")
    assert record["states"] == dict.fromkeys(STATES, 0) | {"received": 1, "done": 1, "failed": 1}
    assert record["silent"] == []
    assert record["failed"] == [{"engine": "B-1", "error": "queue-full"}]
    assert record["latencies"]["received"] == {
        "n": 2, "min": 250.0, "p50": 250.0, "p90": 250.0, "p99": 250.0, "max": 250.0
    }  # fmt: skip
    assert record["latencies"]["lost"] is None
    assert closes(record)


def test_latencies_are_milliseconds_and_their_ranks_nearest() -> None:
    controlled = Controlled(*(f"e-{i}" for i in range(10)))
    controlled.get("/dowork?time=20")
    for engine in controlled.engines.values():
        controlled.clock.advance(0.125)
        engine.reports("done")
    assert controlled.get(f"/commands/{BOOT}-1")["latencies"]["done"] == {
        "n": 10, "min": 125.0, "p50": 625.0, "p90": 1125.0, "p99": 1250.0, "max": 1250.0
    }  # fmt: skip


@pytest.mark.fault("C088")
def test_two_commands_back_to_back_are_two_frames_and_two_results(three: Controlled) -> None:
    for _ in range(2):
        three.get("/dowork?time=20&engine=a-1")
    engine = three.engines["a-1"]
    assert engine.commands == [f"DOWORK:20:command={BOOT}-{n}" for n in (1, 2)]
    engine.says(f"Report:{BOOT}-2:failed:error=killed", f"Report:{BOOT}-1:done")
    assert three.get(f"/commands/{BOOT}-1")["states"]["done"] == 1
    assert three.get(f"/commands/{BOOT}-2")["states"]["failed"] == 1


@pytest.mark.fault("C089")
def test_half_open_engines_neither_delay_the_answer_nor_spoil_the_counts() -> None:
    controlled = Controlled(*(f"e-{n}" for n in range(20)))
    silent, others = ["e-3", "e-11"], [f"e-{n}" for n in range(20) if n not in (3, 11)]
    # Not waited for, the answer comes at once, and what was written is not yet received.
    record = controlled.get("/dowork?time=20")
    assert record["states"] == dict.fromkeys(STATES, 0) | {"written": 20}
    # Waited for, it comes when the time is over, and not before they are judged.
    asked = controlled.ask("/dowork?time=20&wait=5")
    for number in (1, 2):
        for engine_id in others:
            failed = number == 2 and engine_id == "e-0"
            states = ("received", "started", "failed:error=killed" if failed else "done")
            controlled.engines[engine_id].says(
                *(f"Report:{BOOT}-{number}:{state}" for state in states)
            )
    assert not asked.is_answered
    controlled.clock.advance(5)
    record = asked.answer.json
    assert record["states"] == dict.fromkeys(STATES, 0) | {"written": 2, "done": 17, "failed": 1}
    assert (record["silent"], record["settled"]) == (silent, False)
    assert record["latencies"]["received"]["n"] == 18
    assert closes(record)
    # They are lost at their time, and with them the command is settled.
    asked = controlled.ask(f"/dowork?time=20&wait=600&engine={others[0]}&engine={silent[0]}")
    controlled.engines[others[0]].reports("done")
    for _ in range(7):
        controlled.pass_seconds(6)
        for engine_id in others:
            engine = controlled.engines[engine_id]
            number = sum(frame.startswith("ACK") for frame in engine.frames) + 1
            engine.says(f"HeartBeat:{engine_id}:{number}")
    controlled.clock.advance(0)
    assert asked.answer.json["states"] == dict.fromkeys(STATES, 0) | {"done": 1, "lost": 1}
    for number, done in ((1, 18), (2, 17)):
        record = controlled.get(f"/commands/{BOOT}-{number}")
        assert record["states"] == dict.fromkeys(STATES, 0) | {
            "done": done, "failed": 18 - done, "lost": 2
        }  # fmt: skip
        assert closes(record)


def test_engine_that_goes_is_lost_to_its_work_and_done_with_its_kill(three: Controlled) -> None:
    three.get("/dowork?engine=a-1")
    three.get("/kill?engine=a-1")
    three.broker.lose(three.engines["a-1"].session, reset=True)
    assert three.get(f"/commands/{BOOT}-1")["states"]["lost"] == 1
    assert three.get(f"/commands/{BOOT}-2")["states"]["done"] == 1


@pytest.mark.parametrize(
    ("query", "reached"),
    [
        ("engine=a-2", {"a-2"}),
        ("engine=a-2&engine=B-1&engine=a-2", {"a-2", "B-1"}),
        ("engine=%61%2d2", {"a-2"}),
        ("match=a-*", {"a-1", "a-2"}),
        ("match=A-*", set()),
        ("match=b-1", set()),
        ("match=*-1", {"a-1", "B-1"}),
        ("match=a", set()),
        ("match=?-%5B2-9%5D", {"a-2"}),
        ("match=?-%5B!2-9%5D", {"a-1", "B-1"}),
        ("match=nobody*&match=B-?", {"B-1"}),
        ("match=a-1&engine=B-1", {"a-1", "B-1"}),
        ("match=a-1&engine=a-1", {"a-1"}),
        ("match=", set()),
        ("match=*", {"a-1", "a-2", "B-1"}),
        ("match=.*", set()),
        ("match=(", set()),
    ],
)
def test_command_reaches_those_it_names_or_matches(
    three: Controlled, query: str, reached: set[str]
) -> None:
    record = three.get(f"/kill?{query}")
    assert {engine_id for engine_id, frames in three.sent.items() if frames} == reached
    assert sum(map(len, three.sent.values())) == len(reached) == record["targets"]
    assert closes(record)


@pytest.mark.parametrize("name", ["nobody", "A-1", "", "a-1%00", "a-*", "x" * 3000])
def test_unknown_engine_is_named_and_nobody_commanded(three: Controlled, name: str) -> None:
    answer = three.answer_to(f"/kill?engine=a-1&engine={name}&match=*")
    assert answer.status == 404
    assert repr(name.replace("%00", "\0"))[:-1][:50] in answer.error["message"]
    assert len(answer.body) < 300
    assert three.did_nothing


def test_engine_that_has_gone_is_unknown(three: Controlled) -> None:
    three.engines["a-1"].says("Bye")
    assert three.answer_to("/dowork?engine=a-1").status == 404
    assert three.get("/dowork")["targets"] == 2


def test_globs_are_limited(three: Controlled) -> None:
    glob = "&match=a-1"
    assert three.get(f"/kill?{glob * MAX_GLOBS}")["targets"] == 1
    answer = three.answer_to(f"/kill?{glob * (MAX_GLOBS + 1)}")
    assert (answer.status, answer.error["parameter"]) == (400, "match")


def test_command_to_an_empty_fleet_is_settled_at_once() -> None:
    controlled = Controlled()
    record = controlled.get("/dowork?wait=600")
    assert (record["targets"], record["settled"]) == (0, True)
    assert record["latencies"] == dict.fromkeys(STEPS)
    assert not controlled.clock.getDelayedCalls()


def test_names_are_bounded_and_totals_are_not() -> None:
    controlled = Controlled(*(f"e-{i}" for i in range(2 * NAMED + 3)))
    controlled.get("/dowork")
    for i in range(NAMED + 1):
        controlled.engines[f"e-{i}"].reports("failed:error=busy")
    record = controlled.get(f"/commands/{BOOT}-1")
    assert (len(record["failed"]), record["failed_total"]) == (NAMED, NAMED + 1)
    assert (len(record["silent"]), record["silent_total"]) == (NAMED, NAMED + 2)
    assert closes(record)


def test_command_that_is_not_kept_is_unknown(three: Controlled) -> None:
    for path in (f"/commands/{BOOT}-1", "/commands/x%00y", "/commands/%F0%9F%91%BB"):
        assert three.answer_to(path).status == 404


def report_all(controlled: Controlled) -> None:
    for engine in controlled.engines.values():
        engine.reports("done")


def fail_all(controlled: Controlled) -> None:
    for engine in controlled.engines.values():
        engine.reports("failed:error=killed")


def lose_all(controlled: Controlled) -> None:
    for engine in controlled.engines.values():
        controlled.broker.lose(engine.session, reset=False)


@pytest.mark.parametrize(
    ("end", "state"), [(report_all, "done"), (fail_all, "failed"), (lose_all, "lost")]
)
def test_waiting_ends_when_all_are_settled(
    three: Controlled, end: Callable[[Controlled], None], state: str
) -> None:
    asked = three.ask("/dowork?time=20&wait=600")
    three.clock.advance(5)
    assert not asked.is_answered
    end(three)
    three.clock.advance(0)
    record = asked.answer.json
    assert (record["settled"], record["states"][state]) == (True, 3)
    assert closes(record)
    assert not three.clock.getDelayedCalls()


def test_waiting_ends_in_time_when_one_stays_silent(three: Controlled) -> None:
    asked = three.ask("/dowork?time=20&wait=2")
    three.engines["a-1"].reports("done")
    three.engines["a-2"].reports("started")
    three.clock.advance(1.999)
    assert not asked.is_answered
    three.clock.advance(0.001)
    record = asked.answer.json
    assert (record["settled"], record["silent"]) == (False, ["B-1"])
    assert closes(record)
    assert not three.clock.getDelayedCalls()
    report_all(three)
    assert three.get(f"/commands/{BOOT}-1")["settled"]


def test_nothing_is_waited_for_unless_asked(three: Controlled) -> None:
    for query in ("", "?wait=0"):
        assert three.get(f"/dowork{query}")["settled"] is False
    assert not three.clock.getDelayedCalls()


def test_plain_engine_is_done_at_its_next_heartbeat() -> None:
    controlled = Controlled()
    plain = controlled.register("plain", options="")
    asked = controlled.ask("/dowork?time=2000&wait=60")
    assert plain.commands == ["DOWORK:2000"]
    controlled.clock.advance(2)
    plain.says("HeartBeat:plain:1")
    controlled.clock.advance(0)
    assert asked.answer.json["states"]["done"] == 1


def test_engine_whose_command_waits_is_silent() -> None:
    controlled = Controlled()
    controlled.register("plain", options="")
    for _ in range(2):
        controlled.get("/dowork?time=2000")
    record = controlled.get(f"/commands/{BOOT}-2")
    assert record["states"]["queued"] == record["silent_total"] == 1
    assert record["silent"] == ["plain"]


def test_failed_engines_are_those_that_failed(three: Controlled) -> None:
    three.get("/dowork?time=20")
    three.engines["a-1"].reports("failed")
    three.engines["a-2"].reports("received:error=odd")
    record = three.get(f"/commands/{BOOT}-1")
    assert record["failed"] == [{"engine": "a-1", "error": None}]


def test_several_wait_for_one_engine_each_for_its_own_command(three: Controlled) -> None:
    first = three.ask("/dowork?time=20&wait=600&engine=a-1")
    second = three.ask("/dowork?time=20&wait=600&engine=a-1")
    three.engines["a-1"].says(f"Report:{BOOT}-2:done")
    three.clock.advance(0)
    assert second.answer.json["command"] == f"{BOOT}-2"
    assert not first.is_answered
    three.engines["a-1"].says(f"Report:{BOOT}-1:done")
    three.clock.advance(0)
    assert first.answer.json["command"] == f"{BOOT}-1"
