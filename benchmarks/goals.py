"""The goals, and what a run says of each: ratios to the limit, taken within one round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Literal

from attrs import frozen

from benchmarks.results import Results

__all__ = ["GOALS", "Goal", "Judgement", "Spread", "judge", "ratios"]

Verdict = Literal["pass", "short", "not measured"]
ByRound = Mapping[int, float]

_FLAT = 1.2


@frozen
class Spread:
    """What several rounds gave: their median, the least and the most of them, how many."""

    median: float
    least: float
    most: float
    rounds: int

    @classmethod
    def of(cls, values: ByRound) -> Spread | None:
        """Sum up; None where there is nothing."""
        if not values:
            return None
        each = list(values.values())
        return cls(statistics.median(each), min(each), max(each), len(each))


def ratios(above: ByRound, below: ByRound) -> dict[int, float]:
    """Divide what was measured in the same round; a round that lacks one is left out."""
    return {
        number: above[number] / below[number] for number in above if below.get(number, 0.0) != 0
    }


@frozen
class Goal:
    """One thing that is aimed for.

    Attributes:
        name: For the JSON; never changed.
        work: What is measured, for people.
        unit: Of the figure: ``x`` is a ratio to the limit.
        bound: What it must not exceed, or where `at_least` fall short of.
        measured: Takes it from the results, by round; the number is that of the engines.
        stretch: What would be better still.
    """

    name: str
    work: str
    unit: str
    bound: float
    measured: Callable[[Results, int], ByRound]
    at_least: bool = False
    stretch: float | None = None

    def verdict(self, spread: Spread | None) -> Verdict:
        """Say whether the median is good enough."""
        if spread is None:
            return "not measured"
        good = spread.median >= self.bound if self.at_least else spread.median <= self.bound
        return "pass" if good else "short"


@frozen
class Judgement:
    """A goal, and what a run says of it."""

    goal: Goal
    spread: Spread | None

    @property
    def verdict(self) -> Verdict:
        """Whether it is met."""
        return self.goal.verdict(self.spread)


def judge(results: Results) -> list[Judgement]:
    """Judge every goal by the largest fleet that was measured."""
    largest = {part: results.sizes(part)[-1:] for part in ("fleet", "virtual", "sweep")}
    engines = (largest["fleet"] or largest["virtual"] or largest["sweep"] or [0])[0]
    return [Judgement(goal, Spread.of(goal.measured(results, engines))) for goal in GOALS]


def _ratio(
    case: str, limit: str, work: str, figure: str, *, age: str | None = "aged", mix: int = 0
) -> Callable[[Results, int], ByRound]:
    def measured(results: Results, engines: int) -> ByRound:
        def values(name: str) -> ByRound:
            return results.values("fleet", name, work, figure, engines=engines, age=age, mix=mix)

        return ratios(values(case), values(limit))

    return measured


def _figure(
    part: str, case: str, work: str, figure: str, *, age: str | None = None
) -> Callable[[Results, int], ByRound]:
    def measured(results: Results, engines: int) -> ByRound:
        return results.values(part, case, work, figure, engines=engines, age=age)

    return measured


def _dearer_with_mix(work: str, figure: str) -> Callable[[Results, int], ByRound]:
    """By how much the ratio grows where each sixth heartbeat carries an rtt."""
    plain = _ratio("hub", "limit", work, figure)
    mixed = _ratio("hub", "limit", work, figure, mix=6)

    def measured(results: Results, engines: int) -> ByRound:
        before, after = plain(results, engines), mixed(results, engines)
        return {number: after[number] - before[number] for number in after if number in before}

    return measured


def _lost_of_herds(results: Results, engines: int) -> ByRound:
    found: dict[int, float] = {}
    for sample in results.samples:
        if (sample.part, sample.case, sample.work, sample.engines) == (
            "fleet",
            "hub",
            "reg",
            engines,
        ):
            things = sample.figures.get("things")
            if not isinstance(things, int):
                continue
            found[sample.round] = found.get(sample.round, 0) + engines - things
    return found


def _growth(work: str, figure: str) -> Callable[[Results, int], ByRound]:
    """The most that the hub's figure is at any number of engines, over the least."""

    def measured(results: Results, _: int) -> ByRound:
        sizes = results.sizes()
        if len(sizes) < 2:
            return {}
        each = [
            results.values("fleet", "hub", work, figure, engines=size, age="aged") for size in sizes
        ]
        rounds = set(each[0]).intersection(*each[1:])
        return {
            number: max(values[number] for values in each) / min(values[number] for values in each)
            for number in rounds
        }

    return measured


