"""How a connection over a UNIX socket ends, and what a protocol is told of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.transports.sockets import Peer, Peers, client, server, until


@implementer(IHalfCloseableProtocol)
class Living(Peer):
    """Lives on after the end of what the peer says, for as long as it takes to close."""

    reason: Failure | None = None

    def readConnectionLost(self) -> None:
        cast(Any, self.transport).loseConnection()

    def writeConnectionLost(self) -> None: ...

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason
        super().connectionLost(reason)


class Lingering(Living):
    """Lives on until it is told to close."""

    end_came = False

    def readConnectionLost(self) -> None:
        self.end_came = True


class Livings(Peers):
    def buildProtocol(self, addr: Any) -> Living:
        self.made.append(living := Living())
        return living


@pytest.mark.parametrize("side", ["accepting", "dialling"])
async def test_peer_that_closes_is_not_taken_for_lost(path: Path, side: str) -> None:
    factory = Livings()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plain:
        if side == "accepting":
            port: Any = await server(f"ipc://{path}").listen(factory)
            plain.connect(os.fspath(path))
            await until(lambda: factory.made)
            await port.stopListening()
        else:
            plain.bind(os.fspath(path))
            plain.listen()
            await client(f"ipc://{path}").connect(factory)
            plain.accept()[0].close()
    [living] = factory.made
    await living.lost
    assert isinstance(living, Living)
    assert living.reason is not None
    assert living.reason.check(ConnectionDone)


@pytest.mark.parametrize(("length", "said_so"), [(1, False), (1 << 22, True)])
async def test_peer_that_closes_on_what_it_did_not_read_is_lost(
    path: Path, length: int, *, said_so: bool
) -> None:
    factory = Livings()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(os.fspath(path))
        listening.listen()
        living: Any = await client(f"ipc://{path}").connect(factory)
        plain, _ = listening.accept()
        with plain:
            if said_so:
                plain.shutdown(socket.SHUT_WR)
            living.transport.write(b"x" * length)
            await until(lambda: plain.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    await living.lost
    assert living.reason.check(ConnectionLost)


async def test_what_is_written_to_a_peer_that_has_closed_is_lost(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(os.fspath(path))
        listening.listen()
        lingering: Any = await client(f"ipc://{path}").connect(Factory.forProtocol(Lingering))
        listening.accept()[0].close()
    await until(lambda: lingering.end_came)
    lingering.transport.write(b"too late")
    await lingering.lost
    assert lingering.reason.check(ConnectionLost)


async def test_both_ends_may_close_at_once(path: Path) -> None:
    factory = Livings()
    port: Any = await server(f"ipc://{path}").listen(factory)
    near: Any = await client(f"ipc://{path}").connect(Livings())
    await until(lambda: factory.made)
    far: Any = factory.made[0]
    near.transport.loseConnection()
    far.transport.loseConnection()
    await near.lost
    await far.lost
    assert near.reason.check(ConnectionDone)
    assert far.reason.check(ConnectionDone)
    await port.stopListening()
