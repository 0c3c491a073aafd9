"""An observer that raises costs one session, and the broker none of its counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from brokerproto.commands import Step
from brokerproto.errors import DrainingError
from brokerproto.observer import Observer
from brokerproto.terms import Limits
from brokerproto.testing import RecordingObserver
from tests.brokerproto.broker_bench import Bench, Caller

TOLD = (
    "engine_registered",
    "engine_missed",
    "engine_late",
    "engine_recovered",
    "engine_taken_over",
    "engine_ended",
    "command_issued",
    "peer_refused",
    "brake_applied",
    "brake_released",
)


class ObserverError(Exception):
    """What an observer of somebody's own raises."""


class Buggy(RecordingObserver):
    """Raises when it is told one kind of thing."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug = bug

    def __getattribute__(self, name: str) -> Any:
        if name in TOLD and name == object.__getattribute__(self, "bug"):
            return _raise
        return object.__getattribute__(self, name)


def _raise(*_: object) -> None:
    raise ObserverError


def test_every_call_of_an_observer_is_tried_here() -> None:
    assert {name for name in vars(Observer) if not name.startswith("_")} == set(TOLD)


def survives(bench: Bench, do: Callable[[], object]) -> None:
    """Do it as the Twisted edge does, which logs what is raised."""
    try:
        do()
    except* ObserverError:
        pass


@pytest.mark.parametrize("bug", TOLD)
def test_counts_stay_exact_whatever_an_observer_raises(bug: str) -> None:
    bench = Bench(observer=Buggy(bug))
    broker = bench.broker

    def says(caller: Caller, *frames: str) -> None:
        data = "".join(f"{frame}\n" for frame in frames).encode()
        survives(bench, lambda: broker.receive_data(caller.session, data))
        caller.carrier.settle()

    def registers(engine_id: str) -> Caller:
        caller = bench.calls()
        says(caller, f"NewEngine:{engine_id}:0:v=1;ack=1")
        return caller

    ids = ("gap", "late", "bye", "cut", "bad", "held", "quit", "old")
    callers = [registers(engine_id) for engine_id in ids]
    survives(bench, lambda: bench.orders("DOWORK", 5))
    (command,) = broker.ledger
    stranger = bench.calls()
    says(stranger, "NewEngine:-:0")
    says(callers[0], "HeartBeat:gap:2")
    callers += [registers("held"), registers("quit")]
    says(callers[6], "Bye")
    for _ in range(40):
        bench.clock.advance(0.5)
        survives(bench, broker.tick)
    callers.append(registers("old"))
    says(callers[1], "HeartBeat:late:1")
    says(callers[2], "Bye")
    says(callers[4], "oops!")
    for _ in range(160):
        bench.clock.advance(0.5)
        survives(bench, broker.tick)
    assert bench.stats.registered == bench.stats.late == 0
    for caller in [*callers, stranger]:
        assert caller.session.is_over
        survives(bench, lambda caller=caller: caller.goes())  # type: ignore[misc]
    stats = bench.stats
    assert (stats.opened, stats.closed, stats.connections) == (12, 12, 0)
    assert 8 <= stats.registrations == stats.left + stats.lost <= 11
    assert sum(stats.takeovers.values()) == stats.causes.get("lost:410", 0)
    assert list(broker._ownership.running()) == []
    assert command.is_settled


@pytest.mark.parametrize("bug", ["engine_late", "engine_ended"])
def test_everybody_is_judged_whatever_an_observer_raises(bug: str) -> None:
    bench = Bench(observer=Buggy(bug))
    callers = [bench.registers(engine_id) for engine_id in ("a", "b", "c")]
    silent = [bench.calls() for _ in range(3)]
    raised = 0
    for _ in range(80):
        bench.clock.advance(0.5)
        try:
            bench.broker.tick()
        except ExceptionGroup as group:
            raised += len(group.exceptions)
    assert raised == 3
    assert [caller.hears().count("PING") for caller in callers] == [2, 2, 2]
    assert bench.stats.causes == {"lost:timeout": 3}
    assert [caller.codes() for caller in silent] == [[408]] * 3


def test_every_handshake_is_judged_whatever_an_observer_raises() -> None:
    bench = Bench(observer=Buggy("peer_refused"))
    silent = [bench.calls() for _ in range(3)]
    for _ in range(19):
        bench.clock.advance(0.5)
        bench.broker.tick()
    bench.clock.advance(0.5)
    with pytest.raises(ExceptionGroup) as caught:
        bench.broker.tick()
    assert [type(error) for error in caught.value.exceptions] == [ObserverError] * 3
    assert [caller.codes() for caller in silent] == [[408]] * 3


def test_everybody_is_closed_whatever_an_observer_raises() -> None:
    bench = Bench(observer=Buggy("engine_ended"))
    callers = [bench.registers(engine_id) for engine_id in ("a", "b", "c")]
    command = bench.orders("DOWORK", 5)
    with pytest.raises(ExceptionGroup) as caught:
        bench.broker.close(DrainingError("the broker stops"))
    assert len(caught.value.exceptions) == 3
    # Written, not only owed: nobody settles them another time.
    assert all(b"FAILED:503" in caller.carrier.written for caller in callers)
    assert [caller.codes() for caller in callers] == [[503]] * 3
    assert command.states[Step.LOST] == 3


@pytest.mark.parametrize(
    ("last", "cause", "rejected"),
    [
        ("Bye:reason=stopped", "left:stopped", {}),
        ("oops!", "lost:400", {400: 1}),
        ("HeartBeat:e:4", "lost:500", {500: 1}),
    ],
)
def test_an_end_is_counted_as_what_it_was_whatever_an_observer_raises(
    last: str, cause: str, rejected: dict[int, int]
) -> None:
    bench = Bench(observer=Buggy("engine_missed"))
    caller = bench.registers("e")
    with pytest.raises(ObserverError):
        caller.says("HeartBeat:e:3", last)
    assert bench.stats.registered == 0
    assert bench.stats.causes == {cause: 1}
    assert bench.stats.rejected == rejected
    assert caller.codes() == list(rejected)


def test_whoever_is_not_let_in_is_gone_where_an_observer_raises() -> None:
    bench = Bench(Limits(connections=1), Buggy("peer_refused"))
    bench.calls()
    with pytest.raises(ObserverError):
        bench.calls()
    stats = bench.stats
    assert (stats.opened, stats.closed, stats.connections) == (2, 1, 1)
    assert stats.unregistered == 1
    assert stats.rejected == {507: 1}


def test_one_does_not_end_for_what_is_raised_about_a_slow_reader() -> None:
    bench = Bench(Limits(unread_in_all=100), Buggy("engine_ended"))
    slow, slower = bench.registers("slow"), bench.registers("slower")
    for caller in (slow, slower):
        bench.broker.flow.hold(caller.session, bench.broker.now)
    slower.says(*(f"HeartBeat:slower:{number}" for number in range(1, 15)))
    with pytest.raises(ExceptionGroup):
        slow.says(*(f"HeartBeat:slow:{number}" for number in range(1, 10)))
    assert slower.session.is_over
    assert slow.session.is_open
    assert bench.stats.causes == {"lost:508": 1}


class CarrierError(Exception):
    """What a transport of somebody's own raises."""


class Broken:
    """Carries nothing any more, and says so."""

    def settle(self) -> None:
        raise CarrierError


def test_everybody_is_sent_a_command_whatever_a_carrier_raises() -> None:
    bench = Bench()
    callers = [bench.registers(engine_id) for engine_id in ("a", "b", "c")]
    callers[1].session.carrier = Broken()
    with pytest.raises(ExceptionGroup) as caught:
        bench.orders("DOWORK", 5)
    assert [type(error) for error in caught.value.exceptions] == [CarrierError]
    (command,) = bench.broker.ledger
    frame = f"DOWORK:5:command={command.command}\n".encode()
    # Written, not only owed: nobody settles them another time.
    assert [caller.carrier.written for caller in callers] == [frame, b"", frame]
    assert command.states[Step.WRITTEN] == 3
