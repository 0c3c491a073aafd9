"""What a tick costs in which nobody, or a thousand of many, are found late or lost.

A broker without sockets, on a clock moved by hand. Its engines beat in turn, a group at
each tick, as a fleet does whose heartbeats are spread; then some of one group fall silent
together, so that all of them run out of time at the same tick.
"""

from __future__ import annotations

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
        """Let a tick pass; return the microseconds that the sweep took."""
        self.clock.advance(self.broker.tick_length)
        began = time.perf_counter()
        self.broker.tick()
        return (time.perf_counter() - began) * 1e6

    def interval(self, silent: int) -> list[float]:
        """Let an interval pass in which all beat but some of the first group.

        Returns:
            Microseconds of each tick's sweep.
        """
        self._beats += 1
        took = []
        for number, group in enumerate(self._groups):
            for engine_id, session in group[silent if number == 0 else 0 :]:
                self.broker.receive_data(session, b"HeartBeat:%b:%d\n" % (engine_id, self._beats))
            took += [self.tick() for _ in range(self._between)]
        return took


def measure_sweeps(engines: int, number: int) -> Iterator[Sample]:
    """Measure each number of silent engines once.

    Args:
        engines: How many there are, at least ten times as many as fall silent.
        number: Of the round.
    """
    for silent in SILENT:
        if silent > engines // _GROUPS:
            continue
        fleet = _Fleet(engines)
        quiet = fleet.interval(0)
        if not silent:
            quiet += fleet.interval(0) + fleet.interval(0)
            # The mean: which tick looks at whom is a matter of chance.
            figures = {"us": statistics.fmean(quiet)}
            yield Sample("sweep", "nobody", "tick", engines, number, figures=figures)
            continue
        found: dict[str, float] = {}
        while "lost" not in found:
            found |= _verdicts(fleet, silent)
        for verdict, took in found.items():
            figures = {"silent": silent, "us": took, "us_each": took / silent}
            case = f"{silent} {verdict}"
            yield Sample("sweep", case, "tick", engines, number, figures=figures)


def _verdicts(fleet: _Fleet, silent: int) -> dict[str, float]:
    """Let an interval pass; give what the dearest tick took in which all were judged alike."""
    before = fleet.broker.stats()
    took = max(fleet.interval(silent))
    after = fleet.broker.stats()
    found = {}
    if after.late - before.late == silent:
        found["late"] = took
    if after.lost - before.lost == silent:
        found["lost"] = took
    return found
