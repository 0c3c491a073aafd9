"""/stats, /engines, /healthz and /readyz."""

from __future__ import annotations

import pytest
from attrs import asdict, fields

from brokerproto.stats import Stats
from services.broker.control import control_resource
from tests.services.broker.controlled import BOOT, Controlled, exchange, request, treq_over


def test_stats_are_the_brokers_and_its_settings() -> None:
    controlled = Controlled("a-1", "a-2")
    controlled.engines["a-1"].says("HeartBeat:a-1:1", "HeartBeat:a-1:4", "HeartBeat:a-1:4")
    controlled.engines["a-2"].says("HeartBeat:a-1:1")
    controlled.register("a b")
    controlled.clock.advance(2.5)
    stats = controlled.get("/stats")
    counted = asdict(controlled.broker.stats())
    assert set(stats) == {field.name for field in fields(Stats)} | {
        "uptime", "boot", "interval", "timeout", "control_rejected", "process"
    }  # fmt: skip
    assert stats["rejected"] == {"415": 1, "442": 1}
    assert {**stats, "rejected": counted["rejected"]} == {
        **counted,
        "uptime": 2.5,
        "boot": BOOT,
        "interval": 10,
        "timeout": 40,
        "control_rejected": {},
        "process": {
            "degraded": False,
            "held_up": 0,
            "held_up_for": 0.0,
            "lag": {"p99": 0.0, "max_10s": 0.0, "max": 0.0},
            "garbage": {"collections": 0, "total": 0.0, "longest": 0.0},
            "cpu": {"used": 0.0, "waited": None, "throttled": None},
            "log": {"left_out": 0, "lost": 0},
        },
    }
    assert (stats["heartbeats"], stats["missed"], stats["repeated"]) == (2, 2, 1)


def test_refusals_are_counted_however_they_are_told() -> None:
    controlled = Controlled("a", connections=1)
    for raw in (request("/nosuch"), request("/kill?code=x"), request("/nosuch"), b"\0"):
        assert exchange(controlled, raw).status in (400, 404)
    assert exchange(controlled, request("/healthz")).status == 200
    busy = controlled.wire()
    busy.send(request("/dowork?wait=1"))
    told, untold = controlled.wire(), controlled.wire()
    told.send(request("/healthz"))
    assert untold.protocol is None
    busy.lose()
    told.lose()
    stats = exchange(controlled, request("/stats")).json
    assert stats["control_rejected"] == {"400": 2, "404": 2, "503": 2}


def test_uptime_is_the_brokers_own() -> None:
    controlled = Controlled()
    assert controlled.get("/stats")["uptime"] == 0


def test_stats_close() -> None:
    controlled = Controlled("a-1", "a-2", "a-3")
    controlled.broker.lose(controlled.engines["a-1"].session, reset=True)
    controlled.engines["a-2"].says("Bye:reason=done")
    controlled.broker.lose(controlled.engines["a-2"].session, reset=False)
    controlled.pass_seconds(20)
    stats = controlled.get("/stats")
    assert stats["opened"] == stats["closed"] + stats["connections"] == 3
    assert stats["registrations"] == stats["registered"] + stats["left"] + stats["lost"] == 3
    assert stats["causes"] == {"lost:reset": 1, "left:done": 1}
    assert stats["late"] == 1


def test_engine_is_shown_as_it_stands() -> None:
    controlled = Controlled()
    engine = controlled.register(
        "pod-1.x", options=":v=1;instance=a1;interval=20;label-node=aks-1;label-kind="
    )
    engine.says("HeartBeat:pod-1.x:1:busy=b-1;rtt=1250", "HeartBeat:pod-1.x:4:busy=b-1")
    engine.says("HeartBeat:pod-1.x:4:busy=b-1")
    controlled.pass_seconds(3)
    shown = controlled.get("/engines/pod-1.x")
    assert shown == {
        "id": "pod-1.x",
        "epoch": 1,
        "state": "alive",
        "age": 3.0,
        "address": "192.0.2.1:40000",
        "transport": "tcp://127.0.0.1:1337",
        "labels": {"node": "aks-1", "kind": ""},
        "plain": False,
        "busy": "b-1",
        "rtt": 1.25,
        "interval": 20,
        "account": {
            "first": 0, "last": 4, "counted": 2, "missed": 2, "repeated": 1, "joined": False
        },
    }  # fmt: skip
    assert controlled.get("/engines") == {"total": 1, "next": None, "engines": [shown]}


