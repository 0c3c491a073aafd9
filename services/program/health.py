"""How well a process runs: what holds it up, and how that is told."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen
from twisted.logger import Logger

from services.program.cpu_time import CPUTime
from services.program.garbage import GarbagePauses
from services.program.lag import MINUTE, LagMeter
from services.program.log_limits import LogCounts
from services.program.watchdog import Watchdog

__all__ = ["HELD_UP", "THROTTLED_SHARE", "Figures", "ProcessHealth"]

HELD_UP = 1.0
"""Seconds by which a timed call is so late that the process was held up."""

THROTTLED_SHARE = 0.1
"""Of the last minute: a process that was throttled for more of it is degraded."""

_TOLD_EACH = 10.0
_RECENT = 10.0

log = Logger()


@frozen
class Figures:
    """How a process runs; times are seconds, and None is what this system does not tell.

    Attributes:
        degraded: Whether it was held up, or much throttled, in the last minute.
        held_up: How many times it was held up since its start.
        held_up_for: For how long in all.
        lag_recent: Longest lag of the last 10 s.
        lag_minute: Longest lag of the last minute.
        lag_p99: What 99 % of the last minute's timed calls were late at most.
        collections: How many times garbage was collected.
        collecting: For how long in all.
        longest_collection: The longest of these pauses.
        ran: CPU time of the whole process.
        waited: Time for which the reactor's thread could have run, and had no CPU.
        throttled: Time for which a limit of CPU time kept the control group from running.
        log_left_out: Lines of the log left out because they were too many.
        log_lost: Lines of the log that could not be written.
    """

    degraded: bool
    held_up: int
    held_up_for: float
    lag_recent: float
    lag_minute: float
    lag_p99: float
    collections: int
    collecting: float
    longest_collection: float
    ran: float
    waited: float | None
    throttled: float | None
    log_left_out: int
    log_lost: int


@frozen
class _Account:
    """What a process's time was spent on, in seconds since some beginning."""

    ran: float | None
    collecting: float
    throttled: float | None
    waited: float | None


@define
class _HoldUps:
    """Times that a process was held up, not told yet."""

    times: int = 0
    seconds: float = 0.0
    ran: float | None = 0.0
    collecting: float = 0.0
    throttled: float | None = 0.0
    waited: float | None = 0.0

    def add(self, lag: float, before: _Account, after: _Account) -> None:
        self.times += 1
        self.seconds += lag
        self.ran = _more(self.ran, before.ran, after.ran, lag)
        self.collecting += min(after.collecting - before.collecting, lag)
        self.throttled = _more(self.throttled, before.throttled, after.throttled, lag)
        self.waited = _more(self.waited, before.waited, after.waited, lag)

    def why(self) -> str:
        """Say what these seconds were spent on, as far as it is known."""
        parts = [
            (self.ran, "at work"),
            (self.collecting, "collecting garbage"),
            (self.waited, "waiting for a CPU"),
            (self.throttled, "throttled"),
        ]
        if self.ran is not None and self.waited is not None:
            withheld = max(self.waited, self.throttled or 0.0)
            parts.append((max(0.0, self.seconds - self.ran - withheld), "stopped or asleep"))
        return ", ".join(f"{what} {value:.1f} s" for value, what in parts if value is not None)


def _more(
    total: float | None, before: float | None, after: float | None, most: float
) -> float | None:
    if total is None or before is None or after is None:
        return None
    return total + min(after - before, most)


