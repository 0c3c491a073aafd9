"""Who has a place at the control API: a model of it, and what the connections see."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import define, field
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.logger import LogEvent, capturedLogs, formatEvent

from services.broker.control.places import MOST, Places
from tests.services.broker.controlled import Controlled, Wire, request

HEAD = b"GET /healthz HTTP/1.1\r\nX: "
WAITING = request("/dowork?time=1&wait=600")


@define(eq=False)
class Stub:
    """A connection, and what the model knows of it."""

    source: str
    works: bool = False
    gone: bool = False
    told: bool = field(default=False)

    def give_way(self) -> None:
        self.told = True


class PlacesMachine(RuleBasedStateMachine):
    """The model is a list in which who waits longest stands first."""

    @initialize(most=st.sampled_from([1, *range(3, 12)]))
    def start(self, most: int) -> None:
        self.most = most
        self.places = Places(most)
        self.inside: list[Stub] = []
        self.surplus: list[Stub] = []

    @rule(source=st.sampled_from("aab"))
    def connect(self, source: str) -> None:
        stub = Stub(source)
        leaves = None
        if len(self.inside) == self.most:
            # Two sources can have as many only where there are two places.
            counts = {each: sum(one.source == each for one in self.inside) for each in "ab"}
            many = [each for each in "ab" if counts[each] >= max(1, self.most * 3 // 4)]
            waiting = [each for each in self.inside if not each.works]
            theirs = [each for each in waiting if each.source in many]
            if source in many or theirs:
                waiting = theirs
            leaves = waiting[0] if waiting else None
        room = len(self.inside) < self.most or leaves is not None
        told = not room and len(self.surplus) < max(1, self.most // 8)
        assert self.places.enter(stub) is (room or told)
        assert self.places.has(stub) is not told
        if leaves is not None:
            assert leaves.told
            self.inside.remove(leaves)
            # It goes in its own time.
            self.places.leave(leaves)
        if room:
            self.inside.append(stub)
        if told:
            self.surplus.append(stub)

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        stub = data.draw(st.sampled_from(self.inside), label="who")
        if stub.works:
            self.places.wait(stub)
            self.inside.remove(stub)
            self.inside.append(stub)
        else:
            self.places.work(stub)
        stub.works = not stub.works

    @precondition(lambda self: self.inside or self.surplus)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        stub = data.draw(st.sampled_from(self.inside + self.surplus), label="who")
        self.places.leave(stub)
        (self.inside if stub in self.inside else self.surplus).remove(stub)

    @precondition(lambda self: self.surplus)
    @rule(data=st.data())
    def surplus_changes_nothing(self, data: st.DataObject) -> None:
        stub = data.draw(st.sampled_from(self.surplus), label="who")
        self.places.work(stub)
        self.places.wait(stub)

    @invariant()
    def nobody_is_forgotten(self) -> None:
        working = [each for each in self.inside if each.works]
        assert len(self.places) == len(self.inside) <= self.most
        assert self.places.working == len(working)
        assert not any(each.told for each in self.inside)
        for source in "ab":
            at_work = sum(each.source == source for each in working)
            assert self.places.is_crowded(source) is (at_work > max(1, self.most * 3 // 4))


TestPlaces = PlacesMachine.TestCase


def waiting(controlled: Controlled, count: int, source: str = "192.0.2.1") -> list[Wire]:
    """Connect, and begin a request each."""
    wires = []
    for _ in range(count):
        wires.append(controlled.wire(source))
        wires[-1].send(HEAD)
    return wires


def working(controlled: Controlled, count: int, source: str = "192.0.2.1") -> list[Wire]:
    """Connect, and wait for a command's end each."""
    wires = []
    for _ in range(count):
        wires.append(controlled.wire(source))
        wires[-1].send(WAITING)
    return wires


def end(*wires: Wire) -> None:
    for wire in wires:
        wire.lose()


def lines(events: Sequence[LogEvent]) -> list[str]:
    return [formatEvent(event) for event in events]


def test_newcomer_replaces_who_waits_longest_for_a_request_to_be_complete() -> None:
    controlled = Controlled("a")
    first = waiting(controlled, 1) + working(controlled, 1) + waiting(controlled, MOST - 2)
    # Whoever was answered waits anew.
    first[0].send(b"\r\nHost: localhost\r\n\r\n")
    assert [answer.status for answer in first[0].answers] == [200]
    controlled.clock.advance(1)
    late = waiting(controlled, 10)
    gone = [wire for wire in first if wire.is_aborted()]
    assert gone == first[2:12]
    assert not any(wire.transport.value() for wire in gone)
    assert len(controlled.site.places) == MOST
    for wire in late:
        wire.send(b"\r\nHost: localhost\r\n\r\n")
        assert [answer.status for answer in wire.answers] == [200]
    end(*first, *late)
    assert not controlled.clock.getDelayedCalls()


