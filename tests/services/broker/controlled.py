"""A real broker under its control API, with engines that are only recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any

import treq.testing
from attrs import define, field
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from brokerproto.broker import Broker
from brokerproto.broker_session import BrokerSession
from brokerproto.fleet import Origin
from services.broker.control import control_resource, control_site
from services.broker.control.places import MOST
from services.broker.control.site import RATE
from tests.services.broker.described import check

BOOT = "b007"
AUTHORITY = "127.0.0.1:8080"
# What the wall clock shows when the clock shows 1000: 2026-11-22T00:00:00Z.
MIDNIGHT = 1_795_305_600
CHUNKED = {"Transfer-Encoding": "chunked"}


@define(eq=False)
class RecordedEngine:
    """One connection of a broker: what it was sent, and what it says."""

    broker: Broker
    engine_id: str
    session: BrokerSession = field(init=False)
    frames: list[str] = field(init=False, factory=list)

    def settle(self) -> None:
        sent = self.session.data_to_send().decode("ascii")
        self.frames += sent.splitlines()

    def says(self, *frames: str) -> None:
        for frame in frames:
            self.broker.receive_data(self.session, f"{frame}\n".encode())
        self.settle()

    def reports(self, *states: str) -> None:
        """Report on the command that it was sent last."""
        command = self.commands[-1].partition("command=")[2]
        self.says(*(f"Report:{command}:{state}" for state in states))

    @property
    def commands(self) -> list[str]:
        return [frame for frame in self.frames if frame.startswith(("DOWORK", "KILL"))]


@define
class Answer:
    """One HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json["error"]


class Controlled:
    """A broker on a clock of its own, and ways to talk to its control API."""

    def __init__(
        self,
        *engine_ids: str,
        extra_hosts: tuple[str, ...] = (),
        connections: int = MOST,
        rate: int = RATE,
    ) -> None:
        self.clock = Clock()
        # Not 0, where a forgotten subtraction would not show.
        self.clock.advance(1000)
        self.ready = True
        self.wall_set_by = 0.0
        self.broker = Broker(self.clock.seconds, BOOT)
        self.engines: dict[str, RecordedEngine] = {}
        for engine_id in engine_ids:
            self.register(engine_id)
        terms: Any = {
            "extra_hosts": extra_hosts,
            "is_ready": lambda: self.ready,
            "wall": lambda: self.clock.seconds() - 1000 + MIDNIGHT + self.wall_set_by,
            "random": Random(1),
        }
        self.site = control_site(
            self.broker, self.clock, connections=connections, rate=rate, **terms
        )
        self.treq = treq_over(control_resource(self.broker, self.clock, **terms))

    def register(self, engine_id: str, options: str = ":v=1;instance=a1") -> RecordedEngine:
        engine = self.engines[engine_id] = RecordedEngine(self.broker, engine_id)
        origin = Origin("192.0.2.1:40000", "tcp://127.0.0.1:1337")
        engine.session = self.broker.open(engine, origin)
        engine.says(f"NewEngine:{engine_id}:0{options}")
        return engine

    @property
    def sent(self) -> dict[str, list[str]]:
        """The commands that each engine was sent."""
        return {engine_id: engine.commands for engine_id, engine in self.engines.items()}

    @property
    def did_nothing(self) -> bool:
        return not any(self.sent.values()) and not list(self.broker.ledger)

    def pass_seconds(self, seconds: float) -> None:
        """Let the broker tick through some time."""
        for _ in range(int(seconds / self.broker.tick_length)):
            self.clock.advance(self.broker.tick_length)
            self.broker.tick()

    def ask(self, path: str, method: str = "GET", **options: Any) -> Asked:
        """Make a request through treq's client."""
        response = self.treq.request(method, f"http://{AUTHORITY}{path}", **options)
        return Asked(path, self.treq, response)

    def answer_to(self, path: str, method: str = "GET", **options: Any) -> Answer:
        """Make a request that is answered at once."""
        return self.ask(path, method, **options).answer

    def get(self, path: str) -> Any:
        """Return the JSON of an answer that must be 200."""
        answer = self.answer_to(path)
        assert answer.status == 200, answer.body
        return answer.json

    def wire(self, source: str = "127.0.0.1") -> Wire:
        return Wire(self, source)


