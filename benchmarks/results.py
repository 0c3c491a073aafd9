"""A run's results: every sample, as JSON; ``results.schema.json`` says what is what."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from attrs import asdict, define, field, frozen

__all__ = ["SCHEMA", "Results", "Sample", "machine"]

SCHEMA = 1
"""Raised with every change after which an older reader would misread."""

Figure = float | int | str | None


def _listed(values: Iterable[str]) -> list[str]:
    """Make of what was measured what is read again."""
    return list(values)


@frozen
class Sample:
    """One thing, measured once.

    Attributes:
        part: Which part of the benchmark: ``fleet``, ``virtual``, ``sweep`` ...
        case: Whose figures: in ``fleet`` the contender.
        work: What was done: in ``fleet`` `benchmarks.phases.Phase.work`.
        engines: With how many engines.
        round: Of which round, from 0: ratios are taken within one.
        age: ``young`` engines began at number 0, ``aged`` ones at a large one.
        mix: Each so many heartbeats carried an rtt; 0 for none.
        figures: By name; the unit ends the name where there is one.
        invalid: What spoiled the measurement; empty where nothing did.
        inexact: Where an account did not close. Then the program is wrong.
    """

    part: str
    case: str
    work: str
    engines: int
    round: int
    age: str = "young"
    mix: int = 0
    figures: Mapping[str, Figure] = field(factory=dict)
    invalid: Sequence[str] = field(default=(), converter=_listed)
    inexact: Sequence[str] = field(default=(), converter=_listed)


def machine() -> dict[str, Figure]:
    """Describe what the figures depend on; nothing that tells whose machine it is."""
    return {
        "cpu": _cpu_model(Path("/proc/cpuinfo")),
        "cores": os.cpu_count() or 0,
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "twisted": version("Twisted"),
        "brokerproto": version("brokerproto"),
    }


def _cpu_model(path: Path) -> str:
    try:
        lines: Iterable[str] = path.read_text().splitlines()
    except OSError:
        lines = ()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


@define
class Results:
    """All samples of a run, and what it ran on.

    Attributes:
        began: When, in UTC.
        machine: See `machine`.
        settings: What was asked for.
        skipped: Contenders and parts that were left out, and why.
        samples: In the order in which they were taken.
    """

    began: str = field(factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    machine: dict[str, Figure] = field(factory=machine)
    settings: dict[str, Any] = field(factory=dict)
    skipped: dict[str, str] = field(factory=dict)
    samples: list[Sample] = field(factory=list)

    def save(self, path: Path) -> None:
        """Write all of it; what was there before stays whole until this is."""
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".tmp")
        document = {"schema": SCHEMA, **asdict(self)}
        beside.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` wrote.

        Raises:
            ValueError: It is something else; the message says what.
        """
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or document.pop("schema", None) != SCHEMA:
            raise ValueError(f"{path}: not the results of a benchmark of schema {SCHEMA}")
        samples = [Sample(**each) for each in document.pop("samples")]
        return cls(**document, samples=samples)

    def values(
        self,
        part: str,
        case: str,
        work: str,
        figure: str,
        *,
        engines: int | None = None,
        age: str | None = None,
        mix: int = 0,
    ) -> dict[int, float]:
        """Give a figure by round: of valid samples alone, and the mean of a round's.

        Args:
            part: As in `Sample`, and so are the following.
            case: Whose.
            work: Of which work.
            figure: The name in its figures.
            engines: Of samples with so many; None for any number.
            age: Of engines of this age; None for either.
            mix: Of samples with this mix.
        """
        found: dict[int, list[float]] = {}
        for sample in self.samples:
            value = sample.figures.get(figure)
            if (
                (sample.part, sample.case, sample.work, sample.mix) == (part, case, work, mix)
                and engines in (None, sample.engines)
                and age in (None, sample.age)
                and not sample.invalid
                and isinstance(value, (int, float))
            ):
                found.setdefault(sample.round, []).append(value)
        return {number: sum(each) / len(each) for number, each in found.items()}

    def sizes(self, part: str = "fleet") -> list[int]:
        """Give the numbers of engines that there are samples of, from the smallest."""
        return sorted({sample.engines for sample in self.samples if sample.part == part})

    @property
    def held_up(self) -> float | None:
        """The median share of a phase for which broker or generator waited for a CPU.

        None where no sample tells. More than a few hundredths mean that others were at work
        on the machine: then wake-ups fall together, and what is sent evenly comes in batches.
        """
        shares = [
            max(figures["waited_ms"], figures["generator_waited_ms"]) / figures["lasted_ms"]
            for figures in (cast("Mapping[str, float]", each.figures) for each in self.samples)
            if figures.get("lasted_ms")
        ]
        return statistics.median(shares) if shares else None

    @property
    def inexact(self) -> list[str]:
        """Where accounts did not close, one line for each."""
        return [_line(sample, what) for sample in self.samples for what in sample.inexact]

    @property
    def invalid(self) -> list[str]:
        """What was left out because something spoiled it, one line for each."""
        return [_line(sample, what) for sample in self.samples for what in sample.invalid]


def _line(sample: Sample, what: str) -> str:
    return (
        f"{sample.case}, {sample.engines} engines, round {sample.round + 1}, {sample.work}: {what}"
    )
