"""How many may come in, and how fast."""

from __future__ import annotations

import pytest

from brokerproto.broker import Broker
from brokerproto.terms import Limits
from tests.brokerproto.broker_bench import Bench, Caller


def room(bench: Bench) -> int:
    return bench.broker.admission.room(bench.clock.seconds())


def test_newcomers_take_places_until_they_register_or_go() -> None:
    bench = Bench(Limits(unregistered=3, accept_rate=0))
    assert room(bench) == 3
    callers = [bench.calls() for _ in range(3)]
    assert (room(bench), bench.stats.unregistered) == (0, 3)
    callers[0].says("NewEngine:a:0")
    assert (room(bench), bench.stats.unregistered) == (1, 2)
    callers[1].goes()
    assert (room(bench), bench.stats.unregistered) == (2, 1)
    # One that is refused has its place until it is gone.
    callers[2].says("What")
    assert (room(bench), bench.stats.unregistered) == (2, 1)
    callers[2].goes()
    assert (room(bench), bench.stats.unregistered) == (3, 0)
    # One that had registered never takes such a place again.
    callers[0].says("Bye")
    callers[0].goes()
    assert (room(bench), bench.stats.unregistered) == (3, 0)


@pytest.mark.fault("C033")
def test_places_of_those_who_never_register_are_free_after_ten_seconds() -> None:
    bench = Bench(Limits(interval=1))
    silent = [bench.calls() for _ in range(1024)]
    assert room(bench) == 0
    engines = bench.broker.fleet
    bench.passes(9.75)
    assert (room(bench), len(engines)) == (0, 0)
    bench.passes(0.5)
    for caller in silent:
        assert caller.codes() == [408]
        caller.goes()
    assert room(bench) == 1024


@pytest.mark.fault("C037")
def test_nobody_is_refused_for_coming_where_there_is_no_room() -> None:
    bench = Bench(Limits(unregistered=1, accept_rate=1))
    for n in range(5):
        bench.registers(f"e{n}")
        bench.calls()
    assert room(bench) == 0
    assert bench.stats.rejected == {}


@pytest.mark.fault("C032")
def test_connections_come_at_the_rate_after_a_burst() -> None:
    bench = Bench(Limits(accept_rate=1000, unregistered=10_000))
    taken = []
    for _ in range(4):
        taken.append(room(bench))
        callers = [bench.calls() for _ in range(room(bench))]
        assert room(bench) == 0
        for caller in callers:
            caller.goes()
        bench.clock.advance(0.5)
    assert taken == [2048, 500, 500, 500]


def test_a_rate_of_nothing_is_none() -> None:
    bench = Bench(Limits(accept_rate=0, unregistered=9_999))
    for _ in range(5000):
        bench.calls()
    assert room(bench) == 4999


def test_beyond_the_most_connections_a_few_at_a_time_are_told_so() -> None:
    bench = Bench(Limits(connections=3))
    for n in range(3):
        bench.registers(f"e{n}")
    surplus: list[Caller] = []
    while room(bench):
        surplus.append(bench.calls())
    assert [caller.codes() for caller in surplus] == [[507]] * 8
    surplus[0].goes()
    assert room(bench) == 1


def test_the_most_connections_may_be_lowered_and_raised_meanwhile() -> None:
    bench = Bench(Limits(connections=8))
    for n in range(8):
        bench.registers(f"e{n}")
    bench.broker.admission.connections = 4
    assert bench.calls().codes() == [507]
    assert len(bench.broker.fleet) == 8
    bench.broker.admission.connections = 9
    bench.registers("late-comer")


@pytest.mark.fault("C039")
def test_newcomers_are_refused_while_memory_is_short_and_nobody_else_is() -> None:
    bench = Bench()
    engine = bench.registers("a")
    bench.broker.admission.is_short_of_memory = True
    assert bench.stats.short_of_memory
    newcomer = bench.calls()
    assert newcomer.hears() == ["FAILED:507:BROKER_FULL:5:no more memory"]
    assert engine.says("HeartBeat:a:1") == ["ACK:1"]
    bench.broker.admission.is_short_of_memory = False
    bench.registers("b")


def test_a_broker_that_nobody_gates_takes_all() -> None:
    bench = Bench(Limits(accept_rate=1))
    broker: Broker = bench.broker
    for n in range(2000):
        bench.registers(f"e{n}")
    assert len(broker.fleet) == 2000
