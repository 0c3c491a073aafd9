"""Mistakes at the start: one line on the terminal, then the end."""

from __future__ import annotations

import sys
from typing import NoReturn, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from brokerproto.errors import ListenError, TransportError

from .escaping import escaped

CONFIGURATION_ERROR = 78
"""Exit status of a user's mistake: EX_CONFIG of sysexits.h."""

Port = TypeVar("Port")


def fail(program: str, message: str) -> NoReturn:
    """Say what is wrong in one line on stderr, and end the process.

    For ``Options`` and ``makeService`` alone: both run before ``twistd`` goes
    to the background, so that the line and the status reach the terminal.
    Once the reactor runs it would swallow the SystemExit: log the error
    there, and call `ExitStatus.end` with `CONFIGURATION_ERROR`.

    Args:
        program: The name that the line begins with.
        message: What is wrong. What does not print in it is escaped.

    Raises:
        SystemExit: Always, with `CONFIGURATION_ERROR`.
    """
    # The log may have taken the place of sys.stderr already.
    terminal = sys.__stderr__
    if terminal is not None:
        try:
            terminal.write(f"{program}: {escaped(message)}\n")
            terminal.flush()
        except (OSError, ValueError):
            pass  # Nobody listens; the status still tells.
    raise SystemExit(CONFIGURATION_ERROR)


def listen_or_exit(program: str, address: str, listening: Deferred[Port]) -> Port:
    """Give the port that listens, or end the process with one line.

    Call it in ``makeService``. ``twistd`` runs that before it goes to the
    background: a port in use is still the terminal's business, and ports
    below 1024 are bound before privileges are shed. What listens is inherited
    over the forks, and the reactor accepts nothing before it runs.

    Args:
        program: The name that an error's line begins with.
        address: The address as the user gave it, for that line.
        listening: What ``endpoint.listen(factory)`` returned. Nothing that needs
            a running reactor can be waited for.

    Returns:
        The result of `listening`.

    Raises:
        SystemExit: Listening failed for a reason outside of this program, or has
            not come to an end yet.
    """
    outcomes: list[Port | Failure] = []
    listening.addBoth(outcomes.append)
    if not outcomes:
        fail(program, str(ListenError(address, "it cannot be had before the program runs")))
    outcome = outcomes[0]
    if isinstance(outcome, Failure):
        error = outcome.value
        if isinstance(error, TransportError):
            fail(program, str(error))
        if isinstance(error, CannotListenError):
            fail(program, str(ListenError(address, _reason(error.socketError))))
        if isinstance(error, OSError):
            fail(program, str(ListenError(address, _reason(error))))
        outcome.raiseException()
    return outcome


def _reason(error: object) -> str:
    """Give the system's words for `error` without its number."""
    return getattr(error, "strerror", None) or str(error)