@define(eq=False)
class ProcessHealth:
    """Measures a process from within, and tells in its log what holds it up.

    Args:
        reactor: What the process runs on.
        log_counts: What became of the lines of its log.
        period: Seconds between two timed calls that are measured.
        seconds: A clock that is never set.
        cpu_time: Makes the account of the thread that calls it.
        watchdog: Tells what blocks the reactor; None for nothing.
        tells_throttling: Whether being throttled much is told, where nothing is held up by it.
            Not for a process whose limit of CPU time is meant to be used up.
    """

    _reactor: Any
    _log_counts: LogCounts = field(factory=LogCounts)
    _period: float = 0.1
    _seconds: Callable[[], float] = time.monotonic
    _cpu_time: Callable[[], CPUTime] = CPUTime
    _watchdog: Watchdog | None = None
    _tells_throttling: bool = True
    _lag: LagMeter = field(init=False)
    _garbage: GarbagePauses = field(init=False, factory=GarbagePauses)
    _cpu: CPUTime | None = field(init=False, default=None)
    _last: _Account = field(init=False, default=_Account(None, 0.0, None, None))
    _untold: _HoldUps = field(init=False, factory=_HoldUps)
    _told_at: float = field(init=False, default=float("-inf"))
    _throttling_told_at: float = field(init=False, default=float("-inf"))
    _held_up: int = field(init=False, default=0)
    _held_up_for: float = field(init=False, default=0.0)
    # When, and how long throttled until then; once a second.
    _throttled: deque[tuple[float, float]] = field(init=False, factory=deque)

    def __attrs_post_init__(self) -> None:
        self._lag = LagMeter(self._reactor, self._called, self._period, self._seconds)

    def start(self) -> None:
        """Begin to measure, as soon as the reactor runs; call it once, in its thread."""
        self._reactor.callWhenRunning(self._start)

    def _start(self) -> None:
        self._cpu = self._cpu_time()
        self._last = self._account()
        self._garbage.start()
        self._lag.start()
        if self._watchdog is not None:
            self._watchdog.start(self._cpu)

    def stop(self) -> None:
        """Measure no longer, and tell what is still to be told."""
        if self._watchdog is not None:
            self._watchdog.stop()
        self._lag.stop()
        self._garbage.stop()
        if self._cpu is not None:
            self._cpu.close()
        self._tell()

    @property
    def figures(self) -> Figures:
        """How the process runs now."""
        longest = self._lag.longest(MINUTE)
        return Figures(
            degraded=longest >= HELD_UP or self._is_throttled,
            held_up=self._held_up,
            held_up_for=self._held_up_for,
            lag_recent=self._lag.longest(_RECENT),
            lag_minute=longest,
            lag_p99=self._lag.p99(),
            collections=self._garbage.count,
            collecting=self._garbage.total,
            longest_collection=self._garbage.longest,
            ran=0.0 if self._cpu is None else time.process_time(),
            waited=None if self._cpu is None else self._cpu.waited,
            throttled=None if self._cpu is None else self._cpu.throttled,
            log_left_out=self._log_counts.left_out,
            log_lost=self._log_counts.lost,
        )

    def _account(self) -> _Account:
        assert self._cpu is not None
        cpu = self._cpu
        return _Account(cpu.ran, self._garbage.total, cpu.throttled, cpu.waited)

    def _called(self, lag: float) -> None:
        before, self._last = self._last, self._account()
        now = self._seconds()
        if lag >= HELD_UP:
            self._held_up += 1
            self._held_up_for += lag
            self._untold.add(lag, before, self._last)
        if self._untold.times and now - self._told_at >= _TOLD_EACH:
            self._told_at = now
            self._tell()
        if self._last.throttled is not None:
            self._keep(now, self._last.throttled)
            self._tell_throttling(now)

    def _tell(self) -> None:
        untold, self._untold = self._untold, _HoldUps()
        if untold.times:
            log.warn(
                "held up {times} times, for {seconds} s: {why}"
                if untold.times > 1
                else "held up for {seconds} s: {why}",
                times=untold.times,
                seconds=round(untold.seconds, 1),
                why=untold.why(),
            )

    def _tell_throttling(self, now: float) -> None:
        # What is told of being held up says how much of it that was.
        told_at = max(self._throttling_told_at, self._told_at)
        if self._tells_throttling and now - told_at >= MINUTE and self._is_throttled:
            self._throttling_told_at = now
            log.warn(
                "throttled for {seconds} s of the last minute: it has too little CPU time",
                seconds=round(self._throttled_lately(), 1),
            )

    def _keep(self, now: float, throttled: float) -> None:
        kept = self._throttled
        if not kept or now - kept[-1][0] >= 1.0:
            kept.append((now, throttled))
        # One that is older stays: the minute began somewhere behind it.
        while len(kept) > 1 and kept[1][0] <= now - MINUTE:
            kept.popleft()

    @property
    def _is_throttled(self) -> bool:
        return self._throttled_lately() > THROTTLED_SHARE * MINUTE

    def _throttled_lately(self) -> float:
        return self._throttled[-1][1] - self._throttled[0][1] if self._throttled else 0.0
