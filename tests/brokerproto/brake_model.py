"""What the protocol reference says of the brake, once more, for the model of a broker."""

from __future__ import annotations

import math
from collections.abc import Collection
from fractions import Fraction
from itertools import takewhile
from typing import Generic, Protocol, TypeVar

from attrs import define, field


class Slow(Protocol):
    """Who has a timeout of its own."""

    @property
    def timeout(self) -> float: ...


P = TypeVar("P", bound=Slow)


@define(eq=False)
class ModelBrake(Generic[P]):
    """Looks at everybody at each tick; `waiting` says since when each one is put off."""

    interval: float
    late_after: float
    timeout: float
    heard: float = 0.0
    on: bool = False
    times: int = 0
    evicted: int = 0
    evicted_of_late: int = 0
    on_at: float = -math.inf
    off_at: float = -math.inf
    cut_off: bool = False
    fraction: Fraction = Fraction()
    became_late: list[float] = field(factory=list)
    waiting: dict[P, float] = field(factory=dict)

    def late_now(self, peer: P, now: float) -> None:
        """Count one that has become late; it counts for one interval of its own."""
        self.became_late.append(now + self.longer(peer) * self.interval)

    def longer(self, peer: P) -> float:
        """Tell how much longer its interval is than the broker's."""
        return max(1.0, peer.timeout / self.timeout)

    def switch(self, now: float, late: int, registered: int) -> str | None:
        """Say whether it has just been applied or released."""
        most = max(10, 0.3 * registered)
        self.became_late = [until for until in self.became_late if now < until]
        if not self.on and len(self.became_late) > most and late > most:
            self.on, self.on_at, self.fraction, self.evicted_of_late = True, now, Fraction(), 0
            self.times += 1
            self.cut_off = False
            return "applied"
        if self.on and late <= most:
            self.on, self.off_at = False, now
            return "released"
        return None

    def lost(self, peers: Collection[P], now: float) -> list[P]:
        """Take those whose time has run out, and return who is LOST at once."""
        if not self.on:
            return list(peers)
        self.waiting.update(dict.fromkeys(peers, now))
        return []

    def turns(self, now: float, passed: float, registered: int, gone: Collection[P]) -> list[P]:
        """Return whose turn has come; of those who wait equally long, whoever is `gone`."""
        self.fraction += Fraction(passed) * max(1, registered // 100)
        turns, self.fraction = divmod(self.fraction, 1)
        self.cut_off |= now - self.heard >= self.late_after
        order = sorted(
            self.waiting,
            key=lambda peer: (self.waiting[peer], self.longer(peer), peer not in gone),
        )
        lost = list(takewhile(lambda peer: self._may_go(peer, now), order[:turns]))
        self.evicted += len(lost)
        self.evicted_of_late += len(lost)
        return lost

    def _may_go(self, peer: P, now: float) -> bool:
        if self.on and self.cut_off and now < self.on_at + 10 * self.interval * self.longer(peer):
            return False
        return now >= self.off_at + self.timeout * self.longer(peer)