def test_newcomer_is_told_when_all_are_being_answered() -> None:
    controlled = Controlled("a", rate=0)
    busy = working(controlled, 40, "192.0.2.1") + working(controlled, 24, "192.0.2.2")
    with capturedLogs() as events:
        for _ in range(20):
            wire = controlled.wire("192.0.2.3")
            wire.send(request("/kill") + request("/kill"))
            (answer,) = wire.answers
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert answer.headers["Connection"] == "close"
            assert wire.is_closing()
            wire.lose()
    assert (
        lines(events)
        == ["refused a request of 192.0.2.3: all 64 connections are being answered"] * 20
    )
    assert not any(wire.is_closing() for wire in busy)
    assert not any(frame.startswith("KILL") for frame in controlled.sent["a"])
    controlled.engines["a"].says(
        *(f"Report:{each.command}:done" for each in controlled.broker.ledger)
    )
    controlled.clock.advance(0)
    assert {answer.status for wire in busy for answer in wire.answers} == {200}
    assert len(controlled.site.places) == MOST
    good = controlled.wire("192.0.2.3")
    good.send(request("/healthz"))
    assert [answer.status for answer in good.answers] == [200]
    end(*busy, good)


def test_those_who_can_only_be_told_that_there_is_no_place_are_few_and_short() -> None:
    controlled = Controlled("a", rate=0)
    busy = working(controlled, 40, "192.0.2.1") + working(controlled, 24, "192.0.2.2")
    surplus = waiting(controlled, MOST // 8, "192.0.2.3")
    with capturedLogs():
        assert controlled.wire("192.0.2.3").protocol is None
    controlled.clock.advance(0.875)
    assert not any(wire.is_closing() for wire in surplus)
    controlled.clock.advance(0.125)
    assert all(wire.is_closing() for wire in surplus)
    end(*surplus)
    again = waiting(controlled, 1, "192.0.2.3")
    end(*busy, *again)
    assert not controlled.clock.getDelayedCalls()


def test_one_source_leaves_a_quarter_of_the_answers_to_others() -> None:
    controlled = Controlled("a", rate=0)
    share = controlled.site.places.share
    assert share == 48
    busy = working(controlled, share)
    with capturedLogs() as events:
        for _ in range(3):
            wire = controlled.wire("192.0.2.1")
            wire.send(request("/healthz"))
            assert [answer.status for answer in wire.answers] == [503]
            wire.lose()
    assert (
        lines(events)
        == ["refused a request of 192.0.2.1: 48 requests of this address are being answered"] * 3
    )
    other = controlled.wire("192.0.2.2")
    other.send(request("/healthz"))
    assert [answer.status for answer in other.answers] == [200]
    busy.pop().lose()
    wire = controlled.wire("192.0.2.1")
    wire.send(request("/healthz"))
    assert [answer.status for answer in wire.answers] == [200]
    end(*busy, wire, other)


def test_source_with_many_connections_does_not_drive_out_others() -> None:
    controlled = Controlled("a")
    kubelet = controlled.wire("192.0.2.9")
    kubelet.send(HEAD)
    crowd = waiting(controlled, 1000)
    assert not kubelet.is_closing()
    # And whoever comes anew finds a place among them, and keeps it.
    other = controlled.wire("192.0.2.8")
    crowd += waiting(controlled, 1000)
    other.send(request("/healthz"))
    kubelet.send(b"\r\nHost: localhost\r\n\r\n")
    assert [answer.status for wire in (kubelet, other) for answer in wire.answers] == [200, 200]
    end(*crowd, kubelet, other)


@pytest.mark.parametrize("connections", [1, 2, 8, 1000])
def test_fewer_files_mean_fewer_places_and_more_files_no_more(connections: int) -> None:
    controlled = Controlled("a", connections=connections)
    places = min(connections, MOST)
    wires = waiting(controlled, 200)
    assert [wire.is_aborted() for wire in wires] == [True] * (200 - places) + [False] * places
    end(*wires)
    busy = working(controlled, 1)
    good = controlled.wire("192.0.2.2")
    good.send(request("/healthz"))
    assert [answer.status for answer in good.answers] == [503 if places == 1 else 200]
    end(*busy, good)
