"""/history: who went, when and why, page by page."""

from __future__ import annotations

from typing import Any

import pytest

from brokerproto.fleet import Manner
from tests.services.broker.controlled import Controlled
from tests.services.broker.listed import pages


def some_history(n: int = 9) -> Controlled:
    controlled = Controlled()
    for number in range(n):
        engine_id = f"{'ab'[number % 2]}-{number % 3}"
        engine = controlled.register(engine_id, f":v=1;instance=c{number};label-n=x{number % 2}")
        controlled.clock.advance(0.25)
        controlled.broker.tick()
        if number % 4 == 0:
            engine.says(f"Bye:reason=because-{number}")
        controlled.broker.lose(engine.session, reset=number % 4 == 1)
    return controlled


def numbers(items: list[Any]) -> list[int]:
    return [item["number"] for item in items]


def test_an_end_says_who_when_how_long_and_why() -> None:
    controlled = Controlled()
    engine = controlled.register("pod-1", ":v=1;instance=a1;label-node=aks-1")
    engine.says("HeartBeat:pod-1:1", "HeartBeat:pod-1:3", "HeartBeat:pod-1:3")
    controlled.pass_seconds(12.5)
    engine.says("Bye:reason=killed")
    assert controlled.get("/history") == {
        "total": 1,
        "next": None,
        "history": [
            {
                "number": 1,
                "id": "pod-1",
                "epoch": 1,
                "ended": "2026-11-22T00:00:12.500Z",
                "duration": 12.5,
                "manner": "left",
                "cause": "killed",
                "address": "192.0.2.1:40000",
                "transport": "tcp://127.0.0.1:1337",
                "labels": {"node": "aks-1"},
                "account": {"counted": 2, "missed": 1, "repeated": 1},
            }
        ],
    }


@pytest.mark.parametrize(
    ("end", "manner", "cause"),
    [("Bye", "left", "bye"), ("HeartBeat:b:1", "lost", "442"), (None, "lost", "timeout")],
)
def test_an_end_has_the_cause_of_the_account(end: str | None, manner: str, cause: str) -> None:
    controlled = Controlled("a")
    if end is None:
        controlled.pass_seconds(45)
    else:
        controlled.engines["a"].says(end)
    (shown,) = controlled.get("/history")["history"]
    assert (shown["manner"], shown["cause"]) == (manner, cause)
    assert controlled.get("/stats")["causes"] == {f"{manner}:{cause}": 1}


def test_the_last_end_is_the_first_one_listed() -> None:
    assert numbers(some_history().get("/history")["history"]) == list(range(9, 0, -1))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("manner=left", [9, 5, 1]),
        ("manner=lost", [8, 7, 6, 4, 3, 2]),
        ("cause=reset", [6, 2]),
        ("cause=reset&cause=because-4", [6, 5, 2]),
        ("cause=closed&manner=left", []),
        ("cause=", []),
        ("match=a-*", [9, 7, 5, 3, 1]),
        ("match=*-0&match=*-1&cause=closed", [8, 7, 4]),
        ("label=n:x1", [8, 6, 4, 2]),
        ("label=n:x1&label=n:x0", []),
        ("transport=tcp://127.0.0.1:1337&match=b-0", [4]),
        ("transport=tcp://127.0.0.1:1338", []),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_history_is_filtered_and_its_pages_are_the_whole_list(
    query: str, expected: list[int], limit: int
) -> None:
    found = pages(some_history(), f"/history?{query}&limit={limit}")
    assert [number for page in found for number in numbers(page)] == expected


def test_the_next_page_of_the_past_does_not_move_with_the_present() -> None:
    controlled = some_history(5)
    first = controlled.get("/history?limit=2")
    assert numbers(first["history"]) == [5, 4]
    controlled.register("z").says("Bye")
    assert numbers(controlled.get(first["next"])["history"]) == [3, 2]
    assert numbers(controlled.get("/history?after=0")["history"]) == []
    assert numbers(controlled.get("/history?after=7")["history"]) == [6, 5, 4, 3, 2, 1]


def test_what_is_forgotten_is_not_listed_and_numbers_go_on() -> None:
    controlled = Controlled()
    controlled.broker.fleet.ends_kept = 3
    for n in range(5):
        controlled.register(f"e{n}").says("Bye")
    shown = controlled.get("/history")
    assert (shown["total"], numbers(shown["history"])) == (3, [5, 4, 3])
    assert controlled.broker.fleet.count(Manner.LEFT) == 5


def test_a_date_stays_while_the_clocks_drift_and_follows_when_one_is_set() -> None:
    controlled = Controlled("a")
    controlled.engines["a"].says("Bye")

    def date() -> Any:
        return controlled.get("/history")["history"][0]["ended"]

    assert date() == "2026-11-22T00:00:00.000Z"
    controlled.wall_set_by = 0.9
    assert date() == "2026-11-22T00:00:00.000Z"
    controlled.wall_set_by = -3600.0
    assert date() == "2026-11-21T23:00:00.000Z"
