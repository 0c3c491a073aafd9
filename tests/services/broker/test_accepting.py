"""Doors before the ports: who comes while there is no room waits, and is not refused."""

from __future__ import annotations

import resource
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.logger import capturedLogs, formatEvent
from zope.interface import implementer

from brokerproto.broker import Broker
from brokerproto.broker_session import BrokerSession
from brokerproto.fleet import Origin
from brokerproto.terms import Limits
from services.broker.accepting import Gate, GatedFactory, files_can_be_opened
from transports import URI, transport_for

reactor: Any = _reactor
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the hub")


class House:
    """A gate before one listening port."""

    def __init__(self, limits: Limits) -> None:
        self.files = True
        self.broker = Broker(reactor.seconds, "b0", limits)
        self.gate = Gate(self.broker, reactor, lambda: self.files)
        self.doors: list[IListeningPort] = []
        self.peers: list[Any] = []

    async def listens(self, address: str) -> URI:
        uri = URI.parse(address)
        transport = transport_for(uri.scheme)
        factory = GatedFactory(self.broker, reactor, address)
        port = await transport.server_endpoint(reactor, uri).listen(factory)
        self.doors.append(self.gate.guard(port, factory))
        return transport.listen_address(uri, port)

    async def call(self, uri: URI, data: bytes = b"") -> Any:
        class Caller(Protocol):
            heard = b""

            def dataReceived(self, data: bytes) -> None:
                self.heard += data

        endpoint = transport_for(uri.scheme).client_endpoint(reactor, uri)
        caller: Any = await endpoint.connect(Factory.forProtocol(Caller))
        self.peers.append(caller)
        caller.transport.write(data)
        return caller

    def heard(self) -> list[bytes]:
        return [peer.heard for peer in self.peers]

    async def until(self, seen: Callable[[], object]) -> None:
        for _ in range(30_000):
            if seen():
                return
            await deferLater(reactor, 0.002)
        raise AssertionError(self.broker.stats())

    async def close(self) -> None:
        for door in self.doors:
            await maybeDeferred(door.stopListening)
        for peer in self.peers:
            peer.transport.abortConnection()
        await self.until(lambda: self.broker.connections == 0)


Houses = Callable[..., House]


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def house() -> AsyncIterator[Houses]:
    made: list[House] = []

    def make(**limits: int) -> House:
        made.append(House(Limits(**limits)))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.fixture(
    params=[
        "tcp://127.0.0.1:0",
        "tcp://*:0",
        "ipc",
        "inproc://gate",
        "twisted:tcp:0",
        pytest.param("tcp://*:0?io=hub", marks=only_linux),
        pytest.param("ipc?io=hub", marks=only_linux),
    ]
)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    text: str = request.param
    return text.replace("ipc", f"ipc://{tmp_path}/s") if text.startswith("ipc") else text


def dialled(uri: URI) -> URI:
    text = str(uri)
    if text.startswith("twisted:"):
        return URI.parse(text.replace("tcp:", "tcp:127.0.0.1:", 1))
    return URI.parse(text.replace("*", "127.0.0.1"))


async def test_who_comes_while_the_places_are_full_waits(house: Houses, address: str) -> None:
    here = house(unregistered=2, accept_rate=0)
    uri = dialled(await here.listens(address))
    callers = [await here.call(uri) for _ in range(5)]
    await here.until(lambda: here.broker.admission.pauses)
    assert here.broker.stats().opened == 2
    await deferLater(reactor, 0.1)
    assert here.broker.stats().opened == 2
    for n, caller in enumerate(callers):
        await here.until(lambda: here.broker.stats().opened >= min(5, len(here.broker.fleet) + 2))
        caller.transport.write(b"NewEngine:e%d:0\n" % n)
    await here.until(lambda: here.heard() == [b"SUCCESS:Registered\n"] * 5)
    assert here.broker.stats().rejected == {}


@pytest.mark.fault("C032")
async def test_connections_are_accepted_at_the_rate(house: Houses, address: str) -> None:
    here = house(accept_rate=10)
    uri = dialled(await here.listens(address))
    began = reactor.seconds()
    for n in range(30):
        await here.call(uri, b"NewEngine:e%d:0\n" % n)
    await here.until(lambda: len(here.broker.fleet) == 30)
    # Twenty at once, and ten in a second.
    assert reactor.seconds() - began > 0.9
    assert here.broker.admission.pauses > 0
    await here.until(lambda: here.heard() == [b"SUCCESS:Registered\n"] * 30)


