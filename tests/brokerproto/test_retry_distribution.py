"""The waits of many engines, as a distribution: protocol reference, section "Reconnecting"."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerproto.errors import ProtocolError, RefusedError, Retry
from brokerproto.messages import Success
from brokerproto.retry import RetryPolicy
from tests.uniformity import is_uniform

pytestmark = pytest.mark.fault("C037")

ENGINES = 1000
BOUNDS = [(0.0, None), (0.5, 4.0), (0.5, 8.0), (0.5, 16.0), (0.5, 30.0), (0.5, 30.0)]


def told(retry: Retry) -> RefusedError:
    return RefusedError(503, "DRAINING", retry, "")


def fleet(herd: int | None, seed: int) -> list[RetryPolicy]:
    """Engines of one process: they draw from one source."""
    random = Random(seed)
    policies = [RetryPolicy(random) for _ in range(ENGINES)]
    for policy in policies:
        policy.registered(Success(v=1, herd=herd))
    return policies


def waits(policies: list[RetryPolicy], error: ProtocolError | None = None) -> list[float]:
    drawn = [policy.ended(error) for policy in policies]
    assert None not in drawn
    return [wait or 0.0 for wait in drawn]


@pytest.mark.parametrize(("herd", "seed"), [(None, 1), (1, 2), (8, 3), (33, 4)])
def test_each_try_of_a_fleet_is_uniform_within_its_bounds(herd: int | None, seed: int) -> None:
    policies = fleet(herd, seed)
    for least, most in BOUNDS:
        assert is_uniform(waits(policies), least, most or float(herd or 1))


@pytest.mark.parametrize("seconds", [1, 5, 60])
def test_seconds_move_the_whole_distribution_and_leave_its_shape(seconds: int) -> None:
    policies = fleet(8, seconds)
    assert is_uniform(waits(policies, told(seconds)), seconds, seconds + 8)
    assert is_uniform(waits(policies, told(seconds)), seconds + 0.5, seconds + 4)


def test_one_engines_waits_are_independent_of_each_other_and_of_its_neighbours() -> None:
    policies = fleet(8, 9)
    first, second = waits(policies), waits(policies)
    # Half of those who drew a short wait first draw a short one again.
    short = [later for earlier, later in zip(first, second, strict=True) if earlier < 4]
    assert is_uniform(short, 0.5, 4)
    after = [second[n + 1] for n in range(ENGINES - 1) if second[n] < 2]
    assert is_uniform(after, 0.5, 4)


ENDS: st.SearchStrategy[ProtocolError | None] = st.sampled_from(
    [None, told("now"), told("never"), told(7), told(0)]
)


@given(
    st.integers(),
    st.lists(
        st.tuples(ENDS, st.sampled_from([None, 0.0, 2.999, 3.0, 50.0]), st.integers(0, 40)),
        max_size=25,
    ),
)
def test_policy_is_that_of_the_reference_word_for_word(
    seed: int, course: list[tuple[ProtocolError | None, float | None, int]]
) -> None:
    """Each step is an attempt; a number of intervals says that it was registered so long."""
    policy = RetryPolicy(Random(seed))
    herd, tries, told_never = 1.0, 0, False
    for error, registered_for, announced in course:
        if registered_for is not None:
            policy.registered(Success(v=1, herd=announced))
            herd, told_never = float(announced or 1), False
            if registered_for >= 3:
                tries = 0
        wait = policy.ended(error, registered_for or 0.0)
        retry = error.retry if isinstance(error, RefusedError) else "now"
        if retry == "never":
            assert wait == (None if told_never else 60.0)
            told_never = True
            continue
        seconds = retry if isinstance(retry, int) else 0
        least, most = (0.0, herd) if tries == 0 else (0.5, min(30.0, 4.0 * 2.0 ** (tries - 1)))
        assert wait is not None
        assert seconds + least <= wait <= seconds + most
        tries += 1
