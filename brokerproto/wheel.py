"""One timer for all engines of a process, instead of one for each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from brokerproto.liveness import DeadlineRing
from brokerproto.ticker import Ticked

__all__ = ["SLOT", "Wheel"]

SLOT = 1 / 32
"""Seconds by which a tick may be late, so that those of the same slot share one timer.

A power of two: a time in seconds is then in the same slot however it was computed."""

_AT_ONCE = 500
"""Ticks after which the reactor has its turn. So many are due at once after a standstill."""

_log = Logger()


class Wheel:
    """Ticks thousands by one delayed call; see `brokerproto.ticker.Ticker`.

    What is due is told within `SLOT`, while the reactor itself is not held up. There is
    no delayed call while nothing is due.

    Args:
        reactor: Its clock.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._ring: DeadlineRing[Ticked] = DeadlineRing(SLOT, reactor.seconds())
        self._rest: Iterator[Ticked] = iter(())
        self._awaited = 0
        self._call: IDelayedCall | None = None
        self._call_at = math.inf

    def tick_at(self, ticked: Ticked, due: float) -> None:
        """See `brokerproto.ticker.Ticker`."""
        alarm = ticked.alarm
        if alarm is None:
            self._awaited += 1
        elif alarm <= due:
            return
        # The later time stays in the ring: it is passed over when it comes.
        ticked.alarm = due
        self._ring.put(ticked, due)
        if due < self._call_at:
            self._call_at_next(math.ceil(due / SLOT) * SLOT)

    def forget(self, ticked: Ticked) -> None:
        """See `brokerproto.ticker.Ticker`."""
        if ticked.alarm is not None:
            ticked.alarm = None
            self._awaited -= 1
            self._rest_if_idle()

    def _turn(self) -> None:
        self._call = None
        # While it turns, nothing that is asked for moves the timer.
        self._call_at = -math.inf
        now = self._reactor.seconds()
        told = 0
        for ticked in islice(self._rest, _AT_ONCE):
            told += 1
            self._tell(ticked, now)
        if told < _AT_ONCE:
            self._rest = self._ring.due(now)
            for ticked in islice(self._rest, _AT_ONCE - told):
                told += 1
                self._tell(ticked, now)
        self._call_at = math.inf
        if told == _AT_ONCE:
            self._call_at_next(now)
        elif self._awaited:
            self._call_at_next(self._ring.next_due())
        else:
            self._rest_if_idle()

    def _tell(self, ticked: Ticked, now: float) -> None:
        alarm = ticked.alarm
        # It has been forgotten, or ticked sooner, since it was put here.
        if alarm is None or alarm > now:
            return
        ticked.alarm = None
        self._awaited -= 1
        try:
            ticked.tick(now)
        except Exception:  # one's error is not the next one's
            _log.failure("{ticked!r} failed", ticked=ticked)

    def _call_at_next(self, when: float) -> None:
        self._call_at = when
        wait = max(0.0, when - self._reactor.seconds())
        if self._call is None:
            self._call = self._reactor.callLater(wait, self._turn)
        else:
            self._call.reset(wait)

    def _rest_if_idle(self) -> None:
        if self._awaited or self._call_at == -math.inf:
            return
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._call_at = math.inf
        self._rest = iter(())
        self._ring = DeadlineRing(SLOT, self._reactor.seconds())
