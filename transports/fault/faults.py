"""Which faults connections get, and what the seed makes of them.

For each connection all draws are made from the seed and its number alone, whether
an option needs them or not: the same number gets the same, and no option changes
what another one draws.
"""

from __future__ import annotations

from random import Random
from typing import Literal

from attrs import field, frozen

__all__ = ["DIRECTIONS", "Amount", "Course", "Direction", "Faults", "Kind", "Plan", "Strike"]

Direction = Literal["in", "out", "both"]
"""``in``: what comes from the other side; ``out``: what is written to it."""

Kind = Literal["freeze", "half-open", "reset"]
"""What happens once to a connection."""

DIRECTIONS: tuple[Direction, ...] = ("in", "out", "both")


@frozen
class Amount:
    """So many seconds or bytes, or a range that each draw is made from.

    Attributes:
        low: The least, 0 or more.
        high: The most; as `low` where nothing is left to chance.
        unit: ``s`` for seconds, ``b`` for bytes.
    """

    low: float
    high: float
    unit: Literal["s", "b"]

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.low <= self.high < float("inf"):
            raise ValueError(f"{self.low:g} to {self.high:g} is no range from 0 up")

    @classmethod
    def seconds(cls, low: float, high: float | None = None) -> Amount:
        """Give seconds, or a range of them."""
        return cls(low, low if high is None else high, "s")

    @classmethod
    def bytes(cls, low: int, high: int | None = None) -> Amount:
        """Give a number of bytes, or a range."""
        return cls(low, low if high is None else high, "b")

    def at(self, share: float) -> float:
        """Give what lies at `share`, from 0 up to but not including 1, of the range."""
        if self.unit == "b":
            return self.low + int((self.high - self.low + 1) * share)
        return self.low + (self.high - self.low) * share


@frozen
class Course:
    """How one direction of a connection flows.

    Attributes:
        slice: Of how many bytes a piece is, at most; None where it is left whole.
        delay: How long a piece is on its way; None where it is not delayed.
        limit: Bytes per second; None where there is no limit.
        seed: What its draws are made from.
    """

    slice: Amount | None
    delay: Amount | None
    limit: float | None
    seed: str


@frozen
class Strike:
    """What happens to a connection once.

    Attributes:
        kind: What happens.
        after: Seconds since the connection was made, or bytes that have passed.
        unit: Which of both.
        lasts: Seconds until all is well again; None where it never is.
    """

    kind: Kind
    after: float
    unit: Literal["s", "b"]
    lasts: float | None = None


@frozen
class Plan:
    """What one connection gets, with nothing left to chance but the pieces.

    Attributes:
        is_refused: Whether it is not made at all.
        inward: How bytes come in; None where nothing is done to them.
        outward: How bytes go out; likewise.
        strikes: What happens to it.
        direction: To which direction.
    """

    is_refused: bool = False
    inward: Course | None = None
    outward: Course | None = None
    strikes: tuple[Strike, ...] = ()
    direction: Direction = "both"


_NOTHING = Plan()


def _share(_: object, __: object, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"a share is within 0 to 1, not {value:g}")


def _positive_bytes(_: object, __: object, value: Amount | None) -> None:
    if value is not None and (value.unit != "b" or value.low < 1):
        raise ValueError("a number of bytes, 1 at least, is wanted")


def _seconds(_: object, __: object, value: Amount | None) -> None:
    if value is not None and value.unit != "s":
        raise ValueError("seconds are wanted")


@frozen(kw_only=True)
class Faults:
    """What is done to the connections of one address.

    Attributes:
        direction: What `slice`, `delay`, `limit`, `freeze_after` and `half_open_after` are
            about.
        slice: Pieces have so many bytes at most; each length is drawn.
        delay: Seconds that each piece takes; drawn for each.
        limit: Bytes per second, in each direction for itself; drawn for each connection.
        freeze_after: When neither is read nor written any more; bytes wait.
        freeze_for: Seconds until it goes on; None for never.
        half_open_after: When nothing gets through any more, and nobody is told.
        half_open_for: Seconds until the way is open again; None for never.
        reset_after: When the connection is broken, for both sides.
        refuse: Which share of the connections is not made.
        share: Which share of the connections has the other faults.
        seed: What all draws are made from.

    Raises:
        ValueError: A unit or a range is another than what is wanted.
    """

    direction: Direction = "both"
    slice: Amount | None = field(default=None, validator=_positive_bytes)
    delay: Amount | None = field(default=None, validator=_seconds)
    limit: Amount | None = field(default=None, validator=_positive_bytes)
    freeze_after: Amount | None = None
    freeze_for: Amount | None = field(default=None, validator=_seconds)
    half_open_after: Amount | None = None
    half_open_for: Amount | None = field(default=None, validator=_seconds)
    reset_after: Amount | None = None
    refuse: float = field(default=0.0, validator=_share)
    share: float = field(default=1.0, validator=_share)
    seed: int = 0

    def plan(self, number: int) -> Plan:
        """Make what the connection of this number gets.

        Args:
            number: How many connections the endpoint has begun or accepted, with this one.
        """
        if self._does_nothing:
            return _NOTHING
        random = Random(f"{self.seed}/{number}").random  # noqa: S311 - it is to be foreseen
        is_refused, is_struck = random() < self.refuse, random() < self.share
        limit, *others = (random() for _ in range(6))
        if not is_struck:
            return Plan(is_refused)
        return Plan(
            is_refused,
            None if self.direction == "out" else self._course(number, "in", limit),
            None if self.direction == "in" else self._course(number, "out", limit),
            self._strikes(*others),
            self.direction,
        )

    @property
    def _does_nothing(self) -> bool:
        some = self.slice, self.delay, self.limit
        strikes = self.freeze_after, self.half_open_after, self.reset_after
        return not self.refuse and (*some, *strikes) == (None,) * 6

    def _course(self, number: int, direction: str, limit: float) -> Course | None:
        if self.slice is None and self.delay is None and self.limit is None:
            return None
        per_second = None if self.limit is None else self.limit.at(limit)
        return Course(self.slice, self.delay, per_second, f"{self.seed}/{number}/{direction}")

    def _strikes(
        self, freeze: float, freeze_for: float, half_open: float, half_open_for: float, reset: float
    ) -> tuple[Strike, ...]:
        strikes: list[Strike] = []
        rows: tuple[tuple[Kind, Amount | None, float, Amount | None, float], ...] = (
            ("freeze", self.freeze_after, freeze, self.freeze_for, freeze_for),
            ("half-open", self.half_open_after, half_open, self.half_open_for, half_open_for),
            ("reset", self.reset_after, reset, None, 0.0),
        )
        for kind, after, when, lasting, how_long in rows:
            if after is not None:
                lasts = None if lasting is None else lasting.at(how_long)
                strikes.append(Strike(kind, after.at(when), after.unit, lasts))
        return tuple(strikes)
