"""What a broker does about engines that send too fast, or do not read.

Rules: protocol reference, section "Limits".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, field

from brokerproto.backlog import Backlog
from brokerproto.broker_session import BrokerSession
from brokerproto.carrier import settle
from brokerproto.errors import RemoteProtocolError, SlowReaderError
from brokerproto.isolation import Apart
from brokerproto.pacing import FrameRate
from brokerproto.terms import Limits

__all__ = ["READING_DEADLINE", "Flow"]

READING_DEADLINE = 10.0
"""Seconds for which an engine's connection may take nothing of what waits for it."""


@define(eq=False)
class Flow:
    """Has some engines not read for a while, and cuts others off.

    Args:
        limits: How the broker is set up.
        tick: Seconds between two calls of `sweep`.
        end: Ends a session.
        paused: Hears who sends too fast, and for how many seconds it is not read.
        apart: Keeps one's error from the next one.

    Attributes:
        backlog: What engines have not read yet.
        frame_rate: Who sends too fast.
    """

    limits: Limits
    tick: float
    end: Callable[[BrokerSession, RemoteProtocolError], None]
    paused: Callable[[BrokerSession, float], object]
    apart: Apart
    backlog: Backlog[BrokerSession] = field(init=False)
    frame_rate: FrameRate[BrokerSession] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.backlog = Backlog(self.limits.unread, self.limits.unread_in_all, READING_DEADLINE)
        self.frame_rate = FrameRate(self.limits.frame_rate, self.tick, self.paused)

    def hold(self, session: BrokerSession, now: float) -> None:
        """Take note that a connection takes no more; what is owed waits then.

        Args:
            session: Whose.
            now: Detector seconds.
        """
        if not session.is_over:
            self.backlog.hold(session, now)

    def release(self, session: BrokerSession) -> None:
        """Take note that a connection takes more; its carrier is to settle."""
        self.backlog.release(session)

    def sweep(self, now: float, horizon: float) -> None:
        """Have those read again whose time has come, and cut off who does not read.

        Args:
            now: Detector seconds.
            horizon: Detector seconds up to which waiting is held against anybody.
        """
        for session in self.frame_rate.resumed(now):
            self.apart(settle, session)
        self._cut(self.backlog.overdue(horizon))
        self.cut_excess()

    def cut_excess(self) -> None:
        """Cut off those for whom too much waits."""
        if self.backlog.is_exceeded:
            self._cut(self.backlog.excess())

    def _cut(self, slow: Iterable[BrokerSession]) -> None:
        for session in slow:
            self.end(session, SlowReaderError("does not read what is sent"))
