"""Signals that ask a program for something else than its end: SIGHUP and SIGUSR1."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from twisted.logger import Logger

from .exit_status import ExitStatus
from .log_output import OwnLogFile

__all__ = ["take_signals"]

log = Logger()


class Threaded(Protocol):
    """What this needs of a reactor."""

    def callFromThread(self, function: Callable[[], object], /) -> object:
        """Call `function` in the reactor's next turn, and wake it."""


def take_signals(
    reactor: Threaded, exit_status: ExitStatus, file: OwnLogFile | None, *, foreground: bool
) -> None:
    """Have SIGHUP and SIGUSR1 do what they are sent for.

    SIGUSR1 rotates a log file. SIGHUP says that the terminal is gone, where a program in the
    foreground has one: then it ends as by SIGTERM. Elsewhere it opens the log file anew,
    which somebody else may have moved away. Where SIGHUP is ignored already, as under
    ``nohup``, it stays so.

    Args:
        reactor: The reactor that the program runs on.
        exit_status: Ends the program.
        file: Where its log goes, if that is a file.
        foreground: Whether the program stays there.
    """
    if file is not None and _is_free(signal.SIGUSR1):
        rotate = file.rotate
        signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(rotate))
    if not _is_free(signal.SIGHUP):
        return
    if foreground and _has_terminal():
        signal.signal(signal.SIGHUP, exit_status.hung_up)
    else:
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(lambda: _renew(file)))


def _is_free(number: signal.Signals) -> bool:
    return signal.getsignal(number) in (None, signal.SIG_DFL)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def _renew(file: OwnLogFile | None) -> None:
    if file is None:
        log.info("SIGHUP: there is no log file to open anew")
        return
    # Where it cannot be opened the next lines try again, and what is lost is counted.
    with suppress(OSError):
        file.reopen()
    log.info("SIGHUP: the log file is opened anew")
