"""UNIX sockets: whose file it is, who may connect, and the words in which it fails."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import sys
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.error import (
    ConnectingCancelledError,
    NoProtocol,
)
from twisted.internet.protocol import Factory

from tests.transports.sockets import (
    Peer,
    Peers,
    client,
    fails_to_dial,
    fails_to_listen,
    leave_behind,
    reactor,
    refused,
    server,
)
from transports import URI, DialError, ipc, transport_for
from transports.ipc import LONGEST_NAME, IPCAddress
from transports.tcp import set_user_timeout

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract names")

_numbers = count()


@pytest.fixture
def name() -> str:
    """An abstract name that nobody has."""
    return f"@brokerproto-test-{os.getpid()}-{next(_numbers)}"


async def test_bytes_travel_both_ways(listen: Any, path: Path) -> None:
    listener = await listen(f"ipc://{path}")
    near, far = await listener.meet(f"ipc://{path}")
    near.transport.write(b"one")
    assert await far.receives(3) == b"one"
    far.transport.write(b"two")
    assert await near.receives(3) == b"two"


async def test_listening_has_begun_when_listen_returns(path: Path) -> None:
    waiting = server(f"ipc://{path}").listen(Peers())
    assert waiting.called
    port: Any = await waiting
    await port.stopListening()


@pytest.mark.parametrize("options", ["", "?mode=660", "?framing=lines&mode=0666"])
async def test_address_is_given_back_and_can_be_dialled(
    listen: Any, path: Path, options: str
) -> None:
    listener = await listen(f"ipc://{path}{options}")
    assert str(listener.uri) == f"ipc://{path}{options}"
    await listener.meet(str(listener.uri))


async def test_path_may_have_any_character_that_prints(listen: Any, tmp_path: Path) -> None:
    odd = tmp_path / "a b,%ü?#@:"
    listener = await listen(str(URI("ipc", path=os.fspath(odd))))
    assert stat.S_ISSOCK(odd.stat().st_mode)
    await listener.meet(str(listener.uri))


@needs_linux
async def test_abstract_name_is_no_file(listen: Any, name: str) -> None:
    listener = await listen(f"ipc://{name}")
    assert str(listener.uri) == f"ipc://{name}"
    await listener.meet(f"ipc://{name}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plain:
        plain.connect("\0" + name[1:])


def test_every_address_is_local() -> None:
    for text in "ipc:///a", "ipc://@a":
        assert transport_for("ipc").is_local(URI.parse(text))


# Who may connect, and who does


@pytest.mark.parametrize(
    ("options", "mode"), [("", 0o600), ("?mode=660", 0o660), ("?mode=0666", 0o666)]
)
async def test_file_has_the_mode_whatever_the_umask(
    listen: Any, path: Path, options: str, mode: int
) -> None:
    before = os.umask(0o027)
    try:
        await listen(f"ipc://{path}{options}")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@needs_linux
async def test_peer_is_known_by_its_process_and_user(listen: Any, path: Path) -> None:
    near, far = await (await listen(f"ipc://{path}")).meet(f"ipc://{path}")
    peer = far.transport.getPeer()
    assert peer == near.transport.getHost() == IPCAddress(os.getpid(), os.geteuid())
    assert str(peer) == f"unix:pid={os.getpid()},uid={os.geteuid()}"
    near.transport.loseConnection()
    await far.lost
    assert far.transport.getPeer() == peer


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (IPCAddress(), "unix"),
        (IPCAddress(pid=7), "unix:pid=7"),
        (IPCAddress(uid=0), "unix:uid=0"),
        (IPCAddress(7, 1000), "unix:pid=7,uid=1000"),
    ],
)
def test_peer_is_named_by_what_is_known(address: IPCAddress, text: str) -> None:
    assert str(address) == text


async def test_nothing_is_said_of_a_peer_that_the_system_says_nothing_of(
    listen: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ipc, "_PEER", None)
    near, far = await (await listen(f"ipc://{path}")).meet(f"ipc://{path}")
    assert far.transport.getPeer() == near.transport.getHost() == IPCAddress()


def test_process_of_another_namespace_is_not_shown() -> None:
    class Told:
        def getsockopt(self, level: int, option: int, length: int) -> bytes:
            return b"\0\0\0\0" + (1000).to_bytes(4, sys.byteorder) + b"\0\0\0\0"

    if hasattr(socket, "SO_PEERCRED"):
        assert IPCAddress.of_peer(cast(Any, Told())) == IPCAddress(None, 1000)


def bind_to_any_name(sock: socket.socket, length: int) -> None:
    """Give a socket an abstract name of so many bytes, the leading NUL included."""
    for number in count():
        with contextlib.suppress(OSError):
            sock.bind(f"\0{number:0{length - 1}}")
            return


@needs_linux
@pytest.mark.parametrize("length", [0, 4, 5, 20])
async def test_name_of_a_peer_does_not_matter(listen: Any, path: Path, length: int) -> None:
    listener = await listen(f"ipc://{path}")
    accepted = listener.factory.next_peer()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plain:
        if length:
            bind_to_any_name(plain, length)
            assert len(plain.getsockname()) == length
        plain.connect(os.fspath(path))
        far = await accepted
        assert far.transport.getPeer().pid == os.getpid()
        plain.sendall(b"hello")
        assert await far.receives(5) == b"hello"
    await far.lost


async def test_user_timeout_is_harmless(listen: Any, path: Path) -> None:
    near, far = await (await listen(f"ipc://{path}")).meet(f"ipc://{path}")
    assert not set_user_timeout(near.transport, 1)
    near.transport.write(b"still there")
    assert await far.receives(11) == b"still there"


# How it fails


@needs_linux
async def test_abstract_name_in_use_is_a_listen_error(listen: Any, name: str) -> None:
    await listen(f"ipc://{name}")
    error = await fails_to_listen(f"ipc://{name}")
    assert str(error) == f"cannot listen on ipc://{name}: Address already in use"


async def test_factory_is_stopped_as_often_as_it_is_started(
    listen: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EACCES, "no")

    factory = Peers()
    assert (await fails_to_listen("ipc:///nonexistent/s", factory)).reason
    assert factory.numPorts == 0
    with monkeypatch.context() as patched:
        patched.setattr(socket.socket, "bind", refuse)
        assert (await fails_to_listen(f"ipc://{path}", factory)).reason == os.strerror(errno.EACCES)
    assert factory.numPorts == 0
    with monkeypatch.context() as patched:
        patched.setattr(os, "chmod", refuse)
        open_files = os.listdir("/dev/fd")
        assert (await fails_to_listen(f"ipc://{path}", factory)).reason == os.strerror(errno.EACCES)
        assert os.listdir("/dev/fd") == open_files
    assert factory.numPorts == 0
    port = await server(f"ipc://{path}").listen(factory)
    assert factory.numPorts == 1
    await port.stopListening()
    assert factory.numPorts == 0


async def test_missing_directory_is_told(tmp_path: Path) -> None:
    error = await fails_to_listen(f"ipc://{tmp_path}/missing/s")
    assert error.reason == os.strerror(errno.ENOENT)


async def test_directory_that_is_none_is_told(path: Path) -> None:
    path.write_text("")
    assert (await fails_to_listen(f"ipc://{path}/s")).reason == os.strerror(errno.ENOTDIR)


async def test_dialling_where_no_file_is_is_a_dial_error(path: Path) -> None:
    error = await fails_to_dial(f"ipc://{path}")
    assert (error.reason, error.retriable) == ("no such file or directory", True)
    assert str(error) == f"cannot connect to ipc://{path}: no such file or directory"


async def test_dialling_a_file_that_nobody_listens_on_is_refused(path: Path) -> None:
    leave_behind(path)
    assert (await fails_to_dial(f"ipc://{path}")).reason == "connection refused"


@needs_linux
async def test_dialling_an_abstract_name_that_nobody_has_is_refused(name: str) -> None:
    assert (await fails_to_dial(f"ipc://{name}")).reason == "connection refused"


async def test_dialling_a_full_queue_fails_at_once_and_in_words(path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as full,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as waiting,
    ):
        full.bind(os.fspath(path))
        full.listen(0)
        waiting.connect(os.fspath(path))
        error = await fails_to_dial(f"ipc://{path}")
    assert error.reason == "too many connections wait to be accepted there"
    assert error.retriable


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
async def test_what_is_forbidden_is_told(listen: Any, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    await listen(f"ipc://{closed}/s")
    closed.chmod(0o500)
    assert (await fails_to_listen(f"ipc://{closed}/t")).reason == os.strerror(errno.EACCES)
    closed.chmod(0)
    assert (await fails_to_dial(f"ipc://{closed}/s")).reason == "permission denied"
    assert (await fails_to_listen(f"ipc://{closed}/s")).reason == os.strerror(errno.EACCES)
    closed.chmod(0o700)


async def test_too_many_open_files_are_a_dial_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(self: Any) -> socket.socket:
        raise OSError(errno.EMFILE, "none left")

    monkeypatch.setattr(ipc._Client, "createInternetSocket", none_left)
    factory = Peers()
    with pytest.raises(DialError) as caught:
        await client(f"ipc://{path}").connect(factory)
    assert caught.value.reason == os.strerror(errno.EMFILE).lower()
    assert factory.numPorts == 0


async def test_error_of_the_callers_factory_is_passed_on(listen: Any, path: Path) -> None:
    await listen(f"ipc://{path}")

    class Broken(Factory):
        def buildProtocol(self, addr: Any) -> Peer:
            raise OSError("of its own")

    class Unwilling(Factory):
        noisy = False

        def buildProtocol(self, addr: Any) -> None:
            return None

    with pytest.raises(OSError, match="of its own"):
        await client(f"ipc://{path}").connect(Broken())
    with pytest.raises(NoProtocol):
        await client(f"ipc://{path}").connect(Unwilling())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ipc://broker", "the path is missing, as in ipc:///path"),
        ("ipc://run/broker.sock", "third slash"),
        ("ipc://host:1/a", "no port"),
        ("ipc:a", "two slashes"),
        ("ipc:///a?mode=66", "three octal digits"),
        ("ipc:///a?mode=680", "'680'"),
        ("ipc:///a?mode=4755", "'4755'"),
        ("ipc:///a?mode=", "''"),
        ("ipc:///a?framing=message", "framing"),
        ("ipc:///a?user=root", "'user'"),
        ("ipc://@a?user=root", "'user'"),
        ("ipc://@a?mode=666", "no mode"),
    ],
)
def test_address_that_cannot_be_used_is_refused(text: str, names: str) -> None:
    for make in client, server:
        assert names in refused(make, text)


@pytest.mark.parametrize("kind", ["path", "name"])
async def test_name_is_as_long_as_the_system_allows_and_no_longer(
    listen: Any, tmp_path: Path, kind: str
) -> None:
    beginning = f"{tmp_path}/" if kind == "path" else f"@{os.getpid()}-"
    room = LONGEST_NAME - len(beginning.removeprefix("@"))
    longest = f"ipc://{beginning}{'x' * room}"
    listener = await listen(longest)
    await listener.meet(longest)
    for make in client, server:
        problem = refused(make, f"{longest}x")
        assert f"at most {LONGEST_NAME} bytes, this one {LONGEST_NAME + 1}" in problem


def test_length_is_counted_in_bytes() -> None:
    uri = URI("ipc", path="/" + "ü" * (LONGEST_NAME // 2))
    transport_for("ipc").server_endpoint(reactor, uri)
    assert "at most" in refused(server, str(URI("ipc", path=uri.path + "ü")))


def test_abstract_names_are_refused_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    for make in client, server:
        assert "only Linux" in refused(make, "ipc://@a")


async def test_dial_can_be_cancelled(listen: Any, path: Path) -> None:
    listener = await listen(f"ipc://{path}")
    connecting = client(f"ipc://{path}").connect(Peers())
    connecting.cancel()
    await connecting.addErrback(lambda failure: failure.trap(ConnectingCancelledError))
    assert listener.factory.made == []
