"""An observer or a carrier that raises costs nobody anything; a broker that fails one session."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from brokerproto.broker_session import BrokerSession
from brokerproto.commands import Step
from brokerproto.errors import DrainingError
from brokerproto.fleet import Fleet
from brokerproto.isolation import shown
from brokerproto.judge import Judge
from brokerproto.ledger import Ledger
from brokerproto.liveness import Verdict
from brokerproto.observer import Observer
from brokerproto.stats import Stats
from brokerproto.terms import Limits
from brokerproto.testing import RecordingObserver
from tests.brokerproto.broker_bench import Bench, Caller

TOLD = (
    "engine_registered",
    "engine_missed",
    "engine_late",
    "engine_recovered",
    "engine_paused",
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


def story(bench: Bench) -> tuple[list[list[str]], Stats]:
    """Have all happen that an observer is told of.

    Returns:
        What each caller heard, and what the broker counted.
    """
    callers: list[Caller] = []
    heard: list[list[str]] = []

    def says(caller: Caller, *frames: str) -> None:
        heard[callers.index(caller)] += caller.says(*frames)

    def calls() -> Caller:
        callers.append(bench.calls())
        heard.append([])
        return callers[-1]

    def registers(engine_id: str) -> Caller:
        caller = calls()
        says(caller, f"NewEngine:{engine_id}:0:v=1;ack=1")
        return caller

    ids = ("gap", "late", "bye", "cut", "bad", "held", "quit", "old", "here")
    gap, late, bye, cut, bad, _, quits, _, here = map(registers, ids)
    bench.orders("DOWORK", 5)
    says(calls(), "NewEngine:-:0")
    says(gap, "HeartBeat:gap:2")
    registers("held")
    registers("quit")
    registers("here")
    says(quits, "Bye")
    says(here, *["HeartBeat:here:0"] * 100)
    says(here, "HeartBeat:here:1", "HeartBeat:here:2")
    bench.passes(20)
    registers("old")
    says(late, "HeartBeat:late:1")
    says(bye, "Bye")
    cut.goes(reset=True)
    says(bad, "oops!")
    bench.passes(80)
    for number in range(12):
        registers(f"e{number}")
    bench.passes(200)
    for caller in callers:
        says(caller)
        assert caller.session.is_over
        if caller is not cut:
            caller.goes()
    assert not bench.broker.brake.is_on
    (command,) = bench.broker.ledger
    assert command.is_settled
    assert list(bench.broker._ownership.running()) == []
    return heard, bench.stats


@pytest.mark.parametrize("bug", TOLD)
def test_nobody_notices_what_an_observer_raises(bug: str) -> None:
    bench = Bench(observer=Buggy(bug))
    heard, stats = story(bench)
    assert (heard, stats) == story(Bench())
    assert (stats.opened, stats.closed, stats.connections) == (26, 26, 0)
    assert stats.registered == stats.late == 0
    assert stats.registrations == stats.left + stats.lost
    assert stats.causes["lost:410"] == sum(stats.takeovers.values())
    assert (stats.rejected[409], stats.brakes) == (1, 1)
    assert bench.failures
    assert {type(error) for error in bench.failures} == {ObserverError}


@pytest.mark.parametrize("bug", TOLD)
def test_each_error_is_handed_on_once(bug: str) -> None:
    bench, calm = Bench(observer=Buggy(bug)), Bench()
    told = {"engine_ended": ("left", "lost"), "peer_refused": ("refused",)}
    words = told.get(bug, (bug.removeprefix("engine_").replace("command_", "").replace("_", " "),))
    story(bench)
    story(calm)
    assert len(bench.failures) == sum(what in words for what, *_ in calm.observer.events)


def test_whoever_is_not_let_in_is_told_so_where_an_observer_raises() -> None:
    bench = Bench(Limits(connections=1), Buggy("peer_refused"))
    bench.calls()
    refused = bench.calls()
    assert refused.codes() == [507]
    refused.goes()
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
    slow.says(*(f"HeartBeat:slow:{number}" for number in range(1, 10)))
    assert slower.session.is_over
    assert slow.session.is_open
    assert bench.stats.causes == {"lost:508": 1}
    assert len(bench.failures) == 1


def test_an_error_that_nobody_was_named_for_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        _raise()
    except ObserverError as error:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "excepthook", sys.__excepthook__)
            shown(error)
    assert capsys.readouterr().err.rstrip().endswith("ObserverError")


# A broker that fails by itself


def test_a_broker_that_fails_ends_the_session_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    hit, other = bench.registers("a"), bench.registers("b")
    monkeypatch.setattr(Ledger, "report", _raise)
    with pytest.raises(ObserverError):
        hit.says("Report:b0-1:done", "HeartBeat:a:1")
    assert hit.codes() == [500]
    assert other.says("HeartBeat:b:1") == ["ACK:1"]
    assert bench.stats.causes == {"lost:500": 1}


@pytest.mark.parametrize(
    ("last", "cause", "rejected"),
    [
        ("Bye:reason=stopped", "left:stopped", {}),
        ("oops!", "lost:400", {400: 1}),
        ("HeartBeat:e:4", "lost:500", {500: 1}),
    ],
)
def test_an_end_is_counted_as_what_it_was_though_the_broker_fails(
    last: str, cause: str, rejected: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench()
    caller = bench.registers("e")
    monkeypatch.setattr(Ledger, "report", _raise)
    with pytest.raises(ObserverError):
        caller.says("Report:b0-1:done", last)
    assert bench.stats.registered == 0
    assert bench.stats.causes == {cause: 1}
    assert bench.stats.rejected == rejected
    assert caller.codes() == list(rejected)


def test_a_broker_that_fails_over_a_newcomer_ends_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    holder = bench.registers("a")
    newcomer = bench.calls()
    newcomer.says("NewEngine:a:0:v=1;ack=1")
    monkeypatch.setattr(Fleet, "register", _raise)
    assert holder.says("Bye") == ["PING"]
    assert newcomer.codes() == [500]
    assert bench.stats.causes == {"left:bye": 1}
    assert [type(error) for error in bench.failures] == [ObserverError]


@pytest.mark.parametrize("verdict", [Verdict.LATE, Verdict.LOST])
def test_everybody_is_judged_though_the_broker_fails_over_one(
    verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench()
    callers = [bench.registers(engine_id) for engine_id in ("a", "b", "c")]
    act = Judge._act

    def fails(judge: Judge, session: BrokerSession, found: Verdict) -> None:
        if session is callers[0].session and found is verdict:
            _raise()
        act(judge, session, found)

    monkeypatch.setattr(Judge, "_act", fails)
    bench.passes(50)
    assert [caller.session.is_over for caller in callers] == [verdict is Verdict.LATE, True, True]
    assert [type(error) for error in bench.failures] == [ObserverError]


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
    bench.orders("DOWORK", 5)
    assert [type(error) for error in bench.failures] == [CarrierError]
    (command,) = bench.broker.ledger
    frame = f"DOWORK:5:command={command.command}\n".encode()
    # Written, not only owed: nobody settles them another time.
    assert [caller.carrier.written for caller in callers] == [frame, b"", frame]
    assert command.states[Step.WRITTEN] == 3


def test_everybody_is_pinged_whatever_a_carrier_raises() -> None:
    bench = Bench()
    callers = [bench.registers(engine_id) for engine_id in ("a", "b", "c")]
    callers[1].session.carrier = Broken()
    bench.passes(17)
    assert [caller.carrier.written for caller in callers] == [b"PING\n", b"", b"PING\n"]
    assert [type(error) for error in bench.failures] == [CarrierError]


def test_everybody_is_read_again_whatever_a_carrier_raises() -> None:
    bench = Bench()
    callers = [bench.registers(engine_id) for engine_id in ("a", "b", "c")]
    for caller, engine_id in zip(callers, "abc", strict=True):
        caller.says(*(f"HeartBeat:{engine_id}:{seq}" for seq in range(1, 100)))
    callers[1].session.carrier = Broken()
    before = [caller.carrier.settled for caller in callers]
    bench.passes(4)
    assert [caller.carrier.settled for caller in callers] == [
        before[0] + 1,
        before[1],
        before[2] + 1,
    ]
    assert [type(error) for error in bench.failures] == [CarrierError]


def test_everybody_is_closed_whatever_a_carrier_raises() -> None:
    bench = Bench()
    callers = [bench.registers(engine_id) for engine_id in ("a", "b", "c")]
    command = bench.orders("DOWORK", 5)
    for caller in callers:
        caller.hears()
    callers[1].session.carrier = Broken()
    bench.broker.close(DrainingError("the broker stops"))
    # Written, not only owed: nobody settles them another time.
    assert [b"FAILED:503" in caller.carrier.written for caller in callers] == [True, False, True]
    assert command.states[Step.LOST] == 3
    assert [type(error) for error in bench.failures] == [CarrierError]


def test_who_frees_an_id_does_not_suffer_for_the_newcomers_carrier() -> None:
    bench = Bench()
    holder = bench.registers("a")
    newcomer = bench.calls()
    newcomer.says("NewEngine:a:0:v=1;ack=1")
    newcomer.session.carrier = Broken()
    assert holder.says("Bye") == ["PING"]
    assert bench.stats.causes == {"left:bye": 1}
    assert newcomer.session.is_open
    assert [type(error) for error in bench.failures] == [CarrierError]


def test_newcomer_does_not_suffer_for_the_holders_carrier() -> None:
    bench = Bench()
    holder = bench.registers("a")
    holder.session.carrier = Broken()
    newcomer = bench.calls()
    assert newcomer.says("NewEngine:a:0:v=1;ack=1") == []
    assert [type(error) for error in bench.failures] == [CarrierError]
    bench.passes(2.5)
    assert newcomer.hears()[0].startswith("SUCCESS:Registered:")
    assert {type(error) for error in bench.failures} == {CarrierError}
