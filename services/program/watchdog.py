"""A thread that tells what blocks the reactor, while it does."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from services.program.cpu_time import CPUTime
from services.program.logs import STACK

__all__ = ["PATIENCE", "TICK", "Watchdog"]

PATIENCE = 2.0
"""Seconds for which a reactor may be deaf before that is told."""

TICK = 0.5
"""Seconds between two looks, where nothing else is said."""

log = Logger()


@define(eq=False)
class Watchdog:
    """Asks the reactor for a sign of life, and tells where it is when none comes.

    Time is measured by the watchdog's own looks, each of which counts for one tick at most,
    and less the time for which the reactor's thread waited for a CPU: a process that was
    stopped, or throttled, is not blocked. A blocking is told twice: while it lasts, with
    the stack, and when it is over, with how long it took.

    Args:
        reactor: Whom to watch.
        seconds: A clock that is never set.
        tick: Seconds between two looks.
    """

    _reactor: Any
    _seconds: Callable[[], float] = time.monotonic
    _tick: float = TICK
    _cpu: CPUTime | None = field(init=False, default=None)
    _thread: threading.Thread | None = field(init=False, default=None)
    _over: threading.Event = field(init=False, factory=threading.Event)
    _watched: int = field(init=False, default=0)
    _looked: float = field(init=False, default=0.0)
    _withheld: tuple[float, float] = field(init=False, default=(0.0, 0.0))
    _deaf: float = field(init=False, default=0.0)
    _heard: bool = field(init=False, default=True)
    _told: bool = field(init=False, default=False)
    # What is over must not be told before what began.
    _telling: threading.Lock = field(init=False, factory=threading.Lock)

    def start(self, cpu: CPUTime | None = None) -> None:
        """Begin to watch the thread that calls this, which is the reactor's.

        Args:
            cpu: The account of that thread.
        """
        self.watch(cpu)
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def watch(self, cpu: CPUTime | None = None) -> None:
        """Prepare to `look` at the thread that calls this."""
        self._watched = threading.get_ident()
        self._cpu = cpu
        self._looked, self._withheld = self._seconds(), self._without_cpu()

    def stop(self) -> None:
        """Watch no longer; the thread has ended when this returns."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def look(self) -> None:
        """See whether the reactor has answered; call it each tick, from another thread."""
        passed = self._passed()
        if self._heard:
            self._deaf, self._told, self._heard = 0.0, False, False
            self._reactor.callFromThread(self._hear)
            return
        self._deaf += passed
        with self._telling:
            if self._deaf >= PATIENCE and not (self._told or self._heard):
                self._told = True
                self._tell(sys._current_frames().get(self._watched))

    def _run(self) -> None:
        while not self._over.wait(self._tick):
            self.look()

    def _hear(self) -> None:
        with self._telling:
            self._heard = True
            if self._told:
                log.warn(
                    "the reactor runs again; it was blocked for {seconds} s",
                    seconds=round(self._deaf + self._passed(), 1),
                )

    def _tell(self, frame: FrameType | None) -> None:
        if frame is None:
            return  # The thread has just ended.
        code = frame.f_code
        log.warn(
            "the reactor has been blocked for {seconds} s, and is in {function}, {file}:{line}",
            seconds=round(self._deaf, 1),
            function=code.co_qualname,
            file=code.co_filename,
            line=frame.f_lineno,
            **{STACK: "".join(traceback.format_stack(frame))},
        )

    def _passed(self) -> float:
        """Give the seconds since the last look in which the reactor could have run."""
        now, withheld = self._seconds(), self._without_cpu()
        # Most kernels count what is throttled as waiting too.
        longest = max(new - old for old, new in zip(self._withheld, withheld, strict=True))
        passed = min(now - self._looked, self._tick) - longest
        self._looked, self._withheld = now, withheld
        return max(0.0, passed)

    def _without_cpu(self) -> tuple[float, float]:
        if self._cpu is None:
            return 0.0, 0.0
        return self._cpu.waited or 0.0, self._cpu.throttled or 0.0
