"""What both sides' protocols do with a connection: carry bytes, and end it decently."""

from __future__ import annotations

from typing import Any, Generic, TypeVar
from typing import Protocol as Interface

from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IProtocol,
    IReactorTime,
    ISSLTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["FLUSH_DEADLINE", "NO_SLOTS", "CarryingProtocol"]

FLUSH_DEADLINE = 1.0
"""Seconds that a peer has to read the last words before it is cut off."""


class _Session(Interface):
    """What both sides' sessions offer to whoever carries their bytes."""

    @property
    def is_over(self) -> bool: ...

    def data_to_send(self) -> bytes: ...


S = TypeVar("S", bound=_Session)

# Not written out in the classes: mypy would take it that their attributes are nowhere.
NO_SLOTS: tuple[str, ...] = ()
"""The slots of a class whose subclasses say where its attributes are kept."""


@implementer(IProtocol, IHalfCloseableProtocol)
class CarryingProtocol(Generic[S]):
    """Carries the bytes of one session, and ends the connection when it is over.

    It has no attributes of its own, so that there may be thousands of protocols in a
    process: a subclass says where these are kept.

    Attributes:
        transport: The connection; None while there is none.
        session: Whose bytes; None before the connection is made, and after it is lost.
        reactor: A clock.
    """

    __slots__ = NO_SLOTS

    transport: Any
    session: S | None
    _cut_off: IDelayedCall | None
    _lingers = True

    @property
    def reactor(self) -> IReactorTime:
        """Its clock."""
        raise NotImplementedError

    def makeConnection(self, transport: Any) -> None:
        """Begin to carry bytes."""
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        """Open a session; a subclass does."""

    def dataReceived(self, data: bytes) -> None:
        """Bring the session what came; a subclass does."""

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
        """Let go of the connection, which is gone."""
        cut_off, self._cut_off, self.transport = self._cut_off, None, None
        if cut_off is not None and cut_off.active():
            cut_off.cancel()

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
