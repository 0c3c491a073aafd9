"""How late timed calls come: the reactor's lag."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall

__all__ = ["MINUTE", "LagMeter"]

MINUTE = 60.0
"""Seconds that a meter looks back."""


@define(eq=False)
class LagMeter:
    """Has itself called regularly, and keeps by how much each call was late.

    Args:
        reactor: Calls it. A lag shorter than the period may fall between two calls.
        heard: Hears each lag, in seconds.
        period: Seconds between two calls.
        seconds: A clock that is never set.
    """

    _reactor: Any
    _heard: Callable[[float], object] = lambda _lag: None
    _period: float = 0.1
    _seconds: Callable[[], float] = time.monotonic
    _lags: deque[tuple[float, float]] = field(init=False, factory=deque)
    _due: float = field(init=False, default=0.0)
    _call: IDelayedCall | None = field(init=False, default=None)

    def start(self) -> None:
        """Begin to measure."""
        self._wait(self._seconds())

    def stop(self) -> None:
        """Measure no longer; what was measured stays."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def longest(self, seconds: float = MINUTE) -> float:
        """Give the longest lag that ended in the last `seconds`, at most a minute."""
        since = self._seconds() - seconds
        return max((lag for when, lag in self._lags if when > since), default=0.0)

    def p99(self) -> float:
        """Give the lag that 99 % of the last minute's calls did not exceed.

        A call that was late for many periods stands for all that were due meanwhile, each
        a period less late: else the longest lags would weigh least.
        """
        since = self._seconds() - MINUTE
        most = math.ceil(MINUTE / self._period)
        lags: list[float] = []
        for when, lag in self._lags:
            if when > since:
                missed = min(int(lag / self._period), most)
                lags += [lag - number * self._period for number in range(missed + 1)]
        if not lags:
            return 0.0
        lags.sort()
        return lags[math.ceil(0.99 * len(lags)) - 1]

    def _wait(self, now: float) -> None:
        self._due = now + self._period
        self._call = self._reactor.callLater(self._period, self._called)

    def _called(self) -> None:
        now = self._seconds()
        lag = max(0.0, now - self._due)
        self._lags.append((now, lag))
        while self._lags[0][0] <= now - MINUTE:
            self._lags.popleft()
        self._wait(now)
        self._heard(lag)