def _sweep_growth(results: Results, engines: int) -> ByRound:
    """What an engine costs that is lost with 999 others, over one that is with 99."""
    thousand = results.values("sweep", "1000 lost", "tick", "us_each", engines=engines)
    hundred = results.values("sweep", "100 lost", "tick", "us_each", engines=engines)
    return ratios(thousand, hundred)


_BATCH = ("stop", "us_per_heartbeat")
_FAST = ("hb:20000", "cpu_us_each")
_SLOW = ("hb:1500", "cpu_us_each")
_MEMORY = ("memory", "resident_bytes_per_engine")

GOALS = (
    Goal(
        "batch",
        "heartbeat, queued batch, no ACKs",
        "x",
        1.8,
        _ratio("hub", "limit", *_BATCH),
        stretch=1.4,
    ),
    Goal(
        "batch-acks",
        "the same with an ACK for each",
        "x",
        1.25,
        _ratio("hub-acks", "limit-acks", *_BATCH),
    ),
    Goal("fast", "heartbeats, 20,000/s evenly", "x", 0.45, _ratio("hub", "limit", *_FAST)),
    Goal(
        "fast-acks",
        "the same with an ACK for each",
        "x",
        1.0,
        _ratio("hub-acks", "limit-acks", *_FAST),
    ),
    Goal("slow", "heartbeats, 1,500/s evenly", "x", 0.75, _ratio("hub", "limit", *_SLOW)),
    Goal(
        "slow-acks",
        "the same with an ACK for each",
        "x",
        0.75,
        _ratio("hub-acks", "limit-acks", *_SLOW),
    ),
    Goal(
        "batch-mix",
        "more for a batch in which each sixth has an rtt",
        "x",
        0.1,
        _dearer_with_mix(*_BATCH),
    ),
    Goal("fast-mix", "more for such ones at 20,000/s", "x", 0.1, _dearer_with_mix(*_FAST)),
    Goal("slow-mix", "more for such ones at 1,500/s", "x", 0.1, _dearer_with_mix(*_SLOW)),
    Goal(
        "highest-rate",
        "highest rate without falling behind",
        "x",
        0.9,
        _ratio("hub", "limit", "lad", "highest_rate"),
        at_least=True,
    ),
    Goal(
        "herd-rate",
        "registration herd, engines a second",
        "x",
        0.9,
        _ratio("hub", "limit", "reg", "rate", age=None),
        at_least=True,
    ),
    Goal(
        "herd-p99",
        "registration herd, 99 % within",
        "ms",
        100,
        _figure("fleet", "hub", "reg", "p99_ms"),
    ),
    Goal("herd-lost", "registration herd, refused or lost", "engines", 0, _lost_of_herds),
    Goal(
        "memory-young",
        "memory of a young engine",
        "bytes",
        600,
        _figure("fleet", "hub", *_MEMORY, age="young"),
    ),
    Goal(
        "memory-aged",
        "memory of an aged engine",
        "bytes",
        800,
        _figure("fleet", "hub", *_MEMORY, age="aged"),
        stretch=550,
    ),
    Goal(
        "fan-out", "fan-out, the last engine", "x", 1.25, _ratio("hub", "limit", "fan", "last_ms")
    ),
    Goal(
        "virtual-memory",
        "virtual engine, memory",
        "bytes",
        600,
        _figure("virtual", "engines", "beat", "resident_bytes_per_engine"),
    ),
    Goal(
        "virtual-heartbeat",
        "virtual engine, a heartbeat",
        "us",
        15,
        _figure("virtual", "engines", "beat", "us_per_heartbeat"),
    ),
    Goal(
        "virtual-core",
        "virtual engines, all together",
        "% of a core",
        3,
        _figure("virtual", "engines", "beat", "core_percent"),
    ),
    Goal(
        "plain-batch",
        "without the hub, queued batch, to LineReceiver",
        "x",
        1.0,
        _ratio("reactor", "line-receiver", *_BATCH),
    ),
    Goal(
        "plain-fast",
        "without the hub, 20,000/s evenly, to LineReceiver",
        "x",
        1.0,
        _ratio("reactor", "line-receiver", *_FAST),
    ),
    Goal("flat-cpu", "batch, dearest to cheapest N", "x", _FLAT, _growth(*_BATCH)),
    Goal("flat-memory", "memory, dearest to cheapest N", "x", _FLAT, _growth(*_MEMORY)),
    Goal("sweep", "loss of one of 1,000, to one of 100", "x", _FLAT, _sweep_growth),
)
"""In the order in which they are shown. All are for 15,000 engines and more."""
