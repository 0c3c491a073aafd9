"""A broker that drains: a slot for each engine, evenly over a time that fits them all."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerproto.broker_session import BrokerSession
from brokerproto.carrier import Carrier
from brokerproto.drain import Drain, slots
from brokerproto.errors import NoMoreOrdersError
from brokerproto.terms import Limits
from tests.brokerproto.broker_bench import Bench, Caller
from tests.uniformity import distance_from_uniform, is_uniform

STEP = 0.05


def begins(bench: Bench, seed: int = 1) -> Drain:
    return bench.broker.drain(Random(seed))


def passes(bench: Bench, drain: Drain, seconds: float) -> None:
    """Let time pass as a service does: many looks, and now and then a tick."""
    for number in range(round(seconds / STEP)):
        bench.clock.advance(STEP)
        drain.see_off()
        if number % 10 == 9:
            bench.broker.tick()


def delay(caller: Caller) -> float:
    """Read the one GOAWAY that an engine was told, in seconds."""
    [frame] = caller.hears()
    verb, delay_ms, reason = frame.split(":")
    assert (verb, reason) == ("GOAWAY", "reason=drain")
    return int(delay_ms) / 1000


@given(st.integers(0, 300), st.floats(0, 100), st.integers())
def test_each_part_of_the_spread_has_one_slot(engines: int, spread: float, seed: int) -> None:
    drawn = slots(engines, spread, Random(seed))
    assert len(drawn) == engines
    part = spread / max(1, engines)
    for number, slot in enumerate(sorted(drawn)):
        assert number * part <= slot <= (number + 1) * part


def test_who_leaves_when_has_nothing_to_do_with_who_came_when() -> None:
    drawn = slots(1000, 10.0, Random(7))
    assert is_uniform(drawn, 0, 10)
    for node in range(10):
        assert is_uniform(drawn[100 * node : 100 * (node + 1)], 0, 10)
    ordered = sorted(drawn)
    assert not is_uniform(ordered[:100], 0, 10)
    assert drawn != slots(1000, 10.0, Random(8))


@pytest.mark.parametrize(
    ("engines", "rate", "longest", "spread"),
    [
        (1, 2000, 25, 5.0),
        (6666, 2000, 25, 5.0),
        (10_000, 2000, 25, 7.5),
        (15_000, 2000, 25, 11.25),
        (65_536, 2000, 25, 25.0),
        (1000, 100, 25, 15.0),
        (1000, 100, 10, 10.0),
        (1000, 100, 3, 3.0),
        (1000, 100, 0, 0.0),
        (10_000, 0, 25, 5.0),
    ],
)
def test_spread_is_one_and_a_half_times_what_the_return_takes_within_its_bounds(
    engines: int, rate: int, longest: int, spread: float
) -> None:
    assert Limits(accept_rate=rate, drain=longest).spread(engines) == spread


@pytest.mark.fault("C068")
def test_each_engine_is_told_a_slot_at_once_and_all_slots_are_even() -> None:
    bench = Bench(Limits(accept_rate=100))
    engines = [bench.registers(f"e{number}", ":v=1") for number in range(1000)]
    drain = begins(bench)
    told = [delay(engine) for engine in engines]
    assert (drain.spread, bench.stats.registered) == (15.0, 1000)
    assert is_uniform(told, 0, 15)
    assert is_uniform(told[:100], 0, 15)
    # Nobody is closed by the broker: they stay, until they leave by themselves.
    passes(bench, drain, 15)
    assert (bench.stats.registered, bench.stats.lost) == (1000, 0)
    assert [engine.hears() for engine in engines] == [[]] * 1000


def test_engine_beats_and_reports_until_it_leaves_and_has_then_left_by_goaway() -> None:
    bench = Bench()
    engine = bench.registers("e1", ":v=1;instance=a1;ack=1")
    command = bench.orders("DOWORK", 1000)
    engine.hears()
    drain = begins(bench)
    assert delay(engine) == 2.5
    passes(bench, drain, 2)
    assert engine.says("HeartBeat:e1:1", f"Report:{command.command}:done:ms=900") == ["ACK:1"]
    assert command.is_settled
    assert engine.says("Bye:reason=goaway") == []
    assert bench.stats.causes == {"left:goaway": 1}
    assert (bench.stats.heartbeats, bench.stats.reports, bench.stats.stale) == (1, 1, 0)


def test_plain_engines_are_closed_in_their_slots() -> None:
    bench = Bench(Limits(accept_rate=10))
    engines = [bench.registers(f"p{number}", "") for number in range(100)]
    bench.passes(5)
    drain = begins(bench)
    assert [engine.hears() for engine in engines] == [[]] * 100
    closed: dict[int, float] = {}
    while len(closed) < 100:
        passes(bench, drain, STEP)
        at = bench.clock.now - drain.began
        for number, engine in enumerate(engines):
            said = engine.hears()
            if said:
                assert said == ["FAILED:503:DRAINING:now:the broker stops"]
                assert number not in closed
                closed[number] = at
    drawn = slots(100, 15.0, Random(1))
    assert all(0 <= closed[number] - slot <= 3 * STEP for number, slot in enumerate(drawn))
    assert bench.stats.causes == {"lost:503": 100}


def test_plain_engine_that_went_before_its_slot_is_nothing_to_see_off() -> None:
    bench = Bench()
    gone, staying = bench.registers("p1", ""), bench.registers("p2", "")
    drain = begins(bench)
    gone.goes()
    passes(bench, drain, 5)
    assert staying.codes() == [503]
    assert bench.stats.causes == {"lost:closed": 1, "lost:503": 1}


def test_plain_engines_slot_does_not_wait_for_its_work() -> None:
    bench = Bench()
    engine = bench.registers("p1", "")
    bench.orders("DOWORK", 60_000)
    engine.hears()
    passes(bench, begins(bench), 5)
    assert engine.codes() == [503]


def test_who_is_not_registered_is_refused_at_once_and_so_are_newcomers() -> None:
    bench = Bench()
    silent, halfway = bench.calls("silent"), bench.calls("halfway")
    halfway.sends(b"NewEngine:e1:0:v")
    bench.hears()
    begins(bench)
    assert [silent.codes(), halfway.codes()] == [[503], [503]]
    halfway.sends(b"=1\n")
    late = bench.calls("late")
    assert late.codes() == [503]
    late.says("NewEngine:e2:0:v=1")
    assert bench.hears() == [("refused", name, 503) for name in ("silent", "halfway", "late")]
    stats = bench.stats
    assert (stats.registered, stats.stale, stats.rejected) == (0, 2, {503: 3})


def test_newcomer_hears_that_the_broker_stops_and_not_that_it_is_full() -> None:
    bench = Bench(Limits(connections=1))
    bench.registers("e1")
    begins(bench)
    assert bench.calls().codes() == [503]


def test_engine_that_closed_on_its_way_out_is_not_told_again() -> None:
    bench = Bench()
    engine = bench.registers("e1")
    engine.says("Bye")
    begins(bench)
    assert engine.hears() == []
    assert bench.stats.rejected == {}


def test_orders_are_refused_and_reach_nobody() -> None:
    bench = Bench()
    engine = bench.registers("e1")
    begins(bench)
    engine.hears()
    with pytest.raises(NoMoreOrdersError, match="the broker drains"):
        bench.orders("KILL", 0)
    assert engine.hears() == []
    assert list(bench.broker.ledger) == []


def test_what_waits_for_a_plain_engine_is_written_until_its_slot() -> None:
    bench = Bench()
    engine = bench.registers("p1", "")
    first, second = bench.orders("DOWORK", 0), bench.orders("DOWORK", 500)
    engine.hears()
    drain = begins(bench)
    passes(bench, drain, 1)
    assert engine.says("HeartBeat:p1:1") == ["DOWORK:500"]
    passes(bench, drain, 1.6)
    assert engine.codes() == [503]
    assert (first.is_settled, second.entries["p1"].step.value) == (True, "lost")


def test_silent_engine_is_lost_during_a_drain_as_ever() -> None:
    bench = Bench(Limits(interval=1))
    engine = bench.registers("e1")
    drain = begins(bench)
    assert delay(engine) == 2.5
    passes(bench, drain, 6)
    assert bench.stats.causes == {"lost:timeout": 1}


def test_second_drain_is_the_first_one() -> None:
    bench = Bench()
    engine = bench.registers("e1")
    before = bench.broker.is_draining
    drain = begins(bench)
    delay(engine)
    bench.clock.advance(1)
    assert begins(bench, seed=2) is drain
    assert engine.hears() == []
    assert (before, bench.broker.is_draining, bench.stats.draining) == (False, True, True)


def test_drain_of_nobody_is_over_at_once() -> None:
    bench = Bench()
    begins(bench).see_off()
    assert bench.broker.connections == 0


def test_all_are_told_though_one_carrier_fails() -> None:
    class Failing(Carrier):
        def settle(self) -> None:
            raise OSError("no way")

    bench = Bench()
    engines = [bench.registers(f"e{number}") for number in range(3)]
    newcomer = bench.calls()
    session: BrokerSession = engines[1].session
    session.carrier = Failing()
    begins(bench)
    assert [str(error) for error in bench.failures] == ["no way"]
    assert all(delay(engine) for engine in (engines[0], engines[2]))
    assert newcomer.codes() == [503]


def test_distance_tells_the_uneven_from_the_even() -> None:
    """What the other tests of uniformity rest on."""
    random = Random(1)
    even = [random.random() for _ in range(2000)]
    assert distance_from_uniform(even, 0, 1) < 1.2
    assert not is_uniform([value**1.2 for value in even], 0, 1)
    assert not is_uniform([value * 0.93 for value in even], 0, 1)
    assert not is_uniform([0.5] * 20, 0, 1)
