"""Faults on real sockets: what the other side of a real connection sees."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from tests.transports.sockets import TCP, Peer, dial, reactor, until
from transports.fault import FaultTransport, Link, Switch
from transports.tcp import set_user_timeout, socket_of

MUCH = bytes(range(256)) * 2048


@pytest.mark.parametrize(
    "options", ["", "?slice=1-99", "?delay=20&jitter=20", "?limit=4000000", "?delay=3&slice=1000"]
)
@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
async def test_bytes_arrive_as_they_were_written(
    listen: Any, path: Path, scheme: str, options: str
) -> None:
    where = "fault+tcp://127.0.0.1:0" if scheme == "tcp" else f"fault+ipc://{path}"
    listener = await listen(where + options)
    near, far = await listener.meet(str(listener.uri))
    near.transport.write(MUCH)
    far.transport.write(MUCH[::-1])
    assert await far.receives(len(MUCH)) == MUCH
    assert await near.receives(len(MUCH)) == MUCH[::-1]
    near.transport.loseConnection()
    await near.lost
    await far.lost


async def test_who_has_no_faults_meets_who_has(listen: Any) -> None:
    listener = await listen("fault+tcp://127.0.0.1:0?slice=1")
    near, far = await listener.dial("127.0.0.1")
    near.transport.write(b"plain")
    assert await far.receives(5) == b"plain"
    near.transport.loseConnection()
    await far.lost


async def test_first_bytes_arrive_before_a_reset_that_was_counted_in_bytes(listen: Any) -> None:
    listener = await listen("tcp://127.0.0.1:0")
    reasons: list[Failure] = []
    listener.factory.next_peer().addCallback(
        lambda peer: setattr(peer, "connectionLost", keeping(peer, reasons))
    )
    near = await dial(f"fault+tcp://127.0.0.1:{listener.uri.port}?reset-after=5b&direction=out")
    near.transport.write(b"hello, broker")
    await near.lost
    await until(lambda: reasons)
    [far] = listener.factory.made
    assert far.received == b"hello"
    assert reasons[0].check(ConnectionLost)


def keeping(peer: Any, reasons: list[Failure]) -> Any:
    told = peer.connectionLost

    def connection_lost(reason: Failure) -> None:
        reasons.append(reason)
        told(reason)

    return connection_lost


async def met(listener: Any, switch: Switch) -> tuple[Any, Any]:
    waiting = listener.factory.next_peer()
    endpoint = FaultTransport(TCP, switch=switch).client_endpoint(reactor, listener.uri)
    near = await endpoint.connect(Factory.forProtocol(Peer))
    return near, await waiting


async def test_cut_connection_is_half_open_and_goes_on_when_it_is_healed(listen: Any) -> None:
    listener, switch = await listen("tcp://127.0.0.1:0"), Switch()
    near, far = await met(listener, switch)
    switch.cut()
    far.transport.write(b"unheard")
    far.transport.loseConnection()
    near.transport.write(b"unheard too")
    bystander, other = await listener.dial("127.0.0.1")
    bystander.transport.write(b"meanwhile")
    await other.receives(9)
    assert (near.received, near.lost.called, far.received) == (b"", False, b"")
    switch.heal()
    await near.lost
    assert near.received == b"unheard"
    await until(lambda: not switch.links)
    bystander.transport.abortConnection()
    await other.lost


async def test_what_is_left_behind_in_a_cut_holds_its_socket_until_it_is_healed(
    listen: Any,
) -> None:
    listener, switch = await listen("tcp://127.0.0.1:0"), Switch()
    near, far = await met(listener, switch)
    switch.cut()
    near.transport.abortConnection()
    await near.lost
    assert not far.lost.called
    assert len(switch.links) == 1
    switch.heal()
    await far.lost
    await until(lambda: not switch.links)


async def test_link_is_as_much_of_a_tcp_connection_as_what_it_stands_on(listen: Any) -> None:
    listener = await listen("fault+tcp://127.0.0.1:0")
    near, far = await listener.meet(str(listener.uri))
    assert isinstance(near.transport, Link)
    assert near.transport.getHost() == far.transport.getPeer()
    assert set_user_timeout(near.transport, 2)
    sock = socket_of(near.transport)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert near.transport.getTcpNoDelay()
    near.transport.abortConnection()
    await near.lost
    await far.lost


async def test_transport_without_half_close_has_none_with_faults_either() -> None:
    class Bare:
        def __init__(self) -> None:
            self.closed = 0

        def loseConnection(self) -> None:
            self.closed += 1

    from transports.fault.faults import Plan

    bare = Bare()
    link = Link(reactor, 1, Protocol(), Plan())
    assert not hasattr(link, "loseWriteConnection")
    link.makeConnection(bare)
    assert not hasattr(link, "loseWriteConnection")
    link.abortConnection()
    assert bare.closed == 1
    link.connectionLost(Failure(ConnectionLost()))
    assert not link.connected


async def test_errors_name_the_address_with_the_faults(listen: Any) -> None:
    from tests.transports.sockets import fails_to_dial, fails_to_listen

    listener = await listen("fault+tcp://127.0.0.1:0?slice=1")
    in_use = await fails_to_listen(str(listener.uri))
    assert in_use.address == str(listener.uri)
    port = listener.uri.port
    await listener.port.stopListening()
    nobody = await fails_to_dial(f"fault+tcp://127.0.0.1:{port}?delay=5")
    assert str(nobody) == (
        f"cannot connect to fault+tcp://127.0.0.1:{port}?delay=5: connection refused"
    )
