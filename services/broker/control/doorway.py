"""How many connect to the control API in one turn of the reactor: few."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort, IReadDescriptor
from twisted.internet.tcp import Port
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["BATCH", "slowed"]

BATCH = 8
"""Connections that are accepted in one turn; the others are in the system's queue."""


def slowed(port: IListeningPort, reactor: Any) -> IListeningPort:
    """Have a port accept few at once, so that heartbeats do not wait for a crowd.

    Returns:
        What listens from now on, in place of `port`.
    """
    return Doorway(port, reactor) if isinstance(port, Port) else port


@implementer(IListeningPort, IReadDescriptor)
class Doorway:
    """Stands in a port's place at the reactor: left to itself it accepts more each time.

    Args:
        port: Listens, and is read by nobody else from now on.
        reactor: Reads it.
    """

    def __init__(self, port: Port, reactor: Any) -> None:
        self._port: Any = port
        self._reactor = reactor
        self._port.stopReading()
        reactor.addReader(self)

    def doRead(self) -> None:
        """Accept a few."""
        self._port.numberAccepts = BATCH
        self._port.doRead()

    def fileno(self) -> int:
        """See `IReadDescriptor`."""
        number: int = self._port.fileno()
        return number

    def logPrefix(self) -> str:
        """See `IReadDescriptor`."""
        prefix: str = self._port.logPrefix()
        return prefix

    def connectionLost(self, reason: Failure) -> None:
        """See `IReadDescriptor`."""
        self._port.connectionLost(reason)

    def startListening(self) -> None:
        """Nothing: the port listens already."""

    def stopListening(self) -> Deferred[None] | None:
        """See `IListeningPort`."""
        self._reactor.removeReader(self)
        stopped: Deferred[None] | None = self._port.stopListening()
        return stopped

    def getHost(self) -> IAddress:
        """See `IListeningPort`."""
        host: IAddress = self._port.getHost()
        return host
