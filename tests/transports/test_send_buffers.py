"""Connections of a listener that keeps its buffers small."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol

from transports import URI, transport_for
from transports.send_buffers import BUFFERED, keep_send_buffers_small

reactor: Any = _reactor
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the hub")


class Writer(Protocol):
    """Produces as long as it is let, and remembers how much that was."""

    def __init__(self, accepted: Deferred[Writer]) -> None:
        self.written = 0
        self.paused = False
        self._accepted = accepted

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.registerProducer(self, True)
        self._accepted.callback(self)

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None: ...

    def writes(self, data: bytes) -> None:
        assert self.transport is not None
        self.written += len(data)
        self.transport.write(data)


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def accepted() -> AsyncIterator[Callable[..., Any]]:
    ports: list[Any] = []
    ends: list[Any] = []

    async def accept(address: str, frugal: bool = True) -> Writer:
        """Listen, connect somebody who reads nothing, and give what was accepted."""
        uri = URI.parse(address)
        transport = transport_for(uri.scheme)
        done: Deferred[Writer] = Deferred()
        factory: Any = Factory()
        factory.buildProtocol = lambda _: Writer(done)
        port: Any = await transport.server_endpoint(reactor, uri).listen(factory)
        ports.append(port)
        if frugal:
            assert keep_send_buffers_small(port) is not address.startswith("inproc")
        host = port.getHost()
        if address.startswith("inproc"):
            dialled: Any = await transport.client_endpoint(reactor, uri).connect(
                Factory.forProtocol(Protocol)
            )
            peer: Any = dialled.transport
            peer.pauseProducing()
            ends.append(peer.abortConnection)
        else:
            unix = hasattr(host, "name")
            sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(host.name if unix else ("127.0.0.1", host.port))
            ends.append(sock.close)
        return await done

    yield accept
    for port in ports:
        await maybeDeferred(port.stopListening)
    for end in ends:
        end()


@pytest.fixture(
    params=[
        "tcp://127.0.0.1:0",
        "tcp://*:0",
        "ipc",
        "twisted:tcp:0",
        pytest.param("tcp://*:0?io=hub", marks=only_linux),
        pytest.param("ipc?io=hub", marks=only_linux),
    ]
)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    text: str = request.param
    return text.replace("ipc", f"ipc://{tmp_path}/s") if text.startswith("ipc") else text


async def test_little_waits_for_who_reads_nothing(accepted: Any, address: str) -> None:
    writer: Writer = await accepted(address)
    for _ in range(2000):
        # Long enough for a system that has room to take all.
        await _turns(1 if not writer.paused else 20)
        if writer.paused:
            break
        writer.writes(b"x" * 1000)
    assert writer.paused
    # Some 40 KB for TCP: what both ends' buffers hold, and not the megabytes of a default.
    assert BUFFERED < writer.written < 150_000


async def test_without_it_much_waits(accepted: Any) -> None:
    writer: Writer = await accepted("tcp://127.0.0.1:0", frugal=False)
    while writer.written < 1_000_000:
        writer.writes(b"x" * 1000)
        await _turns(1)
    assert not writer.paused


async def test_others_than_sockets_are_left_alone(accepted: Any) -> None:
    writer: Writer = await accepted("inproc://frugal")
    writer.writes(b"x" * (BUFFERED + 1))
    assert not writer.paused


async def _turns(count: int) -> None:
    for _ in range(count):
        turn: Deferred[None] = Deferred()
        reactor.callLater(0.001, turn.callback, None)
        await turn
