"""Listening by the hub."""

from __future__ import annotations

import resource
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from tests.transports.hub.loop import HalfRecorder, house, looping
from tests.transports.recording import Recorder, Recorders
from tests.transports.sockets import has_ipv6
from transports import URI, InvalidURIError, transport_for
from transports.hub import port as port_room
from transports.hub.peers import Peers
from transports.hub.port import AT_ONCE
from transports.interfaces import IPacedPort


@contextmanager
def no_more_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as highest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest.fileno(), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.fault("C031")
def test_without_files_callers_wait_one_line_says_so_and_it_goes_on_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(port_room, "SHORT_OF_FILES", 0.02)
    with house() as here, capturedLogs() as events:
        bystander, protocol = here.call()
        waiting = [socket.socket() for _ in range(3)]
        here.peers.extend(waiting)
        with no_more_files():
            for each in waiting:
                each.connect(("127.0.0.1", here.port.getHost().port))
            until = here.loop.reactor.seconds() + 0.2
            turns = 0
            while here.loop.reactor.seconds() < until:
                here.loop.reactor.iterate(0.05)
                turns += 1
            bystander.sendall(b"x")
            here.loop.until(lambda: protocol.received == b"x")
            assert len(here.factory.made) == 1
        # It was tried some ten times, and not in each turn that a waiting caller could bring.
        assert turns < 100
        here.loop.until(lambda: len(here.factory.made) == 4)
        told = [formatEvent(event) for event in events]
        assert told == [
            "no connection can be accepted: Too many open files; others are left waiting"
        ]


def test_port_that_is_short_of_files_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    with house() as here, socket.socket() as caller, capturedLogs():
        with no_more_files():
            caller.connect(("127.0.0.1", here.port.getHost().port))
            here.loop.until(here.loop.reactor.getDelayedCalls)
        here.port.stopListening()
        assert here.loop.reactor.getDelayedCalls() == []


def test_room_is_asked_before_some_are_accepted() -> None:
    with house() as here:
        verifyObject(IPacedPort, here.port)
        asked: list[int] = []

        def room() -> int:
            asked.append(len(here.factory.made))
            if len(asked) == 3:
                here.port.pauseProducing()
                return 0
            return 2

        here.port.room = room
        for _ in range(6):
            here.peers.append(socket.create_connection(("127.0.0.1", here.port.getHost().port)))
        here.loop.until(lambda: len(asked) == 3)
        here.loop.turn(5)
        assert asked == [0, 2, 4]
        here.port.resumeProducing()
        here.loop.until(lambda: len(here.factory.made) == 6)


def test_port_that_is_paused_while_it_accepts_takes_no_more() -> None:
    with house() as here:
        here.factory.kind = lambda: (here.port.pauseProducing(), Recorder())[1]
        for _ in range(3):
            here.peers.append(socket.create_connection(("127.0.0.1", here.port.getHost().port)))
        here.loop.until(lambda: here.factory.made)
        here.loop.turn(10)
        assert len(here.factory.made) == 1
        here.port.resumeProducing()
        here.loop.until(lambda: len(here.factory.made) == 2)


def test_peer_of_a_descriptor_is_the_one_that_was_noted_last() -> None:
    peers = Peers()
    for noted in (7, 2**64 - 1, ("::1", 1, 0, 0), 5, ("::1", 2, 0, 0)):
        peers.note(3, noted)
        assert peers.of(3) == noted
    peers.forget(3)
    peers.note(3, 1)
    assert peers.of(3) == 1


def test_many_are_accepted_at_once_but_not_all() -> None:
    with house() as here:
        asked: list[int] = []

        def room() -> int:
            asked.append(len(here.factory.made))
            return 1000

        here.port.room = room
        for _ in range(AT_ONCE + 10):
            here.peers.append(socket.create_connection(("127.0.0.1", here.port.getHost().port)))
        here.loop.until(lambda: len(here.factory.made) == AT_ONCE + 10)
        assert asked == [0, AT_ONCE]


def test_who_stops_listening_from_within_is_heard() -> None:
    with house() as here:
        here.factory.kind = lambda: (here.port.stopListening(), Recorder())[1]
        for _ in range(3):
            here.peers.append(socket.create_connection(("127.0.0.1", here.port.getHost().port)))
        here.loop.until(lambda: here.factory.made)
        here.loop.turn(10)
        assert len(here.factory.made) == 1
        assert here.factory.stopped == 1


def test_factory_that_fails_or_has_no_protocol_costs_its_caller_alone(
    logged_failures: list[Failure],
) -> None:
    with house() as here:
        peers = []
        for kind in (lambda: None, lambda: 1 / 0, Recorder):
            here.factory.kind = kind
            peer = socket.create_connection(("127.0.0.1", here.port.getHost().port))
            peers.append(peer)
            here.peers.append(peer)
            here.loop.turn(20)
        assert [failure.type for failure in logged_failures] == [ZeroDivisionError]
        logged_failures.clear()
        assert [peer.recv(1) for peer in peers[:2]] == [b"", b""]
        here.factory.made[:] = [made for made in here.factory.made if made is not None]
        assert len(here.factory.made) == 1


def test_error_in_connection_made_ends_that_connection(logged_failures: list[Failure]) -> None:
    class Faulty(HalfRecorder):
        def connectionMade(self) -> None:
            raise ZeroDivisionError

    with house(Faulty) as here:
        peer, protocol = here.call()
        here.loop.until(lambda: protocol.events)
        assert protocol.events == [ZeroDivisionError]
        assert peer.recv(1) == b""
        assert [failure.type for failure in logged_failures] == [ZeroDivisionError]
        logged_failures.clear()


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_both_families_are_known_by_their_addresses() -> None:
    with looping() as loop:
        factory = Recorders()
        port = loop.listen(factory, "tcp://*:0?io=hub")
        number = port.getHost().port
        for host in "127.0.0.1", "::1":
            with socket.create_connection((host, number)) as peer:
                loop.until(lambda: factory.made and not factory.made[-1].events)
                transport = factory.made[-1].transport
                found = transport.getPeer()
                assert (found.host, found.port) == peer.getsockname()[:2]
                assert transport.getHost().host == host
                transport.abortConnection()
                loop.until(lambda: factory.made[-1].events)
                assert transport.getPeer() == found
        port.stopListening()


def test_elsewhere_the_hub_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "epoll")
    for text in "tcp://127.0.0.1:1?io=hub", "ipc:///s?io=hub":
        uri = URI.parse(text)
        transport: Any = transport_for(uri.scheme)
        for endpoint in transport.client_endpoint, transport.server_endpoint:
            with pytest.raises(InvalidURIError) as caught:
                endpoint(None, uri)
            assert str(caught.value) == f"'{text}': only Linux has the hub: leave out io=hub"
