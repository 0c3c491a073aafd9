"""What a tick costs in which nobody, or a thousand of many, are found late or lost.

A broker without sockets, on a clock moved by hand. Its engines beat in turn, a group at
each tick, as a fleet does whose heartbeats are spread; then some of one group fall silent
together, so that all of them run out of time at the same tick.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterator

from attrs import define, field

from benchmarks.in_memory import ORIGIN
from benchmarks.results import Sample
from brokerproto.broker import Broker
from brokerproto.broker_session import BrokerSession
from brokerproto.terms import Limits
from brokerproto.testing import ManualClock, RecordingCarrier

__all__ = ["SILENT", "measure_sweeps"]

SILENT = (0, 100, 1000)
"""How many fall silent."""

_GROUPS = 10


@define(eq=False)
class _Fleet:
    """A broker and engines that beat, one group at a time."""

    engines: int
    clock: ManualClock = field(factory=ManualClock)
    broker: Broker = field(init=False)
    _groups: list[list[tuple[bytes, BrokerSession]]] = field(init=False)
    _ticks: int = field(init=False, default=0)
    _beats: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.broker = Broker(self.clock.seconds, "b0", Limits(accept_rate=0))
        self._groups = [[] for _ in range(_GROUPS)]
        for group in self._groups:
            for _ in range(self.engines // _GROUPS):
                engine_id = b"e%d" % len(self.broker.fleet)
                session = self.broker.open(RecordingCarrier(), ORIGIN)
                hello = b"NewEngine:%b:0:v=1;instance=%b\n" % (engine_id, engine_id.hex().encode())
                self.broker.receive_data(session, hello)
                session.data_to_send()
                group.append((engine_id, session))
            for _ in range(self._between):
                self.tick()

    @property
    def _between(self) -> int:
        """Ticks from one group's turn to the next one's."""
        return round(self.broker.limits.interval / self.broker.tick_length / _GROUPS)

    def tick(self) -> float:
        """Let a tick pass; return the CPU microseconds that the sweep took."""
        self.clock.advance(self.broker.tick_length)
        # A collection of garbage takes longer than a sweep, and falls on any of them.
        gc.disable()
        began = time.thread_time()
        self.broker.tick()
        took = (time.thread_time() - began) * 1e6
        gc.enable()
        return took

    def interval(self, silent: int) -> Iterator[float]:
        """Let an interval pass in which all beat but some of the first group.

        Yields:
            Microseconds of each tick's sweep.
        """
        self._beats += 1
        for number, group in enumerate(self._groups):
            for engine_id, session in group[silent if number == 0 else 0 :]:
                self.broker.receive_data(session, b"HeartBeat:%b:%d\n" % (engine_id, self._beats))
            for _ in range(self._between):
                yield self.tick()

    @property
    def verdicts(self) -> tuple[int, int]:
        """How many are late, and how many were lost."""
        return len(self.broker.detector.late), self.engines - len(self.broker.fleet)


def measure_sweeps(engines: int, number: int) -> Iterator[Sample]:
    """Measure each number of silent engines once.

    Args:
        engines: How many there are, at least ten times as many as fall silent.
        number: Of the round.
    """
    for silent in SILENT:
        if silent > engines // _GROUPS:
            continue
        # What a tick costs depends on whom it looks at, so that a fleet in which nobody is
        # silent goes through the same ticks beside.
        fleet, other = _Fleet(engines), _Fleet(engines)
        quiet = [*fleet.interval(0), *other.interval(0)]
        if not silent:
            figures = {"us": statistics.fmean(quiet)}
            yield Sample("sweep", "nobody", "tick", engines, number, figures=figures)
            continue
        for verdict, beyond in _verdicts(fleet, other, silent).items():
            figures = {"us": beyond, "us_each": beyond / silent}
            case = f"{silent} {verdict}"
            yield Sample("sweep", case, "tick", engines, number, figures=figures)


def _verdicts(fleet: _Fleet, other: _Fleet, silent: int) -> dict[str, float]:
    """Let time pass until some are lost; give what it cost to find all of them late, and lost."""
    found: dict[str, float] = {}
    while "lost" not in found:
        before = fleet.verdicts
        for took, without in zip(fleet.interval(silent), other.interval(0), strict=True):
            late, lost = fleet.verdicts
            if late - before[0] == silent:
                found["late"] = took - without
            if lost - before[1] == silent:
                found["lost"] = took - without
            before = late, lost
    return found
