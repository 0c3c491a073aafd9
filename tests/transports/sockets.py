"""Peers on real sockets, which a test can wait for."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from transports import URI, transport_for

reactor: Any = installed_reactor
TCP = transport_for("tcp")


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
        accepted = self.factory.next_peer()
        near = await dial(f"tcp://{host}:{self.uri.port}")
        return near, await accepted


async def dial(text: str) -> Any:
    return await TCP.client_endpoint(reactor, URI.parse(text)).connect(Factory.forProtocol(Peer))