class Asked:
    """A request made through treq's client in memory; its answer is as described."""

    def __init__(self, path: str, stub: Any, response: Deferred[Any]) -> None:
        self._path = path
        self._treq = stub
        self._responses: list[Any] = []
        response.addCallback(self._responses.append)

    @property
    def is_answered(self) -> bool:
        self._treq.flush()
        return bool(self._responses)

    @property
    def answer(self) -> Answer:
        assert self.is_answered, "no answer yet"
        response = self._responses[0]
        bodies: list[bytes] = []
        self._treq.content(response).addCallback(bodies.append)
        headers = {
            name.decode("ascii"): values[0].decode("ascii")
            for name, values in response.headers.getAllRawHeaders()
        }
        check(self._path, response.code, headers, bodies[0])
        return Answer(response.code, headers, bodies[0])


class Line(StringTransport):
    """A transport on which what is written is on its way only when it is read."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        StringTransport.registerProducer(self, producer, streaming)
        if not streaming:
            producer.resumeProducing()

    def is_unread(self) -> bool:
        return self.streaming is False

    def read(self) -> None:
        """Have the other side read all that there is, and what comes because of it."""
        while self.is_unread():
            producer: Any = self.producer
            producer.resumeProducing()


class Wire:
    """One connection to the site, in memory, for what a good client does not say.

    It reads at once what it is sent, unless it is told not to.
    """

    def __init__(self, controlled: Controlled, source: str = "127.0.0.1") -> None:
        kind = IPv6Address if ":" in source else IPv4Address
        address = kind("TCP", source, 40_000)
        self.transport: Any = Line(peerAddress=address)  # type: ignore[no-untyped-call]
        self.reads = True
        protocol: Any = controlled.site.buildProtocol(address)
        self.protocol = protocol
        if protocol is not None:
            protocol.makeConnection(self.transport)

    def send(self, raw: bytes) -> None:
        if not self.is_closing():
            self.protocol.dataReceived(raw)
        if self.reads:
            self.transport.read()

    def lose(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))

    def is_closing(self) -> bool:
        return bool(self.transport.disconnecting)

    def is_aborted(self) -> bool:
        return bool(self.transport.disconnected)

    @property
    def answers(self) -> list[Answer]:
        if self.reads:
            self.transport.read()
        return list(split(self.transport.value()))


def treq_over(resource: IResource) -> Any:
    """Make a treq that sends everything to `resource`, in memory."""
    stub: Any = treq.testing.StubTreq
    return stub(resource)


def request(
    target: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    host: str | None = AUTHORITY,
) -> bytes:
    """Write down a request, however wrong it is."""
    lines = [f"{method} {target} HTTP/1.1"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunks(*sizes: int) -> bytes:
    """Write down a part of a chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (size, b"x" * size) for size in sizes)


def split(raw: bytes) -> list[Answer]:
    """Read responses that lie one behind the other."""
    answers = []
    while raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        status, *lines = head.decode("ascii").split("\r\n")
        if status == "HTTP/1.1 100 Continue":
            continue
        headers = {
            name.title(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        length = int(headers["Content-Length"])
        answers.append(Answer(int(status.split()[1]), headers, raw[:length]))
        raw = raw[length:]
    return answers


def exchange(controlled: Controlled, raw: bytes) -> Answer:
    """Send one request on a connection of its own, and read the one answer."""
    wire = controlled.wire()
    wire.send(raw)
    (answer,) = wire.answers
    wire.lose()
    return answer
