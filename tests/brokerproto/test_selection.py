"""Whom a selection chooses, by example and beside a plain reading of the rules."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from fnmatch import fnmatchcase
from random import Random
from typing import Any

import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from brokerproto.errors import UnknownEngineError
from brokerproto.fleet import Fleet
from brokerproto.messages import NewEngine
from brokerproto.selection import Label, Selection, has_labels, matches, share_of
from tests.brokerproto.test_fleet import register

FLEET = {
    "b-1": {"node": "aks-1", "kind": "spot"},
    "a-1": {"node": "aks-1"},
    "a-2": {"node": "aks-2", "kind": ""},
    "a-3": {},
}


class Undrawn(Random):
    """Must not be asked."""

    def sample(self, population: Any, k: int, *, counts: Any = None) -> list[Any]:
        raise AssertionError("nothing is to be drawn")


def fleet_of(engines: dict[str, dict[str, str]]) -> Fleet:
    fleet = Fleet()
    for engine_id, labels in engines.items():
        register(fleet, NewEngine(engine_id, 0, v=1, instance="a1", labels=labels))
    return fleet


def chosen(selection: Selection, random: Random | None = None) -> list[str]:
    members = selection.members(fleet_of(FLEET), random or Undrawn())
    return [member.engine_id for member in members]


@pytest.mark.parametrize(
    ("selection", "reached"),
    [
        (Selection(), ["b-1", "a-1", "a-2", "a-3"]),
        (Selection(("a-2", "b-1", "a-2")), ["a-2", "b-1"]),
        (Selection(globs=("a-*",)), ["a-1", "a-2", "a-3"]),
        (Selection(globs=("A-*", "a")), []),
        (Selection(globs=("?-[!23]",)), ["b-1", "a-1"]),
        (Selection(("a-3",), ("*-1",)), ["a-3", "b-1", "a-1"]),
        (Selection(labels=(("node", "aks-1"),)), ["b-1", "a-1"]),
        (Selection(labels=(("node", "aks-1"), ("kind", "spot"))), ["b-1"]),
        (Selection(labels=(("node", "aks-1"), ("node", "aks-2"))), []),
        (Selection(labels=(("kind", ""),)), ["a-2"]),
        (Selection(("a-3", "a-2"), labels=(("node", "aks-2"),)), ["a-2"]),
        (Selection(globs=("a-*",), labels=(("node", "aks-1"),)), ["a-1"]),
    ],
)
def test_those_are_chosen_that_are_named_or_matched_and_have_every_label(
    selection: Selection, reached: list[str]
) -> None:
    assert chosen(selection) == reached


def test_an_id_that_is_not_registered_is_a_mistake_whatever_else_is_asked() -> None:
    with pytest.raises(UnknownEngineError) as caught:
        chosen(Selection(("a-1", "nobody"), ("*",), (("no", "label"),)))
    assert caught.value.engine_id == "nobody"


def test_a_share_is_drawn_of_what_was_chosen_and_keeps_its_order() -> None:
    drawn = {tuple(chosen(Selection(globs=("a-*",), share=50), Random(n))) for n in range(50)}
    # 1.5 is rounded up; all pairs come, none turned round.
    assert drawn == {("a-1", "a-2"), ("a-1", "a-3"), ("a-2", "a-3")}


def test_each_is_as_likely_as_any_other() -> None:
    random = Random(7)
    hits = dict.fromkeys(FLEET, 0)
    for _ in range(4000):
        for engine_id in chosen(Selection(share=25), random):
            hits[engine_id] += 1
    assert sum(hits.values()) == 4000
    # Six standard deviations of a binomial.
    assert all(abs(n - 1000) < 165 for n in hits.values())


@pytest.mark.parametrize(
    ("count", "percent", "share"),
    [
        *((0, 1, 0), (0, 100, 0), (1, 1, 1), (1, 100, 1), (49, 1, 1), (149, 1, 1), (150, 1, 2)),
        *((10, 5, 1), (10, 24, 2), (10, 25, 3), (10, 99, 10), (3, 50, 2), (15_000, 33, 4950)),
    ],
)
def test_a_share_is_rounded_half_up_and_at_least_one(count: int, percent: int, share: int) -> None:
    assert share_of(count, percent) == share


@given(st.integers(0, 100_000), st.integers(1, 100))
@example(50, 1)
@example(49, 1)
def test_a_share_is_what_decimal_arithmetic_says(count: int, percent: int) -> None:
    exact = Decimal(count) * percent / 100
    rounded = int(exact.quantize(Decimal(1), ROUND_HALF_UP))
    assert share_of(count, percent) == (max(1, rounded) if count else 0)


@pytest.mark.parametrize("share", [0, 101, -1])
def test_no_share_is_beyond_one_to_a_hundred(share: int) -> None:
    with pytest.raises(ValueError, match="share"):
        Selection(share=share)


@pytest.mark.parametrize(
    "other",
    [
        lambda each: evolve(each, engine_ids=("b", "a", "a")),
        lambda each: evolve(each, globs=("z", "y")),
        lambda each: evolve(each, labels=(("m", "2"), ("l", "1"))),
    ],
)
def test_selections_that_ask_for_the_same_are_equal(
    other: Callable[[Selection], Selection],
) -> None:
    selection = Selection(("a", "b"), ("y", "z"), (("l", "1"), ("m", "2")), 30)
    assert other(selection) == selection
    assert hash(other(selection)) == hash(selection)


@pytest.mark.parametrize(
    "changes",
    [
        {"engine_ids": ("a",)},
        {"globs": ("y",)},
        {"labels": (("l", "1"),)},
        {"share": 31},
    ],
)
def test_selections_that_ask_for_something_else_are_not(changes: dict[str, Any]) -> None:
    selection = Selection(("a", "b"), ("y", "z"), (("l", "1"), ("m", "2")), 30)
    assert evolve(selection, **changes) != selection


def test_no_glob_matches_nothing_and_an_empty_one_an_empty_text() -> None:
    assert not matches([])("")
    assert matches([""])("")
    assert not matches([""])("a")


def test_no_label_is_had_by_everybody() -> None:
    assert has_labels([])({})
    assert not has_labels([("a", "")])({})


LABELS = st.tuples(st.sampled_from("lm"), st.sampled_from("12"))


@given(
    st.dictionaries(
        st.text("ab", min_size=1, max_size=3), st.dictionaries(*map(st.sampled_from, ("lm", "12")))
    ),
    st.lists(st.text("ab*?", max_size=3), max_size=3),
    st.lists(LABELS, max_size=2),
    st.sets(st.integers(0, 20)),
    st.integers(1, 100),
    st.integers(),
)
def test_a_selection_is_what_a_plain_reading_gives(
    engines: dict[str, dict[str, str]],
    globs: list[str],
    labels: list[Label],
    named: set[int],
    share: int,
    seed: int,
) -> None:
    names = tuple(name for i, name in enumerate(engines) if i in named)
    expected = {
        name
        for name, its in engines.items()
        if (name in names or any(fnmatchcase(name, glob) for glob in globs)) or not (names or globs)
        if all(its.get(label) == value for label, value in labels)
    }
    fleet = fleet_of(engines)
    selection = Selection(names, tuple(globs), tuple(labels), share)
    reached = [member.engine_id for member in selection.members(fleet, Random(seed))]
    assert len(reached) == len(set(reached)) == share_of(len(expected), share)
    assert expected.issuperset(reached)
