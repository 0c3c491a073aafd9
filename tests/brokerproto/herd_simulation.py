"""A fleet whose broker dies, on a clock that jumps from one attempt to the next.

Brokers, engines and the rule of their retries are the real ones; a connection takes no
time, and is refused while there is no broker.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from random import Random

from attrs import define, field

from brokerproto.broker import Broker
from brokerproto.engine import Engine, EngineObserver
from brokerproto.engine_session import EngineSession
from brokerproto.life import Life, Wishes
from brokerproto.messages import Success
from brokerproto.retry import RetryPolicy
from brokerproto.terms import Limits
from brokerproto.testing import ManualClock, RecordingWorker, Wire


@define(eq=False, repr=False)
class Returning(EngineObserver):
    """One engine, its rule of retries, and when it came back."""

    policy: RetryPolicy
    engine: Engine = field(init=False)
    wire: Wire | None = field(init=False, default=None)
    back_at: float | None = field(init=False, default=None)

    def registered(self, engine: Engine, success: Success) -> None:
        self.policy.registered(success)
        self.back_at = engine.seconds()

    def ended(self, engine: Engine, session: EngineSession) -> None:
        self.wire = None


@define(eq=False, repr=False)
class Herd:
    """A fleet and the brokers it has, one after the other.

    Args:
        limits: How each broker is set up.
        size: How many engines.
        seed: Seeds all draws; engines share one source, as those of a process do.

    Attributes:
        attempts: When somebody dialled, since the broker died.
        herd: The largest herd that was announced.
    """

    limits: Limits
    size: int
    seed: int = 1
    attempts: list[float] = field(init=False, factory=list)
    clock: ManualClock = field(init=False, factory=ManualClock)
    engines: list[Returning] = field(init=False)
    broker: Broker | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        random = Random(self.seed)
        self.engines = []
        for number in range(self.size):
            returning = Returning(RetryPolicy(random))
            life = Life(f"e{number}", f"{number:x}", seq=number)
            returning.engine = Engine(
                life, RecordingWorker(), self.clock.seconds, random, Wishes(), returning
            )
            self.engines.append(returning)

    @property
    def herd(self) -> float:
        return max(returning.policy.herd for returning in self.engines)

    def begins(self, boot: str = "b0") -> None:
        """Have a new broker."""
        self.broker = Broker(self.clock.seconds, boot, self.limits)

    def registers(self) -> None:
        """Let all register who are not."""
        for returning in self.engines:
            if returning.wire is None:
                self._dials(returning)

    def dies(self) -> None:
        """Kill the broker; all connections break, and all engines have been stable."""
        wires = [each.wire for each in self.engines if each.wire is not None]
        self.broker = None
        for wire in wires:
            wire.engine.lose()

    def returns(self, outage: float) -> list[float]:
        """Let engines try until all are back; give the seconds that each one took.

        Args:
            outage: Seconds until there is a broker again.
        """
        died_at = self.clock.now
        self.attempts.clear()
        waiting: list[tuple[float, int]] = []
        for number, returning in enumerate(self.engines):
            self._waits(waiting, number, returning, 3.0)
        while waiting:
            at, number = heapq.heappop(waiting)
            if self.broker is None and at >= died_at + outage:
                self.clock.now = died_at + outage
                self.begins("b1")
            self.clock.now = at
            self.attempts.append(at - died_at)
            returning = self.engines[number]
            if self.broker is None:
                self._waits(waiting, number, returning, 0.0)
            else:
                self._dials(returning)
        return [(each.back_at or math.inf) - died_at for each in self.engines]

    def most_in_a_second(self) -> int:
        """Give how many dialled in the second that had the most of them."""
        return max(Counter(int(at) for at in self.attempts).values())

    def _waits(
        self, waiting: list[tuple[float, int]], number: int, returning: Returning, stable: float
    ) -> None:
        wait = returning.policy.ended(None, stable)
        assert wait is not None
        heapq.heappush(waiting, (self.clock.now + wait, number))

    def _dials(self, returning: Returning) -> None:
        assert self.broker is not None
        returning.wire = Wire(self.broker, returning.engine)
        returning.wire.exchange()
