"""How many lines a log takes: of one kind, and of one kind about one peer.

A kind is a place in the code that logs. Thousands of engines that are lost at once, or one
peer that never tires, make the same few lines as a dozen would, and then one that says how
many there were.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from attrs import Factory, define, field
from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

from services.program.counted import Counted
from services.program.logs import failure_of, level_of, namespace_of

__all__ = ["KINDS", "OF_ONE_KIND", "OF_ONE_PEER", "TRACEBACKS", "WINDOW", "LogCounts", "LogLimits"]

WINDOW = 30.0
"""Seconds, from the first line of a kind, for which its lines are counted together."""

OF_ONE_KIND = 200
"""Lines of one kind in that time."""

OF_ONE_PEER = 5
"""Lines of one kind about one engine, or one host, in that time."""

TRACEBACKS = 10
"""Lines of one kind in that time where each has a traceback."""

KINDS = 500
"""Kinds that are told apart at one time; what is beyond counts as one."""

_SHOWN = 200

Kind = tuple[str, str, str]


class Threaded(Protocol):
    """What `LogLimits` needs of a reactor."""

    def callLater(self, delay: float, function: Callable[[], object], /) -> Any:
        """Call `function` after `delay` seconds."""

    def callFromThread(self, function: Callable[[], object], /) -> object:
        """Call `function` in the reactor's next turn, whoever asks."""


@define
class LogCounts:
    """What became of a log's lines.

    Attributes:
        left_out: Lines left out because they were too many.
        lost: Lines that could not be written.
    """

    left_out: int = 0
    lost: int = 0


@define(eq=False)
class _Window:
    """The lines of one kind since the first of them."""

    began: float
    most: int
    level: Any = LogLevel.info
    written: int = 0
    left_out: int = 0
    # No more of them than lines written: whoever comes later is left out anyway.
    peers: dict[str, int] = field(factory=dict)

    def admits(self, peer: str | None) -> bool:
        if self.written >= self.most:
            return False
        if peer is not None:
            lines = self.peers.get(peer, 0)
            if lines >= OF_ONE_PEER:
                return False
            self.peers[peer] = lines + 1
        self.written += 1
        return True


@implementer(ILogObserver)
@define(eq=False)
class LogLimits:
    """Passes on a bounded number of events, and one for all that it left out.

    Events of one kind come from one line of code: they have the same namespace and format,
    and their failures, if they have any, the same type and place. A peer is what the field
    ``engine`` names, or else the host of the field ``address``.

    Any thread may log. The one timer is the reactor's, and runs only while something is
    left out.

    Args:
        observer: Whom the events are for.
        reactor: Says when what was left out is to be told.
        counts: Counts what is left out.
        seconds: A clock that is never set.
    """

    _observer: ILogObserver
    _reactor: Threaded
    counts: LogCounts = field(factory=LogCounts)
    _seconds: Callable[[], float] = time.monotonic
    _windows: dict[Kind, _Window] = field(init=False, factory=dict)
    _telling: bool = field(init=False, default=False)
    _call: Any = field(init=False, default=None)
    _is_over: bool = field(init=False, default=False)
    # A log line can come from within another: from a finaliser, for instance.
    _lock: Any = field(init=False, default=Factory(threading.RLock))

    def __call__(self, event: LogEvent) -> None:
        """Pass the event on, or count it."""
        with self._lock:
            if self._is_over:
                self._observer(event)
                return
            window = self._window_of(event)
            if window.admits(_peer_of(event)):
                self._observer(event)
                return
            self.counts.left_out += 1
            window.left_out += 1
            window.level = max(window.level, level_of(event))
            if not self._telling:
                self._telling = True
                self._reactor.callFromThread(self._tell)

    def finish(self) -> None:
        """Tell at once what was left out; from now on all events pass."""
        with self._lock:
            self._is_over = True
            if self._call is not None:
                self._call.cancel()
                self._call = None
            for kind in list(self._windows):
                self._close(kind)

    def _window_of(self, event: LogEvent) -> _Window:
        kind, now = _kind_of(event), self._seconds()
        window = self._windows.get(kind)
        if window is None and len(self._windows) >= KINDS:
            self._close_ended(now)
            if len(self._windows) >= KINDS:
                kind = _OTHERS
                window = self._windows.get(kind)
        if window is not None and now - window.began >= WINDOW:
            self._close(kind)
            window = None
        if window is None:
            most = OF_ONE_KIND if failure_of(event) is None else TRACEBACKS
            window = self._windows[kind] = _Window(now, most)
        return window

    def _tell(self) -> None:
        """Tell what has come to its end, and come back for the rest."""
        with self._lock:
            self._call = None
            if self._is_over:
                return
            now = self._seconds()
            self._close_ended(now)
            waiting = [each.began for each in self._windows.values() if each.left_out]
            self._telling = bool(waiting)
            if waiting:
                delay = max(0.0, min(waiting) + WINDOW - now)
                self._call = self._reactor.callLater(delay, self._tell)

    def _close_ended(self, now: float) -> None:
        for kind, window in list(self._windows.items()):
            if now - window.began >= WINDOW:
                self._close(kind)

    def _close(self, kind: Kind) -> None:
        window = self._windows.pop(kind)
        if window.left_out:
            namespace, text, what = kind
            self._observer(
                {
                    "log_format": "{left_out} left out in the last {seconds} s: {like}",
                    "log_level": window.level,
                    "log_namespace": __name__,
                    "log_time": time.time(),
                    "left_out": Counted(window.left_out, "line was", "lines were"),
                    "seconds": round(self._seconds() - window.began),
                    "like": f"{text} ({what})" if what else text,
                    "of": namespace,
                }
            )


_OTHERS: Kind = ("-", "of many kinds", "")


def _kind_of(event: LogEvent) -> Kind:
    failure = failure_of(event)
    what = ""
    if failure is not None:
        what = str(getattr(failure.type, "__qualname__", failure.type))
        if failure.frames:
            function, file, line, *_ = failure.frames[-1]
            what = f"{what} in {function}, {file}:{line}"
    text = event.get("log_format")
    shown = text if isinstance(text, str) else "-"
    return (namespace_of(event)[:_SHOWN], shown[:_SHOWN], what[:_SHOWN])


def _peer_of(event: LogEvent) -> str | None:
    engine = event.get("engine")
    if isinstance(engine, str):
        return engine
    address = event.get("address")
    # What has a scheme is an address of our own.
    if not isinstance(address, str) or "://" in address:
        return None
    host, _, port = address.rpartition(":")
    return host if host and port.isdecimal() else address
