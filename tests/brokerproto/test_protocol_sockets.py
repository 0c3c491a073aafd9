"""Both sides' Twisted edges together: within one process, and on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock, LoopingCall, deferLater
from twisted.python.failure import Failure

from brokerproto.broker import Broker
from brokerproto.engine import Engine
from brokerproto.engine_protocol import EngineFactory
from brokerproto.errors import HeartbeatTimeoutError
from brokerproto.life import Life
from brokerproto.protocol import BrokerFactory
from brokerproto.terms import Limits
from brokerproto.testing import RecordingObserver, RecordingWorker
from transports import URI, transport_for

reactor: Any = installed_reactor


# Within one process


class Fleet:
    """A broker and engines in one process, on a clock that the test moves."""

    def __init__(self, engines: int) -> None:
        self.clock = Clock()
        self.observer = RecordingObserver()
        self.broker = Broker(self.clock.seconds, "b0", Limits(interval=1), self.observer)
        self.ticks = LoopingCall(self.broker.tick)
        self.ticks.clock = self.clock
        self.ticks.start(self.broker.tick_length, now=False)
        uri = URI.parse("inproc://fleet")
        transport = transport_for("inproc")
        self.ports: list[IListeningPort] = []
        listening = transport.server_endpoint(self.clock, uri).listen(
            BrokerFactory(self.broker, self.clock, str(uri))
        )
        listening.addCallback(self.ports.append)
        self.endpoint = transport.client_endpoint(self.clock, uri)
        self.engines = [
            Engine(Life(f"e{n}", f"{n:x}"), RecordingWorker(), self.clock.seconds, Random(n))
            for n in range(engines)
        ]
        for engine in self.engines:
            self.connect(engine)
        self.passes(0.25)

    def connect(self, engine: Engine) -> None:
        self.endpoint.connect(EngineFactory(engine, self.clock))

    def passes(self, seconds: float) -> None:
        # What is written arrives in a later turn, for which no time need pass.
        for _ in range(round(seconds / 0.125)):
            self.clock.pump([0.125, 0, 0, 0, 0])

    def ends(self) -> None:
        """Take all down, and see that nothing is left."""
        for port in self.ports:
            port.stopListening()
        self.broker.close(None)
        self.passes(2)
        self.ticks.stop()
        assert self.broker.connections == 0
        assert self.clock.getDelayedCalls() == []


def test_a_fleet_in_one_process_keeps_an_exact_account() -> None:
    fleet = Fleet(20)
    fleet.passes(10)
    broker, stats = fleet.broker, fleet.broker.stats()
    assert (stats.registered, stats.late, stats.missed) == (20, 0, 0)
    assert stats.heartbeats == sum(engine.life.seq for engine in fleet.engines)
    assert stats.heartbeats >= 20 * 8
    broker.order("KILL", 3, [member for member in broker.fleet if member.engine_id == "e7"])
    work = broker.order("DOWORK", 5, [m for m in broker.fleet if m.engine_id != "e7"])
    fleet.passes(1)
    killed = fleet.engines.pop(7)
    assert killed.worker == RecordingWorker(exit_code=3)
    for engine in fleet.engines:
        engine.worked()
    fleet.passes(1)
    assert {step.value: n for step, n in work.states.items() if n} == {"done": 19}
    assert broker.stats().causes == {"left:killed": 1}
    fleet.ends()


def test_engines_come_back_and_nothing_is_missed_but_what_was_lost() -> None:
    fleet = Fleet(5)
    fleet.passes(3)
    for member in list(fleet.broker.fleet):
        assert member.session is not None
        fleet.broker.end(member.session, HeartbeatTimeoutError("as if it had been silent"))
    fleet.passes(2)
    assert fleet.broker.connections == 0
    for engine in fleet.engines:
        fleet.connect(engine)
    fleet.passes(3)
    assert [member.epoch for member in fleet.broker.fleet] == [2] * 5
    totals = fleet.broker.fleet.totals
    sent = sum(engine.life.seq for engine in fleet.engines)
    assert totals.counted + totals.missed == sent
    fleet.ends()


# On real sockets


class Caller(Protocol):
    """A peer that the test plays; it remembers what it heard and how it ended."""

    def __init__(self) -> None:
        self.heard = b""
        self.ended: Deferred[type[BaseException] | None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(reason.type)


class Listening:
    """A broker on a socket of this machine."""

    def __init__(self) -> None:
        self.observer = RecordingObserver()
        self.broker = Broker(reactor.seconds, "b0", Limits(), self.observer)
        self.port: Any = None
        self.uri = URI.parse("tcp://127.0.0.1:0")

    async def starts(self) -> None:
        transport = transport_for("tcp")
        factory = BrokerFactory(self.broker, reactor, str(self.uri))
        self.port = await transport.server_endpoint(reactor, self.uri).listen(factory)
        self.uri = transport.listen_address(self.uri, self.port)

    async def stops(self) -> None:
        await self.port.stopListening()
        self.broker.close(None)
        await until(lambda: self.broker.connections == 0)

    async def dials(self, factory: Any) -> Any:
        return await transport_for("tcp").client_endpoint(reactor, self.uri).connect(factory)

    async def calls(self, *frames: str) -> Any:
        caller = await self.dials(Factory.forProtocol(Caller))
        caller.transport.write("".join(frames).encode())
        return caller


async def until(holds: Any) -> None:
    """Wait for a condition; the time limit of the test is the bound."""
    while not holds():
        await deferLater(reactor, 0.005)


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def listening() -> AsyncIterator[Listening]:
    listening = Listening()
    await listening.starts()
    yield listening
    await listening.stops()


HELLO = "NewEngine:a:0:v=1;ack=1\n"


async def test_an_engine_and_a_broker_meet_on_a_socket(listening: Listening) -> None:
    worker = RecordingWorker()
    engine = Engine(Life("a", "a1"), worker, reactor.seconds)
    await listening.dials(EngineFactory(engine, reactor))
    await until(lambda: len(listening.broker.fleet) == 1)
    listening.broker.order("KILL", 3, list(listening.broker.fleet))
    await until(lambda: worker.exit_code is not None)
    await until(lambda: listening.broker.connections == 0)
    assert listening.observer.events == [
        ("registered", "a", 1),
        ("issued", "b0-1", "KILL"),
        ("left", "a", "killed"),
    ]


async def test_a_refused_peer_hears_why_however_much_it_still_says(
    listening: Listening,
) -> None:
    caller = await listening.calls("NewEngine:-:0\n", "x" * 1_000_000)
    assert await caller.ended is ConnectionDone
    assert caller.heard.startswith(b"FAILED:415:BAD_ID:never:")


@pytest.mark.fault("C025")
async def test_a_peer_that_says_nothing_more_is_closed(listening: Listening) -> None:
    caller = await listening.calls(HELLO)
    await until(lambda: len(listening.broker.fleet) == 1)
    caller.transport.loseWriteConnection()
    assert await caller.ended is ConnectionDone
    assert listening.observer.events[-1] == ("lost", "a", "closed")
    assert listening.broker.connections == 0


async def test_a_hello_and_the_end_in_one_segment_are_still_answered(
    listening: Listening,
) -> None:
    caller = await listening.calls(HELLO, "HeartBeat:a:1\n")
    caller.transport.loseWriteConnection()
    await caller.ended
    assert caller.heard.splitlines()[-1] == b"ACK:1"
    assert listening.observer.events == [("registered", "a", 1), ("lost", "a", "closed")]


@pytest.mark.fault("C100")
@pytest.mark.parametrize(
    ("said", "registered"),
    [
        ("", False),
        ("NewEngine:a:", False),
        (HELLO, True),
        (HELLO + "HeartBeat:a:", True),
        (HELLO + "HeartBeat:a:1\n", True),
    ],
    ids=["before hello", "mid-hello", "after hello", "mid-beat", "after beat"],
)
async def test_a_reset_ends_one_session_and_no_other(
    listening: Listening, said: str, registered: bool
) -> None:
    other = await listening.calls(HELLO.replace(":a:", ":b:"))
    caller = await listening.calls(said)
    await until(lambda: listening.broker.connections == 2)
    await until(lambda: len(listening.broker.fleet) == 1 + registered)
    caller.transport.abortConnection()
    await until(lambda: listening.broker.connections == 1)
    lost = [event for event in listening.observer.events if event[0] == "lost"]
    assert lost == ([("lost", "a", "reset")] if registered else [])
    other.transport.write(b"HeartBeat:b:1\n")
    await until(lambda: other.heard.endswith(b"ACK:1\n"))


@pytest.mark.fault("C057")
async def test_an_engine_that_dies_with_an_unread_command_is_lost_alone(
    listening: Listening,
) -> None:
    caller = await listening.calls(HELLO)
    await until(lambda: caller.heard)
    caller.transport.pauseProducing()
    command = listening.broker.order("DOWORK", 5, list(listening.broker.fleet))
    await deferLater(reactor, 0.05)
    caller.transport.abortConnection()
    await until(lambda: listening.broker.connections == 0)
    assert listening.observer.events[-1] == ("lost", "a", "reset")
    assert command.is_settled
