"""Doors before ports: what stands in a port's place, and decides how many it accepts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort, IReadDescriptor
from twisted.internet.tcp import Port
from twisted.python.failure import Failure
from zope.interface import implementer

from transports.interfaces import IPacedPort

__all__ = ["CountingDoor", "Door", "slowed"]


@implementer(IListeningPort)
@define(eq=False)
class Door:
    """A port that can be opened and closed.

    Attributes:
        port: The port itself.
        taken_away: Called when the port is to listen no longer.
    """

    port: Any
    taken_away: Callable[[Door], object]

    def open(self) -> None:
        """Let connections be accepted."""
        self.port.resumeProducing()

    def close(self) -> None:
        """Let connections wait in the system's queue."""
        self.port.pauseProducing()

    def startListening(self) -> None:
        """Nothing: what is guarded listens already."""

    def stopListening(self) -> Deferred[None] | None:
        """See `IListeningPort`."""
        self.close()
        self.taken_away(self)
        stopped: Deferred[None] | None = self.port.stopListening()
        return stopped

    def getHost(self) -> IAddress:
        """See `IListeningPort`."""
        host: IAddress = self.port.getHost()
        return host


@implementer(IReadDescriptor)
@define(eq=False)
class CountingDoor(Door):
    """With the reactor in the port's place: left to itself it accepts more each time.

    Attributes:
        room: Tells how many may be accepted now.
    """

    _reactor: Any
    room: Callable[[], int]

    def open(self) -> None:
        """Let connections be accepted."""
        self.port.stopReading()
        self._reactor.addReader(self)

    def close(self) -> None:
        """Let connections wait in the system's queue."""
        self._reactor.removeReader(self)

    def fileno(self) -> int:
        """See `IReadDescriptor`."""
        number: int = self.port.fileno()
        return number

    def doRead(self) -> None:
        """Accept as many as there is room for."""
        room = self.room()
        if room:
            self.port.numberAccepts = room
            self.port.doRead()

    def connectionLost(self, reason: Failure) -> None:
        """See `IReadDescriptor`."""
        self.port.connectionLost(reason)

    def logPrefix(self) -> str:
        """See `IReadDescriptor`."""
        prefix: str = self.port.logPrefix()
        return prefix


def slowed(port: IListeningPort, reactor: Any, batch: int) -> IListeningPort:
    """Have a port accept few in one turn; the others wait in the system's queue.

    Args:
        port: Listens, and is read by nobody else from now on.
        reactor: Reads it.
        batch: How many.

    Returns:
        What listens from now on, in place of `port`.
    """
    if IPacedPort.providedBy(port):
        paced: Any = port
        paced.room = lambda: batch
        return port
    if not isinstance(port, Port):
        return port
    door = CountingDoor(port, lambda _: None, reactor, lambda: batch)
    door.open()
    return door