async def test_doors_of_one_gate_open_and_close_together(house: Houses) -> None:
    here = house(unregistered=1, accept_rate=0)
    first = await here.listens("tcp://127.0.0.1:0")
    second = await here.listens("inproc://gate-2")
    one = await here.call(first)
    await here.until(lambda: here.broker.stats().opened == 1)
    other, third = await here.call(second), await here.call(first)
    await here.until(lambda: here.broker.admission.pauses)
    one.transport.write(b"NewEngine:a:0\n")
    await here.until(lambda: here.broker.stats().opened == 2)
    for name, caller in (b"b", other), (b"c", third):
        caller.transport.write(b"NewEngine:%b:0\n" % name)
    await here.until(lambda: len(here.broker.fleet) == 3)


async def test_a_door_is_taken_away_with_its_port(house: Houses, address: str) -> None:
    here = house(unregistered=1, accept_rate=0)
    uri = dialled(await here.listens(address))
    assert here.doors[0].getHost() is not None
    here.doors[0].startListening()
    for _ in range(2):
        await here.call(uri)
    await here.until(lambda: here.broker.admission.pauses)
    calls = len(reactor.getDelayedCalls())
    await maybeDeferred(here.doors.pop().stopListening)
    assert here.broker.stats().opened == 1
    assert len(reactor.getDelayedCalls()) <= calls
    assert not any("Door" in repr(reader) for reader in reactor.getReaders())


@pytest.mark.fault("C031")
async def test_without_files_connections_wait_and_the_log_says_so_once(house: Houses) -> None:
    here = house()
    uri = await here.listens("tcp://127.0.0.1:0")
    here.files = False
    with capturedLogs() as events:
        caller = await here.call(uri, b"NewEngine:a:0\n")
        await here.until(lambda: here.broker.admission.pauses >= 2)
        assert here.broker.stats().opened == 0
        here.files = True
        await here.until(lambda: caller.heard)
    told = [formatEvent(event) for event in events if event["log_namespace"].startswith("serv")]
    assert told == [
        "no file can be opened: connections are left waiting",
        "files can be opened again: connections are accepted",
    ]


def test_whether_a_file_can_be_opened_is_tried() -> None:
    assert files_can_be_opened()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as highest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest.fileno(), hard))
        try:
            assert not files_can_be_opened()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_port_that_cannot_be_paused_is_left_alone() -> None:
    class Strange:
        def stopListening(self) -> Deferred[None] | None:
            return None

    clock = Clock()
    broker = Broker(clock.seconds, "b0")
    port: Any = Strange()
    factory = GatedFactory(broker, clock, "strange://")
    assert Gate(broker, clock).guard(port, factory) is port
    assert factory.gate is None


def test_that_the_places_are_full_is_told_once_a_minute() -> None:
    @implementer(IPushProducer)
    class Paused:
        def __init__(self) -> None:
            self.states: list[str] = []

        def pauseProducing(self) -> None:
            self.states.append("closed")

        def resumeProducing(self) -> None:
            self.states.append("open")

        def stopProducing(self) -> None:
            raise AssertionError

    clock = Clock()
    broker = Broker(clock.seconds, "b0", Limits(unregistered=1, accept_rate=0))
    gate, port = Gate(broker, clock), Paused()
    listening: Any = port
    factory = GatedFactory(broker, clock, "paused://")
    gate.guard(listening, factory)
    newcomer = BrokerSession(0.0)
    with capturedLogs() as events:
        for _ in range(130):
            factory.buildProtocol(None)
            assert port.states[-1] == "closed"
            broker.admission.newcomers[newcomer] = Origin("somewhere", "paused://")
            clock.advance(0.5)
            assert port.states[-1] == "closed"
            broker.admission.newcomers.clear()
            clock.advance(0.5)
            assert port.states[-1] == "open"
            broker.admission.newcomers[newcomer] = Origin("somewhere", "paused://")
            assert gate.room() == 0
            broker.admission.newcomers.clear()
            clock.advance(0.02)
    texts = [formatEvent(event) for event in events]
    assert texts == ["1 connection has not registered: others are left waiting"] * 3
