"""``tcp://host:port``: plain TCP.

Dialling looks a name up anew each time and tries all its addresses, 5 s each.
Listening on ``*`` takes both families, on a name its first IPv4 address, or its
first IPv6 address where it has none.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from ipaddress import IPv6Address as IPv6Number
from typing import Any

from attrs import evolve, frozen
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import CannotListenError, ConnectError, DNSLookupError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.tcp import Server
from twisted.python.failure import Failure
from zope.interface import implementer

from brokerproto.errors import DialError, ListenError
from transports.hub import choice
from transports.interfaces import ITransport
from transports.profile import Profile
from transports.reasons import dial_reason, listen_reason
from transports.uri import URI

__all__ = [
    "BACKLOG",
    "DIAL_TIMEOUT",
    "TCPTransport",
    "set_no_delay",
    "set_user_timeout",
    "socket_of",
    "socket_of_both_families",
    "transport",
    "unmapped",
]

BACKLOG = 4096
"""Connections that wait to be accepted; the system may allow fewer."""

DIAL_TIMEOUT = 5.0
"""Seconds for each address (protocol reference, section "Reconnecting")."""

_OPTIONS: dict[str, Any] = {"framing": ("lines",), **choice.OPTION, "source": None}

_MOST_MILLISECONDS = 2**31 - 1

_NO_IPV6 = {
    errno.EAFNOSUPPORT,
    errno.EPROTONOSUPPORT,
    errno.EADDRNOTAVAIL,
    errno.ENOPROTOOPT,
}


@implementer(ITransport)
class TCPTransport:
    """Plain TCP. Listening on port 0 lets the system choose the port."""

    scheme = "tcp"
    framing = "lines"
    profile = Profile(unreachable="tcp://255.255.255.255:1337", unlistenable="tcp://192.0.2.1:0")

    def client_endpoint(self, reactor: Any, uri: URI) -> IStreamClientEndpoint:
        """See `ITransport`; neither host ``*`` nor port 0 can be dialled."""
        port = _port_of(uri)
        if uri.host == "*":
            raise uri.refusal("* is for listening; to connect takes one host")
        if port == 0:
            raise uri.refusal("port 0 is for listening; to connect takes a port")
        return _ClientEndpoint(uri, _dialling(reactor, uri, port, _source_of(uri)))

    def server_endpoint(self, reactor: Any, uri: URI) -> IStreamServerEndpoint:
        """See `ITransport`; a name is looked up, blocking, when it listens."""
        port = _port_of(uri)
        if "source" in uri.options:
            raise uri.refusal("the option 'source' is for connecting")
        listen = _listen_by_hub if choice.is_hub(uri) else _listen
        return _ServerEndpoint(reactor, uri, port, listen)

    def is_local(self, uri: URI) -> bool:
        """See `ITransport`: loopback addresses and ``localhost``."""
        _port_of(uri)
        return uri.is_loopback

    def listen_address(self, uri: URI, port: IListeningPort) -> URI:
        """See `ITransport`; the host stays as it was written."""
        host: Any = port.getHost()
        return evolve(uri, port=host.port)


transport = TCPTransport()


def set_user_timeout(transport: Any, seconds: float) -> bool:
    """Give a connection up when what it sent stays unacknowledged so long.

    Args:
        transport: A connected Twisted transport, of any kind; what wraps a TCP
            connection, as TLS does, is looked through.
        seconds: More than 0; rounded to whole milliseconds, 1 ms at least, and to no
            more than the system can count, 24 days.

    Returns:
        False where that cannot be had: on another platform than Linux, or
        where there is no TCP socket.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    sock = socket_of(transport)
    if option is None or sock is None:
        return False
    try:
        milliseconds = min(max(1, round(seconds * 1000)), _MOST_MILLISECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, option, milliseconds)
    except OSError:
        return False
    return True


def set_no_delay(sock: Any) -> None:
    """Have each small write sent at once, where `sock` is a TCP socket."""
    # A frame is small and awaited; Nagle's algorithm would hold the second one
    # back until the first is acknowledged.
    if getattr(sock, "family", None) in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def socket_of(transport: Any) -> Any:
    """Find the socket of a Twisted transport, below what wraps it; None if it has none."""
    while transport is not None:
        handle = getattr(transport, "getHandle", lambda: None)()
        # That of TLS is its state, and has no socket's options.
        if hasattr(handle, "setsockopt"):
            return handle
        transport = getattr(transport, "transport", None)
    return None


def _port_of(uri: URI) -> int:
    uri.check_parts(port=True, path=False)
    uri.check_options(_OPTIONS)
    assert uri.port is not None
    return uri.port


