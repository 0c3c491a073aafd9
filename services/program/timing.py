"""What a program's timers run by."""

from __future__ import annotations

import time
from typing import Any

__all__ = ["keep_time"]


def keep_time(reactor: Any) -> None:
    """Have a reactor's timers run by a clock that nobody sets.

    Twisted's own, but for asyncio's, run by the system's: set back by an hour, each call
    that is due comes an hour late, heartbeats and the judgement of silence among them.

    Args:
        reactor: One that has not begun; one that has calls to make is left as it is.
    """
    if reactor.seconds is time.time and not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic
