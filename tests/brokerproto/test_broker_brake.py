"""A broker whose network is cut: whom it keeps, whom it gives up, and how fast."""

from __future__ import annotations

import pytest

from brokerproto.brake import evictions, most_late
from brokerproto.fleet import Origin
from brokerproto.judge import PINGS_AT_ONCE
from brokerproto.testing import RecordingCarrier
from tests.brokerproto.broker_bench import Bench
from tests.brokerproto.simulated_fleet import SimulatedFleet

FLEET = 300


@pytest.mark.fault("C053")
def test_of_a_fleet_that_is_cut_in_two_one_percent_a_second_is_lost() -> None:
    fleet = SimulatedFleet(FLEET)
    fleet.cut(f"e{number}" for number in range(180))
    lost: list[int] = []
    for _ in range(60):
        before = fleet.stats.lost
        fleet.passes(1)
        lost.append(fleet.stats.lost - before)
        assert lost[-1] <= evictions(FLEET)
        assert (fleet.stats.brake_since is not None) is fleet.stats.brake
    assert fleet.stats.brake
    assert fleet.stats.evicted == fleet.stats.lost == sum(lost) > 50
    [(_, late)] = fleet.told("brake applied")
    assert int(str(late)) > most_late(FLEET)
    fleet.heal()
    fleet.passes(2)
    stats = fleet.stats
    # After so long some have given the broker up, and come back on a new connection.
    assert (stats.registered, stats.late) == (FLEET, 0)
    assert stats.causes["lost:timeout"] == stats.evicted == sum(lost)
    assert (stats.brake, stats.brake_since, stats.brakes) == (False, None, 1)
    assert fleet.told("brake released") == [("", sum(lost))]
    fleet.leaves()


@pytest.mark.fault("C053")
def test_once_few_enough_are_late_the_rest_is_lost_after_its_timeout() -> None:
    fleet = SimulatedFleet(100)
    fleet.cut(f"e{number}" for number in range(40))
    fleet.passes(4 + 60)
    assert fleet.stats.registered == 60
    [(_, evicted)] = fleet.told("brake released")
    # At that time no more than thirty percent of those who were left.
    left = 100 - int(str(evicted))
    assert left - 60 == most_late(left)
    fleet.heal()
    fleet.leaves()


@pytest.mark.fault("C054")
@pytest.mark.parametrize("intervals", [2, 6, 9])
def test_broker_that_is_cut_off_loses_nobody_and_all_go_on(intervals: int) -> None:
    fleet = SimulatedFleet(FLEET)
    fleet.cut(fleet.engines)
    fleet.passes(intervals)
    assert (fleet.stats.registered, fleet.stats.late) == (FLEET, FLEET)
    assert fleet.stats.brake
    fleet.heal()
    fleet.passes(5)
    stats = fleet.stats
    assert (stats.registered, stats.late, stats.lost, stats.missed) == (FLEET, 0, 0, 0)
    assert (stats.brake, stats.evicted, stats.registrations) == (False, 0, FLEET)
    assert {member.epoch for member in fleet.broker.fleet} == {1}
    assert len(fleet.told("recovered")) == len(fleet.told("late")) == FLEET
    fleet.leaves()


@pytest.mark.fault("C054")
def test_fleet_that_comes_back_one_by_one_loses_nobody() -> None:
    """As after a long cut, when each connection tries again at a time of its own."""
    fleet = SimulatedFleet(FLEET)
    fleet.cut(fleet.engines)
    fleet.passes(6)
    for number in range(FLEET):
        fleet.cut_off.discard(f"e{number}")
        if number % 15 == 0:
            fleet.passes(0.25)
    fleet.passes(2)
    stats = fleet.stats
    assert (stats.registered, stats.lost, stats.brake, stats.brakes) == (FLEET, 0, False, 1)
    fleet.leaves()


@pytest.mark.fault("C054")
def test_broker_that_stays_cut_off_gives_up_its_fleet_slowly() -> None:
    fleet = SimulatedFleet(FLEET)
    fleet.cut(fleet.engines)
    fleet.passes(11)
    assert fleet.stats.lost == 0
    fleet.passes(20)
    assert 30 <= fleet.stats.lost <= 20 * evictions(FLEET)
    fleet.heal()
    fleet.passes(5)
    stats = fleet.stats
    assert (stats.registered, stats.late, stats.brake) == (FLEET, 0, False)
    assert stats.registrations == FLEET + stats.lost
    fleet.leaves()


@pytest.mark.fault("C097")
@pytest.mark.parametrize(
    ("intervals", "told", "epoch"),
    [
        (0.5, [], 1),
        (2, ["late", "recovered"], 1),
        (6, ["late", "lost", "registered", "missed"], 2),
    ],
)
def test_engine_behind_a_cut_is_late_or_lost_by_its_length(
    intervals: float, told: list[str], epoch: int
) -> None:
    """Cut right after a heartbeat, at one each four seconds."""
    fleet = SimulatedFleet(3, interval=4)
    cut, beats = fleet.wires["e1"], fleet.engines["e1"].life.seq
    while fleet.engines["e1"].life.seq == beats:
        fleet.passes(0.25)
    fleet.observer.events.clear()
    fleet.cut(["e1"])
    fleet.passes(4 * intervals + 0.5)
    fleet.heal()
    fleet.passes(4)
    assert [event for event, name, _ in fleet.observer.events if name == "e1"] == told or (
        # By the jitter of its heartbeats it may not be late at all after half an interval.
        intervals == 0.5 and fleet.observer.events == []
    )
    member = fleet.broker.fleet.get("e1")
    assert member is not None
    assert member.epoch == epoch
    assert (fleet.wires["e1"] is cut) is (epoch == 1)
    # Counted once: what was sent into the cut.
    assert fleet.stats.gaps == epoch - 1
    fleet.leaves()


@pytest.mark.fault("C054")
def test_strangers_who_call_do_not_make_a_broker_that_hears_no_engine_less_patient() -> None:
    fleet = SimulatedFleet(20)
    fleet.cut(fleet.engines)
    for _ in range(10):
        fleet.passes(1)
        stranger = fleet.broker.open(RecordingCarrier(), Origin("scanner", "bench://"))
        fleet.broker.receive_data(stranger, b"GET / HTTP/1.1\r\n")
        fleet.broker.lose(stranger, reset=False)
    assert (fleet.stats.brake, fleet.stats.lost) == (True, 0)


@pytest.mark.fault("C053")
def test_each_brake_tells_of_its_own_evictions() -> None:
    fleet = SimulatedFleet(40)
    lost = []
    for seconds in (20, 30):
        before = fleet.stats.evicted
        fleet.cut(f"e{number}" for number in range(20))
        fleet.passes(seconds)
        fleet.heal()
        fleet.passes(5)
        lost.append(fleet.stats.evicted - before)
    # Of those whose loss it had put off, some are lost when it is off again.
    told = [int(str(evicted)) for _, evicted in fleet.told("brake released")]
    assert 0 < told[0] <= lost[0]
    assert 0 < told[1] <= lost[1] < told[0] + lost[1]
    fleet.leaves()


def test_plain_engine_put_off_that_is_given_work_is_judged_when_the_work_is_over() -> None:
    """At one heartbeat in ten seconds it would be lost after forty."""
    bench = Bench()
    callers = [bench.registers(f"p{number}", "") for number in range(20)]
    bench.passes(41)
    assert (bench.stats.brake, bench.broker.brake.waiting) == (True, 20)
    bench.orders("DOWORK", 5000)
    assert (bench.stats.late, bench.broker.brake.waiting) == (0, 0)
    bench.passes(5 + 15.5)
    assert bench.stats.late == 0
    bench.passes(0.5)
    assert bench.stats.late == 20
    assert [caller.hears() for caller in callers] == [["DOWORK:5000"]] * 20


def test_silence_is_told_as_far_as_it_counts() -> None:
    bench = Bench()
    bench.registers("a")
    bench.passes(15.5)
    bench.hears()
    for _ in range(3):
        bench.clock.advance(60)
        bench.broker.tick()
    # One second of each stop, and of the last one none yet.
    assert bench.broker.now == 18.5
    assert bench.hears() == [("late", "a", 16.5)]


def test_pings_are_spread_over_ticks_and_whoever_is_heard_first_gets_none() -> None:
    bench = Bench()
    callers = [bench.registers(f"e{number}") for number in range(2 * PINGS_AT_ONCE + 100)]
    bench.passes(16)
    assert bench.stats.late == len(callers)
    pinged = [caller.hears() for caller in callers]
    assert pinged == [["PING"]] * PINGS_AT_ONCE + [[]] * (PINGS_AT_ONCE + 100)
    callers[-1].says(f"HeartBeat:e{len(callers) - 1}:1")
    callers[-2].goes()
    bench.passes(1)
    again = [caller.hears() for caller in callers[PINGS_AT_ONCE:]]
    assert again == [["PING"]] * (PINGS_AT_ONCE + 98) + [[]] * 2
    bench.passes(11)
    assert [caller.hears() for caller in callers[:3]] == [["PING"]] * 3


@pytest.mark.fault("C108")
@pytest.mark.parametrize("pause", [4.0, 60.0, 3600.0])
def test_machine_that_is_suspended_with_all_on_it_loses_nobody(pause: float) -> None:
    fleet = SimulatedFleet(FLEET)
    fleet.clock.advance(pause)
    fleet.passes(6)
    stats = fleet.stats
    assert (stats.registered, stats.registrations, stats.late) == (FLEET, FLEET, 0)
    assert fleet.observer.events == []
    assert pause - 1 <= stats.lost_time <= pause
    fleet.leaves()


@pytest.mark.fault("C052")
@pytest.mark.parametrize("turn", [0.75, 2.0, 10.0])
def test_broker_whose_every_turn_takes_too_long_loses_nobody(turn: float) -> None:
    fleet = SimulatedFleet(FLEET)
    for _ in range(60):
        fleet.turns(turn)
    stats = fleet.stats
    assert (stats.registered, stats.lost, stats.brakes) == (FLEET, 0, 0)
    assert stats.lost_time == 60 * (turn - 0.5)
    fleet.leaves()


def test_bytes_that_are_no_sign_of_life_do_not_show_that_a_broker_is_heard() -> None:
    bench = Bench()
    half, over, *_ = [bench.registers(f"e{number}") for number in range(40)]
    over.says("Bye")
    for _ in range(130):
        bench.passes(0.5)
        half.sends(b"H" if half.session.is_open else b"")
        over.says("HeartBeat:e1:1")
    assert bench.stats.brake
    assert bench.stats.lost == 0
