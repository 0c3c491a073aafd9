"""Freezing, cutting and breaking, as an address says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost

from tests.transports.fault.bench import Bench, talk
from tests.transports.recording import (
    Recorder,
)
from transports import DialError


@given(
    st.sampled_from(["freeze", "half-open", "reset"]),
    st.sampled_from(["in", "out"]),
    st.integers(1, 60),
    st.lists(st.integers(0, 30), max_size=8),
    st.sampled_from(["", "&slice=1-5", "&delay=3", "&limit=1000000"]),
)
def test_strike_comes_when_exactly_so_many_bytes_have_passed(
    kind: str, direction: str, after: int, lengths: list[int], others: str
) -> None:
    bench = Bench(f"?{kind}-after={after}b&direction={direction}{others}").meet()
    talk(bench, lengths)
    bench.pass_time(10)
    received = bench.near.received if direction == "in" else bench.far.received
    assert len(received) == min(after, sum(lengths))
    is_struck = sum(lengths) >= after
    if kind == "reset":
        reasons = [ConnectionLost] * is_struck
        for end in bench.near, bench.far:
            assert [event for event in end.events if isinstance(event, type)] == reasons
    else:
        assert (bench.link.is_frozen, bench.link.is_cut) == (
            is_struck and kind == "freeze",
            is_struck and kind == "half-open",
        )
        assert bench.near.transport.connected


@pytest.mark.parametrize("kind", ["freeze", "half-open"])
def test_strike_comes_at_its_time_and_passes(kind: str) -> None:
    bench = Bench(f"?{kind}-after=5s&{kind}-for=2s").meet()
    bench.pass_time(4.9)
    talk(bench, [1])
    assert bench.near.received == b"f"
    bench.pass_time(0.2)
    talk(bench, [3])
    bench.pass_time(1.8)
    assert (bench.near.received, bench.far.received) == (b"f", b"n")
    bench.pass_time(0.3)
    assert (bench.near.received, bench.far.received) == (b"ffff", b"nnnn")


def test_reset_comes_at_its_time_and_both_sides_see_it() -> None:
    bench = Bench("?reset-after=500ms").meet()
    bench.pass_time(0.4)
    assert bench.near.transport.connected
    bench.pass_time(0.2)
    assert bench.near.events == bench.far.events == [ConnectionLost]
    assert bench.switch.links == ()
    assert bench.clock.calls == []


@pytest.mark.parametrize("after", ["0s", "0b"])
def test_reset_at_once_lets_nothing_through(after: str) -> None:
    class Speaking(Recorder):
        def connectionMade(self) -> None:
            self.transport.write(b"hello")

    bench = Bench(f"?reset-after={after}", near=Speaking).meet()
    bench.pass_time(1)
    assert bench.near.events == bench.far.events == [ConnectionLost]


def test_range_is_drawn_for_each_connection() -> None:
    bench = Bench("?reset-after=1-60s&seed=5")
    ages: list[float] = []
    for _ in range(20):
        bench.dial()
        begun = bench.clock.seconds()
        while bench.near.transport.connected:
            bench.pass_time(0.5)
        ages.append(bench.clock.seconds() - begun)
    assert 1 <= min(ages) < 15 < 45 < max(ages) <= 61


def test_share_of_the_connections_has_the_faults() -> None:
    bench = Bench("?half-open-after=0s&share=0.3")
    for _ in range(300):
        bench.dial()
    struck = sum(link.is_cut for link in bench.switch.links)
    assert 60 <= struck <= 120


def test_share_of_the_dials_is_refused() -> None:
    bench = Bench("?refuse=0.25")
    outcomes = [bench.dial()[0] for _ in range(200)]
    refused = [each.value for each in outcomes if not isinstance(each, Recorder)]
    assert 30 <= len(refused) <= 70
    assert {type(error) for error in refused} == {DialError}
    assert refused[0].address == "fault+inproc://name?refuse=0.25"


def test_refused_by_the_listening_side_is_closed_without_a_word() -> None:
    bench = Bench(accepting="?refuse=1").meet()
    bench.pass_time(1)
    assert bench.listeners.made == []
    assert bench.near.events == [ConnectionDone]


def test_strike_comes_once_though_both_directions_are_counted() -> None:
    bench = Bench("?freeze-after=5b&freeze-for=1s").meet()
    bench.near.transport.write(b"12345")
    bench.pass_time(0.1)
    assert bench.link.is_frozen
    bench.pass_time(2)
    bench.far.transport.write(b"1234567")
    bench.pass_time(0.1)
    assert bench.near.received == b"1234567"
