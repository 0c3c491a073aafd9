"""The control API on a real port: what only a real connection can show."""

from __future__ import annotations

import io
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from brokerproto.broker import Broker
from services.broker.control import control_site
from services.broker.control.progress import hold_little, taken
from services.broker.doors import slowed
from tests.services.broker.controlled import CHUNKED, Answer, Controlled, chunks, request, split


class Client(Protocol):
    """Collects what a server says, until the connection is gone."""

    def __init__(self, made: Deferred[Client] | None = None) -> None:
        self._made = made
        self.received = io.BytesIO()
        self.ended: Deferred[bytes] = Deferred()
        self.answered: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        if self._made is not None:
            self._made.callback(self)

    def dataReceived(self, data: bytes) -> None:
        self.received.write(data)
        if not self.answered.called:
            self.answered.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(self.received.getvalue())


@asynccontextmanager
async def served(broker: Broker | None = None) -> AsyncIterator[tuple[Broker, Callable[[], Any]]]:
    """Serve a broker on a real port; give it, and a way to connect."""
    from twisted.internet import reactor

    real: Any = reactor
    broker = broker or Broker(real.seconds, "b007")
    port = real.listenTCP(0, control_site(broker, real), interface="127.0.0.1")

    async def connect() -> Client:
        endpoint = TCP4ClientEndpoint(real, "127.0.0.1", port.getHost().port)
        client: Client = await connectProtocol(endpoint, Client())
        return client

    try:
        yield broker, connect
    finally:
        await port.stopListening()


async def exchanged(raw: bytes) -> list[Answer]:
    """Send all of it over TCP, and give the answers once the server has closed."""
    async with served(Controlled("a").broker) as (broker, connect):
        client = await connect()
        client.transport.write(raw)
        received = await client.ended
        assert not list(broker.ledger)
    return split(received)


LAST = {"Connection": "close"}


@pytest.mark.parametrize(
    ("raw", "statuses"),
    [
        (request("//kill", headers=LAST), [404]),
        (request("http://127.0.0.1:8080/kill", headers=LAST), [404]),
        (request("/kill", headers={**LAST, "Host": "localhost"}), [400]),
        (request("/kill", headers=LAST, host=None), [400]),
        (request("/kill", "TRACE", headers=LAST), [405]),
        (request("/healthz") + request("/kill?code=x", headers=LAST), [200, 400]),
        (request("/kill", "POST", body=b"x" * 17 * 1024), [413]),
        (request("/kill", "POST", body=b"x" * 900_000), [413]),
        (request("/kill", "POST", CHUNKED) + chunks(*[1000] * 40) + b"0\r\n\r\n", [413]),
        (request("/kill", "POST", CHUNKED | LAST) + chunks(10) + b"0\r\n\r\n", [400]),
        (b"GET /" + b"x" * 16_400, [400]),
    ],
)
async def test_answer_arrives_over_tcp(raw: bytes, statuses: list[int]) -> None:
    assert [answer.status for answer in await exchanged(raw)] == statuses


async def test_head_has_no_body_over_tcp() -> None:
    async with served() as (_, connect):
        client = await connect()
        client.transport.write(request("/kill", "HEAD", LAST))
        head, _, body = (await client.ended).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 ")
    assert body == b""


async def test_body_without_end_is_cut_off_over_tcp() -> None:
    async with served() as (_, connect):
        client = await connect()
        client.transport.write(request("/kill", "POST", {"Content-Length": str(10**9)}))
        await client.answered
        client.transport.write(b"x" * 8_000_000)
        received = await client.ended
    assert received.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("abort", [True, False])
async def test_client_that_goes_away_over_tcp_leaves_no_timer(abort: bool) -> None:
    from twisted.internet import reactor

    real: Any = reactor

    def waits() -> bool:
        return any(call.getTime() > real.seconds() + 500 for call in real.getDelayedCalls())

    controlled = Controlled("a")
    async with served(controlled.broker) as (broker, connect):
        client = await connect()
        client.transport.write(request("/dowork?time=1&wait=600"))
        while not list(broker.ledger):
            await deferLater(real, 0.005)
        assert waits()
        if abort:
            client.transport.abortConnection()
        else:
            client.transport.loseConnection()
        await client.ended
        while waits():
            await deferLater(real, 0.005)
    controlled.engines["a"].reports("done")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts what was acknowledged")
async def test_what_is_read_shows_before_the_kernel_has_room_for_more() -> None:
    from twisted.internet import reactor

    real: Any = reactor
    factory: Any = Factory.forProtocol(Client)
    made: Deferred[Client] = Deferred()
    factory.buildProtocol = lambda _: Client(made)
    factory.noisy = False
    port = real.listenTCP(0, factory, interface="127.0.0.1")
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", port.getHost().port))
        server = await made
        line: Any = server.transport
        hold_little(line)
        line.write(b"x" * 4_000_000)
        standing: list[object] = []
        # It stands still when it has been the same for a while.
        while len(standing) < 20 or len(set(standing[-20:])) > 1:
            await deferLater(real, 0.01)
            standing.append(taken(line))
        held, _ = cast(Any, standing[-1])
        assert 3_000_000 < held < 4_000_000
        reader.recv(4096)
        while taken(line) == standing[-1]:
            await deferLater(real, 0.01)
            reader.recv(1024)
        assert cast(Any, taken(line))[0] == held
        line.abortConnection()
        await server.ended
    await port.stopListening()


async def test_few_are_accepted_in_one_turn_however_many_come() -> None:
    from twisted.internet import reactor

    real: Any = reactor
    batch = 8
    made: list[Client] = []

    class Clients(Factory):
        noisy = False

        def buildProtocol(self, addr: object) -> Client:
            made.append(Client())
            return made[-1]

    door: Any = slowed(real.listenTCP(0, Clients(), interface="127.0.0.1"), real, batch)
    comers = [socket.create_connection(("127.0.0.1", door.getHost().port)) for _ in range(29)]
    accepted = []
    for _ in range(4):
        before = len(made)
        door.doRead()
        accepted.append(len(made) - before)
    assert accepted == [batch, batch, batch, 29 - 3 * batch]
    comers.append(socket.create_connection(("127.0.0.1", door.getHost().port)))
    while len(made) < 30:
        await deferLater(real, 0.005)
    for comer in comers:
        comer.close()
    for client in made:
        await client.ended
    await door.stopListening()
