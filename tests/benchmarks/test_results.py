"""Results come back as they were saved, and are what their schema says."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import benchmarks
from benchmarks.results import SCHEMA, Results, Sample, machine
from tests.benchmarks.sampled import fleet_sample, results, whole

_SCHEMA = json.loads(Path(benchmarks.__file__).with_name("results.schema.json").read_text())


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    taken = results(*whole(1.5))
    taken.skipped["hub"] = "it is not there"
    path = tmp_path / "folder" / "results.json"
    taken.save(path)
    assert Results.load(path) == taken
    assert list(path.parent.iterdir()) == [path]


def test_saved_results_are_as_the_schema_says(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    Results(samples=whole(1.5)).save(path)
    document = json.loads(path.read_text())
    jsonschema_rs.validator_for(_SCHEMA).validate(document)
    assert _SCHEMA["properties"]["schema"]["const"] == SCHEMA


@pytest.mark.parametrize("text", ["{}", "[]", '{"schema": 0, "samples": []}'])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="not the results of a benchmark"):
        Results.load(path)


def test_values_are_told_apart_by_everything_that_a_sample_is_of() -> None:
    taken = results(
        fleet_sample("hub", "stop", us=1.0),
        fleet_sample("hub", "stop", round=1, us=2.0),
        fleet_sample("hub", "stop", mix=6, us=3.0),
        fleet_sample("hub", "stop", engines=1_000, us=4.0),
        fleet_sample("hub", "stop", age="young", us=5.0),
        fleet_sample("hub", "fan", us=6.0),
        fleet_sample("limit", "stop", us=7.0),
        Sample("virtual", "hub", "stop", 15_000, 0, "aged", figures={"us": 8.0}),
    )

    def values(**which: object) -> dict[int, float]:
        return taken.values("fleet", "hub", "stop", "us", **which)  # type: ignore[arg-type]

    assert values(engines=15_000, age="aged") == {0: 1.0, 1: 2.0}
    assert values(engines=15_000, age="aged", mix=6) == {0: 3.0}
    assert values(engines=1_000) == {0: 4.0}
    assert values(age="young") == {0: 5.0}
    assert values() == {0: pytest.approx((1.0 + 4.0 + 5.0) / 3), 1: 2.0}
    assert taken.sizes() == [1_000, 15_000]


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_several_samples_of_a_round_are_averaged(costs: list[float]) -> None:
    taken = results(*(fleet_sample("hub", "stop", us=cost) for cost in costs))
    [value] = taken.values("fleet", "hub", "stop", "us").values()
    assert value == pytest.approx(sum(costs) / len(costs))


def test_text_and_nothing_are_no_values() -> None:
    sample = Sample("fleet", "hub", "lad", 1, 0, figures={"limited_by": "broker", "rate": None})
    taken = results(sample)
    assert taken.values("fleet", "hub", "lad", "limited_by") == {}
    assert taken.values("fleet", "hub", "lad", "rate") == {}


def test_accounts_that_do_not_close_are_told_with_their_place() -> None:
    sample = Sample("fleet", "hub", "stop", 200, 1, inexact=["ACKs: 1 instead of 2"])
    assert results(sample).inexact == ["hub, 200 engines, round 2, stop: ACKs: 1 instead of 2"]


def test_machine_is_described_without_telling_whose_it_is() -> None:
    import socket

    described = machine()
    assert described["cores"]
    assert socket.gethostname() not in map(str, described.values())


def test_share_of_waiting_for_a_cpu_is_the_larger_one_of_the_middle_phase() -> None:
    taken = results(
        *(
            fleet_sample("hub", "stop", lasted_ms=100.0, waited_ms=own, generator_waited_ms=other)
            for own, other in ((1.0, 0.0), (0.0, 20.0), (90.0, 1.0))
        ),
        fleet_sample("hub", "memory", resident_bytes_per_engine=1.0),
    )
    assert taken.held_up == pytest.approx(0.2)
    assert results().held_up is None
