"""How many may come in a second, and what becomes of who sends more: pure.

Rules: protocol reference, section "Limits". A `Pace` says how much is allowed,
`FrameRate` stops the reading of an engine that sends more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from attrs import define, field

from brokerproto.framing import Framing
from brokerproto.liveness import DeadlineRing

__all__ = ["LONGEST_PAUSE", "FrameRate", "Pace", "Paced"]

LONGEST_PAUSE = 3.2
"""Seconds for which reading pauses at most, not counting the rest of a tick."""


@define(eq=False)
class Pace:
    """So many in a second, and a burst of them at once.

    Args:
        rate: In a second, more than 0.
        burst: At once, 1 or more.
    """

    rate: float
    burst: float
    # The theoretical arrival time of the generic cell rate algorithm.
    _used_until: float = field(init=False, default=-math.inf)

    def left(self, now: float) -> int:
        """Return how many may come now, 0 or more.

        Args:
            now: Seconds, never less than at the call before.
        """
        self._used_until = max(self._used_until, now)
        return max(0, int(self.burst - (self._used_until - now) * self.rate))

    def use(self) -> None:
        """Take note that one has come."""
        self._used_until += 1 / self.rate


class Paced(Protocol):
    """What `FrameRate` needs to know of a session.

    Attributes:
        framing: How its transport delivers frames.
        used_until: Until when what it sent uses up what is allowed, in detector seconds;
            only `FrameRate` changes it, but for a frame that uses nothing: then whoever
            reads it sets it to the tick.
        is_throttled: Whether it should not be read for now; likewise.
    """

    framing: Framing
    used_until: float
    is_throttled: bool

    @property
    def is_open(self) -> bool:
        """Whether the engine is registered."""

    def excuse(self, until: float) -> None:
        """Hold no silence before `until`, detector seconds, against the engine."""


P = TypeVar("P", bound=Paced)


@define(eq=False)
class FrameRate(Generic[P]):
    """Stops the reading of engines that send too fast, for a while each.

    What has been read is never refused. All times are detector seconds, and pass from tick
    to tick. The first frame that comes when all before it are paid for uses nothing but
    the tick itself, so that an engine which does no more than beat is paced by a comparison.

    Args:
        rate: Frames in a second; 0 for as many as come. The burst is `LONGEST_PAUSE` times
            as many.
        tick: Seconds between two calls of `resumed`.
        paused: Hears whose reading is stopped, and for how many seconds as it seems.

    Attributes:
        pauses: How many times reading was stopped.
    """

    rate: float
    tick: float
    paused: Callable[[P, float], object]
    pauses: int = field(init=False, default=0)
    _ring: DeadlineRing[P] = field(init=False)
    _ahead: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self._ring = DeadlineRing(self.tick)
        if self.rate:
            # As long as the burst lasts, but for its first frame, which uses nothing.
            self._ahead = (LONGEST_PAUSE * self.rate - 1) / self.rate

    def read(self, session: P, data: bytes, now: float) -> None:
        """Take note of what was read from a session's peer, and judge it.

        Args:
            session: Whose; it has processed `data`.
            data: Any slice of the stream, or one message.
            now: Detector seconds.
        """
        if not self.rate:
            return
        frames = data.count(b"\n") if session.framing == "lines" else 1
        used_until = session.used_until
        if used_until < now and frames:
            # Whatever is left of the tick before is less than a frame.
            used_until, frames = now, frames - 1
        if frames:
            used_until += frames / self.rate
            if used_until > now + self._ahead:
                # A debt without end would be a pause without end.
                used_until = min(used_until, now + self._ahead + LONGEST_PAUSE)
                self._throttle(session, now, used_until - self._ahead)
        session.used_until = used_until

    def resumed(self, now: float) -> Iterator[P]:
        """Give those who may be read again, each once.

        Args:
            now: Detector seconds.
        """
        for session in self._ring.due(now):
            if not session.is_open:
                continue
            # What had been read when the pause began may have come after it.
            if now < session.used_until - self._ahead:
                self._ring.put(session, session.used_until - self._ahead)
            else:
                session.is_throttled = False
                yield session

    def _throttle(self, session: P, now: float, until: float) -> None:
        if not session.is_open:
            return
        session.excuse(until)
        if not session.is_throttled:
            session.is_throttled = True
            self.pauses += 1
            self._ring.put(session, until)
            self.paused(session, until - now)
