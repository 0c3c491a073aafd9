"""What a broker does about silence: it asks who is late, and ends who is lost.

Who is late or lost is `brokerproto.liveness`'s to say, and `brokerproto.brake`'s who is
not lost yet. Rules: protocol reference, section "Liveness".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from attrs import define, field

from brokerproto.brake import Brake
from brokerproto.broker_session import BrokerSession
from brokerproto.carrier import settle
from brokerproto.errors import HeartbeatTimeoutError, RemoteProtocolError
from brokerproto.fleet import Fleet
from brokerproto.liveness import Verdict
from brokerproto.observer import Observer

__all__ = ["PINGS_AT_ONCE", "Judge"]

PINGS_AT_ONCE = 1500
"""How many are pinged at one tick. It takes some 40 ms, and 400 for 15,000 at once."""


class _Host(Protocol):
    """What a judge needs of the broker it works for."""

    @property
    def observer(self) -> Observer: ...

    @property
    def fleet(self) -> Fleet: ...

    @property
    def brake(self) -> Brake[BrokerSession]: ...

    @property
    def seconds(self) -> Callable[[], float]: ...

    def end(self, session: BrokerSession, error: RemoteProtocolError | None) -> None:
        """End a session on the broker's own account, and free its id."""


@define(eq=False)
class Judge:
    """Judges the engines of a broker.

    Args:
        host: The broker.
    """

    host: _Host
    _unpinged: deque[BrokerSession] = field(init=False, factory=deque)

    def tick(self, apart: Callable[[], AbstractContextManager[None]]) -> None:
        """Judge everybody's silence.

        Args:
            apart: Keeps what the observer raises about one engine from the next one.
        """
        host, brake = self.host, self.host.brake
        since = brake.since
        verdicts = brake.tick(host.seconds(), len(host.fleet))
        with apart():
            self._tell_of_brake(since)
        for session, verdict in verdicts:
            with apart():
                self._act(session, verdict)
        for _ in range(min(PINGS_AT_ONCE, len(self._unpinged))):
            session = self._unpinged.popleft()
            # Whoever was heard meanwhile need not be asked.
            if session.pings:
                session.ping()
                with apart():
                    settle(session)

    def _tell_of_brake(self, since: float | None) -> None:
        host, brake = self.host, self.host.brake
        if since is None and brake.is_on:
            host.observer.brake_applied(len(brake.detector.late), len(host.fleet))
        elif since is not None and not brake.is_on:
            host.observer.brake_released(host.seconds() - since, brake.evicted_of_late)

    def _act(self, session: BrokerSession, verdict: Verdict) -> None:
        host = self.host
        if verdict is Verdict.LOST:
            host.end(session, HeartbeatTimeoutError("silent for too long"))
            return
        self._unpinged.append(session)
        member = host.fleet.member_of(session)
        if verdict is Verdict.LATE and member is not None:
            host.observer.engine_late(member, host.brake.detector.horizon - session.seen)
