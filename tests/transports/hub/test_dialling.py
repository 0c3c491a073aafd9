"""Connecting by the hub, and from an address of one's own."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.error import NoProtocol
from twisted.python.failure import Failure

from tests.transports.hub.loop import house, looping
from tests.transports.hub.test_port import no_more_files
from tests.transports.recording import Recorders
from tests.transports.sockets import fails_to_dial
from transports import URI, DialError, InvalidURIError, transport_for

TCP = transport_for("tcp")


def reason_of(outcome: Any) -> str:
    assert isinstance(outcome, Failure), outcome
    assert isinstance(outcome.value, DialError), outcome
    return outcome.value.reason


def number_of_nobody() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number: int = free.getsockname()[1]
        return number


@pytest.mark.parametrize("io", ["hub", "reactor"])
def test_dialled_connection_comes_from_the_source(io: str) -> None:
    with house() as here:
        number = here.port.getHost().port
        factory = Recorders()
        text = f"tcp://127.0.0.1:{number}?io={io}&source=127.0.0.2"
        near: Any = here.loop.dial(factory, text)
        here.loop.until(lambda: here.factory.made)
        [far] = here.factory.made
        assert far.transport.getPeer().host == "127.0.0.2"
        assert near.transport.getHost() == far.transport.getPeer()
        assert near.transport.getPeer().port == number
        assert (factory.started, factory.stopped) == (1, 0)
        near.transport.loseConnection()
        here.loop.until(lambda: factory.stopped)
        here.loop.until(lambda: far.events)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("tcp://127.0.0.1:1?source=name", "in numbers"),
        ("tcp://127.0.0.1:1?source=::1", "same family"),
        ("tcp://[::1]:1?source=127.0.0.1", "same family"),
        ("tcp://127.0.0.1:1?io=epoll", "may be reactor, hub"),
    ],
)
def test_address_that_cannot_be_dialled_is_refused(text: str, names: str) -> None:
    with pytest.raises(InvalidURIError) as caught:
        TCP.client_endpoint(None, URI.parse(text))
    assert names in caught.value.problem


def test_source_means_nothing_to_who_listens() -> None:
    with pytest.raises(InvalidURIError) as caught:
        TCP.server_endpoint(None, URI.parse("tcp://127.0.0.1:1?source=127.0.0.2"))
    assert "for connecting" in caught.value.problem


def test_failure_leaves_nothing_and_is_told_as_without_the_hub() -> None:
    number = number_of_nobody()
    with looping() as loop:
        factory = Recorders()
        for query, reason in (
            ("", "connection refused"),
            ("&source=203.0.113.1", "the address to connect from is not one of this machine"),
        ):
            came = loop.dial(factory, f"tcp://127.0.0.1:{number}?io=hub{query}")
            assert reason_of(came) == reason
        assert factory.started == factory.stopped == 2
        assert factory.made == []


@pytest.mark.parametrize("io", ["hub", "reactor"])
async def test_name_is_looked_up_and_dialled_from_the_source(listen: Any, io: str) -> None:
    listener = await listen("tcp://127.0.0.1:0?io=hub")
    text = f"tcp://localhost:{listener.uri.port}?io={io}&source=127.0.0.2"
    near, far = await listener.meet(text)
    assert far.transport.getPeer() == near.transport.getHost()
    assert far.transport.getPeer().host == "127.0.0.2"
    near.transport.write(b"one")
    assert await far.receives(3) == b"one"
    near.transport.loseConnection()
    await far.lost
    await near.lost


async def test_name_that_nobody_has_or_where_nobody_listens_is_told() -> None:
    error = await fails_to_dial("tcp://broker.invalid:1?io=hub")
    assert error.reason.startswith("no such host")
    error = await fails_to_dial(f"tcp://localhost:{number_of_nobody()}?io=hub")
    assert error.reason == "connection refused"


def test_zone_that_is_none_is_told() -> None:
    with looping() as loop:
        came = loop.dial(Recorders(), "tcp://[fe80::1%nosuch]:1?io=hub")
        assert reason_of(came) == "no such host"


def test_without_files_nobody_can_be_dialled() -> None:
    with looping() as loop:
        with no_more_files():
            came = loop.dial(Recorders(), "tcp://127.0.0.1:1?io=hub")
        assert reason_of(came) == "too many open files"


def test_dial_that_is_not_answered_is_given_up_and_can_be_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A queue of one is full with two, and the third has no answer.
    with looping() as loop, socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        callers = [socket.socket() for _ in range(4)]
        for each in callers:
            each.setblocking(False)
            each.connect_ex(server.getsockname())
        uri = URI.parse(f"tcp://127.0.0.1:{server.getsockname()[1]}?io=hub")
        factory = Recorders()
        monkeypatch.setattr("transports.tcp.DIAL_TIMEOUT", 0.05)
        came = loop.now(TCP.client_endpoint(loop.reactor, uri).connect(factory))
        assert reason_of(came) == "no answer within 0.05 s"
        monkeypatch.setattr("transports.tcp.DIAL_TIMEOUT", 1000)
        waiting = TCP.client_endpoint(loop.reactor, uri).connect(factory)
        loop.turn(5)
        assert not waiting.called
        waiting.cancel()
        assert loop.now(waiting).check(CancelledError)
        assert factory.started == factory.stopped == 2
        for each in callers:
            each.close()


def test_factory_without_a_protocol_and_one_that_fails_are_told() -> None:
    with house() as here:
        text = f"tcp://127.0.0.1:{here.port.getHost().port}?io=hub"
        kinds: list[Any] = [(lambda: None, NoProtocol), (lambda: 1 / 0, ZeroDivisionError)]
        for kind, error in kinds:
            factory = Recorders(kind)
            assert here.loop.dial(factory, text).check(error)
            assert factory.started == factory.stopped == 1
        here.loop.until(lambda: sum(len(made.events) for made in here.factory.made) == 2)


def test_many_are_dialled_at_once_by_one_endpoint() -> None:
    with house() as here:
        uri = URI.parse(f"tcp://127.0.0.1:{here.port.getHost().port}?io=hub")
        endpoint = TCP.client_endpoint(here.loop.reactor, uri)
        factory = Recorders()
        connected: list[Any] = []
        for _ in range(100):
            endpoint.connect(factory).addCallback(connected.append)
        here.loop.until(lambda: len(connected) == len(here.factory.made) == 100)
        [_] = here.loop.readers()
        for each in connected:
            each.transport.loseConnection()
        here.loop.until(lambda: factory.stopped)
        assert all(made.events for made in factory.made)
        here.loop.until(lambda: all(made.events for made in here.factory.made))
