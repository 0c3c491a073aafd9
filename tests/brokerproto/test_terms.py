"""What a broker allows and grants, on each edge."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerproto.account import Account
from brokerproto.liveness import Patience
from brokerproto.messages import NewEngine
from brokerproto.terms import MAX_INTERVAL, PLAIN_INTERVAL, Grant, Limits, Terms


def granted(limits: Limits, wish: int | None) -> int:
    return limits.grant(NewEngine("a", 0, v=1, interval=wish)).interval


def test_defaults_are_those_of_the_reference() -> None:
    limits = Limits()
    assert (limits.interval, limits.timeout_of(10), limits.handshake) == (10, 40, 10)
    assert (limits.connections, limits.accept_rate) == (65_536, 2_000)
    assert (MAX_INTERVAL, PLAIN_INTERVAL) == (300, 10)


@pytest.mark.parametrize(
    ("interval", "wish", "expected"),
    [
        (10, None, 10),
        (10, 0, 10),
        (10, 9, 10),
        (10, 10, 10),
        (10, 11, 11),
        (10, 300, 300),
        (10, 301, 10),
        (1, 1, 1),
        (300, 299, 300),
        (300, 300, 300),
        (10, 2**53 - 1, 10),
    ],
)
def test_a_wish_is_granted_between_the_brokers_interval_and_300(
    interval: int, wish: int | None, expected: int
) -> None:
    assert granted(Limits(interval=interval), wish) == expected


@pytest.mark.parametrize(
    ("interval", "configured", "of", "expected"),
    [
        (10, 0, 10, 40),
        (1, 0, 1, 4),
        (1, 0, 2, 8),
        (300, 0, 300, 1200),
        (10, 22, 10, 22),
        (10, 100, 10, 100),
        (10, 100, 20, 200),
        (10, 22, 11, 25),
        (10, 22, 300, 660),
        (60, 122, 10, 22),
        (3, 10, 10, 34),
        (1, 4, 300, 1200),
        (1, 5, 2, 10),
    ],
)
def test_timeout_is_in_proportion_and_never_too_short(
    interval: int, configured: int, of: int, expected: int
) -> None:
    assert Limits(interval=interval, timeout=configured).timeout_of(of) == expected


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2000))
def test_timeout_keeps_the_proportion(interval: int, of: int, extra: int) -> None:
    least = 2 * interval + 2
    timeout = Limits(interval=interval, timeout=least + extra).timeout_of(of)
    exact = Fraction((least + extra) * of, interval)
    assert timeout == max(2 * of + 2, math.ceil(exact))


def test_timeout_never_falls_below_twice_the_interval_and_two_seconds() -> None:
    # Two heartbeats may be lost at T = 1 s only where there is a second for the network.
    assert Limits(interval=1).timeout_of(1) == 4
    assert Limits(interval=300, timeout=602).timeout_of(10) == 22


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval": 0},
        {"interval": 301},
        {"timeout": 21},
        {"timeout": -1},
        {"interval": 1, "timeout": 3},
        {"handshake": 0},
        {"connections": 0},
        {"accept_rate": -1},
    ],
    ids=str,
)
def test_limits_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must be|too short"):
        Limits(**wrong)


@pytest.mark.parametrize(
    "right",
    [
        {"interval": 1},
        {"interval": 300},
        {"timeout": 22},
        {"interval": 1, "timeout": 4},
        {"handshake": 1},
        {"connections": 1},
        {"accept_rate": 0},
    ],
    ids=str,
)
def test_limits_at_their_edges_are_taken(right: dict[str, int]) -> None:
    limits = Limits(**right)
    assert {name: getattr(limits, name) for name in right} == right


@pytest.mark.parametrize(
    ("rate", "engines", "seconds"),
    [
        (2_000, 0, 1),
        (2_000, 1, 1),
        (2_000, 2_000, 1),
        (2_000, 2_001, 2),
        (2_000, 10_000, 5),
        (1, 7, 7),
        (0, 1_000_000, 1),
    ],
)
def test_herd_is_the_fleet_by_the_accept_rate(rate: int, engines: int, seconds: int) -> None:
    assert Limits(accept_rate=rate).herd(engines) == seconds


def test_a_plain_engine_beats_each_ten_seconds_whatever_the_broker_likes() -> None:
    terms = Limits(interval=60).grant(NewEngine("a", 0))
    assert terms == Terms(10, 40, 0, plain=True)
    assert Limits(interval=60, timeout=300).grant(NewEngine("a", 0)).timeout == 50


@pytest.mark.parametrize(("wish", "ack"), [(None, 0), (0, 0), (1, 1), (6, 6)])
def test_acks_come_as_they_are_asked_for(wish: int | None, ack: int) -> None:
    assert Limits().grant(NewEngine("a", 0, v=1, ack=wish)).ack == ack


def test_terms_carry_the_patience_that_follows_from_them() -> None:
    assert Terms(10, 40).patience == Patience(16, 28, 40)
    assert Terms(1, 4).patience == Patience(2, 3, 4)
    assert Terms(10, 40) == Terms(10, 40, 0, plain=False)
    assert Terms(10, 40) != Terms(10, 40, 1)


def test_a_grant_needs_terms_and_account_only() -> None:
    terms, account = Terms(10, 40), Account(0, 0.0)
    grant = Grant(terms, account)
    assert (grant.terms, grant.account, grant.epoch, grant.herd, grant.boot) == (
        terms,
        account,
        1,
        1,
        None,
    )
