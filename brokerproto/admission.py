"""Who may come in, how fast, and how long a newcomer has to register.

Rules: protocol reference, section "Limits".
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field

from brokerproto.broker_session import BrokerSession
from brokerproto.errors import BrokerFullError, RemoteProtocolError
from brokerproto.fleet import Origin
from brokerproto.liveness import LONGEST_LOOK, DeadlineRing
from brokerproto.pacing import Pace
from brokerproto.states import BrokerState
from brokerproto.terms import Limits

__all__ = ["Admission"]

# So many that are refused may take their time to read why, and so many connections there
# may be beyond the most: descriptors are what is short then.
_LINGERING = 4
_SURPLUS = 8

# Seconds' worth of connections that may come at once.
_BURST = 2.048


@define(eq=False)
class Admission:
    """The door of a broker.

    Args:
        limits: How the broker is set up.
        tick: Seconds between two calls of `overdue`.

    Attributes:
        inside: How many connections are open, those on their way out included.
        newcomers: Those of them that never registered, and where each comes from.
        closed: Why nobody is let in any more; None while newcomers are.
        pauses: How many times newcomers were left waiting outside.
        connections: Most connections at one time; whoever minds the process's open files
            may change it.
        is_short_of_memory: Whether newcomers are refused; for whoever minds the memory.
    """

    limits: Limits
    tick: float
    inside: int = field(init=False, default=0)
    newcomers: dict[BrokerSession, Origin] = field(init=False, factory=dict)
    closed: RemoteProtocolError | None = field(init=False, default=None)
    pauses: int = field(init=False, default=0)
    connections: int = field(init=False)
    is_short_of_memory: bool = field(init=False, default=False)
    _pace: Pace | None = field(init=False, default=None)
    _leaving: set[BrokerSession] = field(init=False, factory=set)
    _handshakes: DeadlineRing[BrokerSession] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.connections = self.limits.connections
        self._handshakes = DeadlineRing(self.tick)
        rate = self.limits.accept_rate
        if rate:
            self._pace = Pace(rate, _BURST * rate)

    @property
    def unregistered(self) -> int:
        """How many connections are open that never registered."""
        return len(self.newcomers)

    def room(self, real_now: float) -> int:
        """Tell how many connections may be accepted now; who comes later should wait.

        Nobody is refused for coming nevertheless.

        Args:
            real_now: Monotonic seconds, from call to call not less.
        """
        room = min(
            self.limits.unregistered - self.unregistered,
            self.connections + _SURPLUS - self.inside,
        )
        if self._pace is not None:
            room = min(room, self._pace.left(real_now))
        return max(0, room)

    def paused(self) -> None:
        """Take note that newcomers are left waiting from now on."""
        self.pauses += 1

    @property
    def is_overrun(self) -> bool:
        """Whether too many are on their way out to wait until each has read why."""
        return len(self._leaving) > _LINGERING

    def enter(
        self, session: BrokerSession, origin: Origin, now: float, registered: int
    ) -> RemoteProtocolError | None:
        """Let a new connection in, or say why it must go again.

        Args:
            session: Its session.
            origin: Where it comes from.
            now: Detector seconds.
            registered: How many engines are registered.
        """
        # Whoever is on the way out holds no place against a newcomer.
        full = self.inside - len(self._leaving) >= self.connections
        self.inside += 1
        self.newcomers[session] = origin
        if self._pace is not None:
            self._pace.use()
        if self.closed is not None:
            return self.closed
        if full or self.is_short_of_memory:
            text = "no more connections" if full else "no more memory"
            return BrokerFullError(text, max(5, self.limits.herd(registered)))
        self._await_registration(session, now)
        return None

    def registered(self, session: BrokerSession) -> None:
        """Take note that a newcomer has registered."""
        del self.newcomers[session]

    def leaving(self, session: BrokerSession) -> None:
        """Take note that a session is over, and its connection not yet gone."""
        self._leaving.add(session)

    def is_leaving(self, session: BrokerSession) -> bool:
        """Whether `leaving` was called for a session, or its connection is gone."""
        return session in self._leaving or session.state is BrokerState.CLOSED

    def left(self, session: BrokerSession) -> None:
        """Take note that a session's connection is gone."""
        self._leaving.discard(session)
        self.inside -= 1
        self.newcomers.pop(session, None)

    def overdue(self, now: float) -> Iterator[BrokerSession]:
        """Give those whose handshake takes too long, each once.

        Args:
            now: Detector seconds until which all that came has been read.
        """
        for session in self._handshakes.due(now):
            if session.is_open or session.is_over:
                continue
            if now >= session.seen + self.limits.handshake:
                yield session
            else:
                self._await_registration(session, now)

    def _await_registration(self, session: BrokerSession, now: float) -> None:
        # As in the detector: one that is over must not be held until then.
        deadline = min(session.seen + self.limits.handshake, now + LONGEST_LOOK)
        self._handshakes.put(session, deadline)
