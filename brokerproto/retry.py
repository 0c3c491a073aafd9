"""When an engine tries again. Rules: protocol reference, section "Reconnecting"."""

from __future__ import annotations

from random import Random

from attrs import define, field

from brokerproto.errors import ProtocolError, RefusedError, RemoteProtocolError, Retry
from brokerproto.messages import Success

__all__ = ["LAST_TRY", "LONGEST_TOLD", "RetryPolicy"]

LAST_TRY = 60.0
"""Seconds before the one more try that ``never`` leaves."""

LONGEST_TOLD = 3600.0
"""Seconds for which an engine stays away at most because a broker says so.

Whoever is told ten years, by a fault of the broker, would never be seen again.
"""

_SHORTEST, _FIRST, _LONGEST = 0.5, 4.0, 30.0
_STABLE_INTERVALS = 3


@define
class RetryPolicy:
    """Decides how long to wait before the next attempt.

    One policy belongs to one engine and lives as long as it does.

    Args:
        random: Draws the waits, so that a fleet does not come back in phase.

    Attributes:
        attempts: Attempts since the last stable session.
        herd: Seconds that the broker announced for its fleet's return.
    """

    random: Random
    attempts: int = field(init=False, default=0)
    herd: float = field(init=False, default=1.0)
    _told_never: bool = field(init=False, default=False)

    def registered(self, success: Success) -> None:
        """Take note of the terms of a registration."""
        self.herd = float(min(success.herd or 1, LONGEST_TOLD))
        self._told_never = False

    def ended(self, error: ProtocolError | None, stable: float = 0.0) -> float | None:
        """Return the seconds to wait after a session or an attempt has ended.

        Args:
            error: Why it ended; None where the connection just went.
            stable: Intervals that the engine had been registered for.

        Returns:
            Seconds; None to give up: the broker said ``never`` twice in a row.
        """
        if stable >= _STABLE_INTERVALS:
            self.attempts = 0
        retry = _retry_of(error)
        if retry == "never":
            if self._told_never:
                return None
            self._told_never = True
            return LAST_TRY
        told = min(retry, LONGEST_TOLD) if isinstance(retry, int) else 0
        return told + self._draw()

    def _draw(self) -> float:
        attempt = self.attempts
        self.attempts += 1
        if attempt == 0:
            return self.random.uniform(0, self.herd)
        # The bound on the exponent keeps the power small; 30 s are reached long before.
        longest = min(_LONGEST, _FIRST * 2 ** min(attempt - 1, 8))
        return self.random.uniform(_SHORTEST, longest)


def _retry_of(error: ProtocolError | None) -> Retry:
    if isinstance(error, (RefusedError, RemoteProtocolError)):
        return error.retry
    return "now"
