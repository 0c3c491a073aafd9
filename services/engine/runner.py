"""One engine and its connections, one after the other: connect, retry, come back.

When to try again is `brokerproto.retry.RetryPolicy`'s to say. There may be thousands in
a process, so that all an engine has stands in four objects while it beats: this one, its
life, its session and its connection.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from brokerproto.engine import EngineRules
from brokerproto.engine_protocol import EngineCarrying
from brokerproto.engine_session import SENT_AWAY, EngineSession
from brokerproto.errors import BrokerError, ProtocolError
from brokerproto.life import Life, Wishes
from brokerproto.messages import Success
from brokerproto.retry import RetryPolicy
from brokerproto.ticker import Ticker
from services.engine.dialler import Dialler
from services.engine.work import Work, WorkFailed
from transports.tcp import set_user_timeout

__all__ = ["LONG_LIFE", "Crew", "Journal", "Runner"]

_UNACKNOWLEDGED_INTERVALS = 2.5

LONG_LIFE = 60.0
"""Seconds of a life after which an engine's earlier deaths no longer slow its return."""

log = Logger()


class Journal(Protocol):
    """Hears how an engine's state changes; once for each change."""

    def registered(self, runner: Runner, success: Success) -> None:
        """The engine is registered."""

    def lost(self, runner: Runner, reason: str, seconds: float) -> None:
        """Its connection is gone, or an attempt has failed; the next is in `seconds`."""

    def gave_up(self, runner: Runner, reason: str) -> None:
        """It stays away: the broker said ``never``, twice."""

    def killed(self, runner: Runner, code: int, seconds: float | None) -> None:
        """A KILL has ended it; its next life is in `seconds`, None where there is none."""


@define(eq=False)
class Crew:
    """What many engines have in common.

    Attributes:
        dialler: How to reach the broker.
        work: Makes what does an engine's work, when there is some.
        wishes: What to ask of the broker.
        journal: Hears of every change of state.
        reborn_after: After so many deaths of one of them in short succession: seconds to
            wait before its next life. None where each has only one.
        random: Draws phases and waits.
    """

    dialler: Dialler
    work: Callable[[], Work]
    wishes: Wishes
    journal: Journal
    reborn_after: Callable[[int], float] | None = None
    random: Random = field(factory=Random)


@define(eq=False, weakref_slot=False)
class _Hands:
    """Has an engine's work done by a `Work`."""

    runner: Runner
    work: Work
    _running: Deferred[None] | None = field(init=False, default=None)

    def start(self, ms: int) -> None:
        running = self._running = self.work.start(ms)

        def over(result: Failure | None) -> None:
            # Work that was stopped has been reported already.
            if self._running is running:
                self._running = None
                self.runner.worked(_reason_of(result))
                self.runner.rest()

        running.addBoth(over)

    def stop(self) -> None:
        self._running = None
        self.work.stop()


def _reason_of(result: Failure | None) -> str | None:
    if result is None:
        return None
    if isinstance(result.value, WorkFailed):
        return result.value.reason
    log.failure("the work failed", failure=result)
    return "internal"


@define(eq=False, weakref_slot=False)
class _Past:
    """What an engine remembers that has not just beaten ever since it was started."""

    policy: RetryPolicy
    sent: int = 0
    untold: int = 0
    deaths: int = 0
    born_at: float = 0.0
    hands: _Hands | None = None
    is_stopping: bool = False
    gone: Deferred[None] | None = None


