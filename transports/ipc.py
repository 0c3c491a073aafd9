"""``ipc:///path`` and ``ipc://@name``: UNIX stream sockets of one machine.

A path is a file, whose mode says who may connect; an abstract name is Linux's own
and open to everybody in the same network namespace. Nobody dials further than his
own system, and a peer is known by its process and user.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet import unix
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import (
    CannotListenError,
    ConnectError,
    ConnectionDone,
    ConnectionLost,
)
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from brokerproto.errors import DialError, ListenError
from transports.hub import choice
from transports.interfaces import ITransport
from transports.profile import Profile
from transports.reasons import dial_reason, listen_reason
from transports.socket_file import SocketFile
from transports.tcp import BACKLOG, DIAL_TIMEOUT
from transports.uri import URI

__all__ = ["LONGEST_NAME", "IPCAddress", "IPCTransport", "transport"]

LONGEST_NAME = 107 if sys.platform == "linux" else 103
"""Bytes of a path, or of an abstract name without its ``@``."""

_OPTIONS: dict[str, Any] = {"framing": ("lines",), **choice.OPTION, "mode": None}

_MODE = re.compile(r"0?[0-7]{3}")
_DEFAULT_MODE = "600"

_PEER: int | None = getattr(socket, "SO_PEERCRED", None) if sys.platform == "linux" else None
"""The option that tells a peer's credentials; other systems have none, or another layout."""


@implementer(ITransport)
class IPCTransport:
    """Streams between processes of one machine."""

    scheme = "ipc"
    framing = "lines"
    profile = Profile(
        exempt={"reset": "the system ends a UNIX socket alike, closed or aborted"},
        unreachable="ipc:///nonexistent/broker.sock",
        unlistenable="ipc:///nonexistent/broker.sock",
    )

    def client_endpoint(self, reactor: Any, uri: URI) -> IStreamClientEndpoint:
        """See `ITransport`; the option ``mode`` means nothing to whoever dials."""
        _mode_of(uri)
        name = _name_of(uri)
        if choice.is_hub(uri):
            from transports.hub.ipc import UNIXHubEndpoint

            return _ClientEndpoint(uri, UNIXHubEndpoint(reactor, name, DIAL_TIMEOUT))
        by_reactor = UNIXClientEndpoint(_Dialling(reactor), name, DIAL_TIMEOUT)
        return _ClientEndpoint(uri, by_reactor)

    def server_endpoint(self, reactor: Any, uri: URI) -> IStreamServerEndpoint:
        """See `ITransport`; without the option ``mode`` only the own user may connect."""
        name, mode = _name_of(uri), _mode_of(uri)
        port: type[Any] = _Port
        if choice.is_hub(uri):
            from transports.hub.ipc import UNIXPort

            port = UNIXPort
        return _ServerEndpoint(uri, lambda factory: port(reactor, factory, name, mode))

    def is_local(self, uri: URI) -> bool:
        """See `ITransport`: always."""
        return True

    def listen_address(self, uri: URI, port: IListeningPort) -> URI:
        """See `ITransport`: neither a path nor a name leaves anything open."""
        return uri


transport = IPCTransport()


def _name_of(uri: URI) -> bytes:
    """Give the name that the system knows the socket by."""
    uri.check_options(_OPTIONS)
    if uri.is_abstract:
        if sys.platform != "linux":
            raise uri.refusal("only Linux has abstract names (@)")
        if "mode" in uri.options:
            raise uri.refusal("an abstract name (@) has no mode: it is open to everybody")
        return b"\0" + _short_enough(uri, uri.host.removeprefix("@"))
    uri.check_parts(port=False, path=True)
    if uri.host:
        raise uri.refusal("a path begins with its third slash, as in ipc:///run/broker.sock")
    return _short_enough(uri, uri.path)


def _short_enough(uri: URI, name: str) -> bytes:
    encoded = name.encode()
    if len(encoded) > LONGEST_NAME:
        raise uri.refusal(
            f"the name of a socket has at most {LONGEST_NAME} bytes, this one {len(encoded)}"
        )
    return encoded


def _mode_of(uri: URI) -> int:
    text = uri.options.get("mode", _DEFAULT_MODE)
    if not _MODE.fullmatch(text):
        raise uri.refusal(f"the option 'mode' is three octal digits, as in 660, not {text!r}")
    return int(text, 8)


@implementer(IAddress)
@frozen
class IPCAddress:
    """Who dialled, as the system knows it: such a one has no name in the file system.

    Attributes:
        pid: Its process; None where it is not told, as that of another PID namespace.
        uid: That process's user; None where it is not told.
    """

    pid: int | None = None
    uid: int | None = None

    @classmethod
    def of_peer(cls, sock: socket.socket) -> IPCAddress:
        """Ask the system who has dialled; it remembers who that was at that time."""
        if _PEER is None:
            return cls()
        layout = struct.Struct("iII")
        pid, uid, _gid = layout.unpack(sock.getsockopt(socket.SOL_SOCKET, _PEER, layout.size))
        return cls(pid or None, uid)

    @classmethod
    def own(cls) -> IPCAddress:
        """Give what a listener is told of this process."""
        return cls() if _PEER is None else cls(os.getpid(), os.geteuid())

    def __str__(self) -> str:
        known = {"pid": self.pid, "uid": self.uid}
        told = ",".join(f"{name}={n}" for name, n in known.items() if n is not None)
        return f"unix:{told}" if told else "unix"


