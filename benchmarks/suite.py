"""A whole run: contenders one after the other, round by round, and all that is beside."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from attrs import define, field

from benchmarks.building import NativeTools
from benchmarks.contenders import BROKER_SETTINGS, TRANSPORTS, Contender
from benchmarks.fleet import Session
from benchmarks.hazards import cores, most_engines
from benchmarks.imports import measure_imports
from benchmarks.inproc import measure_inproc
from benchmarks.phases import Phase, parse_phases
from benchmarks.plans import Plan
from benchmarks.results import Results, Sample
from benchmarks.serving import RefusedError
from benchmarks.start_up import measure_start_up
from benchmarks.sweep import measure_sweeps
from benchmarks.virtual import VirtualEngines

__all__ = ["PARTS", "Suite", "tell"]

PARTS = ("fleet", "virtual", "sweep", "start-up", "imports", "transports")
"""What a run consists of."""

_TRANSPORT_PHASES = "reg:herd,hb:20000:1,stop:4,memory,close"


def tell(text: str) -> None:
    """Say how far it has come."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


@define(eq=False)
class Suite:
    """One run.

    Attributes:
        tools: The programs in C.
        plan: Which phases.
        sizes: Numbers of engines, from the smallest.
        contenders: Who takes part, in this order.
        rounds: How many.
        parts: Which of `PARTS`.
        path: Where the results go, after each part of a round.
        phases: In place of the plan's, if not empty.
        interval: Seconds between the heartbeats of a virtual engine.
        seconds: For how long virtual engines are measured.
    """

    tools: NativeTools
    plan: Plan
    sizes: list[int]
    contenders: list[Contender]
    rounds: int
    parts: tuple[str, ...]
    path: Path
    phases: tuple[Phase, ...] = ()
    interval: int = 10
    seconds: float = 20.0
    results: Results = field(init=False, factory=Results)
    _cores: tuple[int, int] | None = field(init=False, factory=cores)

    def __attrs_post_init__(self) -> None:
        fits = [size for size in self.sizes if size <= most_engines()]
        for size in self.sizes[len(fits) :]:
            self._skip(f"{size} engines", f"the limit of open files allows {most_engines()}")
        self.sizes = fits
        if self._cores is None:
            tell("there is one core: broker and generator share it, and take time from each other")
        self.results.settings = {
            "rounds": self.rounds,
            "sizes": self.sizes,
            "parts": list(self.parts),
            "pinned": self._cores is not None,
            "broker": {each.option: each.value for each in BROKER_SETTINGS},
        }

    def run(self) -> Results:
        """Do all of it; what was measured is kept, whatever ends it."""
        try:
            for number in range(self.rounds):
                for part in self.parts:
                    self._take(number, part)
                    self.results.save(self.path)
        finally:
            self.results.save(self.path)
        return self.results

    def _take(self, number: int, part: str) -> None:
        measures: dict[str, Callable[[int], Iterable[Sample]]] = {
            "fleet": self._fleet,
            "virtual": self._virtual,
            "sweep": lambda number: measure_sweeps(self.sizes[-1], number),
            "start-up": measure_start_up,
            "imports": measure_imports,
            "transports": self._transports,
        }
        tell(f"round {number + 1} of {self.rounds}: {part}")
        for sample in measures[part](number):
            self.results.samples.append(sample)
            for problem in (*sample.invalid, *sample.inexact):
                tell(f"  {sample.case}, {sample.work}: {problem}")

    def _fleet(self, number: int) -> Iterator[Sample]:
        for size in reversed(self.sizes):
            is_largest = size == self.sizes[-1]
            for contender in self.contenders:
                sessions = (
                    [Session(contender, size, "aged", self.phases)]
                    if self.phases
                    else self.plan.sessions(contender, size, is_largest=is_largest)
                )
                for session in sessions:
                    yield from self._session(session, number)

    def _transports(self, number: int) -> Iterator[Sample]:
        size = self.sizes[-1]
        for contender in TRANSPORTS:
            phases = parse_phases(_TRANSPORT_PHASES)
            yield from self._session(Session(contender, size, "aged", phases, "transports"), number)
        yield measure_inproc(size, number)

    def _session(self, session: Session, number: int) -> Iterator[Sample]:
        name = session.contender.name
        if name in self.results.skipped:
            return
        began = time.monotonic()
        try:
            yield from session.run(self.tools, self._cores, number, tell)
        except RefusedError as error:
            self._skip(name, str(error))
            return
        took = time.monotonic() - began
        tell(f"  {name}: {session.engines} {session.age} engines, {took:.1f} s")

    def _virtual(self, number: int) -> Iterator[Sample]:
        virtual = VirtualEngines(self.tools, self._cores, self.interval, self.seconds, tell)
        yield from virtual.run(self.sizes[-1], number)

    def _skip(self, what: str, reason: str) -> None:
        self.results.skipped[what] = reason
        tell(f"  {what} is left out: {reason}")
