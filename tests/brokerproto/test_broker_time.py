"""A broker and time: who is late, who is lost, and who is to blame for the silence."""

from __future__ import annotations

import gc

import pytest

from brokerproto.broker import Broker
from brokerproto.broker_session import BrokerSession
from brokerproto.engine import Engine
from brokerproto.life import Life
from brokerproto.terms import Limits
from brokerproto.testing import ManualClock, RecordingObserver, RecordingWorker, Wire
from tests.brokerproto.broker_bench import Bench

RICH = ":v=1;instance=a1;ack=1"


def ids_of_sessions() -> set[int]:
    """Tell which sessions there still are."""
    gc.collect()
    return {id(each) for each in gc.get_objects() if isinstance(each, BrokerSession)}


@pytest.fixture
def bench() -> Bench:
    return Bench()


# At T = 10 s: late after 16 s, pinged again after 28 s, lost after 40 s; a tick is 0.5 s.


@pytest.mark.fault("C096")
@pytest.mark.fault("C058")
def test_silence_makes_an_engine_late_and_then_lost(bench: Bench) -> None:
    caller = bench.registers("a")
    bench.passes(15.5)
    assert (caller.hears(), bench.stats.late) == ([], 0)
    bench.passes(0.5)
    assert (caller.hears(), bench.stats.late) == (["PING"], 1)
    bench.passes(11.5)
    assert caller.hears() == []
    bench.passes(0.5)
    assert (caller.hears(), bench.stats.late) == (["PING"], 1)
    bench.passes(11.5)
    assert (caller.hears(), bench.stats.registered) == ([], 1)
    bench.passes(0.5)
    assert caller.hears()[0].startswith("FAILED:440:HEARTBEAT_TIMEOUT:now:")
    assert bench.hears() == [
        ("registered", "a", 1),
        ("late", "a", 16.0),
        ("lost", "a", "timeout"),
    ]
    assert bench.stats.causes == {"lost:timeout": 1}
    assert bench.registers("a").session.is_open


def test_an_end_is_dated_by_the_clock_and_its_length_by_the_detector(bench: Bench) -> None:
    caller = bench.registers("a")
    bench.passes(2)
    # The broker stands still, and for that long its detector does not count.
    bench.clock.advance(30)
    bench.broker.tick()
    caller.goes()
    (end,) = bench.broker.fleet.ends
    assert end.ended_at == bench.clock.now
    assert 2 < end.duration < 4


@pytest.mark.fault("C058")
@pytest.mark.parametrize(
    ("silence", "events"),
    [
        (12, []),
        (20, [("late", "e", 16.0), ("recovered", "e", None)]),
        (50, [("late", "e", 16.0), ("lost", "e", "timeout")]),
    ],
)
def test_an_engine_that_stands_still_and_goes_on(
    bench: Bench, silence: int, events: list[object]
) -> None:
    engine = Engine(Life("e", "a1"), RecordingWorker(), bench.clock.seconds)
    wire = Wire(bench.broker, engine)
    wire.exchange()
    due = wire.engine_side.due
    while bench.clock.now < due:
        bench.passes(0.5)
    wire.engine_side.tick(bench.clock.now)
    wire.exchange()
    # Stopped right after a heartbeat, and with it whatever the broker says to it.
    bench.passes(silence)
    wire.engine_side.tick(bench.clock.now)
    wire.exchange()
    bench.passes(1)
    assert bench.hears()[1:] == events
    assert wire.is_cut is (silence == 50)
    if wire.is_cut:
        Wire(bench.broker, engine).exchange()
        assert bench.hears()[0] == ("registered", "e", 2)
    totals = bench.broker.fleet.totals
    assert engine.life.seq == totals.counted + totals.missed


@pytest.mark.parametrize(
    "frame", ["HeartBeat:a:2", "HeartBeat:a:1", "HeartBeat:a:3", "Report:b0-1:done"]
)
def test_any_frame_of_a_late_engine_is_a_sign_of_life(bench: Bench, frame: str) -> None:
    caller = bench.registers("a")
    caller.says("HeartBeat:a:1")
    bench.passes(16)
    bench.hears()
    caller.says(frame)
    assert bench.hears()[0] == ("recovered", "a", None)
    assert bench.stats.late == 0
    bench.passes(39.5)
    assert bench.hears()[-1] == ("late", "a", 16.0)
    assert bench.stats.registered == 1
    bench.passes(0.5)
    assert bench.stats.registered == 0


def test_an_engine_that_wished_for_a_longer_interval_has_longer(bench: Bench) -> None:
    caller = bench.registers("a", ":v=1;interval=60")
    bench.passes(90.5)
    assert bench.stats.late == 0
    bench.passes(0.5)
    assert bench.stats.late == 1
    bench.passes(148.5)
    assert caller.session.is_open
    bench.passes(0.5)
    assert caller.session.is_over


def test_a_plain_engine_at_work_is_not_late_and_is_never_pinged(bench: Bench) -> None:
    caller = bench.registers("p", "")
    bench.passes(5)
    bench.orders("DOWORK", 50_000)
    assert caller.hears() == ["DOWORK:50000"]
    bench.passes(65.5)
    assert bench.stats.late == 0
    bench.passes(0.5)
    assert (bench.stats.late, caller.hears()) == (1, [])
    bench.passes(23.5)
    assert caller.session.is_open
    bench.passes(0.5)
    assert caller.session.is_over
    assert caller.codes() == [440]


@pytest.mark.fault("C059")
def test_a_heartbeat_within_the_work_does_not_shorten_a_plain_engines_time(bench: Bench) -> None:
    caller = bench.registers("p", "")
    bench.orders("DOWORK", 50_000)
    bench.passes(10)
    caller.says("HeartBeat:p:1")
    bench.passes(55.5)
    assert bench.stats.late == 0
    bench.passes(0.5)
    assert bench.stats.late == 1


