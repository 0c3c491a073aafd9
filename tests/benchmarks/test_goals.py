"""Goals are judged by medians of ratios that were taken within one round."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.goals import GOALS, Spread, judge, ratios
from benchmarks.results import Results
from tests.benchmarks.sampled import fleet_sample, results, whole

COSTS = st.floats(0.001, 1e9, allow_nan=False)


def _judged(taken: Results) -> dict[str, tuple[float | None, str]]:
    return {
        each.goal.name: (each.spread.median if each.spread else None, each.verdict)
        for each in judge(taken)
    }


def test_every_goal_is_met_by_a_broker_that_costs_a_third() -> None:
    judged = _judged(results(*whole(1 / 3)))
    assert {verdict for _, verdict in judged.values()} == {"pass"}


def test_every_goal_that_looks_at_cost_is_missed_by_a_broker_that_costs_thrice() -> None:
    judged = _judged(results(*whole(3)))
    # Nobody is lost, all cost the same at any number, and an rtt costs nothing.
    indifferent = {"herd-lost", "flat-cpu", "flat-memory", "batch-mix", "fast-mix", "slow-mix"}
    assert {name for name, (_, verdict) in judged.items() if verdict == "pass"} == indifferent
    assert {name for name, (_, verdict) in judged.items() if verdict == "short"} == set(
        judged
    ) - indifferent


def test_nothing_is_judged_where_nothing_was_measured() -> None:
    assert {verdict for _, verdict in _judged(results()).values()} == {"not measured"}


def test_goals_have_names_of_their_own() -> None:
    names = [goal.name for goal in GOALS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.name)
def test_bound_itself_is_good_enough_and_what_is_beyond_is_not(goal: object) -> None:
    from benchmarks.goals import Goal

    assert isinstance(goal, Goal)
    at = Spread(goal.bound, 0, 0, 1)
    worse = goal.bound - 0.001 if goal.at_least else goal.bound + 0.001
    assert goal.verdict(at) == "pass"
    assert goal.verdict(Spread(worse, 0, 0, 1)) == "short"


@given(st.dictionaries(st.integers(0, 9), COSTS), st.dictionaries(st.integers(0, 9), COSTS))
def test_ratios_are_of_rounds_that_have_both(
    above: dict[int, float], below: dict[int, float]
) -> None:
    found = ratios(above, below)
    assert set(found) == set(above) & set(below)
    assert all(found[number] == above[number] / below[number] for number in found)


def test_what_cannot_be_divided_by_is_left_out() -> None:
    assert ratios({0: 1.0}, {0: 0.0}) == {}


@given(st.dictionaries(st.integers(0, 9), COSTS, min_size=1))
def test_median_lies_between_the_least_and_the_most(values: dict[int, float]) -> None:
    spread = Spread.of(values)
    assert spread is not None
    assert spread.least <= spread.median <= spread.most
    assert (spread.least, spread.most) == (min(values.values()), max(values.values()))
    assert spread.rounds == len(values)


def test_slow_round_of_the_machine_does_not_show_in_ratios() -> None:
    taken = results(
        *(
            fleet_sample(case, "stop", round=number, us_per_heartbeat=cost * speed)
            for number, speed in enumerate((1.0, 10.0, 2.0))
            for case, cost in (("limit", 2.0), ("hub", 3.0))
        )
    )
    assert _judged(taken)["batch"] == (1.5, "pass")


def test_invalid_sample_is_not_counted() -> None:
    taken = results(
        fleet_sample("limit", "stop", us_per_heartbeat=2.0),
        fleet_sample("hub", "stop", us_per_heartbeat=2.0),
        fleet_sample("hub", "stop", us_per_heartbeat=200.0, invalid=("it was spoiled",)),
    )
    assert _judged(taken)["batch"] == (1.0, "pass")
    assert taken.invalid == ["hub, 15000 engines, round 1, stop: it was spoiled"]


def test_largest_fleet_is_judged() -> None:
    taken = results(
        *(
            fleet_sample(case, "stop", engines=engines, us_per_heartbeat=cost)
            for engines, costs in ((1_000, (1.0, 9.0)), (15_000, (1.0, 1.5)))
            for case, cost in zip(("limit", "hub"), costs, strict=True)
        )
    )
    assert _judged(taken)["batch"] == (1.5, "pass")


def test_engine_that_never_registered_is_lost() -> None:
    taken = results(fleet_sample("hub", "reg", things=14_999, rate=1.0))
    assert _judged(taken)["herd-lost"] == (1.0, "short")


def test_what_an_rtt_adds_is_a_difference_of_ratios() -> None:
    taken = results(
        fleet_sample("limit", "stop", us_per_heartbeat=2.0),
        fleet_sample("limit", "stop", mix=6, us_per_heartbeat=4.0),
        fleet_sample("hub", "stop", us_per_heartbeat=2.0),
        fleet_sample("hub", "stop", mix=6, us_per_heartbeat=5.0),
    )
    assert _judged(taken)["batch-mix"] == (0.25, "short")


def test_growth_is_from_the_cheapest_number_of_engines_to_the_dearest() -> None:
    taken = results(
        *(
            fleet_sample("hub", "stop", engines=engines, us_per_heartbeat=cost)
            for engines, cost in ((1_000, 3.0), (5_000, 2.0), (15_000, 2.5))
        )
    )
    assert _judged(taken)["flat-cpu"] == (1.5, "short")
