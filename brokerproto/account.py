"""The account of one life: which heartbeats came, which are missing.

A *life* is one start of an engine. Its heartbeats are numbered, so what was sent is
known, and at any time ``sent since joined = counted + missed`` holds exactly.
Rules: protocol reference, section "Sequence and account".
"""

from __future__ import annotations

from attrs import define, field, frozen

from brokerproto.errors import BadSequenceError, SequenceRegressedError

__all__ = ["Account", "Gap", "Repeat", "Totals", "largest_gap"]


@frozen
class Gap:
    """Heartbeats that never came: the numbers `first` to `last`, both included."""

    first: int
    last: int

    @property
    def missed(self) -> int:
        """How many numbers are missing, at least 1."""
        return self.last - self.first + 1


@frozen
class Repeat:
    """A heartbeat whose number had been counted already."""

    seq: int


@frozen(weakref_slot=False)
class Totals:
    """Sums over several accounts.

    Attributes:
        counted: Heartbeats that came, each number once.
        missed: Numbers that never came.
        repeated: Heartbeats with a number that had come before.
    """

    counted: int = 0
    missed: int = 0
    repeated: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.counted + other.counted,
            self.missed + other.missed,
            self.repeated + other.repeated,
        )


def largest_gap(silence: float, interval: float) -> int:
    """Return how many heartbeats may be missing after `silence` seconds."""
    return 8 + int(2 * silence / interval)


@define(eq=False, weakref_slot=False)
class Account:
    """What is known of one life's numbers. What was counted is derived, not stored.

    Attributes:
        first: The hello's number when this broker met the life.
        last: The highest number settled.
        missed: Numbers between them that never came.
        repeated: Heartbeats that came again.
        counted_at: Detector seconds of the last counted heartbeat, or of the hello.
    """

    first: int
    counted_at: float
    last: int = field(init=False)
    missed: int = 0
    repeated: int = 0

    def __attrs_post_init__(self) -> None:
        self.last = self.first

    @property
    def joined(self) -> bool:
        """Whether this broker came to know the life only after its first number."""
        return self.first > 0

    @property
    def counted(self) -> int:
        """Heartbeats that came, each number once."""
        return self.last - self.first - self.missed

    @property
    def totals(self) -> Totals:
        """The three sums of this account."""
        return Totals(self.counted, self.missed, self.repeated)

    def count(self, seq: int, now: float, interval: float) -> Gap | Repeat | None:
        """Settle one heartbeat.

        Args:
            seq: Its number.
            now: Detector seconds.
            interval: Granted seconds between heartbeats.

        Returns:
            None where it was the expected one, else what was found.

        Raises:
            SequenceRegressedError: Lower than the last number.
            BadSequenceError: A gap too large to be a loss. Nothing changed.
        """
        step = seq - self.last
        if step == 1:
            self.last = seq
            self.counted_at = now
            return None
        if step == 0:
            self.repeated += 1
            return Repeat(seq)
        if step < 0:
            raise SequenceRegressedError(f"heartbeat {seq} after {self.last}")
        if step - 1 > largest_gap(now - self.counted_at, interval):
            raise BadSequenceError(f"heartbeat {seq} after {self.last}: gap too large")
        gap = Gap(self.last + 1, seq - 1)
        self.missed += gap.missed
        self.last = seq
        self.counted_at = now
        return gap

    def check_resumed(self, seq: int) -> None:
        """Make sure that a hello of the same life may go on at `seq`.

        Raises:
            SequenceRegressedError: The engine knows less than it had sent.
        """
        if seq < self.last:
            raise SequenceRegressedError(f"hello at {seq} after heartbeat {self.last}")

    def resume(self, seq: int, now: float) -> Gap | None:
        """Go on after a new registration of the same life.

        Args:
            seq: The new hello's number: the last that the engine has sent.
            now: Detector seconds.

        Returns:
            The numbers sent and never seen, without limit, or None.

        Raises:
            SequenceRegressedError: The engine knows less than it had sent.
        """
        self.check_resumed(seq)
        gap = Gap(self.last + 1, seq) if seq > self.last else None
        self.missed += seq - self.last
        self.last = seq
        self.counted_at = now
        return gap
