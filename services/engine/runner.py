"""One engine and its connections, one after the other: connect, retry, come back.

When to try again is `brokerproto.retry.RetryPolicy`'s to say; Twisted's ClientService
does the trying.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from attrs import define, field
from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from brokerproto.engine import Engine, EngineObserver
from brokerproto.engine_protocol import EngineProtocol
from brokerproto.engine_session import SENT_AWAY, EngineSession
from brokerproto.errors import BrokerError, ProtocolError
from brokerproto.framing import Framing
from brokerproto.life import Life, Wishes
from brokerproto.messages import Success
from brokerproto.retry import LAST_TRY, RetryPolicy
from services.engine.work import Work, WorkFailed
from transports.tcp import set_user_timeout

__all__ = ["LONG_LIFE", "Dialler", "Journal", "Runner"]

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
class _Hands:
    """Lets an engine's work be done by a `Work`."""

    runner: Runner
    work: Work
    _running: Deferred[None] | None = field(init=False, default=None)

    def start(self, ms: int) -> None:
        engine = self.runner.engine
        running = self._running = self.work.start(ms)

        def over(result: Failure | None) -> None:
            # Work that was stopped has been reported already.
            if self._running is running:
                self._running = None
                engine.worked(_reason_of(result))

        running.addBoth(over)

    def stop(self) -> None:
        self._running = None
        self.work.stop()

    def exit(self, code: int) -> None:
        self.runner.killed(code)


def _reason_of(result: Failure | None) -> str | None:
    if result is None:
        return None
    if isinstance(result.value, WorkFailed):
        return result.value.reason
    log.failure("the work failed", failure=result)
    return "internal"


@define(eq=False, slots=False)
class Runner(EngineObserver):
    """Keeps one engine connected, from one life to the next.

    Args:
        engine_id: Its id, in every life.
        dialler: How to reach the broker.
        work: What does its work.
        wishes: What to ask of the broker.
        journal: Hears of every change of state.
        reborn_after: After so many deaths in short succession: seconds to wait before the
            next life. None where it has only one.

    Attributes:
        engine: The present life.
        sent: Heartbeats sent in earlier lives.
        untold: How many of these no ACK has settled.
    """

    engine_id: str
    dialler: Dialler
    work: Work
    wishes: Wishes
    journal: Journal
    reborn_after: Callable[[int], float] | None = None
    random: Random = field(factory=Random)
    engine: Engine = field(init=False)
    sent: int = field(init=False, default=0)
    untold: int = field(init=False, default=0)
    _policy: RetryPolicy = field(init=False)
    _client: ClientService = field(init=False)
    _protocol: EngineProtocol | None = field(init=False, default=None)
    _stopping: bool = field(init=False, default=False)
    _born_at: float = field(init=False, default=0.0)
    _deaths: int = field(init=False, default=0)
    _pause: float | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._be_born()
        self._policy = RetryPolicy(self.random)
        self._client = self.dialler.client(self)

    def start(self) -> None:
        """Connect, and keep connected."""
        self._client.startService()

    def stop(self) -> Deferred[None]:
        """Say Bye and stay away; fires when the connection is gone."""
        self._stopping = True
        self.engine.leave("stopped")
        stopped: Deferred[None] = self._client.stopService()
        return stopped

    def die(self) -> Deferred[None]:
        """Vanish, as a process that is killed does; fires when the connection is gone."""
        self._stopping = True
        self.work.stop()
        self.hang_up()
        stopped: Deferred[None] = self._client.stopService()
        return stopped

    def hang_up(self) -> None:
        """Abort the connection, where there is one."""
        transport: Any = None if self._protocol is None else self._protocol.transport
        if transport is not None:
            transport.abortConnection()

    @property
    def heartbeats_sent(self) -> int:
        """Heartbeats sent in all lives."""
        return self.sent + self.engine.life.seq

    @property
    def heartbeats_untold(self) -> int:
        """Heartbeats of all lives that no ACK has settled; their brokers may know of them."""
        return self.untold + self.engine.life.seq - self.engine.life.settled

    def make_protocol(self, framing: Framing) -> EngineProtocol:
        """Make the protocol of the next connection."""
        self._protocol = EngineProtocol(self.engine, self.dialler.reactor, framing)
        return self._protocol

    def registered(self, engine: Engine, success: Success) -> None:
        """See `EngineObserver`."""
        self._policy.registered(success)
        session = engine.session
        if session is not None and self._protocol is not None:
            set_user_timeout(self._protocol.transport, _UNACKNOWLEDGED_INTERVALS * session.interval)
        self.journal.registered(self, success)

    def ended(self, engine: Engine, session: EngineSession) -> None:
        """See `EngineObserver`."""
        self._protocol = None
        if self._stopping or engine.exit_code is not None:
            return
        stable = 0.0
        if session.registered_at is not None:
            stable = (engine.seconds() - session.registered_at) / session.interval
        self._retry(session.failure, _end_of(session), stable)

    def attempt_failed(self, error: BaseException | None) -> None:
        """Take note that a connection could not be made."""
        if not self._stopping:
            known = isinstance(error, BrokerError)
            self._retry(None, str(error) if known else f"{type(error).__name__}: {error}", 0.0)

    def killed(self, code: int) -> None:
        """Begin the next life, or stay away."""
        if self.reborn_after is None:
            self._stay_away()
            self.journal.killed(self, code, None)
        elif not self._stopping:
            if self.dialler.reactor.seconds() - self._born_at >= LONG_LIFE:
                self._deaths = 0
            self._deaths += 1
            self._pause = pause = self.reborn_after(self._deaths)
            self._be_born()
            self.journal.killed(self, code, pause)

    def next_pause(self) -> float:
        """Give the seconds until the next attempt."""
        pause, self._pause = self._pause, None
        return 0.0 if pause is None else pause

    def _be_born(self) -> None:
        if hasattr(self, "engine"):
            self.sent += self.engine.life.seq
            self.untold += self.engine.life.seq - self.engine.life.settled
        self._born_at = self.dialler.reactor.seconds()
        life = Life(self.engine_id, secrets.token_hex(8))
        self.engine = Engine(
            life,
            _Hands(self, self.work),
            self.dialler.reactor.seconds,
            self.random,
            self.wishes,
            self,
        )

    def _stay_away(self) -> None:
        self._stopping = True
        self._pause = LAST_TRY
        # In a later turn: the client is in the middle of losing its connection.
        self.dialler.reactor.callLater(0, self._client.stopService)

    def _retry(self, failure: ProtocolError | None, reason: str, stable: float) -> None:
        pause = self._policy.ended(failure, stable)
        if pause is None:
            self._stay_away()
            self.journal.gave_up(self, reason)
            return
        self._pause = pause
        self.journal.lost(self, reason, pause)


