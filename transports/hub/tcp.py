"""``tcp://`` by the hub."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from transports.hub.attempt import bind_error
from transports.hub.connection import TCPConnection
from transports.hub.dialling import DialledTCPConnection, HubEndpoint, stopped
from transports.hub.handle import borrowed
from transports.hub.port import Port
from transports.tcp import BACKLOG, unmapped

__all__ = ["NamedHubEndpoint", "TCPHubEndpoint", "TCPPort", "listening_socket"]

_MAPPED = "::ffff:"


def _address(name: Any) -> IPv4Address | IPv6Address:
    """Make the address of what a socket is called."""
    if len(name) == 2:
        return IPv4Address("TCP", *name)
    host, scope = name[0], name[3]
    if scope:
        host = socket.getnameinfo(name, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    return unmapped(IPv6Address("TCP", host, *name[1:]))


def listening_socket(interface: str, port: int) -> socket.socket:
    """Make a socket that listens on an address, or on all of IPv4 where it is empty.

    Raises:
        OSError: It cannot be.
    """
    family, name = _resolved(interface, port) if interface else (socket.AF_INET, ("", port))
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(name)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


class TCPPort(Port):
    """A port for TCP."""

    connection = TCPConnection

    def address_of(self, sock: socket.socket) -> IAddress:
        """See `Port`."""
        return _address(sock.getsockname())

    def met(self, sock: socket.socket, address: Any) -> None:
        """See `Port`: four bytes of a host and two of a port are a number."""
        host = address[0].removeprefix(_MAPPED)
        if "." in host:
            number = int.from_bytes(socket.inet_aton(host)) << 16 | address[1]
            self.hub.peers.note(sock.fileno(), number)
        else:
            self.hub.peers.note(sock.fileno(), address)

    def peer_of(self, fd: int) -> IAddress:
        """See `Origin`."""
        noted = self.hub.peers.of(fd)
        if isinstance(noted, int):
            host = socket.inet_ntoa((noted >> 16).to_bytes(4))
            return IPv4Address("TCP", host, noted & 0xFFFF)
        return _address(noted)

    def host_of(self, fd: int) -> IAddress:
        """See `Origin`."""
        with borrowed(fd, self.family) as sock:
            return _address(sock.getsockname())


def _resolved(host: str, port: int) -> tuple[int, Any]:
    """Give the family of an address that is written in numbers, and how sockets have it.

    Raises:
        socket.gaierror: It names an interface that there is not.
    """
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)
    return int(found[0][0]), found[0][4]


class TCPHubEndpoint(HubEndpoint):
    """Dials one address, written in numbers.

    Args:
        reactor: Whose hub it is.
        host: The address.
        port: Its port.
        source: The address to dial from; empty where the system chooses.
        seconds: How long it may take.
    """

    connection = DialledTCPConnection

    def __init__(self, reactor: Any, host: str, port: int, source: str, seconds: float) -> None:
        super().__init__(reactor, seconds)
        self._host, self._port, self._from = host, port, source

    def target(self) -> tuple[int, Any]:
        """See `HubEndpoint`."""
        return _resolved(self._host, self._port)

    def source(self, family: int) -> Any:
        """See `HubEndpoint`."""
        if not self._from:
            return None
        own_family, source = _resolved(self._from, 0)
        if own_family != family:
            raise bind_error(errno.EAFNOSUPPORT)
        return source

    def address_of(self, name: Any) -> IAddress:
        """See `HubEndpoint`."""
        return _address(name)


@implementer(IStreamClientEndpoint)
@frozen
class NamedHubEndpoint:
    """Dials the addresses of a name, which is looked up each time; as `TCPHubEndpoint`."""

    _reactor: Any
    _host: str
    _port: int
    _source: str
    _seconds: float

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""
        by_hub = _ByHub(self._reactor, self._source)
        endpoint = HostnameEndpoint(by_hub, self._host, self._port, self._seconds)
        protocolFactory.doStart()
        dialling: Deferred[Any] = endpoint.connect(Factory.forProtocol(Protocol))
        dialling.addErrback(stopped, protocolFactory)
        return dialling.addCallback(self._connected, protocolFactory)

    def _connected(self, caught: Any, factory: IProtocolFactory) -> IProtocol:
        endpoint, fd = caught.transport
        protocol: IProtocol = endpoint.adopt(fd, factory)
        return protocol


@implementer(IReactorPluggableNameResolver)
@frozen
class _ByHub:
    """What `HostnameEndpoint` needs of a reactor.

    What it connects are protocols whose transports are a descriptor, and the endpoint that
    can make more of it.
    """

    reactor: Any
    source: str

    @property
    def nameResolver(self) -> Any:
        return self.reactor.nameResolver

    def installNameResolver(self, resolver: Any) -> Any:
        return self.reactor.installNameResolver(resolver)

    def seconds(self) -> float:
        seconds: float = self.reactor.seconds()
        return seconds

    def callLater(self, *arguments: Any) -> Any:
        return self.reactor.callLater(*arguments)

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float, bindAddress: Any
    ) -> None:
        endpoint = TCPHubEndpoint(self.reactor, host, port, self.source, timeout)
        dialling = endpoint.dial()
        connector = _Connector(IPv4Address("TCP", host, port), dialling.cancel)
        factory.startedConnecting(connector)

        def connected(fd: int) -> None:
            factory.buildProtocol(None).makeConnection((endpoint, fd))

        def failed(reason: Failure) -> None:
            factory.clientConnectionFailed(connector, reason)

        dialling.addCallbacks(connected, failed)


@frozen
class _Connector:
    """What a Twisted factory knows of an attempt."""

    _destination: IAddress
    stopConnecting: Callable[[], None]

    def getDestination(self) -> IAddress:
        return self._destination
