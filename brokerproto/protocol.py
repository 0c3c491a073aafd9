"""The Twisted edge: protocols and factories that carry bytes and decide nothing.

A broker of your own (``python thisfile.py``, then ``twistd -n engine --host 127.0.0.1``)::

    import secrets

    from twisted.application.internet import TimerService
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    from brokerproto.broker import Broker
    from brokerproto.observer import Observer
    from brokerproto.protocol import BrokerFactory
    from transports import URI, transport_for


    class Printer(Observer):
        def engine_registered(self, member):
            print("registered", member.engine_id)

        def engine_ended(self, end):
            print(end.manner.value, end.engine_id, end.cause)


    async def main(reactor):
        broker = Broker(reactor.seconds, secrets.token_hex(4), observer=Printer())
        TimerService(broker.tick_length, broker.tick).startService()
        uri = URI.parse("tcp://127.0.0.1:1337")
        endpoint = transport_for(uri.scheme).server_endpoint(reactor, uri)
        await endpoint.listen(BrokerFactory(broker, reactor, str(uri)))
        await Deferred()


    react(main)
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar
from typing import Protocol as Interface

from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from brokerproto.broker import Broker
from brokerproto.broker_session import BrokerSession
from brokerproto.engine import Engine
from brokerproto.engine_session import EngineSession
from brokerproto.errors import SlowReaderError
from brokerproto.fleet import Origin
from brokerproto.framing import Framing

__all__ = ["BrokerFactory", "BrokerProtocol", "EngineFactory", "EngineProtocol", "address_text"]

FLUSH_DEADLINE = 1.0
"""Seconds that a peer has to read the last words before it is cut off."""

_CLOSE_DEADLINE = 0.1

_PIECE = 4096


def address_text(address: IAddress | None) -> str:
    """Name a peer: ``127.0.0.1:1234``, ``[::1]:1234``, ``unix``, or what the address says."""
    peer: Any = address
    if isinstance(peer, UNIXAddress):
        # Its name is the peer's own choice, and mostly empty.
        return "unix"
    host, port = getattr(peer, "host", None), getattr(peer, "port", None)
    if host is None or port is None:
        return str(peer)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Session(Interface):
    """What both sides' sessions offer to whoever carries their bytes."""

    @property
    def is_over(self) -> bool: ...

    def data_to_send(self) -> bytes: ...


S = TypeVar("S", bound=_Session)


@implementer(IHalfCloseableProtocol)
class _CarryingProtocol(Protocol, Generic[S]):
    """Carries the bytes of one session, and ends the connection when it is over."""

    session: S | None = None
    _cut_off: IDelayedCall | None = None
    _lingers = True

    def __init__(self, reactor: IReactorTime) -> None:
        self.reactor = reactor

    def settle(self) -> None:
        """Write what the session owes, and close where it is over."""
        session, transport = self.session, self.transport
        if session is None or transport is None:
            return
        self._write(session, transport)
        if session.is_over and self._cut_off is None:
            self._cut_off = self.reactor.callLater(FLUSH_DEADLINE, self._cut)
            self._close(session, transport)

    def readConnectionLost(self) -> None:
        """Close when the peer says nothing more, once it has had our last words."""
        transport = self.transport
        if transport is not None:
            if self._cut_off is None:
                self._cut_off = self.reactor.callLater(FLUSH_DEADLINE, self._cut)
            transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Nothing: it was our own doing."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._cut_off is not None and self._cut_off.active():
            self._cut_off.cancel()
        self.transport = None

    def _write(self, session: S, transport: Any) -> None:
        owed = session.data_to_send()
        if owed:
            transport.write(owed)

    def _close(self, session: S, transport: Any) -> None:
        """Say that nothing more is coming, and still read what the peer has sent.

        Closing a socket with unread bytes resets the connection, and the peer would lose
        our last words. TLS says its own goodbye, and reads on until it is answered; to end
        one half of the connection below it would cut this off.
        """
        half_closeable = hasattr(transport, "loseWriteConnection")
        if self._lingers and half_closeable and not ISSLTransport.providedBy(transport):
            transport.loseWriteConnection()
        else:
            transport.loseConnection()

    def _cut(self) -> None:
        # A peer that does not read would keep a closing connection for ever.
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()


