"""One direction of a connection: what is under way in it, and what stops it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall

from transports.fault.faults import Amount, Course

__all__ = ["HEAP", "Lane"]

# So that a busy lane does not keep the reactor from everybody else.
_BYTES_PER_TURN = 64 * 1024
_PIECES_PER_TURN = 1024

HEAP = 4096
"""Bytes under way above which pieces are joined: a megabyte byte by byte takes too long."""

# A limited lane passes on what it has a tenth of a second for, not a second's worth at once.
_BURST_SECONDS = 0.1

_END = b""


@define(eq=False)
class Lane:
    """Passes on what is pushed into it, in order, each byte once.

    Args:
        reactor: Its clock, and later turns.
        course: How pieces are cut, delayed and limited; None where nothing is done.
        is_whole: Whether what is pushed at once is a message, and never cut.

    Attributes:
        is_one_by_one: Whether each piece has a turn of its own: a system joins what is
            written in one.
        is_frozen: Nothing passes.
        is_cut: Likewise, and neither does an end of another kind.
        is_held: Whoever is given the pieces wants none.
        waiting: Bytes that are under way.
        passed: Bytes that were passed on, counted as long as there is a mark or a course.
    """

    _reactor: Any
    _course: Course | None
    _is_whole: bool
    is_one_by_one: bool = field(init=False, default=False)
    is_frozen: bool = field(init=False, default=False)
    is_cut: bool = field(init=False, default=False)
    is_held: bool = field(init=False, default=False)
    waiting: int = field(init=False, default=0)
    passed: int = field(init=False, default=0)

    _carry: Callable[[bytes], None] = field(init=False)
    _end: Callable[[], None] = field(init=False)
    _moved: Callable[[], None] = field(init=False)
    _is_plain: bool = field(init=False)
    _slice: Amount | None = field(init=False, default=None)
    _delay: Amount | None = field(init=False, default=None)
    _limit: float | None = field(init=False, default=None)
    _seed: str = field(init=False, default="")
    _queue: deque[tuple[float, bytes]] | None = field(init=False, default=None)
    _taken: int = field(init=False, default=0)
    _length: int | None = field(init=False, default=None)
    _due: float = field(init=False, default=0.0)
    _free_at: float = field(init=False, default=0.0)
    _cut_at: int = field(init=False, default=0)
    _marks: list[tuple[int, Callable[[], None]]] = field(init=False, factory=list)
    _random: Random | None = field(init=False, default=None)
    _turn: IDelayedCall | None = field(init=False, default=None)
    _is_pumping: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        course = self._course
        self._is_plain = course is None
        if course is not None:
            self._slice, self._delay, self._limit = course.slice, course.delay, course.limit
            self._seed = course.seed

    @property
    def is_open(self) -> bool:
        """Whether anything stops what is under way but its own time."""
        return not (self.is_frozen or self.is_cut or self.is_held)

    @property
    def is_empty(self) -> bool:
        """Whether neither bytes nor an end are under way."""
        return not self._queue

    def leads_to(
        self, carry: Callable[[bytes], None], end: Callable[[], None], moved: Callable[[], None]
    ) -> None:
        """Say where it leads.

        Args:
            carry: Given each piece.
            end: Called for each end that was pushed, behind all that was pushed before.
            moved: Called when some of what waited has passed, or all of it.
        """
        self._carry, self._end, self._moved = carry, end, moved

    def mark(self, at: int, reached: Callable[[], None]) -> None:
        """Call `reached` when exactly `at` bytes, 1 or more, have passed.

        Of a lane of whole messages, when the message with that byte has.
        """
        self._marks.append((at, reached))
        self._marks.sort(key=lambda mark: mark[0])

    def push(self, data: bytes) -> None:
        """Send bytes on their way; where nothing is in it, they have passed when it returns."""
        if self._is_plain and not self._marks and not self._queue and self.is_open:
            self._carry(data)
            return
        self.waiting += len(data)
        self._append(data)

    def push_end(self) -> None:
        """Send an end on its way, behind all that is under way."""
        if self._is_plain and not self._queue and self.is_open:
            self._end()
            return
        self._append(_END)

    def go_on(self) -> None:
        """Look again, in a later turn, at what was stopped."""
        if self._queue and self._turn is None and not self._is_pumping and self.is_open:
            self._turn = self._reactor.callLater(0, self._pump)

    def drop(self) -> None:
        """Forget all that is under way, also what would be called for it."""
        self._queue = self._length = None
        self.waiting = self._taken = 0
        self._marks.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _append(self, data: bytes) -> None:
        if self._queue is None:
            self._queue = deque()
        self._queue.append((self._reactor.seconds(), data))
        self.go_on()

    def _pump(self, woken_for: float = 0.0) -> None:
        self._turn = None
        self._is_pumping = True
        try:
            # The clock may show a little less than the time that it was asked to wake at.
            moved = self._pass_on_due(max(self._reactor.seconds(), woken_for))
        finally:
            self._is_pumping = False
        if self._length is None or not self.is_open:
            self.go_on()
        else:
            seconds = max(0.0, self._due - self._reactor.seconds())
            self._turn = self._reactor.callLater(seconds, self._pump, self._due)
        if moved:
            self._moved()

    def _pass_on_due(self, now: float) -> bool:
        """Pass on what is due, but no more than a turn's worth; tell whether anything was."""
        pieces = most = 1 if self.is_one_by_one else _PIECES_PER_TURN
        budget = _BYTES_PER_TURN
        while self._queue and self.is_open and pieces > 0 and budget > 0:
            length = self._length
            if length is None:
                length = self._length = self._next_length()
            if self._due > now:
                break
            pieces -= 1
            budget -= length
            self._pass_on(length)
        return pieces < most

    def _next_length(self) -> int:
        """Cut the next piece, and find out when it is due."""
        assert self._queue
        due, data = self._queue[0]
        length = len(data) - self._taken
        if length and not self._is_whole:
            if self._slice is not None:
                while self._cut_at <= self.passed + self.waiting // HEAP:
                    self._cut_at += int(self._drawn(self._slice))
                length = min(length, self._cut_at - self.passed)
            if self._limit is not None:
                length = min(length, max(1, int(self._limit * _BURST_SECONDS)))
            if self._marks:
                length = min(length, self._marks[0][0] - self.passed)
        if self._limit is not None:
            due = self._free_at = max(due, self._free_at) + length / self._limit
        if self._delay is not None:
            due += self._drawn(self._delay)
        self._due = due
        return length

    def _drawn(self, amount: Amount) -> float:
        if amount.low == amount.high:
            return amount.low
        if self._random is None:
            self._random = Random(self._seed)  # noqa: S311 - it is to be foreseen
        return amount.at(self._random.random())

    def _pass_on(self, length: int) -> None:
        assert self._queue
        _, data = self._queue[0]
        self._length = None
        if data == _END:
            self._queue.popleft()
            self._end()
            return
        piece = data[self._taken : self._taken + length]
        self._taken += length
        if self._taken == len(data):
            self._queue.popleft()
            self._taken = 0
        self.waiting -= length
        self.passed += length
        self._carry(piece)
        while self._marks and self._marks[0][0] <= self.passed:
            self._marks.pop(0)[1]()