class _Connection:
    """What both ends of a UNIX socket do otherwise than Twisted's.

    When a peer has closed, the system reports the end of what it said, and from then
    on a hang-up; and it lets nobody write, not even nothing. Twisted takes both for a
    loss, where a protocol lives on after the end; but nothing is lost unless there was
    something to write.
    """

    dataBuffer: Any
    offset: int
    _tempDataBuffer: list[Any]
    _end_came = False

    def readConnectionLost(self, reason: Failure) -> None:
        self._end_came = True
        parent: Any = super()
        parent.readConnectionLost(reason)

    def writeSomeData(self, data: Any) -> Any:
        if not data:
            return 0
        parent: Any = super()
        return parent.writeSomeData(data)

    def connectionLost(self, reason: Failure) -> None:
        # What waits may never have been tried: a reactor may see the hang-up first.
        owes = len(self.dataBuffer) > self.offset or self._tempDataBuffer
        if self._end_came and not owes and reason.check(ConnectionLost):
            reason = Failure(ConnectionDone())
        parent: Any = super()
        parent.connectionLost(reason)


class _Server(_Connection, unix.Server):
    """An accepted connection that can tell whose it is, also when it is gone."""

    def __init__(self, sock: socket.socket, *others: Any) -> None:
        self._peer = IPCAddress.of_peer(sock)
        unix.Server.__init__(self, sock, *others)

    def getPeer(self) -> IPCAddress:
        return self._peer


class _Listening(socket.socket):
    """A listening socket to which all callers are nameless.

    A caller chooses its own name, and Twisted takes one of four bytes for an
    address of IPv6, over which it fails.
    """

    def accept(self) -> tuple[socket.socket, Any]:
        accepted, _ = super().accept()
        return accepted, ""


class _Port(unix.Port):
    """Listens where nobody else does, and removes no file but its own."""

    transport = _Server

    def __init__(self, reactor: Any, factory: IProtocolFactory, name: bytes, mode: int) -> None:
        unix.Port.__init__(self, name, factory, BACKLOG, mode, reactor)
        self._socket_file = None if name.startswith(b"\0") else SocketFile(name)
        self._factory = factory
        self._made: socket.socket | None = None

    def createInternetSocket(self) -> socket.socket:
        self._made = _Listening(self.addressFamily, self.socketType)
        self._made.setblocking(False)
        return self._made

    def startListening(self) -> None:
        try:
            if self._socket_file is None:
                unix.Port.startListening(self)
            else:
                with self._socket_file.taken():
                    unix.Port.startListening(self)
        except (CannotListenError, OSError) as exc:
            # Before the parent began, neither the factory was started nor a socket made.
            if self._made is not None:
                self._made.close()
            if self._made is not None or isinstance(exc, CannotListenError):
                self._factory.doStop()
            raise

    def connectionLost(self, reason: Failure) -> None:
        # Before the socket is closed: until then nobody else can have a file that is
        # taken for ours.
        if self._socket_file is not None:
            self._socket_file.remove()
        self._made = None
        # Not the parent's, which removes whatever has the name, and fails without it.
        close: Any = super(unix.Port, self).connectionLost
        close(reason)


@implementer(IStreamServerEndpoint)
@frozen
class _ServerEndpoint:
    uri: URI
    port: Callable[[IProtocolFactory], IListeningPort]

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; the Deferred has already fired when this returns."""
        port = self.port(protocolFactory)
        try:
            port.startListening()
        except (CannotListenError, OSError) as exc:
            return fail(ListenError(str(self.uri), listen_reason(exc)))
        return succeed(port)


class _Client(_Connection, unix.Client):
    """A connection that is made at once, or not at all."""

    def getHost(self) -> Any:
        return IPCAddress.own()

    def doConnect(self) -> None:
        # EAGAIN means here that the listener's queue is full. Twisted takes it for a
        # connection under way, and asks again as fast as it can.
        parent: Any = super()
        if hasattr(self, "connector"):
            answer = self.socket.connect_ex(self.realAddress)
            if answer == errno.EAGAIN:
                parent.failIfNotConnected(ConnectError(answer))
                return
        parent.doConnect()


class _Connector(unix.Connector):
    def _makeTransport(self) -> Any:
        client: Any = _Client
        return client(self.address, self, self.reactor)


@frozen
class _Dialling:
    """What `UNIXClientEndpoint` needs of a reactor."""

    reactor: Any

    def connectUNIX(self, address: bytes, factory: Any, timeout: float, checkPID: int) -> Any:
        make: Any = _Connector
        connector = make(address, factory, timeout, self.reactor, checkPID)
        try:
            connector.connect()
        except OSError:
            factory.doStop()
            raise
        return connector


@implementer(IStreamClientEndpoint)
@frozen
class _ClientEndpoint:
    uri: URI
    endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        connecting = self.endpoint.connect(protocolFactory)
        # What fails at once is the system's doing: the factory was not asked yet.
        ours = (ConnectError, OSError) if connecting.called else (ConnectError,)
        return connecting.addErrback(self._failed, ours)

    def _failed(self, failure: Failure, ours: tuple[type[Exception], ...]) -> Failure:
        failure.trap(*ours)
        return Failure(DialError(str(self.uri), dial_reason(failure.value, DIAL_TIMEOUT)))
