"""When the hub looks by the clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transports.hub.pace import EAGER, FEWEST, FEWEST_TO_STAY, TICK, WAKES, Pace


def wake(pace: Pace, count: int, since: float = 10.0, step: float = TICK / 40) -> float:
    """Have so many connections ready, each alone, one after the other."""
    for number in range(count):
        pace.drained(since + number * step, {number})
    return since + count * step


def test_many_that_are_ready_one_after_the_other_are_looked_at_by_the_clock() -> None:
    pace = Pace()
    wake(pace, FEWEST - 1)
    assert not pace.is_by_clock
    wake(pace, FEWEST)
    assert pace.is_by_clock


def test_many_at_once_are_no_reason_to_wait() -> None:
    pace = Pace()
    for number in range(WAKES - 1):
        pace.drained(10 + number * TICK / 10, set(range(100)))
    assert not pace.is_by_clock


@given(st.integers(1, FEWEST - 1), st.integers(1, 500))
def test_few_that_talk_back_and_forth_are_never_delayed(few: int, turns: int) -> None:
    pace = Pace()
    for number in range(turns):
        pace.drained(10 + number * 0.0001, {number % few})
        assert not pace.is_by_clock


@given(st.lists(st.floats(TICK, 1), max_size=50))
def test_who_is_seldom_woken_is_never_delayed(pauses: list[float]) -> None:
    pace, now = Pace(), 10.0
    for pause in pauses:
        now += pause * 1.001
        pace.drained(now, set(range(100)))
        assert not pace.is_by_clock


def test_nothing_is_delayed_after_an_arrival() -> None:
    pace = Pace()
    pace.arrived(10)
    now = wake(pace, 3 * FEWEST)
    waited = pace.is_by_clock
    now = wake(pace, FEWEST, now + EAGER)
    assert (waited, pace.is_by_clock) == (False, True)
    pace.arrived(now)
    pace.drained(now, set(range(100)))
    assert not pace.is_by_clock


def test_it_is_woken_again_when_little_is_ready() -> None:
    pace = Pace()
    now = wake(pace, FEWEST)
    for _ in range(10):
        now += TICK
        pace.drained(now, set(range(FEWEST_TO_STAY)))
        assert pace.is_by_clock
    pace.drained(now + TICK, set(range(FEWEST_TO_STAY - 1)))
    assert not pace.is_by_clock


def test_a_clock_that_goes_back_delays_nobody() -> None:
    pace = Pace()
    wake(pace, WAKES - 1, 10)
    wake(pace, 1, 5)
    assert not pace.is_by_clock
