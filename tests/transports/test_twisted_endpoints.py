"""Twisted's endpoint strings, both ways, and how they are refused."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectingCancelledError, NoProtocol
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater

from tests.ports import reserved_port
from tests.transports.certificate import write_certificate
from tests.transports.sockets import (
    Peer,
    Peers,
    client,
    fails_to_dial,
    fails_to_listen,
    has_ipv6,
    reactor,
    refused,
    server,
)
from transports import URI, DialError, ListenError, transport_for, twisted_endpoints
from transports.tcp import set_user_timeout, socket_of

TWISTED = transport_for("twisted")
LOOPBACK = "twisted:tcp:0:interface=127.0.0.1"

# Twisted itself asks pyOpenSSL for what this calls old.
OLD_OPENSSL = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def port_of(listener: Any) -> int:
    number: int = listener.port.getHost().port
    return number


async def speak(near: Any, far: Any) -> None:
    near.transport.write(b"one")
    assert await far.receives(3) == b"one"
    far.transport.write(b"two")
    assert await near.receives(3) == b"two"


@pytest.mark.parametrize(
    "dialled",
    [
        "twisted:tcp:127.0.0.1:{port}",
        "twisted:tcp:host=127.0.0.1:port={port}",
        "twisted:tcp:port={port}:host=127.0.0.1:timeout=5",
        "twisted:tcp:{port}:host=localhost",
        "tcp://127.0.0.1:{port}",
    ],
)
async def test_bytes_travel_both_ways_over_tcp(listen: Any, dialled: str) -> None:
    listener = await listen(LOOPBACK)
    await speak(*await listener.meet(dialled.format(port=port_of(listener))))


async def test_both_ends_send_each_small_write_at_once(listen: Any) -> None:
    listener = await listen(LOOPBACK)
    for end in await listener.meet(f"twisted:tcp:127.0.0.1:{port_of(listener)}"):
        sock = end.transport.getHandle()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("asked", "really"),
    [
        (LOOPBACK, "twisted:tcp:{port}:interface=127.0.0.1"),
        ("twisted:tcp:0:127.0.0.1:50", "twisted:tcp:{port}:127.0.0.1:50"),
        (
            "twisted:tcp:interface=127.0.0.1:port=0",
            "twisted:tcp:interface=127.0.0.1:port={port}",
        ),
        (
            "twisted:haproxy:tcp:0:interface=127.0.0.1",
            "twisted:haproxy:tcp:{port}:interface=127.0.0.1",
        ),
        pytest.param(
            "twisted:TCP6:0:interface=\\:\\:1",
            "twisted:TCP6:{port}:interface=\\:\\:1",
            marks=pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback"),
        ),
    ],
)
async def test_port_0_becomes_the_real_one_where_it_stands(
    listen: Any, asked: str, really: str
) -> None:
    listener = await listen(asked)
    assert str(listener.uri) == really.format(port=port_of(listener))
    await listener.port.stopListening()
    assert (await listen(str(listener.uri))).uri == listener.uri


async def test_unix_socket_is_served_and_dialled(listen: Any, path: Path) -> None:
    listener = await listen(f"twisted:unix:{path}:mode=600")
    assert str(listener.uri) == f"twisted:unix:{path}:mode=600"
    await speak(*await listener.meet(f"twisted:unix:{path}"))
    await speak(*await listener.meet(f"twisted:unix:path={path}:timeout=3"))


@pytest.mark.parametrize("string", ["unix:{path}", "unix:{path}:lockfile=0", "unix:{path}:600:5:0"])
async def test_no_lock_file_lies_beside_a_unix_socket(listen: Any, path: Path, string: str) -> None:
    await listen(f"twisted:{string.format(path=path)}")
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(
    "string", ["unix:/x:lockfile=1", "unix:/x:666:50:1", "haproxy:unix:/x:lockfile=yes"]
)
def test_lock_file_of_a_unix_socket_is_refused(string: str) -> None:
    assert "lockfile=0" in refused(server, f"twisted:{string}")


@OLD_OPENSSL
async def test_tls_carries_both_ways_and_is_seen_through(listen: Any, tmp_path: Path) -> None:
    pem = write_certificate(tmp_path)
    listener = await listen(f"twisted:ssl:0:privateKey={pem}:interface=127.0.0.1")
    assert str(listener.uri).startswith(f"twisted:ssl:{port_of(listener)}:privateKey=")
    near, far = await listener.meet(
        f"twisted:tls:localhost:{port_of(listener)}:trustRoots={tmp_path}"
        f":endpoint=tcp\\:127.0.0.1\\:{port_of(listener)}"
    )
    await speak(near, far)
    sock = socket_of(near.transport)
    assert isinstance(sock, socket.socket)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        assert set_user_timeout(near.transport, 2)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2000
    near.transport.loseConnection()
    await near.lost
    await far.lost


@OLD_OPENSSL
async def test_tls_serves_a_folder_of_certificates(listen: Any, tmp_path: Path) -> None:
    write_certificate(tmp_path)
    listener = await listen(f"twisted:tls:{tmp_path}:0:interface=127.0.0.1")
    assert str(listener.uri) == f"twisted:tls:{tmp_path}:{port_of(listener)}:interface=127.0.0.1"
    await speak(
        *await listener.meet(
            f"twisted:tls:localhost:{port_of(listener)}:trustRoots={tmp_path}"
            f":endpoint=tcp\\:127.0.0.1\\:{port_of(listener)}"
        )
    )


async def test_proxys_line_is_taken_off(listen: Any) -> None:
    listener = await listen("twisted:haproxy:tcp:0:interface=127.0.0.1")
    near, far = await listener.meet(f"tcp://127.0.0.1:{port_of(listener)}")
    near.transport.write(b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 1337\r\nhello")
    assert await far.receives(5) == b"hello"
    assert far.transport.getPeer().host == "192.0.2.1"


@pytest.mark.parametrize(
    ("string", "local"),
    [
        ("tcp:1337", False),
        ("tcp:1337:interface=127.0.0.1", True),
        ("tcp:1337:127.0.0.1", True),
        ("tcp:1337:interface=localhost", True),
        ("tcp:1337:interface=10.0.0.1", False),
        ("tcp:1337:interface=", False),
        ("tcp:1337:interface=*", False),
        ("tcp:1337:interface=a~b", False),
        ("tcp:1337:interface=\\:\\:1", True),
        ("tcp6:1337", False),
        ("tcp6:1337:interface=\\:\\:1", True),
        ("tcp6:1337:50:\\:\\:1", True),
        ("tls:/pem:443", False),
        ("tls:/pem:443:interface=127.0.0.1", True),
        ("ssl:443", False),
        ("ssl:443:interface=127.0.0.1", True),
        ("unix:/run/x", True),
        ("systemd:domain=UNIX:index=0", True),
        ("systemd:UNIX:0", True),
        ("systemd:domain=INET:index=0", False),
        ("haproxy:tcp:1337:interface=127.0.0.1", False),
        ("haproxy:unix:/run/x", False),
        ("onion:80", False),
        ("nonsense", False),
        ("tcp:1\\", False),
    ],
)
def test_only_what_is_known_to_be_local_is_local(string: str, local: bool) -> None:
    assert TWISTED.is_local(URI.parse(f"twisted:{string}")) is local


def test_address_with_slashes_is_not_local() -> None:
    assert not TWISTED.is_local(URI.parse("twisted://tcp:1337"))


# How it is refused, and how it fails

BAD: list[tuple[Callable[[str], Any], str, str]] = [
    (server, "tcp", "missing 1 required positional argument: 'port'"),
    (client, "tcp", "missing 2 required positional arguments: 'host' and 'port'"),
    (client, "tcp:broker", "missing 1 required positional argument: 'port'"),
    (server, "tcp:abc", "'abc' is not a whole number"),
    (server, "tcp:1:prot=2", "got an unexpected keyword argument 'prot'"),
    (server, "tcp:65536", "the port is not within 0 to 65535"),
    (server, "tcp:-1", "the port is not within 0 to 65535"),
    (server, "tcp6:port=99999", "the port is not within 0 to 65535"),
    (server, "haproxy:tcp:99999", "the port is not within 0 to 65535"),
    (client, "tcp:broker:0", "the port is not within 1 to 65535"),
    (client, "tls:broker:70000", "the port is not within 1 to 65535"),
    (server, "pigeon:1", "Unknown endpoint type: 'pigeon'"),
    (client, "pigeon:1", "Unknown endpoint type: 'pigeon'"),
    (server, "haproxy:pigeon:1", "Unknown endpoint type: 'pigeon'"),
    (server, "haproxy", "Unknown endpoint type: ''"),
    (client, "systemd:domain=INET:index=0", "Unknown endpoint type: 'systemd'"),
    (server, "systemd:domain=INET:index=0", "systemd has given this process no such socket"),
    (server, "systemd:domain=INET:name=x", "systemd has given this process no such socket"),
    (server, "systemd:domain=INET", "Specify exactly one of descriptor index or name"),
    (server, "ssl:1:privateKey=/nonexistent", "No such file or directory: /nonexistent"),
    (client, "tls:h:1:trustRoots=/nonexistent", "No such file or directory: /nonexistent"),
    (server, "stdio:", "nothing to listen on"),
    (server, "tcp:1\\", "nothing follows the backslash"),
    (client, "tcp:1\\", "nothing follows the backslash"),
]


@pytest.mark.parametrize(("make", "string", "names"), BAD)
def test_string_that_twisted_cannot_use_is_refused(
    make: Callable[[str], Any], string: str, names: str
) -> None:
    assert names in refused(make, f"twisted:{string}")


@pytest.mark.parametrize("make", [client, server])
def test_slashes_are_refused(make: Callable[[str], Any]) -> None:
    assert "twisted:tcp:1337" in refused(make, "twisted://tcp:1337")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ImportError("No module named 'OpenSSL'"), "needs a package that is not installed: No mod"),
        (KeyError("x"), "'x'"),
        (AssertionError(), "AssertionError"),
        (ValueError("two\nlines"), "two lines"),
    ],
)
def test_whatever_a_parser_raises_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def parse(reactor: Any, text: str) -> Any:
        raise error

    monkeypatch.setattr(twisted_endpoints, "clientFromString", parse)
    assert said in refused(client, "twisted:odd:1")


async def test_port_in_use_is_a_listen_error(listen: Any) -> None:
    taken = str((await listen(LOOPBACK)).uri)
    error = await fails_to_listen(taken)
    assert str(error) == f"cannot listen on {taken}: {os.strerror(errno.EADDRINUSE)}"


async def test_refusal_is_a_dial_error() -> None:
    with reserved_port() as number:
        error = await fails_to_dial(f"twisted:tcp:127.0.0.1:{number}")
    assert str(error) == f"cannot connect to twisted:tcp:127.0.0.1:{number}: connection refused"


async def test_missing_file_and_name_are_dial_errors(path: Path) -> None:
    error = await fails_to_dial(f"twisted:unix:{path}")
    assert error.reason == "no such file or directory"
    reason = (await fails_to_dial("twisted:tcp:broker.invalid:1")).reason
    assert reason == "no such host, or its name cannot be looked up now"


class Endpoint:
    """One of a plugin: it gives what it was told to, or raises it at once."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    def connect(self, factory: Any) -> Any:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    listen = connect


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Have each string make an endpoint with this outcome."""

    def plugin(outcome: Any) -> None:
        for name in "clientFromString", "serverFromString":
            monkeypatch.setattr(twisted_endpoints, name, lambda *_: Endpoint(outcome))

    return plugin


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("odd\nwords"), "odd words"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "connection refused"),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
async def test_whatever_a_plugins_endpoint_fails_with_is_typed(
    plugin: Callable[[Any], None], error: Exception, reason: str, *, at_once: bool
) -> None:
    plugin(error if at_once else fail(error))
    assert (await fails_to_dial("twisted:odd:1")).reason == reason
    plugin(error if at_once else fail(error))
    assert (await fails_to_listen("twisted:odd:1")).reason.lower() == reason.lower()


async def test_plugin_without_a_socket_is_served(plugin: Callable[[Any], None]) -> None:
    class Port:
        def getHost(self) -> object:
            return object()

    port: Any = Port()
    plugin(succeed(port))
    uri = URI.parse("twisted:odd:0")
    assert await server(str(uri)).listen(Peers()) is port
    assert TWISTED.listen_address(uri, port) is uri


async def test_error_of_the_callers_factory_is_passed_on(listen: Any) -> None:
    number = port_of(await listen(LOOPBACK))

    class Broken(Factory):
        def buildProtocol(self, addr: Any) -> Peer:
            raise ValueError("of its own")

    class Unwilling(Factory):
        noisy = False

        def buildProtocol(self, addr: Any) -> None:
            return None

    with pytest.raises(ValueError, match="of its own"):
        await client(f"twisted:tcp:127.0.0.1:{number}").connect(Broken())
    with pytest.raises(NoProtocol):
        await client(f"twisted:tcp:127.0.0.1:{number}").connect(Unwilling())


async def test_cancellation_is_no_failure_to_dial(plugin: Callable[[Any], None]) -> None:
    connecting = client("twisted:tcp:192.0.2.1:1").connect(Peers())
    connecting.cancel()
    with pytest.raises(ConnectingCancelledError):
        await connecting
    plugin(Deferred())
    listening = server("twisted:odd:1").listen(Peers())
    listening.cancel()
    with pytest.raises(CancelledError):
        await listening


async def test_factory_is_started_and_stopped(listen: Any) -> None:
    listener = await listen(LOOPBACK)
    factory = Factory.forProtocol(Peer)
    factory.noisy = False
    near = await client(f"twisted:tcp:127.0.0.1:{port_of(listener)}").connect(factory)
    assert factory.numPorts == 1
    near.transport.loseConnection()
    await near.lost
    await deferLater(reactor, 0)
    assert factory.numPorts == 0


@pytest.mark.parametrize("kind", [DialError, ListenError])
def test_errors_name_the_address_as_it_was_written(kind: Any) -> None:
    text = str(URI.parse("twisted:tcp:a\\:b:host=c?d#e%41"))
    assert kind(text, "x").address == "twisted:tcp:a\\:b:host=c?d#e%41"
