"""What a broker does about silence: it asks who is late, and ends who is lost.

Who is late or lost is `brokerproto.liveness`'s to say, and `brokerproto.brake`'s who is
not lost yet. Rules: protocol reference, section "Liveness".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import define, field

from brokerproto.brake import Brake
from brokerproto.broker_session import BrokerSession
from brokerproto.carrier import settle
from brokerproto.errors import HeartbeatTimeoutError, RemoteProtocolError
from brokerproto.fleet import Fleet
from brokerproto.isolation import Apart
from brokerproto.liveness import Verdict
from brokerproto.observer import Observer

__all__ = ["PINGS_AT_ONCE", "Judge"]

PINGS_AT_ONCE = 1500
"""How many are pinged at one tick. It takes some 40 ms, and 400 for 15,000 at once."""


@define(eq=False)
class Judge:
    """Judges the engines of a broker.

    Args:
        fleet: The registered ones.
        brake: Who is late, and who is lost.
        seconds: A monotonic clock.
        end: Ends a session, and has its carrier settle.
        observer: Hears of it.
        apart: Keeps one's error from the next one.
    """

    fleet: Fleet
    brake: Brake[BrokerSession]
    seconds: Callable[[], float]
    end: Callable[[BrokerSession, RemoteProtocolError], None]
    observer: Observer
    apart: Apart
    _unpinged: deque[BrokerSession] = field(init=False, factory=deque)

    def tick(self) -> None:
        """Judge everybody's silence."""
        since = self.brake.since
        verdicts = self.brake.tick(self.seconds(), len(self.fleet))
        self._tell_of_brake(since)
        for session, verdict in verdicts:
            self.apart(self._act, session, verdict)
        for _ in range(min(PINGS_AT_ONCE, len(self._unpinged))):
            session = self._unpinged.popleft()
            # Whoever was heard meanwhile need not be asked.
            if session.pings:
                session.ping()
                self.apart(settle, session)

    def _tell_of_brake(self, since: float | None) -> None:
        brake = self.brake
        if since is None and brake.is_on:
            late, registered = len(brake.detector.late), len(self.fleet)
            self.apart(self.observer.brake_applied, late, registered)
        elif since is not None and not brake.is_on:
            seconds = self.seconds() - since
            self.apart(self.observer.brake_released, seconds, brake.evicted_of_late)

    def _act(self, session: BrokerSession, verdict: Verdict) -> None:
        if verdict is Verdict.LOST:
            self.end(session, HeartbeatTimeoutError("silent for too long"))
            return
        self._unpinged.append(session)
        member = self.fleet.member_of(session)
        if verdict is Verdict.LATE and member is not None:
            self.observer.engine_late(member, self.brake.detector.horizon - session.seen)
