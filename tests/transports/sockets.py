"""Peers on real sockets, which a test can wait for."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from transports import URI, DialError, InvalidURIError, ListenError, transport_for

reactor: Any = installed_reactor
TCP = transport_for("tcp")


def has_ipv6() -> bool:
    """Tell whether this machine has the loopback address of IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


class Peer(Protocol):
    """Remembers what came; a test waits for bytes, and for the end."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: Deferred[None] = Deferred()
        self._expected: tuple[int, Deferred[bytes]] | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self._expected is not None and len(self.received) >= self._expected[0]:
            (_, waiting), self._expected = self._expected, None
            waiting.callback(self.received)

    def receives(self, length: int) -> Deferred[bytes]:
        waiting: Deferred[bytes] = Deferred()
        self._expected = (length, waiting)
        self.dataReceived(b"")
        return waiting

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class Peers(Factory):
    """Makes peers, and gives out the next one when it has been made."""

    noisy = False

    def __init__(self) -> None:
        self.made: list[Peer] = []
        self._waiting: list[Deferred[Peer]] = []

    def buildProtocol(self, addr: Any) -> Peer:
        peer = Peer()
        self.made.append(peer)
        if self._waiting:
            reactor.callLater(0, self._waiting.pop(0).callback, peer)
        return peer

    def next_peer(self) -> Deferred[Peer]:
        waiting: Deferred[Peer] = Deferred()
        self._waiting.append(waiting)
        return waiting


class Listener:
    """What listens for one test, and the connections that were made to it."""

    def __init__(self, uri: URI, port: Any, factory: Peers) -> None:
        self.uri, self.port, self.factory = uri, port, factory

    async def dial(self, host: str) -> tuple[Any, Any]:
        """Connect to `host`; give both peers."""
        return await self.meet(f"tcp://{host}:{self.uri.port}")

    async def meet(self, text: str) -> tuple[Any, Any]:
        """Connect to an address; give both peers."""
        accepted = self.factory.next_peer()
        near = await dial(text)
        return near, await accepted


async def until(happened: Callable[[], Any]) -> None:
    """Let the reactor turn until something is true, or can be asked without blocking."""
    while True:
        with contextlib.suppress(BlockingIOError):
            if happened():
                return
        await deferLater(reactor, 0.001)


def client(text: str) -> Any:
    """Make the endpoint that dials an address."""
    uri = URI.parse(text)
    return transport_for(uri.scheme).client_endpoint(reactor, uri)


def server(text: str) -> Any:
    """Make the endpoint that listens on an address."""
    uri = URI.parse(text)
    return transport_for(uri.scheme).server_endpoint(reactor, uri)


async def dial(text: str) -> Any:
    return await client(text).connect(Factory.forProtocol(Peer))


async def fails_to_dial(text: str) -> DialError:
    with pytest.raises(DialError) as caught:
        await dial(text)
    return caught.value


async def fails_to_listen(text: str, factory: Factory | None = None) -> ListenError:
    with pytest.raises(ListenError) as caught:
        await server(text).listen(factory or Peers())
    return caught.value


def refused(make: Callable[[str], Any], text: str) -> str:
    """Give what is said about an address for which there is no endpoint."""
    with pytest.raises(InvalidURIError) as caught:
        make(text)
    assert caught.value.text == text
    assert str(caught.value).isprintable()
    return caught.value.problem


def leave_behind(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> None:
    """Make the file of a socket that nobody has any more."""
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.bind(os.fspath(path))
