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

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from brokerproto.broker import Broker
from brokerproto.broker_events import BrokerEvent
from brokerproto.broker_session import BrokerSession
from brokerproto.carrying import CarryingProtocol
from brokerproto.errors import SlowReaderError
from brokerproto.fleet import Origin
from brokerproto.framing import Framing

__all__ = ["BrokerFactory", "BrokerProtocol", "address_text"]

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


@implementer(IPushProducer)
class BrokerProtocol(CarryingProtocol[BrokerSession]):
    """Carries bytes between one connection and its session in a `Broker`.

    As a producer it is paused while the connection takes no more. A transport that drains
    many connections may bring what comes to its `receiver` itself.

    Args:
        factory: Made it.
    """

    if not TYPE_CHECKING:
        __slots__ = ("_cut_off", "_paused", "_produces", "factory", "session", "transport")

    _log = Logger()

    def __init__(self, factory: BrokerFactory) -> None:
        self.factory = factory
        self.transport = self.session = self._cut_off = None
        self._paused = self._produces = False

    @property
    def reactor(self) -> IReactorTime:
        """Its clock."""
        return self.factory.reactor

    @property
    def receiver(self) -> BrokerSession | None:
        """What may be given the bytes in place of `dataReceived`; None without a session.

        Its ``receive_data`` is to be called with the time that `BrokerFactory.drain_begins`
        gave, and `received` with whatever else than None that returns.
        """
        return self.session

    def connectionMade(self) -> None:
        """Open a session."""
        assert self.transport is not None
        factory = self.factory
        origin = Origin(address_text(self.transport.getPeer()), factory.address)
        try:
            self.session = factory.broker.open(self, origin, factory.framing)
        except Exception:
            self._log.failure("a session of {address} failed", address=factory.address)
            self._cut()
            return
        if not self.session.is_over:
            self._produces = True
            consumer: Any = self.transport
            consumer.registerProducer(self, True)
        self.settle()

    def dataReceived(self, data: bytes) -> None:
        """Bring the session what came."""
        session = self.session
        assert session is not None
        events = session.receive_data(data, self.factory.drain_begins())
        if events is None:
            self.factory.drain_ends(1)
        else:
            self.received(events, data)

    def received(self, outcome: Iterable[BrokerEvent], data: bytes) -> None:
        """Follow what the session made of what came.

        Args:
            outcome: What its ``receive_data`` returned, not None.
            data: What that was given.
        """
        session = self.session
        assert session is not None
        try:
            self.factory.broker.received(session, outcome, data)
        except Exception:
            self._log.failure("a session of {address} failed", address=self.factory.address)
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
            self.factory.broker.flow.hold(self.session, self.factory.broker.now)

    def resumeProducing(self) -> None:
        """Write again: the connection takes more."""
        if self.session is not None:
            self.factory.broker.flow.release(self.session)
            self.settle()

    def stopProducing(self) -> None:
        """Nothing: that the connection is lost is told apart."""

    def readConnectionLost(self) -> None:
        """Write all that is owed, and close; see the parent."""
        if self.session is not None and self.transport is not None:
            self._stop_producing(self.transport)
            self.factory.broker.flow.backlog.forget(self.session)
            self._write(self.session, self.transport)
        super().readConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the broker that the session's connection is gone."""
        super().connectionLost(reason)
        session, self.session = self.session, None
        if session is not None:
            session.carrier = None
            self.factory.broker.lose(session, reset=reason.check(ConnectionDone) is None)

    def _write(self, session: BrokerSession, transport: Any) -> None:
        # In pieces, so that little has left the broker's account when the connection is
        # full, and each piece that goes is seen as progress.
        while owed := session.data_to_send(_PIECE):
            transport.write(owed)

    def _close(self, session: BrokerSession, transport: Any) -> None:
        was_refused = not self._produces
        # While there is a producer, a transport takes it that more is coming.
        self._stop_producing(transport)
        if isinstance(session.failure, SlowReaderError):
            # What it has not read stands before any last words.
            transport.abortConnection()
        elif was_refused and self.factory.broker.admission.is_overrun:
            transport.loseConnection()
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
        self.broker = broker
        self.reactor = reactor
        self.address = address
        self.framing = framing

    def buildProtocol(self, addr: IAddress | None) -> BrokerProtocol:  # type: ignore[override]
        """Make the protocol of a new connection."""
        return BrokerProtocol(self)

    def drain_begins(self) -> float:
        """Give the time that all receivers are told until `drain_ends`: detector seconds."""
        return self.broker.now

    def drain_ends(self, silently: int) -> None:
        """Take note that connections have been read.

        Args:
            silently: How many times a receiver said that all was done.
        """
        if silently:
            self.broker.heard()
