"""Connecting by the hub."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectBindError, NoProtocol
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from transports.hub.attempt import dial
from transports.hub.connection import Connection, TCPConnection
from transports.hub.handle import borrowed
from transports.hub.hub import Hub, hub_of
from transports.hub.origin import BUFFERED, Past

__all__ = ["Dialled", "DialledConnection", "DialledTCPConnection", "HubEndpoint", "stopped"]


class Dialled:
    """The origin of connections to one address.

    Args:
        hub: Carries them.
        family: Of their sockets.
        peer: The address.
        own_address: Gives that of this end.
    """

    factory: Any = None
    buffer_size = BUFFERED

    def __init__(
        self,
        hub: Hub,
        family: int,
        peer: IAddress,
        own_address: Callable[[socket.socket], IAddress],
    ) -> None:
        self.hub, self.family, self.peer = hub, family, peer
        self._own_address = own_address

    def host_of(self, fd: int) -> IAddress:
        """See `Origin`."""
        with borrowed(fd, self.family) as sock:
            return self._own_address(sock)

    def peer_of(self, fd: int) -> IAddress:
        """See `Origin`."""
        return self.peer

    def past_of(self, fd: int) -> Past:
        """See `Origin`."""
        return Past(self.host_of(fd), self.peer)


class DialledConnection(Connection):
    """A connection that was dialled, and keeps its factory started."""

    __slots__ = ("_factory",)

    def __init__(self, fd: int, origin: Any, factory: Any) -> None:
        super().__init__(fd, origin)
        self._factory = factory

    @property
    def factory(self) -> Any:
        """Made the protocol."""
        return self._factory

    def released(self) -> None:
        """See `Connection`."""
        self._factory.doStop()


class DialledTCPConnection(DialledConnection, TCPConnection):
    """Likewise over TCP."""

    __slots__ = ()


@implementer(IStreamClientEndpoint)
class HubEndpoint:
    """Dials one address; those of each kind of socket make it their own.

    Args:
        reactor: Whose hub it is.
        seconds: How long it may take.
    """

    connection: type[DialledConnection] = DialledConnection

    def __init__(self, reactor: Any, seconds: float) -> None:
        self._reactor, self._seconds = reactor, seconds
        self._origin: Dialled | None = None

    def target(self) -> tuple[int, Any]:
        """Give the family, and the address as sockets have it.

        Raises:
            OSError: There is no such address here.
        """
        raise NotImplementedError

    def source(self, family: int) -> Any:
        """Give the address to dial from, as sockets have it; None where the system chooses.

        Raises:
            OSError: There is no such address here.
            ConnectBindError: One of that family cannot be dialled from it.
        """
        return None

    def address_of(self, name: Any) -> IAddress:
        """Make an address of what sockets have."""
        raise NotImplementedError

    def own_address(self, sock: socket.socket) -> IAddress:
        """Give the address of this end."""
        return self.address_of(sock.getsockname())

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`; it can be cancelled."""
        protocolFactory.doStart()
        dialling: Deferred[Any] = self.dial().addErrback(stopped, protocolFactory)
        return dialling.addCallback(self.adopt, protocolFactory)

    def dial(self) -> Deferred[int]:
        """Give a descriptor that is connected; see `attempt.dial`."""
        try:
            family, address = self.target()
            source = self.source(family)
        except (OSError, ConnectBindError):
            return fail(Failure())
        return dial(self._reactor, family, address, source, self._seconds)

    def adopt(self, fd: int, factory: IProtocolFactory) -> IProtocol:
        """Give a descriptor to the protocol of a factory, which has been started.

        Raises:
            NoProtocol: The factory has none.
            Exception: What the factory or its protocol raised.
        """
        hub = hub_of(self._reactor)
        if self._origin is None or self._origin.hub is not hub:
            family, name = self.target()
            self._origin = Dialled(hub, family, self.address_of(name), self.own_address)
        try:
            protocol = factory.buildProtocol(self._origin.peer)
            if protocol is None:
                raise NoProtocol
        except BaseException:
            os.close(fd)
            factory.doStop()
            raise
        self.connection(fd, self._origin, factory).start(protocol)
        return protocol


def stopped(reason: Failure, factory: IProtocolFactory) -> Failure:
    """Stop a factory for which nothing was connected."""
    factory.doStop()
    return reason