@implementer(IPushProducer)
class BrokerProtocol(_CarryingProtocol[BrokerSession]):
    """Carries bytes between one connection and its session in a `Broker`.

    As a producer it is paused while the connection takes no more.

    Args:
        broker: Owns the sessions.
        reactor: Its clock, for the time that the last words have.
        address: The address that the connection came to.
        framing: How the transport delivers frames.
    """

    _log = Logger()
    _paused = False
    _produces = False

    def __init__(
        self, broker: Broker, reactor: IReactorTime, address: str, framing: Framing = "lines"
    ) -> None:
        super().__init__(reactor)
        self._broker = broker
        self._address = address
        self._framing = framing

    def connectionMade(self) -> None:
        """Open a session."""
        assert self.transport is not None
        origin = Origin(address_text(self.transport.getPeer()), self._address)
        try:
            self.session = self._broker.open(self, origin, self._framing)
        except Exception:
            self._log.failure("a session of {address} failed", address=self._address)
            self._cut()
            return
        self._lingers = not (self.session.is_over and self._broker.admission.is_overrun)
        if not self.session.is_over:
            self._produces = True
            consumer: Any = self.transport
            consumer.registerProducer(self, True)
        self.settle()

    def dataReceived(self, data: bytes) -> None:
        """Bring the session what came."""
        session = self.session
        assert session is not None
        try:
            self._broker.receive_data(session, data)
        except Exception:
            self._log.failure("a session of {address} failed", address=self._address)
        self.settle()

    def settle(self) -> None:
        """Write what the session owes; read on, or not, as it has room; close at its end."""
        super().settle()
        session, transport = self.session, self.transport
        if session is not None and transport is not None and session.is_full is not self._paused:
            self._paused = session.is_full
            producer: Any = transport
            if self._paused:
                producer.pauseProducing()
            else:
                producer.resumeProducing()

    def pauseProducing(self) -> None:
        """Have the broker keep what it owes: the connection takes no more."""
        if self.session is not None:
            self._broker.flow.hold(self.session, self._broker.now)

    def resumeProducing(self) -> None:
        """Write again: the connection takes more."""
        if self.session is not None:
            self._broker.flow.release(self.session)
            self.settle()

    def stopProducing(self) -> None:
        """Nothing: that the connection is lost is told apart."""

    def readConnectionLost(self) -> None:
        """Write all that is owed, and close; see the parent."""
        if self.session is not None and self.transport is not None:
            self._stop_producing(self.transport)
            self._broker.flow.backlog.forget(self.session)
            self._write(self.session, self.transport)
        super().readConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the broker that the session's connection is gone."""
        super().connectionLost(reason)
        session, self.session = self.session, None
        if session is not None:
            session.carrier = None
            self._broker.lose(session, reset=reason.check(ConnectionDone) is None)

    def _write(self, session: BrokerSession, transport: Any) -> None:
        # In pieces, so that little has left the broker's account when the connection is
        # full, and each piece that goes is seen as progress.
        while owed := session.data_to_send(_PIECE):
            transport.write(owed)

    def _close(self, session: BrokerSession, transport: Any) -> None:
        # While there is a producer, a transport takes it that more is coming.
        self._stop_producing(transport)
        if isinstance(session.failure, SlowReaderError):
            # What it has not read stands before any last words.
            transport.abortConnection()
        else:
            super()._close(session, transport)

    def _stop_producing(self, transport: Any) -> None:
        if self._produces:
            self._produces = False
            transport.unregisterProducer()


class BrokerFactory(Factory):
    """Makes a `BrokerProtocol` for each connection to one address.

    Several factories may share one broker.

    Args:
        broker: Owns the sessions; somebody must call its ``tick``.
        reactor: Its clock.
        address: The address listened on, as `brokerproto.fleet.Origin` shows it.
        framing: How the transport delivers frames.
    """

    noisy = False

    def __init__(
        self, broker: Broker, reactor: IReactorTime, address: str, framing: Framing = "lines"
    ) -> None:
        self.address = address
        self._broker = broker
        self._reactor = reactor
        self._framing = framing

    def buildProtocol(self, addr: IAddress | None) -> BrokerProtocol:
        """Make the protocol of a new connection."""
        return BrokerProtocol(self._broker, self._reactor, self.address, self._framing)


class EngineProtocol(_CarryingProtocol[EngineSession]):
    """Carries bytes between one connection and an `Engine`.

    Args:
        engine: Whose connection it is.
        reactor: Its clock, for the heartbeats.
        framing: How the transport delivers frames.
    """

    _due: IDelayedCall | None = None

    def __init__(self, engine: Engine, reactor: IReactorTime, framing: Framing = "lines") -> None:
        super().__init__(reactor)
        self._engine = engine
        self._framing = framing

    def connectionMade(self) -> None:
        """Open a session and say the hello."""
        self.session = self._engine.open(self, self._framing)
        self.settle()

    def dataReceived(self, data: bytes) -> None:
        """Bring the engine what came."""
        self._engine.receive_data(data)
        self.settle()

    def settle(self) -> None:
        """Write what the session owes, have it ticked when due, and close at its end."""
        super().settle()
        session = self.session
        if session is None:
            return
        due = session.due
        if self._due is not None and self._due.active():
            if self._due.getTime() <= due and not session.is_over:
                return
            self._due.cancel()
        if not session.is_over:
            self._due = self.reactor.callLater(max(0.0, due - self.reactor.seconds()), self._tick)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the engine that its connection is gone."""
        super().connectionLost(reason)
        if self._due is not None and self._due.active():
            self._due.cancel()
        if self.session is not None:
            self.session = None
            self._engine.lose()

    def _cut(self) -> None:
        # Closed first: a reset from an engine ends an original broker.
        transport = self.transport
        if transport is not None:
            self._cut_off = self.reactor.callLater(_CLOSE_DEADLINE, super()._cut)
            transport.loseConnection()

    def _tick(self) -> None:
        if self.session is not None:
            self.session.tick(self.reactor.seconds())
        self.settle()


class EngineFactory(Factory):
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
