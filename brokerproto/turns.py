"""Work for many engines, some of them at a time, so that others have their turn meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from attrs import define, field

__all__ = ["AT_ONCE", "Later", "Turns"]

AT_ONCE = 500
"""For how many engines something is done in one turn. It takes some 5 to 10 ms."""

Later = Callable[[Callable[[], object]], object]
"""Calls what it is given once, soon, and not at once."""


@define(eq=False)
class Turns:
    """Does one piece of work after the other, each in parts.

    The first part is done at once, unless earlier work is not done yet.

    Args:
        later: Has it go on; None where all is to be done at once.
        done: Called after each part.
        at_once: How much a part is.
    """

    later: Later | None
    done: Callable[[], object]
    at_once: int = AT_ONCE
    _work: deque[Iterator[object]] = field(init=False, factory=deque)

    def take(self, work: Iterator[object]) -> None:
        """Do some work, once all that was taken before is done.

        Args:
            work: Does it, for one engine whenever the next item is asked for; raises
                nothing.
        """
        self._work.append(work)
        if len(self._work) == 1:
            self._go_on()

    def _go_on(self) -> None:
        left = None if self.later is None else self.at_once
        while self._work:
            did = sum(1 for _ in islice(self._work[0], left))
            if left is not None and did == left:
                break
            left = None if left is None else left - did
            self._work.popleft()
        self.done()
        if self._work and self.later is not None:
            self.later(self._go_on)