@implementer(IProtocolFactory)
class Runner(EngineCarrying, EngineRules):
    """Keeps one engine connected, from one life to the next.

    It is the protocol of its connections, one after the other, and makes it for them too.

    Args:
        engine_id: Its id, in every life.
        crew: What it shares with others.

    Attributes:
        life: The present life.
        session: The present conversation; None while it is not connected.
    """

    # `_cut_off` is what is to come: the end of a wait or of an attempt; or, as for every
    # protocol, of the time that the last words have.
    __slots__ = ("_cut_off", "_past", "alarm", "crew", "transport")

    _cut_off: Any

    def __init__(self, engine_id: str, crew: Crew) -> None:
        self.crew = crew
        super().__init__(_new_life(engine_id))
        self.transport = self.alarm = self._cut_off = None
        self._past: _Past | None = None

    @property
    def engine_id(self) -> str:
        """Its id."""
        return self.life.engine_id

    def start(self) -> None:
        """Connect, and keep connected."""
        self._dial()

    def stop(self) -> Deferred[None]:
        """Say Bye and stay away; fires when the connection is gone."""
        self._own().is_stopping = True
        self.leave("stopped")
        return self._see_off("loseConnection")

    def die(self) -> Deferred[None]:
        """Vanish, as a process that is killed does; fires when the connection is gone."""
        past = self._own()
        past.is_stopping = True
        if past.hands is not None:
            past.hands.stop()
        return self._see_off("abortConnection")

    def hang_up(self) -> None:
        """Abort the connection, where there is one."""
        if self.transport is not None:
            self.transport.abortConnection()

    @property
    def is_registered(self) -> bool:
        """Whether it believes that it is."""
        return self.session is not None and self.session.is_open

    @property
    def is_under_way(self) -> bool:
        """Whether it is not known yet what comes of its attempt to register."""
        if self.session is None:
            return isinstance(self._cut_off, Deferred)
        return self.session.registered_at is None and not self.session.is_over

    @property
    def heartbeats_sent(self) -> int:
        """Heartbeats sent in all lives."""
        return self.life.seq + (0 if self._past is None else self._past.sent)

    @property
    def heartbeats_untold(self) -> int:
        """Heartbeats of all lives that no ACK has settled; their brokers may know of them."""
        untold = 0 if self._past is None else self._past.untold
        return untold + self.life.seq - self.life.settled

    def rest(self) -> None:
        """Forget what did the work, where there is no more of it."""
        if self._past is not None and self._duty is None:
            self._past.hands = None

    # As a protocol.

    @property
    def reactor(self) -> IReactorTime:
        """Its clock."""
        reactor: IReactorTime = self.crew.dialler.reactor
        return reactor

    @property
    def ticker(self) -> Ticker:
        """The wheel that it is on."""
        return self.crew.dialler.wheel

    def makeConnection(self, transport: Any) -> None:
        """Open a session and say the hello."""
        self._cut_off = None
        self.transport = transport
        if self._past is not None and self._past.is_stopping:
            # It had been given up too late.
            transport.abortConnection()
            return
        crew = self.crew
        self.session = EngineSession(
            self.life, self._now(), crew.random, crew.wishes, crew.dialler.framing
        )
        self.settle()

    def dataReceived(self, data: bytes) -> None:
        """Bring the session what came."""
        if self.session is not None:
            events = self.session.receive_data(data, self._now())
            if events is not None:
                self.received(events, data)

    @property
    def receiver(self) -> EngineSession | None:
        """Takes what comes; see `transports.interfaces.IDrainedProtocol`."""
        return self.session

    def received(self, outcome: Any, data: bytes) -> None:
        """Follow what the session made of it; see `transports.interfaces.IDrainedProtocol`."""
        self._follow(outcome)
        self.settle()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Plan the next connection, unless this was the last one."""
        super().connectionLost(reason)
        self.lose()
        past = self._past
        if past is not None and past.gone is not None:
            gone, past.gone = past.gone, None
            gone.callback(None)

    # As its factory.

    def buildProtocol(self, addr: object) -> Runner:
        """Give the protocol of the next connection."""
        return self

    @property
    def drained(self) -> Dialler:
        """Whom it has in common with others that it is read with."""
        return self.crew.dialler

    def doStart(self) -> None:
        """See `IProtocolFactory`."""

    def doStop(self) -> None:
        """See `IProtocolFactory`."""

    # As an engine.

    def _now(self) -> float:
        seconds: float = self.crew.dialler.reactor.seconds()
        return seconds

    def _settle(self) -> None:
        self.settle()

    def _work(self, ms: int) -> None:
        past = self._own()
        if past.hands is None:
            past.hands = _Hands(self, self.crew.work())
        past.hands.start(ms)

    def _stop_work(self) -> None:
        past = self._own()
        if past.hands is not None:
            past.hands.stop()

    def _exit(self, code: int) -> None:
        """Begin the next life, or stay away."""
        past, crew = self._own(), self.crew
        if crew.reborn_after is None:
            past.is_stopping = True
            crew.journal.killed(self, code, None)
        elif not past.is_stopping:
            now = self._now()
            if now - past.born_at >= LONG_LIFE:
                past.deaths = 0
            past.deaths += 1
            past.born_at = now
            past.sent += self.life.seq
            past.untold += self.life.seq - self.life.settled
            self.life, self._duty = _new_life(self.engine_id), None
            pause = crew.reborn_after(past.deaths)
            self._dial_later(pause)
            crew.journal.killed(self, code, pause)

    def _tell_registered(self, success: Success) -> None:
        if self.session is not None:
            seconds = _UNACKNOWLEDGED_INTERVALS * self.session.interval
            set_user_timeout(self.transport, seconds)
        self.crew.journal.registered(self, success)

    def _tell_ended(self, session: EngineSession) -> None:
        past = self._own()
        if past.is_stopping or self._cut_off is not None:
            return
        stable = 0.0
        if session.success is not None and session.registered_at is not None:
            past.policy.registered(session.success)
            stable = (self._now() - session.registered_at) / session.interval
        self._retry(session.failure, _end_of(session), stable)

    # On the way to the next connection.

    def _dial(self) -> None:
        self._cut_off = None
        if self._past is not None and self._past.is_stopping:
            return
        attempt = self.crew.dialler.connect(self)
        if not attempt.called and self.transport is None:
            self._cut_off = attempt
        attempt.addErrback(self._failed)

    def _dial_later(self, seconds: float) -> None:
        self._cut_off = self.reactor.callLater(seconds, self._dial)

    def _failed(self, failure: Failure) -> None:
        if self.transport is not None or IDelayedCall.providedBy(self._cut_off):
            # There was a connection all the same, and its end is what counts.
            return
        self._cut_off = None
        if not self._own().is_stopping:
            error = failure.value
            known = isinstance(error, BrokerError)
            self._retry(None, str(error) if known else f"{type(error).__name__}: {error}", 0.0)

    def _retry(self, error: ProtocolError | None, reason: str, stable: float) -> None:
        past = self._own()
        pause = past.policy.ended(error, stable)
        if pause is None:
            past.is_stopping = True
            self.crew.journal.gave_up(self, reason)
            return
        self._dial_later(pause)
        self.crew.journal.lost(self, reason, pause)

    def _see_off(self, ending: str) -> Deferred[None]:
        """End the connection, or what would lead to one; fires when all is over."""
        if self.transport is not None:
            past, gone = self._own(), Deferred[None]()
            if past.gone is not None:
                gone.addCallback(past.gone.callback)
            past.gone = gone
            getattr(self.transport, ending)()
            return gone
        coming, self._cut_off = self._cut_off, None
        if coming is not None:
            coming.cancel()
        return succeed(None)

    def _own(self) -> _Past:
        if self._past is None:
            self._past = _Past(RetryPolicy(self.crew.random))
        return self._past


def _new_life(engine_id: str) -> Life:
    # 60 bits, of which the first is set: Python keeps such a number in the least of memory.
    return Life(engine_id, f"{secrets.randbits(59) | 1 << 59:x}")


def _end_of(session: EngineSession) -> str:
    if session.failure is not None:
        return str(session.failure)
    sent_away = session.left_for == SENT_AWAY
    return "the broker drains" if sent_away else "the connection was closed"
