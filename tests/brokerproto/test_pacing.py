"""How many frames and connections may come, and who is not read for a while."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerproto.pacing import LONGEST_PAUSE, Pace
from brokerproto.terms import Limits
from tests.brokerproto.broker_bench import Bench, Caller


def beats(caller: Caller, first: int, count: int) -> bytes:
    name = caller.session.engine_id
    return b"".join(f"HeartBeat:{name}:{first + n}\n".encode() for n in range(count))


# Connections

steps = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30)), max_size=30)


@given(rate=st.sampled_from([1, 4, 16]), burst=st.integers(1, 20), steps=steps)
def test_a_pace_is_a_bucket_that_fills_at_its_rate(
    rate: int, burst: int, steps: list[tuple[int, int]]
) -> None:
    """Time in sixteenths of a second, which are exact, as are the tokens."""
    pace = Pace(rate, burst)
    now, tokens = 0.0, float(burst)
    for wait, wanted in steps:
        now += wait / 16
        tokens = min(float(burst), tokens + wait / 16 * rate)
        assert pace.left(now) == max(0, int(tokens))
        for _ in range(wanted):
            pace.use()
        tokens -= wanted


def test_a_pace_may_begin_at_any_time() -> None:
    for now in (-5.0, 0.0, 1e9):
        pace = Pace(10, 3)
        assert pace.left(now) == 3


# Frames


@pytest.mark.parametrize(("count", "throttled"), [(63, False), (64, True)])
def test_sixty_four_frames_may_come_at_once(count: int, throttled: bool) -> None:
    bench = Bench()
    caller = bench.calls()
    hello = b"NewEngine:a:0:v=1\n"
    caller.sends(hello + b"".join(b"HeartBeat:a:%d\n" % (1 + n) for n in range(count)))
    assert caller.session.is_throttled is caller.session.is_full is throttled
    assert bench.stats.reads_paused == throttled
    assert bench.stats.heartbeats == count


def test_what_has_been_read_is_always_processed_and_the_pause_has_an_end() -> None:
    bench = Bench(Limits(interval=1))
    caller = bench.registers("a", ":v=1")
    settled = caller.carrier.settled
    caller.sends(beats(caller, 1, 5000))
    caller.sends(beats(caller, 5001, 5000))
    assert bench.stats.heartbeats == 10_000
    paused = 0.0
    while caller.session.is_full:
        bench.passes(bench.broker.tick_length)
        paused += bench.broker.tick_length
    assert paused == pytest.approx(LONGEST_PAUSE, abs=bench.broker.tick_length)
    # Its carrier was told, for it alone can read on.
    assert caller.carrier.settled > settled
    assert bench.stats.reads_paused == 1


def test_a_pause_is_no_silence() -> None:
    bench = Bench(Limits(interval=1))
    caller, other = bench.registers("a", ":v=1"), bench.registers("b", ":v=1")
    caller.sends(beats(caller, 1, 5000))
    other.sends(beats(other, 1, 1))
    bench.passes(3)
    assert [event for event in bench.hears() if event[0] == "late"] == [("late", "b", 2.0)]
    bench.passes(2)
    assert ("late", "a", 2.05) not in bench.hears()
    bench.passes(0.5)
    assert [event[:2] for event in bench.hears() if event[0] == "late"] == [("late", "a")]


def test_who_goes_on_is_paused_again_and_others_never_are() -> None:
    bench = Bench(Limits(interval=1))
    hasty, even = bench.registers("a", ":v=1"), bench.registers("b", ":v=1")
    for turn in range(200):
        if not hasty.session.is_full:
            hasty.sends(beats(hasty, 1 + 100 * bench.stats.reads_paused, 100))
        even.sends(beats(even, 5 * turn + 1, 5))
        assert not even.session.is_throttled
        bench.passes(0.25)
    # A hundred frames take five seconds at the rate.
    assert 10 <= bench.stats.reads_paused <= 17


@given(
    rate=st.integers(1, 50),
    interval=st.sampled_from([1, 10, 300]),
    framing=st.sampled_from(["lines", "message"]),
)
def test_who_keeps_to_the_rate_is_never_paused(rate: int, interval: int, framing: str) -> None:
    bench = Bench(Limits(interval=interval, frame_rate=rate))
    caller = bench.registers("a", ":v=1")
    caller.session.framing = "message" if framing == "message" else "lines"
    tick = bench.broker.tick_length
    seq = 0
    for turn in range(1, 60):
        while seq + 1 <= turn * tick * rate:
            seq += 1
            frame = f"HeartBeat:a:{seq}" + ("\n" if framing == "lines" else "")
            caller.sends(frame.encode())
        assert not caller.session.is_throttled
        bench.passes(tick)


def test_a_rate_of_nothing_is_none() -> None:
    bench = Bench(Limits(frame_rate=0))
    caller = bench.registers("a", ":v=1")
    caller.sends(beats(caller, 1, 5000))
    assert not caller.session.is_full
    assert bench.stats.reads_paused == 0


def test_who_is_gone_or_over_is_not_resumed() -> None:
    bench = Bench()
    gone, over = bench.registers("a", ":v=1"), bench.registers("b", ":v=1")
    for caller in (gone, over):
        caller.sends(beats(caller, 1, 100))
    gone.goes()
    over.says("Bye")
    # Nobody who leaves is kept from closing.
    assert not over.session.is_full
    settled = over.carrier.settled
    bench.passes(5)
    assert over.carrier.settled == settled


def test_who_is_not_read_for_now_keeps_its_id_without_being_asked() -> None:
    bench = Bench()
    holder = bench.registers("a", ":v=1")
    holder.sends(beats(holder, 1, 100))
    assert holder.session.is_full
    newcomer = bench.calls()
    assert newcomer.says("NewEngine:a:0:v=1")[0].startswith("FAILED:409:")
    assert "PING" not in holder.hears()
