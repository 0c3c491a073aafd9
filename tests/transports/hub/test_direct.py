"""Receivers: who takes what comes without the detour over the protocol."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.python.failure import Failure

from tests.transports.hub.loop import House, house, received
from tests.transports.recording import Recorder, Recorders
from transports.hub.hub import PIECE, hub_of


class Drained(Recorder):
    """Has a receiver after ``dataReceived`` was called once; what says "!" wants more."""

    receiver: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.directly: list[tuple[bytes, float]] = []
        self.on_received: Callable[[bytes], None] = lambda data: None

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.receiver = self

    def receive_data(self, data: bytes, now: float) -> object | None:
        self.directly.append((data, now))
        return "outcome" if b"!" in data else None

    def received(self, outcome: object, data: bytes) -> None:  # type: ignore[override]
        self.events.append((outcome, data))
        self.on_received(data)


class DrainedFactory(Recorders):
    """Counts the drains, and gives each a time of its own."""

    def __init__(self) -> None:
        super().__init__(Drained)
        self.drains: list[int] = []
        self.begun = 0
        self.on_end: Callable[[], None] = lambda: None

    def drain_begins(self) -> float:
        self.begun += 1
        return float(self.begun)

    def drain_ends(self, silently: int) -> None:
        self.drains.append(silently)
        self.on_end()


def shaken(here: House) -> tuple[Any, Any]:
    """Connect a peer, and have its receiver set."""
    peer, protocol = here.call()
    peer.sendall(b"hello")
    here.loop.until(lambda: protocol.receiver is not None)
    return peer, protocol


def test_receiver_takes_what_comes_and_the_protocol_what_is_left() -> None:
    with house(factory=DrainedFactory()) as here:
        peer, protocol = shaken(here)
        peer.sendall(b"silent")
        here.loop.until(lambda: protocol.directly)
        peer.sendall(b"loud!")
        here.loop.until(lambda: len(protocol.events) == 2)
        assert protocol.events == [b"hello", ("outcome", b"loud!")]
        assert [data for data, _ in protocol.directly] == [b"silent", b"loud!"]
        assert here.factory.begun == len(here.factory.drains)
        assert sum(here.factory.drains) == 1


def test_all_of_one_drain_are_told_one_time_and_counted() -> None:
    with house(factory=DrainedFactory()) as here:
        pairs = [shaken(here) for _ in range(5)]
        before = len(here.factory.drains)
        for peer, _ in pairs:
            peer.sendall(b"silent")
        here.loop.until(lambda: all(protocol.directly for _, protocol in pairs))
        assert sum(here.factory.drains[before:]) == 5
        assert here.factory.begun == len(here.factory.drains)
        for _, protocol in pairs:
            assert before < protocol.directly[0][1] <= here.factory.begun


def test_each_factory_has_a_drain_of_its_own() -> None:
    with house(factory=DrainedFactory()) as here:
        other = House(here.loop, factory=DrainedFactory())
        pairs = [shaken(each) for each in (here, other, here, other)]
        sums = [sum(each.factory.drains) for each in (here, other)]
        for peer, _ in pairs:
            peer.sendall(b"silent")
        here.loop.until(lambda: all(protocol.directly for _, protocol in pairs))
        assert [sum(each.factory.drains) for each in (here, other)] == [n + 2 for n in sums]
        other.close()


def test_receiver_that_is_taken_back_is_asked_no_more() -> None:
    with house(factory=DrainedFactory()) as here:
        peer, protocol = shaken(here)
        protocol.on_received = lambda data: setattr(protocol, "receiver", None)
        peer.sendall(b"loud!")
        here.loop.until(lambda: len(protocol.events) == 2)
        peer.sendall(b"plain")
        here.loop.until(lambda: len(protocol.events) == 3)
        assert protocol.events[-1] == b"plain"


def test_end_and_loss_come_to_the_protocol() -> None:
    with house(factory=DrainedFactory()) as here:
        peer, protocol = shaken(here)
        peer.close()
        here.loop.until(lambda: len(protocol.events) == 2)
        assert protocol.events[-1].__name__ == "ConnectionDone"
        peer, protocol = shaken(here)
        protocol.transport.write(b"unread")
        here.loop.turn(3)
        peer.close()
        here.loop.until(lambda: len(protocol.events) == 2)
        assert protocol.events[-1].__name__ == "ConnectionLost"


def test_receiver_is_not_asked_while_the_connection_is_paused() -> None:
    with house(factory=DrainedFactory()) as here:
        peer, protocol = shaken(here)
        protocol.transport.pauseProducing()
        peer.sendall(b"silent")
        here.loop.turn(20)
        assert not protocol.directly
        protocol.transport.resumeProducing()
        here.loop.until(lambda: protocol.directly)


def test_what_a_receiver_raises_costs_it_its_connection(logged_failures: list[Failure]) -> None:
    with house(factory=DrainedFactory()) as here:
        peer, protocol = shaken(here)
        another, bystander = shaken(here)
        protocol.receive_data = lambda data, now: 1 / 0
        peer.sendall(b"silent")
        here.loop.until(lambda: len(protocol.events) == 2)
        assert protocol.events[-1] is ZeroDivisionError
        assert [failure.type for failure in logged_failures] == [ZeroDivisionError]
        logged_failures.clear()
        another.sendall(b"silent")
        here.loop.until(lambda: bystander.directly)


def test_connection_that_somebody_else_has_read_is_not_taken_for_ended() -> None:
    with house(factory=DrainedFactory()) as here:
        pairs = [shaken(here) for _ in range(2)]

        def read_others(reader: Any) -> None:
            for _, each in pairs:
                if each is not reader:
                    os.read(each.transport.fileno(), 100)

        for _, each in pairs:
            each.on_received = lambda data, reader=each: read_others(reader)
        for peer, _ in pairs:
            peer.sendall(b"loud!")
        here.loop.until(lambda: any(len(each.events) == 2 for _, each in pairs))
        here.loop.turn(5)
        assert sorted(len(each.events) for _, each in pairs) == [1, 2]
        assert all(each.transport.connected for _, each in pairs)


def test_lane_is_gone_with_its_last_connection() -> None:
    with house(factory=DrainedFactory()) as here:
        other = House(here.loop, factory=DrainedFactory())
        peers = [shaken(each)[0] for each in (here, other, other)]
        lanes: Any = hub_of(here.loop.reactor).lanes
        assert lanes.are_several
        for peer in peers[1:]:
            assert lanes.are_several
            peer.close()
            here.loop.turn(10)
        assert not lanes.are_several
        other.close()


def test_hub_reads_on_when_the_end_of_a_drain_raises(logged_failures: list[Failure]) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with house(factory=DrainedFactory()) as here:
        peer, protocol = shaken(here)
        here.factory.on_end = fail
        for number in range(3):
            peer.sendall(b"silent")
            here.loop.until(lambda: len(protocol.directly) == number + 1)  # noqa: B023
        here.factory.on_end = lambda: None
        assert {failure.type for failure in logged_failures} == {ZeroDivisionError}
        logged_failures.clear()


def test_protocol_with_a_receiver_has_data_received_where_its_factory_knows_no_drains() -> None:
    with house(Drained) as here:
        peer, protocol = shaken(here)
        peer.sendall(b"plain")
        here.loop.until(lambda: len(protocol.events) == 2)
        assert protocol.events == [b"hello", b"plain"]


@settings(max_examples=30)
@given(st.lists(st.binary(min_size=1, max_size=3 * PIECE), max_size=12))
def test_receiver_has_all_bytes_in_order_in_small_pieces(parts: list[bytes]) -> None:
    with house(factory=DrainedFactory()) as here:
        peer, protocol = shaken(here)
        for part in parts:
            peer.sendall(part)
        sent = b"".join(parts)
        here.loop.until(lambda: sum(len(data) for data, _ in protocol.directly) == len(sent))
        assert b"".join(data for data, _ in protocol.directly) == sent
        assert all(len(data) <= PIECE for data, _ in protocol.directly)
        protocol.transport.write(b"bye")
        assert received(peer, 3, here.loop) == b"bye"
