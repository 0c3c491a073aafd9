"""The one owner of a process's exit status, and of the signals that ask for it."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, Protocol

from twisted.internet.error import ReactorNotRunning

# `timeout` of coreutils, and whoever signals a process and then its group,
# sends the one signal twice within microseconds: that is not impatience.
_SAME_REQUEST = 0.1


class StoppableReactor(Protocol):
    """What an `ExitStatus` needs of a reactor; each of Twisted's gives it."""

    def callWhenRunning(self, function: Callable[[], object], /) -> object:
        """Call `function` as soon as the reactor runs."""

    def callFromThread(self, function: Callable[[], object], /) -> object:
        """Call `function` in the reactor's next turn, and wake it."""

    def stop(self) -> None:
        """Begin the shutdown."""


class ExitStatus:
    """End this process with a chosen status, in an orderly way.

    It stops the reactor, lets every shutdown trigger finish, lets ``twistd``
    remove its pid file, and only then ends the process with the status. Until
    `install` is called it does none of that to the process: it only records
    the status and stops the reactor.

    Attributes:
        status: What `end` was told, or None.
        grace: Seconds from `end` to the end of the process at the latest,
            however long a service or a thread takes to stop.

    Args:
        reactor: The reactor that the program runs on.
        pid_file: Removed where there is no time for ``twistd`` to do it.
    """

    def __init__(self, reactor: StoppableReactor, *, pid_file: str | None = None) -> None:
        self.status: int | None = None
        self._reactor = reactor
        self._pid_file = pid_file
        self.grace = 20.0
        self._installed = False
        self._asked_at: float | None = None
        self._when_asked: Callable[[], object] = self._end_well

    def install(self) -> None:
        """Take over SIGTERM, SIGINT and the end of the process.

        The first signal calls what `on_signal` was given; a second one ends
        the process at once. A signal that comes before the reactor runs takes
        effect as soon as it does.
        """
        if self._installed:
            return
        self._installed = True
        # Hooks run last in, first out: all that are registered from now on
        # run before this one, which may leave nothing to run after it.
        atexit.register(self._leave_if_told)
        signal.signal(signal.SIGTERM, self._signalled)
        signal.signal(signal.SIGINT, self._signalled)
        # The reactor takes SIGTERM for itself when it starts, and would have
        # twistd end by that very signal. It leaves a foreign SIGINT alone.
        self._reactor.callWhenRunning(lambda: signal.signal(signal.SIGTERM, self._signalled))

    def on_signal(self, function: Callable[[], object]) -> None:
        """Call `function`, in the reactor, at the first SIGTERM or SIGINT.

        It decides what happens; without it that is ``end(0)``.
        """
        self._when_asked = function

    def end(self, status: int) -> None:
        """End the process with exactly this status; the first call wins.

        Returns at once: services stop, and the process ends, in later turns of
        the reactor. Before the reactor runs it takes effect once it does.

        Args:
            status: 0 to 255.

        Raises:
            ValueError: `status` is out of range.
        """
        if not 0 <= status <= 255:
            raise ValueError(f"an exit status is 0 to 255, not {status}")
        if self.status is None:
            self.status = status
            self._reactor.callWhenRunning(self._stop)

    def hung_up(self, *_signal: object) -> None:
        """Take a SIGHUP from a terminal that is gone as the first signal, if it is one.

        Never as the second: the terminal's shell may send another one.
        """
        if self._asked_at is None:
            self._signalled()

    def _ask(self) -> None:
        self._when_asked()

    def _end_well(self) -> None:
        self.end(0)

    def _stop(self) -> None:
        if self._installed:
            limit = threading.Timer(self.grace, self._leave_now)
            limit.daemon = True
            limit.start()
        with contextlib.suppress(ReactorNotRunning):  # It is stopping already.
            self._reactor.stop()

    def _signalled(self, *_signal: object) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
            self._reactor.callFromThread(self._ask)
        elif now - self._asked_at >= _SAME_REQUEST:
            self._leave_now()

    def _leave_if_told(self) -> None:
        # The interpreter gives its handlers back before it is done, and from then
        # on a second signal would be the process's end instead of its status.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if not self.status:
            return  # The interpreter ends with 0 by itself, in its own good order.
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(AttributeError, OSError, ValueError):
                stream.flush()  # type: ignore[union-attr]
        os._exit(self.status)

    def _leave_now(self) -> NoReturn:
        if self._pid_file is not None:
            _remove_own(Path(self._pid_file))
        os._exit(self.status or 0)


def _remove_own(pid_file: Path) -> None:
    try:
        if pid_file.read_text() == str(os.getpid()):
            pid_file.unlink()
    except (OSError, ValueError):
        pass  # Whoever starts next finds no such process, and removes it.
