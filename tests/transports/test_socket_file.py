"""The file of a UNIX socket: taken where nobody listens, removed by its owner alone."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import capturedLogs, formatEvent

from tests.transports.sockets import fails_to_listen, leave_behind
from transports.socket_file import SocketFile


@pytest.fixture
def stranger(path: Path) -> Iterator[socket.socket]:
    """Somebody who listens on the path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(os.fspath(path))
        sock.listen()
        yield sock


async def test_file_is_gone_when_nobody_listens_any_more(listen: Any, path: Path) -> None:
    listener = await listen(f"ipc://{path}")
    near, far = await listener.meet(f"ipc://{path}")
    await listener.port.stopListening()
    assert not path.exists()
    near.transport.write(b"still there")
    assert await far.receives(11) == b"still there"


async def test_no_other_file_is_left_beside_it(listen: Any, path: Path) -> None:
    listener = await listen(f"ipc://{path}")
    assert os.listdir(path.parent) == [path.name]
    await listener.port.stopListening()
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
async def test_file_that_nobody_listens_on_is_replaced(
    listen: Any, path: Path, kind: socket.SocketKind
) -> None:
    leave_behind(path, kind)
    listener = await listen(f"ipc://{path}")
    await listener.meet(f"ipc://{path}")


async def test_socket_that_somebody_listens_on_is_left_alone(
    path: Path, stranger: socket.socket
) -> None:
    error = await fails_to_listen(f"ipc://{path}")
    assert error.address == f"ipc://{path}"
    assert str(error) == f"cannot listen on ipc://{path}: Address already in use"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plain:
        plain.connect(os.fspath(path))


async def test_somebody_whose_queue_is_full_is_somebody(path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as full,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as waiting,
    ):
        full.bind(os.fspath(path))
        full.listen(0)
        waiting.connect(os.fspath(path))
        assert (await fails_to_listen(f"ipc://{path}")).reason == os.strerror(errno.EADDRINUSE)
        assert path.exists()


async def test_socket_of_another_kind_that_is_in_use_is_left_alone(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(os.fspath(path))
        assert (await fails_to_listen(f"ipc://{path}")).reason == os.strerror(errno.EADDRINUSE)
        assert path.exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
async def test_what_is_no_socket_is_left_alone(path: Path, kind: str) -> None:
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        leave_behind(path.with_name("other"))
        path.symlink_to("other")
    error = await fails_to_listen(f"ipc://{path}")
    assert error.reason == "a file that is no socket has this name"
    assert path.exists()


async def test_file_of_somebody_else_is_not_removed_at_the_end(listen: Any, path: Path) -> None:
    listener = await listen(f"ipc://{path}")
    path.unlink()
    leave_behind(path)
    await listener.port.stopListening()
    assert path.exists()


async def test_file_that_is_gone_already_is_no_matter(listen: Any, path: Path) -> None:
    listener = await listen(f"ipc://{path}")
    path.unlink()
    await listener.port.stopListening()
    assert not path.exists()


async def test_file_that_cannot_be_removed_is_told_and_no_more(
    listen: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = await listen(f"ipc://{path}")

    def refuse(path: bytes) -> None:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(os, "unlink", refuse)
    with capturedLogs() as events:
        await listener.port.stopListening()
    monkeypatch.undo()
    [told] = [event for event in events if event["log_namespace"] == "transports.socket_file"]
    assert formatEvent(told) == f"the socket file {path} stays: no"
    path.unlink()


async def test_other_brokers_are_waited_for_while_they_look(
    listen: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds the directory's lock looks, or has bound what he does not listen on yet."""
    holder = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    leave_behind(path)
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        assert path.exists()
        pauses.append(seconds)
        if len(pauses) == 3:
            os.close(holder)

    monkeypatch.setattr(time, "sleep", sleep)
    await listen(f"ipc://{path}")
    assert len(pauses) == 3


def test_nobody_else_looks_meanwhile(path: Path) -> None:
    other = os.open(path.parent, os.O_RDONLY)
    with SocketFile(os.fsencode(path)).taken(), pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    os.close(other)


async def test_lock_that_is_held_for_ever_keeps_nobody_from_listening(
    listen: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    holder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        await listen(f"ipc://{path}")
    finally:
        os.close(holder)
    assert 0.5 <= sum(pauses) <= 2


async def test_lock_is_free_again_when_it_listens(listen: Any, path: Path) -> None:
    await listen(f"ipc://{path}")
    holder = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(holder)


async def test_socket_that_may_not_be_asked_is_left_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_behind(path)
    monkeypatch.setattr(socket.socket, "connect_ex", lambda *_: errno.EACCES)
    assert (await fails_to_listen(f"ipc://{path}")).reason == os.strerror(errno.EACCES)
    assert path.exists()


async def test_file_that_vanishes_while_it_is_asked_is_no_matter(
    listen: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_behind(path)

    def vanish(sock: socket.socket, address: bytes) -> int:
        os.unlink(address)
        return errno.ENOENT

    monkeypatch.setattr(socket.socket, "connect_ex", vanish)
    await listen(f"ipc://{path}")
    assert path.exists()