def test_engine_that_joined_says_so() -> None:
    controlled = Controlled()
    engine = controlled.register("b", options="")
    engine.says("Bye")
    controlled.broker.lose(engine.session, reset=False)
    engine.session = controlled.broker.open(engine, engine.broker.fleet.ends[0].origin)
    engine.says("NewEngine:b:41:v=1;instance=f0", "HeartBeat:b:42")
    shown = controlled.get("/engines/b")
    assert shown["epoch"] == 2
    assert shown["account"] == {
        "first": 41, "last": 42, "counted": 1, "missed": 0, "repeated": 0, "joined": True
    }  # fmt: skip


def test_late_engines_are_as_many_as_the_stats_say() -> None:
    controlled = Controlled("a-1", "a-2")
    controlled.pass_seconds(12)
    controlled.engines["a-1"].says("HeartBeat:a-1:1")
    controlled.pass_seconds(6)
    shown = {engine["id"]: engine for engine in controlled.get("/engines")["engines"]}
    assert (shown["a-1"]["state"], shown["a-1"]["age"]) == ("alive", 6)
    assert (shown["a-2"]["state"], shown["a-2"]["age"]) == ("late", 18)
    assert controlled.get("/stats")["late"] == 1


def test_plain_engine_at_work_has_no_negative_age() -> None:
    controlled = Controlled()
    controlled.register("old", options="")
    controlled.get("/dowork?time=60000")
    shown = controlled.get("/engines/old")
    assert (shown["plain"], shown["age"], shown["interval"]) == (True, 0, 10)


@pytest.mark.parametrize("name", ["nobody", "A", "a%00", "%C3%A4", "a;b", "..", "{0.__class__}"])
def test_engine_that_is_not_registered_is_unknown(name: str) -> None:
    answer = Controlled("a").answer_to(f"/engines/{name}")
    assert (answer.status, answer.error["status"]) == (404, 404)


def test_percent_encoding_names_the_same_engine() -> None:
    controlled = Controlled("pod-1.x")
    assert controlled.get("/engines/%70od%2D1%2ex")["id"] == "pod-1.x"


def test_health_does_not_depend_on_readiness() -> None:
    controlled = Controlled()
    assert controlled.get("/healthz") == {"status": "ok"}
    assert controlled.get("/readyz") == {"status": "ready"}
    controlled.ready = False
    assert controlled.get("/healthz") == {"status": "ok"}
    answer = controlled.answer_to("/readyz")
    assert (answer.status, answer.error["status"]) == (503, 503)


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/openapi.json", "/stats", "/engines", "/engines/a", "/history", "/commands"),
        *("/healthz", "/readyz"),
    ],
)
def test_question_is_answered_to_post_too_and_changes_nothing(path: str) -> None:
    controlled = Controlled("a")
    before = controlled.get("/stats")
    for method in ("GET", "POST"):
        assert controlled.answer_to(path, method).status == 200
    assert controlled.get("/stats") == before
    assert controlled.did_nothing


@pytest.mark.parametrize("path", ["/stats", "/engines", "/dowork", "/nosuch", "/kill?code=x"])
def test_every_answer_is_json_for_nobody_else(path: str) -> None:
    answer = Controlled("a").answer_to(path)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Server" not in answer.headers
    assert answer.body.endswith(b"}\n")
    assert answer.body.isascii()


def test_lists_have_a_line_for_each_item() -> None:
    controlled = Controlled("a", "b")
    lines = controlled.answer_to("/engines").body.decode().splitlines()
    assert [line.strip()[:12] for line in lines if '"id"' in line] == [
        '{"id": "a", ',
        '{"id": "b", ',
    ]


def test_resource_is_ready_where_nobody_says_otherwise() -> None:
    controlled = Controlled()
    controlled.treq = treq_over(control_resource(controlled.broker, controlled.clock))
    assert controlled.answer_to("/readyz").status == 200