def _source_of(uri: URI) -> str:
    """Give the address to dial from; empty where none is given."""
    source = uri.options.get("source", "")
    if not source:
        return ""
    if not (isIPAddress(source) or isIPv6Address(source)):
        raise uri.refusal(f"the option 'source' is an address in numbers, not {source!r}")
    if (isIPAddress(uri.host) and ":" in source) or (isIPv6Address(uri.host) and ":" not in source):
        raise uri.refusal("the option 'source' is an address of the same family as the host")
    return source


def _dialling(reactor: Any, uri: URI, port: int, source: str) -> IStreamClientEndpoint:
    host = uri.host
    is_numeric = isIPAddress(host) or isIPv6Address(host)
    if choice.is_hub(uri):
        from transports.hub.tcp import NamedHubEndpoint, TCPHubEndpoint

        by_hub = TCPHubEndpoint if is_numeric else NamedHubEndpoint
        return by_hub(reactor, host, port, source, DIAL_TIMEOUT)
    bind = (source, 0) if source else None
    if not is_numeric:
        return HostnameEndpoint(reactor, host, port, DIAL_TIMEOUT, bind)
    by_reactor = TCP4ClientEndpoint if isIPAddress(host) else TCP6ClientEndpoint
    endpoint: IStreamClientEndpoint = by_reactor(reactor, host, port, DIAL_TIMEOUT, bind)
    return endpoint


@implementer(IStreamClientEndpoint)
@frozen
class _ClientEndpoint:
    uri: URI
    endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        connecting = self.endpoint.connect(protocolFactory)
        return connecting.addCallbacks(self._connected, self._failed)

    def _connected(self, protocol: IProtocol) -> IProtocol:
        set_no_delay(socket_of(getattr(protocol, "transport", None)))
        return protocol

    def _failed(self, failure: Failure) -> Failure:
        failure.trap(ConnectError, DNSLookupError, socket.gaierror)
        return Failure(DialError(str(self.uri), dial_reason(failure.value, DIAL_TIMEOUT)))


@implementer(IStreamServerEndpoint)
@frozen
class _ServerEndpoint:
    reactor: Any
    uri: URI
    port: int
    open_port: Callable[[Any, str, int, IProtocolFactory], IListeningPort]

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; the Deferred has already fired when this returns."""
        try:
            port = self.open_port(self.reactor, self.uri.host, self.port, protocolFactory)
        except (CannotListenError, OSError) as exc:
            return fail(ListenError(str(self.uri), listen_reason(exc)))
        return succeed(port)


def _listen(reactor: Any, host: str, number: int, factory: IProtocolFactory) -> IListeningPort:
    """Have the reactor listen."""
    sock = socket_of_both_families(number) if host == "*" else None
    if sock is None:
        interface = "" if host == "*" else _address_of(host)
        port = reactor.listenTCP(number, factory, BACKLOG, interface)
    else:
        with sock:
            sock.setblocking(False)
            port = reactor.adoptStreamPort(sock.fileno(), socket.AF_INET6, factory)
        port.transport = _DualStackServer
    # Accepted connections inherit it, which saves a call for each.
    set_no_delay(getattr(port, "socket", None))
    listening: IListeningPort = port
    return listening


def _listen_by_hub(
    reactor: Any, host: str, number: int, factory: IProtocolFactory
) -> IListeningPort:
    from transports.hub.tcp import TCPPort, listening_socket

    def make_socket() -> socket.socket:
        sock = socket_of_both_families(number) if host == "*" else None
        if sock is None:
            sock = listening_socket("" if host == "*" else _address_of(host), number)
        set_no_delay(sock)
        return sock

    port = TCPPort(reactor, factory, make_socket)
    port.startListening()
    return port


def _address_of(host: str) -> str:
    if isIPAddress(host) or isIPv6Address(host):
        return host
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    addresses = {family: str(address[0]) for family, _, _, _, address in reversed(found)}
    return addresses.get(socket.AF_INET) or addresses[socket.AF_INET6]


def socket_of_both_families(port: int) -> socket.socket | None:
    """Listen on one socket for both families; give None where there is no IPv6.

    One socket has one port, also where the system chooses it. The reactor's
    own listening leaves IPV6_V6ONLY to the system's setting.

    Raises:
        OSError: It cannot be.
    """
    if not socket.has_dualstack_ipv6():
        return None
    try:
        return socket.create_server(
            ("::", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
        )
    except OSError as exc:
        if exc.errno in _NO_IPV6:
            return None
        raise


class _DualStackServer(Server):
    """An accepted connection that names an IPv4 address as one."""

    def getHost(self) -> IPv4Address | IPv6Address:
        return unmapped(Server.getHost(self))

    def getPeer(self) -> IPv4Address | IPv6Address:
        return unmapped(Server.getPeer(self))


def unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Write ``::ffff:192.0.2.1`` as ``192.0.2.1``."""
    number = IPv6Number(address.host).ipv4_mapped if ":" in address.host else None
    return address if number is None else IPv4Address("TCP", str(number), address.port)
