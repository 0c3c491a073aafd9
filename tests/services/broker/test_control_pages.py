"""/engines: what is listed, in which order, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from typing import Any
from urllib.parse import quote

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from services.broker.control.accepted import DEFAULT_LIMIT, MAX_LIMIT
from services.broker.control.pages import SORTS
from tests.services.broker.controlled import Controlled, exchange, request
from tests.services.broker.listed import ids, joined, pages

TRANSPORTS = ("tcp://127.0.0.1:1337", "ipc:///run/br\u00f6ker?a=b&c:d")


@cache
def the_fleet() -> Controlled:
    """Twelve engines that differ in everything that can be sorted by."""
    controlled = Controlled()
    for n in range(12):
        engine_id = f"{'ab'[n % 2]}-{n}"
        options = f":v=1;instance=a1;label-node=aks-{n % 3}"
        engine = controlled.register(engine_id, options)
        member = controlled.broker.fleet.get(engine_id)
        assert member is not None
        transport, address = TRANSPORTS[n % 4 == 0], f"192.0.2.{n % 5}:4000"
        member.origin = evolve(member.origin, transport=transport, address=address)
        controlled.clock.advance(0.125)
        controlled.broker.tick()
        engine.says(f"HeartBeat:{engine_id}:{1 + n % 4}" + (f":rtt={n % 7}" if n % 5 else ""))
    controlled.engines["a-2"].says("Bye")
    controlled.broker.lose(controlled.engines["a-2"].session, reset=False)
    controlled.register("a-2", ":v=1;instance=b2")
    controlled.pass_seconds(14)
    for n in (1, 4, 8):
        engine_id = f"{'ab'[n % 2]}-{n}"
        controlled.engines[engine_id].says(f"HeartBeat:{engine_id}:{2 + n % 4}")
    controlled.pass_seconds(3)
    return controlled


def sorted_by(name: str, engines: list[Any]) -> list[str]:
    """Sort in the plainest way: null first, texts by their characters, ties by id."""

    def key(engine: Any) -> Any:
        value = engine["account"]["missed"] if name == "missed" else engine[name]
        return (value is not None, value or 0 if name != "id" else "", engine["id"])

    if name in ("state", "address", "transport"):
        return ids(sorted(engines, key=lambda engine: (engine[name], engine["id"])))
    return ids(sorted(engines, key=key))


def test_engines_are_sorted_by_id_unless_asked_otherwise() -> None:
    listed = ids(the_fleet().get("/engines")["engines"])
    assert listed == sorted(listed)
    assert len(listed) == 12


@pytest.mark.parametrize("name", [name for name in SORTS if name[0] != "-"])
@pytest.mark.parametrize("limit", [1, 5, 12])
def test_engines_are_sorted_both_ways_and_pages_are_the_whole_list(name: str, limit: int) -> None:
    everybody = the_fleet().get("/engines")["engines"]
    expected = sorted_by(name, everybody)
    assert joined(pages(the_fleet(), f"/engines?sort={name}&limit={limit}")) == expected
    assert joined(pages(the_fleet(), f"/engines?limit={limit}&sort=-{name}")) == expected[::-1]


def test_the_fleet_of_these_tests_differs_in_all_that_is_sorted_by() -> None:
    everybody = the_fleet().get("/engines")["engines"]
    for name in ("state", "age", "epoch", "rtt", "address", "transport"):
        assert len({engine[name] for engine in everybody}) > 1, name
    assert len({engine["account"]["missed"] for engine in everybody}) > 1


filters: Mapping[str, st.SearchStrategy[list[str]]] = {
    "state": st.lists(st.sampled_from(["alive", "late"]), max_size=1),
    "match": st.lists(st.sampled_from(["a-*", "*1", "b-?", "zz", "*"]), max_size=2),
    "label": st.lists(st.sampled_from(["node:aks-1", "node:aks-2", "kind:x"]), max_size=2),
    "transport": st.lists(st.sampled_from([*TRANSPORTS, "tcp://nowhere:1"]), max_size=2),
}


def fits(engine: Any, asked: Mapping[str, list[str]]) -> bool:
    labels = {f"{name}:{value}" for name, value in engine["labels"].items()}
    return (
        engine["state"] in (asked["state"] or [engine["state"]])
        and any(fnmatchcase(engine["id"], glob) for glob in asked["match"] or ["*"])
        and labels.issuperset(asked["label"])
        and engine["transport"] in (asked["transport"] or [engine["transport"]])
    )


@settings(max_examples=50)
@given(st.fixed_dictionaries({**filters}), st.sampled_from(SORTS), st.integers(1, 13))
def test_pages_of_any_question_are_the_whole_list(
    asked: dict[str, list[str]], sort: str, limit: int
) -> None:
    query = "&".join(f"{name}={quote(value)}" for name in asked for value in asked[name])
    everybody = [each for each in the_fleet().get("/engines")["engines"] if fits(each, asked)]
    expected = sorted_by(sort.removeprefix("-"), everybody)
    found = joined(pages(the_fleet(), f"/engines?{query}&sort={sort}&limit={limit}"))
    assert found == (expected[::-1] if sort[0] == "-" else expected)


@given(st.text(max_size=8), st.sampled_from(SORTS))
def test_any_text_is_a_place_and_divides_the_list(after: str, sort: str) -> None:
    path = f"/engines?sort={sort}&after={quote(after.encode('utf-8', 'replace'))}"
    whole = ids(the_fleet().get(f"/engines?sort={sort}")["engines"])
    behind = ids(the_fleet().get(path)["engines"])
    assert behind == whole[len(whole) - len(behind) :]
    assert the_fleet().get(path)["total"] == len(whole)


@pytest.mark.parametrize(
    ("after", "expected"),
    [("a", "bcd"), ("b", "cd"), ("bb", "cd"), ("", "abcd"), ("d", ""), ("A", "abcd")],
)
def test_a_list_by_id_begins_behind_any_id(after: str, expected: str) -> None:
    controlled = Controlled(*"dbca")
    assert ids(controlled.get(f"/engines?after={after}")["engines"]) == list(expected)


names = st.text("abc", min_size=1, max_size=3)


@settings(max_examples=50)
@given(
    st.sets(names, min_size=1),
    st.lists(st.tuples(st.sets(names), st.sets(names)), min_size=1),
    st.sampled_from(["id", "-id"]),
    st.integers(1, 4),
)
def test_whoever_stays_is_listed_once_though_others_come_and_go(
    first: set[str], turns: list[tuple[set[str], set[str]]], sort: str, limit: int
) -> None:
    controlled = Controlled(*first)
    fleet = controlled.broker.fleet
    following, stayed = f"/engines?sort={sort}&limit={limit}", set(first)
    seen: list[str] = []
    for going, coming in [*turns, *[(set(), set())] * 40]:
        answer = controlled.get(following)
        seen += ids(answer["engines"])
        if answer["next"] is None:
            break
        following = answer["next"]
        # The one behind which the next page begins goes too.
        for name in going | {seen[-1]}:
            if fleet.get(name) is not None:
                controlled.broker.lose(controlled.engines[name].session, reset=False)
        stayed -= going
        for name in coming:
            if fleet.get(name) is None:
                controlled.register(name)
    assert answer["next"] is None
    assert len(seen) == len(set(seen))
    assert stayed <= set(seen)


def test_an_engine_by_age_keeps_its_place_while_time_passes() -> None:
    controlled = Controlled()
    for name in "abcdef":
        controlled.register(name)
        controlled.clock.advance(1)
        controlled.broker.tick()
    first = controlled.get("/engines?sort=age&limit=3")
    assert ids(first["engines"]) == ["f", "e", "d"]
    controlled.clock.advance(5)
    controlled.broker.tick()
    assert ids(controlled.get(first["next"])["engines"]) == ["c", "b", "a"]


def test_a_page_has_a_hundred_engines_and_at_most_a_thousand() -> None:
    assert (DEFAULT_LIMIT, MAX_LIMIT) == (100, 1000)
    controlled = Controlled(*(f"e-{n:04}" for n in range(MAX_LIMIT + 1)))
    shown = controlled.get("/engines")
    assert (shown["total"], len(shown["engines"])) == (MAX_LIMIT + 1, DEFAULT_LIMIT)
    assert shown["next"] == "/engines?after=e-0099"
    _, rest = pages(controlled, f"/engines?limit={MAX_LIMIT}")
    assert ids(rest) == [f"e-{MAX_LIMIT:04}"]


def test_the_next_page_is_the_same_question() -> None:
    path = "/engines?after=a-0&match=%5Bab%5D-*&limit=1&transport=ipc:///run/br%C3%B6ker?a=b%26c:d"
    following = the_fleet().get(path)["next"]
    assert following.isascii()
    assert following.startswith(
        "/engines?match=%5Bab%5D-*&limit=1&transport=ipc:///run/br%C3%B6ker?"
    )
    assert following.endswith("?a%3Db%26c:d&after=a-4")


def test_the_next_page_of_a_long_question_can_be_asked() -> None:
    globs, addresses = "&match=*?*" * 100, "&transport=tcp://*:*/*,*" * 500
    path = f"/engines?sort=address&limit=1{globs}{addresses}&transport=tcp://127.0.0.1:1337"
    controlled = Controlled("a-1", "a-2")
    following = controlled.get(path)["next"]
    assert len(path) > 12_000
    assert exchange(controlled, request(following)).json["next"] is None


def test_no_engines_are_an_empty_page() -> None:
    assert Controlled().get("/engines") == {"total": 0, "next": None, "engines": []}


def test_a_page_costs_a_look_at_each_engine_and_shows_only_its_own() -> None:
    """Counted, not timed: whether an engine is late is asked when it is shown."""
    controlled = Controlled(*(f"e-{n}" for n in range(50)))
    looked: list[object] = []

    class Counting(set[Any]):
        def __contains__(self, item: object) -> bool:
            looked.append(item)
            return False

    controlled.broker.detector.late = Counting()
    controlled.get("/engines?limit=7&sort=-age")
    assert len(looked) == 7
    controlled.get("/engines?limit=7&state=alive")
    assert len(looked) == 7 + 50 + 7
