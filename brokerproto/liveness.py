"""Who is late, who is lost: pure, for many engines at once.

Rules: protocol reference, section "Liveness". Three parts, each usable alone: the
`DetectorClock`, on which silence is measured, the `DeadlineRing`, which holds many
deadlines without a timer for each, and the `Detector`, which judges sessions by both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import Enum, auto
from typing import Generic, Protocol, TypeVar

from attrs import define, field, frozen

__all__ = [
    "LONGEST_LOOK",
    "DeadlineRing",
    "Detector",
    "DetectorClock",
    "Patience",
    "Verdict",
    "Watched",
    "tick_length",
    "worst_detection",
]


LONGEST_LOOK = 15.0
"""Detector seconds after which each session in a ring is looked at again."""


def tick_length(interval: float) -> float:
    """Return the seconds between two sweeps where heartbeats come each `interval`.

    At most one: whoever waits for a verdict on somebody else does not wait longer for
    the sweep than for the verdict.
    """
    return min(max(0.25, interval / 20), 1.0)


@frozen
class Patience:
    """How long a peer may be silent, in seconds. Shared by all on the same terms.

    Attributes:
        late: Silence after which an engine is LATE and pinged.
        again: Silence after which it is pinged a second time.
        lost: Silence after which it is LOST.
    """

    late: float
    again: float
    lost: float

    @classmethod
    def of(cls, interval: float, timeout: float) -> Patience:
        """Derive the steps from the granted interval and its timeout, in seconds."""
        late = min(1.5 * interval + 1, timeout / 2)
        return cls(late, (late + timeout) / 2, timeout)


def worst_detection(timeout: float, tick: float) -> float:
    """Return the longest time from a peer's last sign of life to its verdict.

    The ring rounds a deadline up to a tick, the sweep comes up to a tick after that, and
    may itself be a tick late. The sign of life is dated with the tick before it, which
    makes a verdict up to one tick earlier, never later.
    """
    return timeout + 3 * tick


class DetectorClock:
    """A clock that does not run while the broker itself does not run.

    Each `advance` adds the time that really passed, but at most two ticks: a stopped
    process, a blocked reactor or a throttled CPU is never held against an engine.

    Attributes:
        now: Detector seconds. One float object shared by all who were heard since the
            last tick, so that dating a sign of life costs a reference.
        lost_time: Seconds withheld so far.
    """

    def __init__(self, tick: float, real_now: float) -> None:
        self.tick = tick
        self.now = 0.0
        self.lost_time = 0.0
        self._real = real_now

    def reading(self, real_now: float) -> float:
        """Tell the time between two ticks, as the next one would: detector seconds."""
        return self.now + min(max(0.0, real_now - self._real), 2 * self.tick)

    def advance(self, real_now: float) -> bool:
        """Move to `real_now`, monotonic seconds; return whether time was withheld."""
        passed = max(0.0, real_now - self._real)
        self._real = real_now
        granted = min(passed, 2 * self.tick)
        self.now += granted
        self.lost_time += passed - granted
        return passed > granted


T = TypeVar("T")

_NEAR = 64


class DeadlineRing(Generic[T]):
    """Many deadlines, in buckets one tick wide; no timer for each.

    `due` costs in proportion to what it returns. An item is due at the first sweep
    whose time is not before its deadline rounded up to a tick. Nothing is ever removed
    early: whoever takes a due item asks it whether the deadline still holds, and puts
    it back where it does not.

    Args:
        tick: Seconds; how wide a bucket is.
        now: The time; nothing is due before it.
    """

    def __init__(self, tick: float, now: float = 0.0) -> None:
        self._tick = tick
        self._buckets: dict[int, list[T]] = {}
        self._swept = math.floor(now / tick) - 1

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def put(self, item: T, deadline: float) -> None:
        """Have `item` returned once, by the first sweep from `deadline` on."""
        # A bucket that was swept already is not looked at again.
        index = max(math.ceil(deadline / self._tick), self._swept + 1)
        bucket = self._buckets.get(index)
        if bucket is None:
            self._buckets[index] = [item]
        else:
            bucket.append(item)

    def due(self, now: float) -> Iterator[T]:
        """Take the items whose deadline has come; what is put meanwhile waits."""
        reached = math.floor(now / self._tick)
        taken: list[list[T]] = []
        while self._swept < reached:
            if not self._buckets:
                self._swept = reached
                break
            self._swept += 1
            bucket = self._buckets.pop(self._swept, None)
            if bucket is not None:
                taken.append(bucket)
        for bucket in taken:
            yield from bucket

    def next_due(self) -> float:
        """Give the time of the first sweep that would take something; infinity for none."""
        # Where there are many, one of the next buckets is not empty.
        for index in range(self._swept + 1, self._swept + 1 + _NEAR):
            if index in self._buckets:
                return index * self._tick
        return min(self._buckets, default=math.inf) * self._tick


class Watched(Protocol):
    """What the detector needs to know of a session.

    Attributes:
        seen: Detector seconds of the last sign of life.
        patience: How long it may be silent; None once nobody waits for it any more.
        pings: How many steps of its patience it has used up: 0 alive, 1 or 2 late. The
            detector raises it, whoever hears the peer sets it back.
    """

    seen: float
    pings: int

    @property
    def patience(self) -> Patience | None:
        """How long it may be silent; None once nobody waits for it any more."""


W = TypeVar("W", bound=Watched)


class Verdict(Enum):
    """What silence has led to."""

    LATE = auto()
    STILL_LATE = auto()
    LOST = auto()


@define
class Detector(Generic[W]):
    """Judges the silence of many sessions.

    Attributes:
        clock: The detector clock.
        late: Those that are late now; whoever hears one takes it out.
        horizon: Detector seconds until which silence counts: whatever came before has
            been read. Whoever holds silence against a peer measures it up to here.
    """

    clock: DetectorClock
    late: set[W] = field(init=False, factory=set)
    horizon: float = field(init=False, default=0.0)
    _ring: DeadlineRing[W] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._ring = DeadlineRing(self.clock.tick)

    def watch(self, session: W) -> None:
        """Begin to judge `session`; once is enough until it is LOST."""
        if session.patience is not None:
            self._look_again(session, session.seen + session.patience.late)

    def _look_again(self, session: W, deadline: float) -> None:
        # A session that is over stays in the ring until it is looked at, and how long
        # that may take must not be the peer's to say.
        self._ring.put(session, min(deadline, self.clock.now + LONGEST_LOOK))

    def tick(self, real_now: float) -> list[tuple[W, Verdict]]:
        """Advance the clock and judge whose time has come.

        At a tick for which time was withheld silence counts up to the tick before: what
        the peers have sent since has not been read yet. By the next tick it has, however
        late that is.

        Args:
            real_now: Monotonic seconds. Between two calls all must be read once that
                can be read, as a reactor does between two delayed calls.
        """
        before = self.clock.now
        withheld = self.clock.advance(real_now)
        now = self.horizon = before if withheld else self.clock.now
        verdicts = []
        for session in self._ring.due(now):
            patience = session.patience
            if patience is None:
                continue
            silence = now - session.seen
            if silence >= patience.lost:
                session.pings = 2
                self.late.add(session)
                verdicts.append((session, Verdict.LOST))
                continue
            if silence < patience.late:
                following = patience.late
            elif silence < patience.again:
                following = patience.again
                if session.pings == 0:
                    session.pings = 1
                    self.late.add(session)
                    verdicts.append((session, Verdict.LATE))
            else:
                following = patience.lost
                if session.pings < 2:
                    verdict = Verdict.STILL_LATE if session.pings else Verdict.LATE
                    session.pings = 2
                    self.late.add(session)
                    verdicts.append((session, verdict))
            # Whoever is heard from now on may be late again before its next step is due.
            self._look_again(session, min(session.seen + following, now + patience.late))
        return verdicts
