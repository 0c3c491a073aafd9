"""The control API while the broker drains: it answers, and commands nobody."""

from __future__ import annotations

from random import Random

import pytest

from brokerproto.drain import Drain
from tests.services.broker.controlled import Controlled

LEAVES = {"status": 503, "message": "the broker drains, and sends its engines nothing more"}


def draining(controlled: Controlled) -> Drain:
    controlled.ready = False
    return controlled.broker.drain(Random(1))


@pytest.mark.parametrize("path", ["/dowork", "/kill?engine=e1", "/dowork?expect=2&wait=5"])
def test_command_is_refused_and_nobody_is_sent_anything(path: str) -> None:
    controlled = Controlled("e1", "e2")
    draining(controlled)
    answer = controlled.answer_to(path)
    assert (answer.status, answer.error) == (503, LEAVES)
    assert controlled.did_nothing


@pytest.mark.parametrize(
    ("path", "status"), [("/kill?engine=nobody", 404), ("/kill?expect=3", 409), ("/kill?x=", 400)]
)
def test_what_is_wrong_with_a_command_is_told_first(path: str, status: int) -> None:
    controlled = Controlled("e1", "e2")
    draining(controlled)
    assert controlled.answer_to(path).status == status
    assert controlled.did_nothing


def test_command_asked_for_again_is_answered_as_before() -> None:
    controlled = Controlled("e1")
    headers = {"Idempotency-Key": "k1"}
    first = controlled.answer_to("/dowork?time=5", headers=headers)
    draining(controlled)
    again = controlled.answer_to("/dowork?time=5", headers=headers)
    assert (again.status, again.json["command"]) == (200, first.json["command"])
    assert again.headers["Idempotent-Replayed"] == "true"
    assert controlled.answer_to("/dowork?time=5", headers={"Idempotency-Key": "k2"}).status == 503


def test_questions_are_answered_to_the_end() -> None:
    controlled = Controlled("e1", "e2")
    before = controlled.get("/stats")["draining"]
    command = controlled.get("/dowork?time=5")["command"]
    drain = draining(controlled)
    assert (before, controlled.get("/stats")["draining"]) == (False, True)
    assert controlled.answer_to("/readyz").status == 503
    assert controlled.get("/healthz") == {"status": "ok"}
    e1 = controlled.engines["e1"]
    e1.says(f"Report:{command}:done")
    e1.says("Bye:reason=goaway")
    drain.see_off()
    assert [engine["id"] for engine in controlled.get("/engines")["engines"]] == ["e2"]
    [end] = controlled.get("/history")["history"]
    assert (end["id"], end["manner"], end["cause"]) == ("e1", "left", "goaway")
    assert controlled.get("/stats")["causes"] == {"left:goaway": 1}
    controlled.engines["e2"].says("Bye:reason=goaway")
    record = controlled.get(f"/commands/{command}")
    assert (record["states"]["done"], record["states"]["lost"]) == (1, 1)


def test_who_waits_for_a_command_is_answered_when_the_last_one_has_left() -> None:
    controlled = Controlled("e1")
    asked = controlled.ask("/dowork?time=60000&wait=600")
    draining(controlled)
    early = asked.is_answered
    controlled.engines["e1"].says("Bye:reason=goaway")
    controlled.pass_seconds(1)
    assert (early, asked.answer.json["states"]["lost"]) == (False, 1)
