"""The engine's Twisted edge: it carries bytes and decides nothing."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolFactory, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from brokerproto.carrying import NO_SLOTS, CarryingProtocol
from brokerproto.engine import Engine
from brokerproto.engine_session import EngineSession
from brokerproto.framing import Framing
from brokerproto.ticker import Ticked, Ticker

__all__ = ["EngineCarrying", "EngineFactory", "EngineProtocol", "ReactorTicker"]

_CLOSE_DEADLINE = 0.1


class ReactorTicker:
    """Ticks by a delayed call for each.

    Args:
        reactor: Its clock.
    """

    __slots__ = ("_reactor",)

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor

    def tick_at(self, ticked: Ticked, due: float) -> None:
        """See `brokerproto.ticker.Ticker`."""
        alarm: IDelayedCall | None = ticked.alarm
        if alarm is not None:
            if alarm.getTime() <= due:
                return
            alarm.cancel()
        wait = max(0.0, due - self._reactor.seconds())
        ticked.alarm = self._reactor.callLater(wait, self._tick, ticked)

    def forget(self, ticked: Ticked) -> None:
        """See `brokerproto.ticker.Ticker`."""
        alarm: IDelayedCall | None = ticked.alarm
        if alarm is not None:
            ticked.alarm = None
            alarm.cancel()

    def _tick(self, ticked: Ticked) -> None:
        ticked.alarm = None
        ticked.tick(self._reactor.seconds())


class EngineCarrying(CarryingProtocol[EngineSession]):
    """What carries an engine's bytes, whatever else it is; see `EngineProtocol`.

    Attributes:
        alarm: The ticker's.
    """

    __slots__ = NO_SLOTS

    alarm: Any

    @property
    def ticker(self) -> Ticker:
        """Who ticks it."""
        raise NotImplementedError

    def settle(self) -> None:
        """Write what the session owes, have it ticked when due, and close at its end."""
        super().settle()
        session = self.session
        if session is None:
            return
        if session.is_over:
            self.ticker.forget(self)
        else:
            self.ticker.tick_at(self, session.due)

    def tick(self, now: float) -> None:
        """Do what is due; see `brokerproto.ticker.Ticked`."""
        session = self.session
        if session is None:
            return
        session.tick(now)
        if session.is_open:
            owed = session.data_to_send()
            if owed:
                self.transport.write(owed)
            self.ticker.tick_at(self, session.due)
        else:
            self.settle()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Have nothing due any more."""
        super().connectionLost(reason)
        self.ticker.forget(self)

    def _cut(self) -> None:
        # Closed first: a reset from an engine ends an original broker.
        transport = self.transport
        if transport is not None:
            self._cut_off = self.reactor.callLater(_CLOSE_DEADLINE, super()._cut)
            transport.loseConnection()


class EngineProtocol(EngineCarrying):
    """Carries bytes between one connection and an `Engine`.

    Args:
        engine: Whose connection it is.
        reactor: Its clock.
        framing: How the transport delivers frames.
        ticker: Who ticks it when a heartbeat is due; by default `reactor`.
    """

    __slots__ = (
        "_cut_off",
        "_engine",
        "_framing",
        "_reactor",
        "_ticker",
        "alarm",
        "session",
        "transport",
    )

    def __init__(
        self,
        engine: Engine,
        reactor: IReactorTime,
        framing: Framing = "lines",
        ticker: Ticker | None = None,
    ) -> None:
        self._engine = engine
        self._reactor = reactor
        self._framing = framing
        self._ticker: Ticker = ReactorTicker(reactor) if ticker is None else ticker
        self.alarm = self.session = self.transport = self._cut_off = None

    @property
    def reactor(self) -> IReactorTime:
        """Its clock."""
        return self._reactor

    @property
    def ticker(self) -> Ticker:
        """Who ticks it."""
        return self._ticker

    def connectionMade(self) -> None:
        """Open a session and say the hello."""
        self.session = self._engine.open(self, self._framing)
        self.settle()

    def dataReceived(self, data: bytes) -> None:
        """Bring the engine what came."""
        if self._engine.receive_data(data):
            self.settle()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the engine that its connection is gone."""
        super().connectionLost(reason)
        if self.session is not None:
            self.session = None
            self._engine.lose()


@implementer(IProtocolFactory)
class EngineFactory:
    """Makes an `EngineProtocol` for each connection of one engine, one at a time.

    Args:
        engine: Whose connections they are.
        reactor: Its clock.
        framing: How the transport delivers frames.
    """

    noisy = False

    def __init__(self, engine: Engine, reactor: IReactorTime, framing: Framing = "lines") -> None:
        self._engine = engine
        self._reactor = reactor
        self._framing = framing

    def buildProtocol(self, addr: IAddress | None) -> EngineProtocol:
        """Make the protocol of a new connection."""
        return EngineProtocol(self._engine, self._reactor, self._framing)

    def doStart(self) -> None:
        """Nothing: an engine comes and goes with its owner."""

    def doStop(self) -> None:
        """Nothing: an engine comes and goes with its owner."""
