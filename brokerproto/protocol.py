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

from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from brokerproto.broker import Broker
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
class BrokerProtocol(CarryingProtocol[BrokerSession], Protocol):
    """Carries bytes between one connection and its session in a `Broker`.

    As a producer it is paused while the connection takes no more.

    Args:
        broker: Owns the sessions.
        reactor: Its clock, for the time that the last words have.
        address: The address that the connection came to.
        framing: How the transport delivers frames.
    """

    transport: Any = None
    session: BrokerSession | None = None
    _cut_off: IDelayedCall | None = None
    _log = Logger()
    _paused = False
    _produces = False

    def __init__(
        self, broker: Broker, reactor: IReactorTime, address: str, framing: Framing = "lines"
    ) -> None:
        self._reactor = reactor
        self._broker = broker
        self._address = address
        self._framing = framing

    @property
    def reactor(self) -> IReactorTime:
        """Its clock."""
        return self._reactor

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
