"""A broker that finds many engines late at once suspects itself first.

Rules: protocol reference, section "Liveness".
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Generic

from attrs import define, field

from brokerproto.liveness import DeadlineRing, Detector, Patience, Verdict, W

__all__ = ["PATIENT_INTERVALS", "Brake", "evictions", "most_late"]

PATIENT_INTERVALS = 10
"""Of an engine's intervals in which it is not LOST after the brake has gone on and all
have fallen silent."""


def most_late(registered: int) -> int:
    """Return how many of so many engines may be late before a broker suspects itself."""
    return max(10, registered * 3 // 10)


def evictions(registered: int) -> int:
    """Return how many of so many engines may be LOST in a second while the brake is on."""
    return max(1, registered // 100)


@define(eq=False)
class Brake(Generic[W]):
    """Hands on a detector's verdicts, and puts LOST off while it is on.

    A session that is watched hangs in the detector's ring or waits here, never both. One
    that waits costs nothing until it is heard, it is over, or its turn has come. Turns
    are taken in the order in which the timeouts ran out.

    Args:
        detector: Who judges.
        interval: The broker's own seconds between heartbeats.
        patience: How long an engine with this interval may be silent.

    Attributes:
        heard: Detector seconds of the last sign of life of anybody; kept by the owner.
        since: Monotonic seconds since when it is on; None while it is off.
        times: How many times it went on.
        evicted: How many were declared LOST whose LOST it had put off.
        evicted_of_late: How many of them since it went on last.
    """

    detector: Detector[W]
    interval: float
    patience: Patience
    heard: float = field(init=False, default=0.0)
    since: float | None = field(init=False, default=None)
    times: int = field(init=False, default=0)
    evicted: int = field(init=False, default=0)
    evicted_of_late: int = field(init=False, default=0)
    _recent: int = field(init=False, default=0)
    _recently: DeadlineRing[None] = field(init=False)
    _waiting: OrderedDict[W, None] = field(init=False, factory=OrderedDict)
    _applied: float = field(init=False, default=-math.inf)
    _released: float = field(init=False, default=-math.inf)
    _is_cut_off: bool = field(init=False, default=False)
    _allowance: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self._recently = DeadlineRing(self.detector.clock.tick)

    @property
    def is_on(self) -> bool:
        """Whether the broker suspects itself."""
        return self.since is not None

    @property
    def waiting(self) -> int:
        """How many there are whose LOST is put off."""
        return len(self._waiting)

    def recovered(self, session: W) -> None:
        """Take note that a session is late no more: it was heard, or is excused."""
        self.detector.late.discard(session)
        if session in self._waiting:
            del self._waiting[session]
            self.detector.watch(session)

    def over(self, session: W) -> None:
        """Take note that nobody waits for a session any more."""
        self.detector.late.discard(session)
        self._waiting.pop(session, None)

    def tick(self, real_now: float, registered: int) -> list[tuple[W, Verdict]]:
        """Have the detector judge, and put off what the broker may be to blame for.

        Args:
            real_now: Monotonic seconds, as for `Detector.tick`.
            registered: How many engines there are.
        """
        before = self.detector.horizon
        verdicts = self.detector.tick(real_now)
        self._count(verdicts)
        self._switch(real_now, registered)
        if self.is_on:
            lost = [session for session, verdict in verdicts if verdict is Verdict.LOST]
            # Who is to be waited for longest keeps nobody else waiting.
            self._waiting.update(dict.fromkeys(sorted(lost, key=self._longer)))
            verdicts = [each for each in verdicts if each[1] is not Verdict.LOST]
        # What was not made use of is not saved up: no second has more than its share.
        passed = self.detector.horizon - before
        self._allowance = self._allowance % 1 + passed * evictions(registered)
        return verdicts + self._turns()

    def _count(self, verdicts: list[tuple[W, Verdict]]) -> None:
        """Keep count of those that became late within one interval, each within its own."""
        now = self.detector.horizon
        self._recent -= sum(1 for _ in self._recently.due(now))
        for session, verdict in verdicts:
            if verdict is Verdict.LATE:
                self._recently.put(None, now + self.interval * self._longer(session))
                self._recent += 1

    def _longer(self, session: W) -> float:
        """Tell how much longer than the broker's own interval an engine's is, 1 or more.

        A fleet that beats less often has a longer timeout, in proportion, and takes as
        much longer to become late.
        """
        patience = session.patience
        return 1.0 if patience is None else max(1.0, patience.lost / self.patience.lost)

    def _switch(self, real_now: float, registered: int) -> None:
        now, most = self.detector.horizon, most_late(registered)
        late = len(self.detector.late)
        if self.since is None and self._recent > most and late > most:
            self.since = real_now
            self.times += 1
            self.evicted_of_late = 0
            self._allowance = 0.0
            self._applied, self._is_cut_off = now, False
        elif self.since is not None and late <= most:
            self.since, self._released = None, now

    def _turns(self) -> list[tuple[W, Verdict]]:
        """Take those whose LOST need not be put off any more."""
        now = self.detector.horizon
        if now - self.heard >= self.patience.late:
            # Nobody is heard: and of those who will be again, not all will be at once.
            self._is_cut_off = True
        turns = []
        while self._waiting and self._allowance >= 1:
            session = next(iter(self._waiting))
            if now < self._not_before(session):
                break
            del self._waiting[session]
            self._allowance -= 1
            self.evicted += 1
            self.evicted_of_late += 1
            turns.append((session, Verdict.LOST))
        return turns

    def _not_before(self, session: W) -> float:
        """Tell when the turn of one that waits may come, detector seconds."""
        longer = self._longer(session)
        # When it went off, who was silent still may have been on the way back.
        earliest = self._released + self.patience.lost * longer
        if self.is_on and self._is_cut_off:
            earliest = max(earliest, self._applied + PATIENT_INTERVALS * self.interval * longer)
        return earliest
