"""One contender and a fleet: phase after phase, and after each the account is compared."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from benchmarks.building import NativeTools
from benchmarks.contenders import Contender
from benchmarks.hazards import SynCounts, wait_for_connection_tracking
from benchmarks.phases import MEMORY, Phase
from benchmarks.results import Sample
from benchmarks.serving import Generator, Serving, serve
from services.scaletest.programs import ProgramError, wait_until

__all__ = ["FIRST_NUMBER", "Session", "differences", "figures_of", "memory_between"]

FIRST_NUMBER = {"young": 0, "aged": 123_456}
"""The number in the hello, by age. Small numbers are objects that all Python shares, so
that engines which begin at 0 flatter every broker in Python."""

_ACCOUNT_SECONDS = 30.0
_KEPT_UP = 0.97


@frozen
class Session:
    """What is to be done with one contender, from its start to its end.

    Attributes:
        contender: Who.
        engines: How many.
        age: ``young`` or ``aged``.
        phases: In this order; the first registers them.
        part: Of which part its samples are.
    """

    contender: Contender
    engines: int
    age: str
    phases: tuple[Phase, ...]
    part: str = "fleet"

    def run(
        self,
        tools: NativeTools,
        cores: tuple[int, int] | None,
        number: int,
        tell: Callable[[str], None],
    ) -> Iterator[Sample]:
        """Run it; give a sample for each phase.

        Args:
            tools: Where the generator is.
            cores: Of the broker and of the generator; None to leave it to the system.
            number: Of the round.
            tell: Told of what has to be waited for.

        Raises:
            RefusedError: The contender does not know its address.
            ProgramError: A process ended, or did not do what it should.
        """
        if not self.contender.listen.startswith("ipc:"):
            wait_for_connection_tracking(self.engines, tell)
        broker_core, generator_core = cores or (None, None)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            serving = serve(self.contender, tools, folder, broker_core)
            stack.callback(serving.end)
            options = ["--engines", str(self.engines), "--hello", self.contender.hello]
            options += ["--first", str(FIRST_NUMBER[self.age])]
            generator = Generator(tools, serving, options, generator_core)
            stack.callback(generator.end)
            yield from _Run(self, serving, generator, number).samples()


@define(eq=False)
class _Run:
    """A session under way."""

    session: Session
    serving: Serving
    generator: Generator
    number: int
    _mix: int = field(init=False, default=0)
    _reports: list[dict[str, Any]] = field(init=False, factory=list)

    def samples(self) -> Iterator[Sample]:
        for phase in self.session.phases:
            if phase.kind == MEMORY:
                yield self._sample(phase, memory_between(self._reports, self.session.engines))
                continue
            syns = SynCounts.now()
            report = self.generator.run(phase.text)
            self._reports.append(report)
            invalid = syns.problems_until(SynCounts.now()) if phase.kind == "reg" else []
            invalid += _fell_behind(report)
            inexact = self._compare(report, is_over=phase.kind == "close")
            if phase.kind == "fan" and report["arrived"] != report["live"]:
                inexact.append(f"work for {report['live']}, arrived at {report['arrived']}")
            if phase.kind == "mix":
                self._mix = int(phase.arguments[0])
            else:
                yield self._sample(phase, figures_of(report), invalid, inexact)

    def _sample(
        self,
        phase: Phase,
        figures: Mapping[str, Any],
        invalid: Sequence[str] = (),
        inexact: Sequence[str] = (),
    ) -> Sample:
        return Sample(
            self.session.part,
            self.session.contender.name,
            phase.work,
            self.session.engines,
            self.number,
            self.session.age,
            self._mix,
            figures,
            invalid,
            inexact,
        )

    def _compare(self, report: Mapping[str, Any], *, is_over: bool) -> list[str]:
        """Hold the broker's account against what the generator did.

        What was sent last may still be under way, so it is waited for; what is there too
        much, or never comes, is told.
        """
        expected = 0 if is_over else self.session.engines
        found: dict[str, Any] = {}

        def settled() -> bool:
            found.clear()
            found.update(self.serving.stats())
            counted: int = found["heartbeats"]
            registered: int = found["registered"]
            sent: int = report["totals"]["sent"]
            return counted >= sent and registered == expected

        with suppress(ProgramError):  # What differs is told below.
            wait_until("the account to settle", settled, _ACCOUNT_SECONDS)
        return differences(report["totals"], found, expected, acks=self.session.contender.acks)


def differences(
    totals: Mapping[str, int], stats: Mapping[str, Any], registered: int, *, acks: bool
) -> list[str]:
    """Say what of a broker's account differs from what was done.

    Args:
        totals: What the generator did.
        stats: What the broker counted.
        registered: How many engines are connected.
        acks: Whether each heartbeat is to be acknowledged.
    """
    expected = {
        "heartbeats counted": (stats["heartbeats"], totals["sent"]),
        "heartbeats missed": (stats["missed"], 0),
        "engines registered": (stats["registered"], registered),
        "ACKs": (totals["acks"], totals["sent"] if acks else 0),
        "engines refused": (totals["refused"], 0),
        "attempts failed": (totals["failed"], 0),
        "connections lost": (totals["lost"], 0),
        "PINGs": (totals["pings"], 0),
        "other frames": (totals["strays"], 0),
    }
    return [
        f"{name}: {found} instead of {right}"
        for name, (found, right) in expected.items()
        if found != right
    ]


def figures_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """Take the figures out of what the generator reports."""
    about = ("phase", "engines", "mix", "totals")
    return {name: value for name, value in report.items() if name not in about}


def memory_between(reports: Sequence[Mapping[str, Any]], engines: int) -> dict[str, float]:
    """Divide what the broker's memory has grown by since before anybody came."""
    first, last = reports[0], reports[-1]
    return {
        f"{kind}_bytes_per_engine": (last[f"{kind}_kb"] - first[f"{kind}_kb_before"])
        * 1024
        / engines
        for kind in ("resident", "anonymous")
    }


def _fell_behind(report: Mapping[str, Any]) -> list[str]:
    """Say where the generator itself was too slow for what it was asked for."""
    if "achieved" in report and report["achieved"] < _KEPT_UP * report["rate"]:
        return [f"sent {report['achieved']:.0f} a second instead of {report['rate']:.0f}"]
    return []
