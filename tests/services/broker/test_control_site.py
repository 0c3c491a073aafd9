"""The wire below the endpoints: bodies, pipelining, what is no HTTP, who goes away."""

from __future__ import annotations

import io
import random
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from brokerproto.broker import Broker
from services.broker.control import control_site
from services.broker.control.guard import MAX_BODY
from tests.services.broker.controlled import Answer, Controlled, exchange, request, split

CHUNKED = {"Transfer-Encoding": "chunked"}


def chunks(*sizes: int) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (size, b"x" * size) for size in sizes)


@pytest.fixture
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every attempt fail to make a temporary file."""
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")


@pytest.mark.usefixtures("no_files")
@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request("/kill", "POST", body=b"x" * (MAX_BODY + 1)), 413),
        (request("/kill", "POST", body=b"x" * 300_000), 413),
        (request("/kill", "POST", CHUNKED) + chunks(5) + b"0\r\n\r\n", 400),
        (request("/kill", "POST", CHUNKED) + chunks(MAX_BODY, 1) + b"0\r\n\r\n", 413),
        (request("/kill", "POST", CHUNKED) + chunks(*[100] * 1000) + b"0\r\n\r\n", 413),
        (request("/nosuch", "POST", body=b"x" * 20_000), 413),
    ],
)
def test_body_is_refused_without_a_file(raw: bytes, status: int) -> None:
    controlled = Controlled("a")
    assert exchange(controlled, raw).status == status
    assert controlled.did_nothing


def test_answer_to_a_long_body_does_not_wait_for_it() -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(request("/kill", "POST", {"Content-Length": str(MAX_BODY + 1)}))
    (answer,) = wire.answers
    assert (answer.status, answer.headers["Connection"]) == (413, "close")
    assert not wire.is_closing()
    wire.send(b"x" * MAX_BODY)
    assert not wire.is_closing()
    wire.send(b"x" + request("/kill"))
    assert wire.is_closing()
    assert len(wire.answers) == 1
    assert controlled.did_nothing
    wire.lose()


def test_answer_to_a_body_without_end_comes_with_the_first_byte_too_many() -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(request("/kill", "POST", CHUNKED) + chunks(MAX_BODY))
    assert not wire.answers
    wire.send(chunks(1))
    assert [answer.status for answer in wire.answers] == [413]
    for _ in range(2000):
        wire.send(chunks(1024))
    assert wire.is_closing()
    assert len(wire.answers) == 1
    wire.lose()


def test_refused_body_that_goes_wrong_has_one_answer() -> None:
    wire = Controlled().wire()
    wire.send(request("/kill", "POST", CHUNKED) + chunks(MAX_BODY, 1) + b"x\r\n")
    assert [answer.status for answer in wire.answers] == [413]
    assert wire.is_closing()
    wire.lose()


@pytest.mark.parametrize("length", [1, 100, MAX_BODY])
def test_body_that_is_short_enough_keeps_the_connection(length: int) -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(request("/kill", "POST", body=b"x" * length) + request("/healthz"))
    assert [answer.status for answer in wire.answers] == [400, 200]
    wire.lose()


def test_whoever_asks_before_a_long_body_is_told_not_to_send_it() -> None:
    wire = Controlled().wire()
    length = {"Content-Length": str(10**9), "Expect": "100-continue"}
    wire.send(request("/kill", "POST", length))
    assert wire.transport.value().startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in wire.transport.value()
    wire.lose()


def test_whoever_asks_before_a_short_body_may_send_it() -> None:
    wire = Controlled().wire()
    wire.send(request("/kill", "POST", {"Content-Length": "3", "Expect": "100-continue"}))
    assert wire.transport.value() == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(b"abc")
    assert b"HTTP/1.1 400 " in wire.transport.value()
    wire.lose()


def test_client_gone_in_the_middle_of_a_body_leaves_nothing() -> None:
    controlled = Controlled()
    for length in (100, 100_000):
        wire = controlled.wire()
        wire.send(request("/kill", "POST", {"Content-Length": str(length)}) + b"xx")
        wire.lose()
    assert not controlled.clock.getDelayedCalls()


def test_pipelined_requests_are_answered_in_order() -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(request("/dowork?time=1&wait=5") + request("/kill?code=9") + request("/healthz"))
    assert not wire.answers
    assert [frame.split(":")[0] for frame in controlled.sent["a"]] == ["DOWORK"]
    controlled.clock.advance(5)
    first, second, third = wire.answers
    assert (first.json["verb"], second.json["verb"]) == ("DOWORK", "KILL")
    assert third.json == {"status": "ok"}
    wire.lose()


def test_outcome_does_not_depend_on_segmentation() -> None:
    raw = (
        request("/dowork?time=1", "POST", CHUNKED) + b"0\r\n\r\n"
        + request("/kill?code=x") + request("/kill", "POST", body=b"abc")
        + request("/kill", "HEAD", {"Content-Length": "0"})[:0] + request("//kill")
    )  # fmt: skip
    whole = Controlled("a")
    wire = whole.wire()
    wire.send(raw)
    expected = [answer.json for answer in wire.answers]
    assert len(expected) == 4
    wire.lose()
    dice = random.Random(7)
    for longest in (1, 3, 50):
        cut = Controlled("a")
        wire = cut.wire()
        rest = raw
        while rest:
            n = dice.randint(1, longest)
            wire.send(rest[:n])
            rest = rest[n:]
        assert [answer.json for answer in wire.answers] == expected
        assert cut.sent == whole.sent
        wire.lose()


GET = b"GET /kill HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"GET /kill HTTP/2.0\r\n\r\n",
        b"GET /kill\r\n\r\n",
        b"GET  /kill HTTP/1.1\r\n\r\n",
        b"G\xe4T /kill HTTP/1.1\r\n\r\n",
        b"GET /k\xffill HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"NewEngine:a:0\r\n\r\n",
        GET + b"no colon\r\n\r\n",
        GET + b"Bad Name: x\r\n\r\n",
        GET + b"X: a\x00b\r\n\r\n",
        GET + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        GET + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        GET + b"Content-Length: +3\r\n\r\nabc",
        GET + b"Content-Length: -1\r\n\r\n",
        GET + b"Content-Length: 0x3\r\n\r\nabc",
        GET + b"Content-Length: \r\n\r\n",
        GET + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        GET + b"Content-Length: " + b"9" * 5000 + b"\r\nX: y\r\n\r\n",
        GET + b"Transfer-Encoding: gzip\r\n\r\n",
        GET + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        GET + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        GET + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
        GET + b"X: y\r\n" * 501 + b"\r\n",
        GET + b"X: " + b"y" * 16_000 + b"\r\nZ: " + b"y" * 1000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /" + b"x" * 20_000,
        b"x" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_http_is_400_and_closed(raw: bytes) -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(raw)
    assert [answer.status for answer in wire.answers] == [400]
    assert wire.answers[0].error["status"] == 400
    assert wire.is_closing()
    assert controlled.did_nothing
    wire.lose()
    assert not controlled.clock.getDelayedCalls()


def test_host_that_the_router_cannot_take_is_an_error_like_others() -> None:
    name = "x" * 64
    controlled = Controlled("a", extra_hosts=(name,))
    wire = controlled.wire()
    wire.send(request("/kill", host=name) + request("/healthz"))
    refused, following = wire.answers
    assert (refused.status, refused.error["status"], following.status) == (400, 400, 200)
    assert controlled.did_nothing
    wire.lose()


def test_idle_connection_is_closed() -> None:
    controlled = Controlled()
    wire = controlled.wire()
    wire.send(request("/healthz"))
    controlled.clock.advance(61)
    assert wire.is_closing()
    wire.lose()
    assert not controlled.clock.getDelayedCalls()


def test_site_logs_no_request_and_keeps_no_clock(capsys: pytest.CaptureFixture[str]) -> None:
    controlled = Controlled()
    controlled.site.startFactory()
    assert exchange(controlled, request("/healthz")).status == 200
    assert not controlled.clock.getDelayedCalls()
    controlled.site.stopFactory()
    assert capsys.readouterr() == ("", "")


def test_client_that_goes_away_leaves_no_timer_and_no_callback() -> None:
    controlled = Controlled("a", "b")
    wire = controlled.wire()
    wire.send(request("/dowork?time=1&wait=600"))
    assert len(controlled.clock.getDelayedCalls()) == 1
    wire.lose()
    assert not controlled.clock.getDelayedCalls()
    # A callback left behind would reset the cancelled timer, and raise.
    for engine in controlled.engines.values():
        engine.reports("done")
    (command,) = controlled.broker.ledger
    assert command.is_settled
    assert not wire.transport.value()


def test_client_that_goes_away_with_its_answer_due_leaves_nothing() -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(request("/dowork?time=1&wait=600"))
    controlled.engines["a"].reports("done")
    wire.lose()
    controlled.clock.advance(1)
    assert not controlled.clock.getDelayedCalls()
    assert not wire.transport.value()


class Client(Protocol):
    """Collects what a server says, until the connection is gone."""

    def __init__(self) -> None:
        self.received = io.BytesIO()
        self.ended: Deferred[bytes] = Deferred()
        self.answered: Deferred[None] = Deferred()

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