def _end_of(session: EngineSession) -> str:
    if session.failure is not None:
        return str(session.failure)
    sent_away = session.left_for == SENT_AWAY
    return "the broker drains" if sent_away else "the connection was closed"


@define(eq=False)
class Dialler:
    """How the engines of a process reach their broker.

    Args:
        reactor: Connects, and keeps time.
        endpoint: Where the broker is.
        framing: How the transport delivers frames.
    """

    reactor: Any
    endpoint: IStreamClientEndpoint
    framing: Framing = "lines"

    def client(self, runner: Runner) -> ClientService:
        """Make the service that keeps `runner` connected."""
        return ClientService(
            _Watched(self.endpoint, runner),
            _Lives(runner, self.framing),
            retryPolicy=lambda _attempts: runner.next_pause(),
            clock=self.reactor,
        )


@implementer(IStreamClientEndpoint)
@define(eq=False, repr=False)
class _Watched:
    """Tells a runner why it could not connect, which ClientService keeps to itself."""

    _endpoint: IStreamClientEndpoint
    _runner: Runner

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return self._endpoint.connect(protocolFactory).addErrback(self._failed)

    def _failed(self, failure: Failure) -> Failure:
        self._runner.attempt_failed(failure.value)
        return failure


@implementer(IProtocolFactory)
@define(eq=False)
class _Lives:
    """Makes the protocol of whichever life an engine has when it connects."""

    _runner: Runner
    _framing: Framing
    noisy: bool = field(init=False, default=False)

    def buildProtocol(self, addr: Any) -> EngineProtocol:
        return self._runner.make_protocol(self._framing)

    def doStart(self) -> None:
        """Nothing: see `IProtocolFactory`."""

    def doStop(self) -> None:
        """Nothing: see `IProtocolFactory`."""
