"""A whole fleet comes back, evenly over the herd that it was told, and none is left out."""

from __future__ import annotations

import math

import pytest

from brokerproto.terms import Limits
from tests.brokerproto.herd_simulation import Herd
from tests.uniformity import is_uniform

pytestmark = pytest.mark.fault("C067")


def settled(size: int, rate: int, seed: int = 1) -> Herd:
    """A fleet whose engines have all been told the herd of the whole."""
    herd = Herd(Limits(accept_rate=rate), size, seed)
    herd.begins()
    herd.registers()
    told = herd.limits.herd(size)
    for returning in herd.engines:
        returning.policy.herd = float(told)
    return herd


@pytest.mark.parametrize(("rate", "seed"), [(2000, 1), (50, 3)])
def test_returns_are_uniform_over_the_announced_herd(rate: int, seed: int) -> None:
    herd = settled(5000, rate, seed)
    herd.dies()
    took = herd.returns(outage=0)
    assert herd.herd == math.ceil(5000 / rate)
    assert 0 <= min(took) <= max(took) <= herd.herd
    assert is_uniform(took, 0, herd.herd)
    # Neither the first nor the last to register come first.
    assert is_uniform(took[:500], 0, herd.herd)
    assert is_uniform(took[-500:], 0, herd.herd)
    assert herd.most_in_a_second() <= rate + 4 * math.sqrt(rate)
    assert len(herd.attempts) == 5000


@pytest.mark.parametrize("outage", [0, 2, 45])
def test_all_are_back_within_thirty_seconds_and_the_herd(outage: float) -> None:
    herd = Herd(Limits(accept_rate=2000), 5000)
    herd.begins()
    herd.registers()
    herd.dies()
    took = herd.returns(outage)
    assert max(took) <= outage + herd.herd + 30
    assert herd.most_in_a_second() <= 2 * 2000
    assert herd.broker is not None
    stats = herd.broker.stats()
    assert (stats.registered, stats.opened, stats.closed) == (5000, 5000, 0)
    assert stats.rejected == {}


def test_account_of_each_life_is_joined_where_the_new_broker_met_it() -> None:
    herd = Herd(Limits(), 50)
    herd.begins()
    herd.registers()
    herd.dies()
    herd.returns(outage=1)
    assert herd.broker is not None
    for number, member in enumerate(sorted(herd.broker.fleet, key=lambda each: each.account.first)):
        assert (member.account.first, member.account.counted) == (number, 0)
        assert (member.epoch, member.account.joined) == (1, number > 0)


@pytest.mark.parametrize(("size", "rate"), [(5000, 2000), (5000, 250)])
def test_fleet_that_grew_one_by_one_comes_faster_and_by_a_logarithm_at_most(
    size: int, rate: int
) -> None:
    """Whoever registered early was told the herd of a smaller fleet."""
    herd = Herd(Limits(accept_rate=rate), size)
    herd.begins()
    herd.registers()
    told = [returning.policy.herd for returning in herd.engines]
    assert (told[0], told[-1]) == (1.0, math.ceil(size / rate))
    herd.dies()
    took = herd.returns(outage=0)
    assert all(seconds <= most for seconds, most in zip(took, told, strict=True))
    most = herd.most_in_a_second()
    harmonic = sum(1 / n for n in range(1, math.ceil(size / rate) + 1))
    assert 0.8 * harmonic * rate <= most <= 1.1 * harmonic * rate
    assert most <= rate * (1 + math.log(size / rate)) * 1.1
