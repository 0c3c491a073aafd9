"""How long an engine waits before it tries again."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerproto.errors import (
    CODES,
    HandshakeTimeoutError,
    ProtocolError,
    RefusedError,
    Retry,
    SilentBrokerError,
)
from brokerproto.messages import Success
from brokerproto.retry import LAST_TRY, RetryPolicy
from tests.brokerproto.drawn import Drawn


def refused(retry: Retry, code: int = 409) -> RefusedError:
    return RefusedError(code, "DUPLICATE_ID", retry, "in use")


@pytest.fixture
def drawn() -> Drawn:
    return Drawn()


@pytest.fixture
def policy(drawn: Drawn) -> RetryPolicy:
    return RetryPolicy(drawn)


def test_first_wait_is_spread_over_a_second_where_no_herd_was_announced(
    policy: RetryPolicy, drawn: Drawn
) -> None:
    assert policy.ended(None) == 1.0
    assert drawn.ranges == [(0, 1.0)]


@pytest.mark.parametrize("herd", [1, 5, 300])
def test_first_wait_is_spread_over_the_announced_herd(
    policy: RetryPolicy, drawn: Drawn, herd: int
) -> None:
    policy.registered(Success(v=1, herd=herd))
    assert policy.ended(None) == herd
    assert drawn.ranges == [(0, herd)]


@pytest.mark.parametrize("seconds", [3601, 315_360_000, 2**53 - 1])
def test_nobody_stays_away_for_years_because_a_broker_says_so(
    policy: RetryPolicy, drawn: Drawn, seconds: int
) -> None:
    policy.registered(Success(v=1, herd=seconds))
    assert policy.ended(None) == 3600
    assert policy.ended(refused(seconds)) == 3600 + 4
    assert drawn.ranges == [(0, 3600), (0.5, 4)]


def test_an_hour_is_obeyed(policy: RetryPolicy) -> None:
    policy.registered(Success(v=1, herd=3600))
    assert policy.ended(refused(3600)) == 7200


@pytest.mark.parametrize("silent_on_herd", [Success(), Success(v=1), Success(v=1, herd=0)])
def test_a_broker_that_announces_no_herd_takes_back_what_another_said(
    policy: RetryPolicy, drawn: Drawn, silent_on_herd: Success
) -> None:
    policy.registered(Success(v=1, herd=40))
    policy.registered(silent_on_herd)
    policy.ended(None)
    assert drawn.ranges == [(0, 1.0)]


def test_later_waits_double_from_four_seconds_to_thirty(policy: RetryPolicy, drawn: Drawn) -> None:
    policy.registered(Success(v=1, herd=7))
    for _ in range(8):
        policy.ended(None)
    assert drawn.ranges == [
        (0, 7.0),
        (0.5, 4.0),
        (0.5, 8.0),
        (0.5, 16.0),
        (0.5, 30.0),
        (0.5, 30.0),
        (0.5, 30.0),
        (0.5, 30.0),
    ]


def test_waiting_never_ends_by_itself(policy: RetryPolicy) -> None:
    waits = [policy.ended(None) for _ in range(3000)]
    assert waits[-1] == 30.0
    assert None not in waits


@pytest.mark.parametrize(("stable", "following"), [(2.99, (0.5, 4.0)), (3.0, (0, 1.0))])
def test_count_begins_anew_only_after_three_stable_intervals(
    policy: RetryPolicy, drawn: Drawn, stable: float, following: tuple[float, float]
) -> None:
    policy.ended(None)
    policy.ended(None, stable)
    assert drawn.ranges[-1] == following


def test_a_registration_alone_does_not_begin_the_count_anew(
    policy: RetryPolicy, drawn: Drawn
) -> None:
    for _ in range(3):
        policy.registered(Success(v=1, herd=2))
        policy.ended(None, 0.1)
    assert drawn.ranges == [(0, 2.0), (0.5, 4.0), (0.5, 8.0)]


@pytest.mark.parametrize("end", [0, 1])
def test_seconds_that_the_broker_named_come_before_the_random_wait(end: int) -> None:
    drawn = Drawn(end)
    policy = RetryPolicy(drawn)
    assert policy.ended(refused(5)) == 5 + (0, 1.0)[end]
    assert policy.ended(refused(5)) == 5 + (0.5, 4.0)[end]
    assert policy.ended(refused(0)) == (0.5, 8.0)[end]


@pytest.mark.parametrize(
    "error",
    [None, refused("now"), SilentBrokerError(12, 10), HandshakeTimeoutError("no SUCCESS")],
)
def test_now_means_just_the_random_wait(policy: RetryPolicy, error: ProtocolError | None) -> None:
    assert policy.ended(error) == 1.0


def test_never_leaves_one_more_try_after_a_minute(policy: RetryPolicy, drawn: Drawn) -> None:
    assert LAST_TRY == 60.0
    assert policy.ended(refused("never")) == 60.0
    assert policy.ended(refused("never")) is None
    assert drawn.ranges == []


def test_a_registration_in_between_makes_never_the_first_again(policy: RetryPolicy) -> None:
    assert policy.ended(refused("never")) == 60.0
    policy.registered(Success(v=1))
    assert policy.ended(refused("never")) == 60.0
    assert policy.ended(refused("never")) is None


def test_a_broker_that_cannot_be_reached_does_not_take_never_back(policy: RetryPolicy) -> None:
    assert policy.ended(refused("never")) == 60.0
    assert policy.ended(None) is not None
    assert policy.ended(refused("never")) is None


@pytest.mark.parametrize("code", sorted(CODES))
def test_an_error_found_on_this_side_is_obeyed_like_one_that_was_told(code: int) -> None:
    found = CODES[code]("found here")
    here, told = RetryPolicy(Drawn()), RetryPolicy(Drawn())
    assert here.ended(found) == told.ended(refused(found.retry, code))


def test_a_whole_fleet_comes_back_over_the_whole_herd() -> None:
    """The waits of 2,000 engines fill each tenth of the time evenly."""
    waits = []
    for seed in range(2000):
        policy = RetryPolicy(Random(seed))
        policy.registered(Success(v=1, herd=20))
        waits.append(policy.ended(None) or 0.0)
    tenths = [sum(2 * n <= wait < 2 * (n + 1) for wait in waits) for n in range(10)]
    assert sum(tenths) == 2000
    assert all(150 <= tenth <= 250 for tenth in tenths)


ends: st.SearchStrategy[Callable[[], ProtocolError | None]] = st.sampled_from(
    [lambda: None, lambda: refused("now"), lambda: refused(3), lambda: SilentBrokerError(12, 1)]
)


@given(st.integers(), st.lists(st.tuples(ends, st.sampled_from([0.0, 2.5, 3.0])), max_size=30))
def test_each_wait_lies_within_its_bounds(
    seed: int, course: list[tuple[Callable[[], ProtocolError | None], float]]
) -> None:
    policy = RetryPolicy(Random(seed))
    attempt = 0
    for make, stable in course:
        error = make()
        attempt = 0 if stable >= 3 else attempt
        least, most = (0.0, 1.0) if attempt == 0 else (0.5, min(30.0, 4.0 * 2 ** (attempt - 1)))
        told = 3 if isinstance(error, RefusedError) and error.retry == 3 else 0
        wait = policy.ended(error, stable)
        assert wait is not None
        assert told + least <= wait <= told + most
        attempt += 1