# A broker that does not run


@pytest.mark.fault("C050")
@pytest.mark.fault("C051")
@pytest.mark.parametrize("stop", [4.0, 8.0, 3600.0])
def test_a_broker_that_stood_still_loses_nobody(stop: float) -> None:
    clock, observer = ManualClock(), RecordingObserver()
    broker = Broker(clock.seconds, "b0", Limits(interval=1), observer)
    engines = [
        Engine(Life(f"e{n}", f"{n:x}"), RecordingWorker(), clock.seconds) for n in range(300)
    ]
    wires = [Wire(broker, engine) for engine in engines]

    def run(seconds: float) -> None:
        for _ in range(round(seconds / 0.25)):
            clock.advance(0.25)
            broker.tick()
            for wire in wires:
                if wire.engine_side.due <= clock.now:
                    wire.engine_side.tick(clock.now)
                wire.exchange()

    run(3)
    observer.events.clear()
    # The engines go on meanwhile; what they say waits in the broker's sockets.
    for step in range(1, 9):
        now = clock.now + stop * step / 8
        for engine, wire in zip(engines, wires, strict=True):
            if wire.engine_side.due <= now:
                wire.engine_side.tick(now)
                assert engine.session is wire.engine_side
    clock.advance(stop)
    broker.tick()
    assert observer.events == []
    run(6)
    assert observer.events == []
    stats = broker.stats()
    assert (stats.registered, stats.late, stats.missed) == (300, 0, 0)
    assert stats.heartbeats == sum(engine.life.seq for engine in engines)
    assert stats.lost_time == stop - 0.5


def test_each_stop_adds_to_the_lost_time(bench: Bench) -> None:
    bench.registers("a")
    for stop in (40.0, 1.0, 10.0, 0.5):
        bench.clock.advance(stop)
        bench.broker.tick()
    assert bench.stats.lost_time == 39.0 + 9.0
    assert bench.broker.now == 1.0 + 1.0 + 1.0 + 0.5
    assert bench.stats.registered == 1


def test_a_silent_engine_is_lost_once_the_broker_has_run_for_long_enough(bench: Bench) -> None:
    caller = bench.registers("a")
    for _ in range(39):
        bench.clock.advance(60)
        bench.broker.tick()
    assert bench.broker.now == 39.0
    assert caller.session.is_open
    bench.passes(1)
    assert caller.session.is_over


def test_a_broker_whose_every_tick_is_late_still_judges(bench: Bench) -> None:
    caller = bench.registers("a")
    for _ in range(60):
        bench.clock.advance(2 * bench.broker.tick_length + 0.25)
        bench.broker.tick()
    assert caller.session.is_over
    assert [what for what, *_ in bench.hears()] == ["registered", "late", "lost"]


def test_a_peer_does_not_say_how_long_its_session_is_held(bench: Bench) -> None:
    held = set()
    for name in ("a", "b"):
        caller = bench.registers(name, ":v=1;interval=300")
        held.add(id(caller.session))
        caller.says("Bye")
        caller.goes()
        del caller
    bench.passes(16)
    assert not held & ids_of_sessions()


# Handshakes


@pytest.mark.fault("C027")
def test_a_hello_that_trickles_in_has_ten_seconds_in_all(bench: Bench) -> None:
    caller = bench.calls()
    hello = f"NewEngine:a:0{RICH}\n".encode()
    for byte in hello[:9]:
        bench.passes(1)
        assert caller.sends(bytes([byte])) == []
    bench.passes(0.5)
    assert not caller.session.is_over
    bench.passes(0.5)
    assert caller.hears()[0].startswith("FAILED:408:HANDSHAKE_TIMEOUT:now:")
    caller.sends(hello[9:])
    assert (bench.stats.registered, bench.stats.rejected) == (0, {408: 1})
    assert bench.hears() == [("refused", "peer", 408)]


@pytest.mark.fault("C050")
def test_a_hello_that_came_while_the_broker_stood_still_is_not_too_late(bench: Bench) -> None:
    caller = bench.calls()
    bench.passes(9.5)
    bench.clock.advance(3600)
    bench.broker.tick()
    assert bench.broker.now > 10
    assert caller.says(f"NewEngine:a:0{RICH}")[0].startswith("SUCCESS")
    silent = bench.calls()
    bench.passes(9.5)
    for _ in range(2):
        assert not silent.session.is_over
        bench.clock.advance(3600)
        bench.broker.tick()
    assert silent.codes() == [408]


def test_a_registered_engine_has_no_handshake_to_miss() -> None:
    bench = Bench(Limits(handshake=3))
    engine, gone, refused = bench.registers("a"), bench.calls(), bench.calls()
    gone.goes()
    refused.says("oops!")
    bench.passes(3.5)
    assert engine.session.is_open
    assert bench.stats.rejected == {400: 1}


def test_a_broker_says_how_long_a_death_may_stay_unnoticed() -> None:
    assert Bench().broker.worst_detection == 40 + 3 * 0.5
    assert Bench(Limits(interval=1)).broker.worst_detection == 4 + 3 * 0.25


# Nothing is kept


@pytest.mark.fault("C047")
def test_nothing_is_kept_of_sessions_that_are_gone(bench: Bench) -> None:
    opened = set()
    for n in range(200):
        caller = bench.registers(f"e{n}") if n % 4 else bench.calls()
        opened.add(id(caller.session))
        if n % 3 == 0:
            bench.passes(0.5)
        if n % 5 == 0:
            caller.says("oops!")
        caller.goes()
    del caller
    bench.passes(60)
    assert not opened & ids_of_sessions()
    assert bench.stats.connections == bench.stats.registered == bench.stats.late == 0
