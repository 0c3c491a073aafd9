"""What a law is, and how one is checked."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError

from transports.conformance.meeting import Meeting
from transports.conformance.subject import LawBrokenError, Subject
from transports.interfaces import FRAMINGS

__all__ = ["TIMEOUT", "Law", "check"]

TIMEOUT = 30.0
"""Seconds that a law has; a transport that keeps them all needs a small part of it."""


def _nobody(_subject: Subject) -> str | None:
    return None


@frozen(eq=False)
class Law:
    """Something that every transport does.

    Attributes:
        name: A word or a few, with hyphens.
        sentence: What is demanded, without a full stop.
        run: Demands it; raises `LawBrokenError`.
        exempts: Says why the law does not concern a subject, or None.
        framings: For which framings it is made.
    """

    name: str
    sentence: str
    run: Callable[[Meeting], Coroutine[Any, Any, None]]
    exempts: Callable[[Subject], str | None] = _nobody
    framings: frozenset[str] = frozenset(FRAMINGS)

    def __str__(self) -> str:
        return self.name

    def exemption(self, subject: Subject) -> str | None:
        """Say why the law does not hold for a subject; None where it does."""
        if subject.framing in frozenset(FRAMINGS) - self.framings:
            return f"the framing is {subject.framing!r}"
        return subject.profile.exempt.get(self.name) or self.exempts(subject)


async def check(law: Law, subject: Subject, timeout: float = TIMEOUT) -> str | None:
    """Hold a transport to one law, and clear away what was made for it.

    Args:
        law: One of ``LAWS``.
        subject: The transport, and where to try it.
        timeout: Seconds for the law, more than 0.

    Returns:
        None where the law is kept, or the reason why it does not concern the subject; then
        nothing was tried.

    Raises:
        LawBrokenError: The law is broken; any exception that the transport raises
            unexpectedly is its cause.
    """
    reason = law.exemption(subject)
    if reason is not None:
        return reason
    meeting = Meeting(law.name, law.sentence, subject, timeout)
    try:
        await law.run(meeting)
    except (CancelledError, LawBrokenError):
        raise
    except Exception as exc:
        raise meeting.broken("no exception", f"{type(exc).__name__}: {exc}") from exc
    finally:
        await meeting.close()
    return None
