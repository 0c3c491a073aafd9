"""TCP on real loopback sockets, and the words in which it fails."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.error import (
    ConnectBindError,
    ConnectingCancelledError,
    NoRouteError,
    TCPTimedOutError,
)
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as NoAnswer
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from tests.ports import reserved_port
from tests.transports.sockets import (
    TCP,
    Peer,
    Peers,
    fails_to_dial,
    fails_to_listen,
    has_ipv6,
    reactor,
)
from transports import URI, DialError, InvalidURIError
from transports.tcp import BACKLOG, DIAL_TIMEOUT, set_user_timeout

needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


async def test_bytes_travel_both_ways_in_order(listen: Any) -> None:
    near, far = await (await listen("tcp://127.0.0.1:0")).dial("127.0.0.1")
    near.transport.write(b"one")
    near.transport.write(b"two")
    assert await far.receives(6) == b"onetwo"
    far.transport.write(b"three")
    assert await near.receives(5) == b"three"
    near.transport.loseConnection()
    await far.lost
    await near.lost


async def test_port_0_becomes_the_real_one(listen: Any) -> None:
    listener = await listen("tcp://127.0.0.1:0?framing=lines")
    assert listener.uri.port == listener.port.getHost().port > 0
    assert str(listener.uri) == f"tcp://127.0.0.1:{listener.uri.port}?framing=lines"


async def test_given_port_is_kept(listen: Any) -> None:
    with reserved_port() as number:
        assert str((await listen(f"tcp://127.0.0.1:{number}")).uri) == f"tcp://127.0.0.1:{number}"


async def test_listening_has_begun_when_listen_returns() -> None:
    waiting = TCP.server_endpoint(reactor, URI.parse("tcp://127.0.0.1:0")).listen(Peers())
    assert waiting.called
    port: Any = await waiting
    await port.stopListening()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_star_is_reachable_over_ipv4(listen: Any, host: str) -> None:
    listener = await listen("tcp://*:0")
    assert listener.uri.host == "*"
    near, far = await listener.dial(host)
    assert far.transport.getPeer() == near.transport.getHost()
    assert far.transport.getPeer().host == "127.0.0.1"
    assert far.transport.getHost() == near.transport.getPeer()


@needs_ipv6
async def test_star_is_reachable_over_ipv6(listen: Any) -> None:
    near, far = await (await listen("tcp://*:0")).dial("[::1]")
    assert far.transport.getPeer().host == "::1"
    assert far.transport.getHost().port == near.transport.getPeer().port


@needs_ipv6
async def test_ipv6_loopback_in_brackets_is_listened_on(listen: Any) -> None:
    listener = await listen("tcp://[::1]:0")
    assert str(listener.uri) == f"tcp://[::1]:{listener.uri.port}"
    await listener.dial("[::1]")


async def test_star_is_ipv4_alone_where_ipv6_is_absent(
    listen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    listener = await listen("tcp://*:0")
    assert listener.port.getHost().host == "0.0.0.0"
    await listener.dial("127.0.0.1")


async def test_star_is_ipv4_alone_where_ipv6_has_no_address(
    listen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_address(*args: Any, **kwargs: Any) -> socket.socket:
        raise OSError(errno.EADDRNOTAVAIL, "no address")

    monkeypatch.setattr(socket, "create_server", no_address)
    await (await listen("tcp://*:0")).dial("127.0.0.1")


async def test_name_is_looked_up_to_listen(listen: Any) -> None:
    listener = await listen("tcp://localhost:0")
    assert listener.uri.host == "localhost"
    await listener.dial("localhost")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["2001:db8::1", "192.0.2.7", "192.0.2.8"], "192.0.2.7"),
        (["192.0.2.7", "2001:db8::1"], "192.0.2.7"),
        (["2001:db8::1", "2001:db8::2"], "2001:db8::1"),
    ],
)
async def test_name_is_listened_on_at_its_first_address_ipv4_before_ipv6(
    monkeypatch: pytest.MonkeyPatch, found: list[str], expected: str
) -> None:
    def look_up(host: str, *args: Any, **kwargs: Any) -> list[Any]:
        assert host == "name"
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, 1, 6, "", (address, 0))
            for address in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    memory = MemoryReactorClock()
    await TCP.server_endpoint(memory, URI.parse("tcp://name:1")).listen(Peers())
    [(port, _, backlog, interface)] = memory.tcpServers
    assert (port, interface, backlog) == (1, expected, BACKLOG)
    assert backlog >= 1024


async def test_port_in_use_is_a_listen_error(listen: Any) -> None:
    taken = (await listen("tcp://127.0.0.1:0")).uri
    error = await fails_to_listen(str(taken))
    assert error.address == str(taken)
    assert str(error) == f"cannot listen on {taken}: {os.strerror(errno.EADDRINUSE)}"


async def test_port_in_use_is_a_listen_error_for_star_too(listen: Any) -> None:
    taken = (await listen("tcp://*:0")).uri
    error = await fails_to_listen(str(taken))
    assert error.reason == os.strerror(errno.EADDRINUSE)


async def test_address_of_another_machine_is_a_listen_error() -> None:
    error = await fails_to_listen("tcp://203.0.113.1:0")
    assert error.reason == os.strerror(errno.EADDRNOTAVAIL)


@pytest.mark.fault("C094")
@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (socket.EAI_NONAME, "no such host"),
        (socket.EAI_AGAIN, "its name cannot be looked up now"),
    ],
)
async def test_unresolvable_name_is_a_listen_error_in_one_line(
    number: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(*_: object, **__: object) -> None:
        raise socket.gaierror(number, "as the system has it")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    error = await fails_to_listen("tcp://broker.invalid:0")
    assert str(error) == f"cannot listen on tcp://broker.invalid:0: {reason}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_refusal_is_a_dial_error(host: str) -> None:
    with reserved_port() as number:
        error = await fails_to_dial(f"tcp://{host}:{number}")
    assert (error.reason, error.retriable) == ("connection refused", True)
    assert str(error) == f"cannot connect to tcp://{host}:{number}: connection refused"


async def test_unresolvable_name_is_a_dial_error_in_one_line() -> None:
    error = await fails_to_dial("tcp://broker.invalid:1337")
    assert str(error) == (
        "cannot connect to tcp://broker.invalid:1337:"
        " no such host, or its name cannot be looked up now"
    )
    assert error.retriable


async def test_interface_that_is_none_is_told_both_ways() -> None:
    for fails in fails_to_dial, fails_to_listen:
        error: Any = await fails("tcp://[fe80::1%nosuch]:1337")
        assert (error.address, error.reason) == ("tcp://[fe80::1%nosuch]:1337", "no such host")


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (NoRouteError(errno.EHOSTUNREACH, ""), "no route to host"),
        (TCPTimedOutError(errno.ETIMEDOUT, ""), "connection timed out"),
        (ConnectBindError(errno.EMFILE, ""), "too many open files"),
        (Refused(string="not a number"), "Connection was refused by other side: not a number."),
    ],
)
def test_system_words_say_why_dialling_failed(cause: Exception, reason: str) -> None:
    memory = MemoryReactorClock()
    endpoint = TCP.client_endpoint(memory, URI.parse("tcp://192.0.2.1:1337"))
    failures: list[Failure] = []
    endpoint.connect(Peers()).addErrback(failures.append)
    [(_, _, factory, _, _)] = memory.tcpClients
    cast(Any, factory).clientConnectionFailed(None, Failure(cause))
    [failure] = failures
    assert isinstance(failure.value, DialError)
    assert failure.value.reason == reason


@pytest.mark.parametrize("host", ["192.0.2.1", "[2001:db8::1]"])
def test_silent_address_is_given_up_after_its_time(host: str) -> None:
    memory = MemoryReactorClock()
    failures: list[Failure] = []
    endpoint = TCP.client_endpoint(memory, URI.parse(f"tcp://{host}:1337"))
    endpoint.connect(Peers()).addErrback(failures.append)
    [(address, port, factory, timeout, _)] = memory.tcpClients
    assert (address, port, timeout) == (host.strip("[]"), 1337, DIAL_TIMEOUT)
    cast(Any, factory).clientConnectionFailed(None, Failure(NoAnswer()))
    [failure] = failures
    assert isinstance(failure.value, DialError)
    assert failure.value.reason == "no answer within 5 s"


async def test_dialling_can_be_cancelled() -> None:
    memory = MemoryReactorClock()
    waiting = TCP.client_endpoint(memory, URI.parse("tcp://192.0.2.1:1")).connect(Peers())
    waiting.cancel()
    with pytest.raises((CancelledError, ConnectingCancelledError)):
        await waiting


async def test_fault_of_the_callers_factory_passes_as_it_is(listen: Any) -> None:
    class Faulty(Peers):
        def buildProtocol(self, addr: Any) -> Peer:
            raise ZeroDivisionError

    uri = (await listen("tcp://127.0.0.1:0")).uri
    with pytest.raises(ZeroDivisionError):
        await TCP.client_endpoint(reactor, uri).connect(Faulty())


@pytest.mark.parametrize("text", ["tcp://127.0.0.1:0", "tcp://*:0"])
async def test_nothing_is_held_back_to_fill_a_segment(listen: Any, text: str) -> None:
    for peer in await (await listen(text)).dial("127.0.0.1"):
        handle = peer.transport.getHandle()
        assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux has it")
@pytest.mark.parametrize(("seconds", "milliseconds"), [(25, 25_000), (0.0001, 1), (1e9, 2**31 - 1)])
async def test_user_timeout_is_set_in_milliseconds(
    listen: Any, seconds: float, milliseconds: int
) -> None:
    near, _ = await (await listen("tcp://127.0.0.1:0")).dial("127.0.0.1")
    assert set_user_timeout(near.transport, seconds)
    handle = near.transport.getHandle()
    assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == milliseconds


async def test_user_timeout_is_told_apart_where_it_cannot_be_had(
    listen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not set_user_timeout(StringTransport(), 1)
    near, _ = await (await listen("tcp://127.0.0.1:0")).dial("127.0.0.1")
    handle = near.transport.getHandle()
    near.transport.loseConnection()
    await near.lost
    near.transport.getHandle = lambda: handle
    assert not set_user_timeout(near.transport, 1)
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT", raising=False)
    assert not set_user_timeout(near.transport, 1)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("tcp://host", "port"),
        ("tcp://host:1/path", "path"),
        ("tcp://host:1?backlog=1", "backlog"),
        ("tcp://host:1?framing=message", "framing"),
    ],
)
def test_address_that_tcp_cannot_use_is_refused(text: str, names: str) -> None:
    uri = URI.parse(text)
    for endpoint in TCP.client_endpoint, TCP.server_endpoint:
        with pytest.raises(InvalidURIError) as caught:
            endpoint(reactor, uri)
        assert names in caught.value.problem


@pytest.mark.parametrize(("text", "names"), [("tcp://*:1", "*"), ("tcp://host:0", "port 0")])
def test_address_that_is_only_for_listening_cannot_be_dialled(text: str, names: str) -> None:
    with pytest.raises(InvalidURIError) as caught:
        TCP.client_endpoint(reactor, URI.parse(text))
    assert names in caught.value.problem


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("tcp://127.0.0.1:1", True),
        ("tcp://[::1]:1", True),
        ("tcp://localhost:1", True),
        ("tcp://*:1", False),
        ("tcp://0.0.0.0:1", False),
        ("tcp://[::]:1", False),
        ("tcp://host:1", False),
    ],
)
def test_only_loopback_is_local(text: str, *, local: bool) -> None:
    assert TCP.is_local(URI.parse(text)) is local
