"""A reactor of a test's own, which turns when it is told to."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.pollreactor import PollReactor
from twisted.internet.protocol import Factory
from zope.interface import implementer

from tests.transports.recording import Recorder, Recorders
from transports import URI, transport_for

LOOKS = 20_000


class Loop:
    """A reactor that nobody runs."""

    def __init__(self) -> None:
        self.reactor: Any = PollReactor()
        self._before = set(self.reactor.getReaders())

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.reactor.iterate(0)

    def until(self, seen: Callable[[], Any]) -> None:
        for _ in range(LOOKS):
            if seen():
                return
            self.reactor.iterate(0.001)
        raise AssertionError("it did not come")

    def readers(self) -> list[Any]:
        """Those that were added to a reactor's own."""
        return [each for each in self.reactor.getReaders() if each not in self._before]

    def now(self, waiting: Any) -> Any:
        """Turn until a Deferred has its result, and give it."""
        results: list[Any] = []
        waiting.addBoth(results.append)
        self.until(lambda: results)
        return results[0]

    def listen(self, factory: Factory, text: str = "tcp://127.0.0.1:0?io=hub") -> Any:
        uri = URI.parse(text)
        endpoint = transport_for(uri.scheme).server_endpoint(self.reactor, uri)
        return self.now(endpoint.listen(factory))

    def dial(self, factory: Factory, text: str) -> Any:
        uri = URI.parse(text)
        endpoint = transport_for(uri.scheme).client_endpoint(self.reactor, uri)
        return self.now(endpoint.connect(factory))


@contextmanager
def looping() -> Iterator[Loop]:
    """Have a loop, and leave nothing in it behind."""
    loop = Loop()
    try:
        yield loop
        assert loop.readers() == [], "a reader is left"
        assert loop.reactor.getDelayedCalls() == [], "a call is left"
    finally:
        for reader in loop.reactor.removeAll():
            getattr(reader, "stopListening", lambda: None)()
        for reader in list(loop.reactor._internalReaders):
            reader.connectionLost(None)


class House:
    """A port in the hub of a loop, and plain sockets that have called there."""

    def __init__(self, loop: Loop, kind: Callable[[], Any] = Recorder, factory: Any = None) -> None:
        self.loop = loop
        self.factory: Any = Recorders(kind) if factory is None else factory
        self.port = loop.listen(self.factory)
        self.peers: list[socket.socket] = []

    def call(self) -> tuple[socket.socket, Any]:
        """Connect a plain socket; give it and its protocol."""
        before = len(self.factory.made)
        peer = socket.create_connection(("127.0.0.1", self.port.getHost().port))
        self.peers.append(peer)
        self.loop.until(lambda: len(self.factory.made) > before)
        return peer, self.factory.made[before]

    def close(self) -> None:
        self.port.stopListening()
        for peer in self.peers:
            peer.close()
        for made in self.factory.made:
            if made.transport is not None:
                made.transport.abortConnection()
        self.loop.turn(3)


@contextmanager
def house(kind: Callable[[], Any] = Recorder, factory: Any = None) -> Iterator[House]:
    with looping() as loop:
        here = House(loop, kind, factory)
        try:
            yield here
        finally:
            here.close()


@implementer(IHalfCloseableProtocol)
class HalfRecorder(Recorder):
    """Lives on with one half of its connection."""

    def readConnectionLost(self) -> None:
        self.events.append("read closed")

    def writeConnectionLost(self) -> None:
        self.events.append("write closed")


def received(peer: socket.socket, count: int, loop: Loop) -> bytes:
    """Read so many bytes from a plain socket, while the loop turns."""
    peer.setblocking(False)
    came = b""

    def look() -> bool:
        nonlocal came
        try:
            data = peer.recv(count - len(came))
        except BlockingIOError:
            return False
        assert data, "the end came"
        came += data
        return len(came) >= count

    loop.until(look)
    return came
