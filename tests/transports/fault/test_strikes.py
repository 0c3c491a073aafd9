"""Freezing, cutting, breaking and healing: by an address, and by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock

from tests.transports.fault.bench import Bench
from tests.transports.recording import (
    INPROC,
    NAME,
    HalfCloseable,
    Producer,
    Recorder,
    Recorders,
    dial,
)
from transports import DialError
from transports.fault import HIGH_WATER, Amount, Faults, FaultTransport, Switch


def talk(bench: Bench, lengths: list[int]) -> None:
    for length in lengths:
        bench.near.transport.write(b"n" * length)
        bench.far.transport.write(b"f" * length)
        bench.pass_time(0.01)


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


@pytest.mark.parametrize("direction", ["in", "out", "both"])
@pytest.mark.parametrize("verb", ["freeze", "cut"])
def test_stopped_by_hand_bytes_wait_and_arrive_when_it_is_healed(verb: str, direction: str) -> None:
    bench = Bench().meet()
    getattr(bench.link, verb)(direction)
    talk(bench, [5])
    bench.pass_time(100)
    assert bench.near.received == (b"" if direction != "out" else b"fffff")
    assert bench.far.received == (b"" if direction != "in" else b"nnnnn")
    bench.link.heal()
    bench.pass_time()
    assert (bench.near.received, bench.far.received) == (b"fffff", b"nnnnn")


def test_frozen_link_does_not_hide_a_reset_but_a_clean_end() -> None:
    bench = Bench().meet()
    bench.link.freeze()
    bench.far.transport.write(b"last words")
    bench.far.transport.loseConnection()
    bench.pass_time(1)
    assert bench.near.events == []
    bench.link.heal()
    bench.pass_time(1)
    assert bench.near.events == [b"last words", ConnectionDone]
    bench.dial()
    bench.link.freeze()
    bench.far.transport.abortConnection()
    bench.pass_time(1)
    assert bench.near.events == [ConnectionLost]


def test_frozen_link_does_not_flush_but_can_be_aborted() -> None:
    bench = Bench().meet()
    bench.link.freeze()
    bench.near.transport.write(b"x")
    bench.near.transport.loseConnection()
    bench.pass_time(100)
    assert bench.near.events == []
    bench.near.transport.abortConnection()
    bench.pass_time()
    assert bench.near.events == [ConnectionAborted]
    assert bench.far.events == [ConnectionLost]


@pytest.mark.parametrize("end", ["loseConnection", "abortConnection"])
def test_cut_hides_the_end_of_the_other_side_until_it_is_healed(end: str) -> None:
    bench = Bench().meet()
    bench.link.cut()
    bench.far.transport.write(b"last words")
    getattr(bench.far.transport, end)()
    bench.pass_time(100)
    assert bench.near.events == []
    bench.near.transport.write(b"nobody hears")
    bench.link.heal()
    bench.pass_time(1)
    assert bench.near.events[-1] is (ConnectionDone if end == "loseConnection" else ConnectionLost)
    assert bench.switch.links == ()


@pytest.mark.parametrize(
    ("end", "own", "others"),
    [
        ("loseConnection", ConnectionDone, [b"last words", ConnectionDone]),
        ("abortConnection", ConnectionAborted, [ConnectionLost]),
    ],
)
def test_cut_hides_our_end_from_the_other_side_until_it_is_healed(
    end: str, own: type, others: list[Any]
) -> None:
    bench = Bench().meet()
    bench.link.cut()
    bench.near.transport.write(b"last words")
    getattr(bench.near.transport, end)()
    bench.pass_time(100)
    assert bench.near.events == [own]
    assert bench.far.events == []
    assert bench.far.transport.connected
    bench.link.heal()
    bench.pass_time(1)
    assert bench.far.events == others
    assert bench.switch.links == ()
    assert bench.clock.calls == []


@pytest.mark.parametrize("end", ["loseConnection", "abortConnection"])
def test_what_is_left_behind_in_a_cut_goes_when_the_other_side_ends_too(end: str) -> None:
    bench = Bench().meet()
    bench.link.cut()
    bench.near.transport.loseConnection()
    bench.pass_time(1)
    assert bench.link.number == 1
    bench.far.transport.write(b"is anybody there?")
    getattr(bench.far.transport, end)()
    bench.pass_time(1)
    assert bench.switch.links == ()
    assert bench.near.events == [ConnectionDone]


def test_cut_takes_no_more_last_words_than_a_system_would() -> None:
    bench = Bench().meet()
    bench.link.cut()
    bench.near.transport.write(bytes(HIGH_WATER + 1))
    bench.near.transport.loseConnection()
    bench.pass_time(100)
    assert bench.near.events == []
    bench.near.transport.abortConnection()
    bench.pass_time(1)
    assert bench.near.events == [ConnectionAborted]
    assert bench.far.events == []
    bench.link.reset()
    bench.pass_time(1)
    assert bench.far.events == [ConnectionLost]
    assert bench.switch.links == ()


def test_half_is_closed_in_a_cut_too_and_arrives_when_it_is_healed() -> None:
    bench = Bench(near=HalfCloseable, far=HalfCloseable).meet()
    bench.link.cut()
    bench.near.transport.write(b"last words")
    bench.near.transport.loseWriteConnection()
    bench.far.transport.loseWriteConnection()
    bench.pass_time(1)
    assert bench.near.events == ["write closed"]
    assert bench.far.events == ["write closed"]
    bench.link.heal()
    bench.pass_time(1)
    assert bench.near.events == ["write closed", "read closed", ConnectionDone]
    assert bench.far.events[:3] == ["write closed", b"last words", "read closed"]


def test_writer_is_stopped_in_a_cut_before_much_waits() -> None:
    bench = Bench().meet()
    producer = Producer(bench.near.transport)
    bench.near.transport.registerProducer(producer, True)
    bench.link.cut()
    bench.near.transport.write(bytes(HIGH_WATER + 1))
    assert producer.asked == ["pause"]
    bench.link.heal()
    bench.pass_time(1)
    assert producer.asked == ["pause", "resume"]
    bench.link.reset()
    bench.pass_time(1)
    assert producer.asked == ["pause", "resume", "stop"]
    assert bench.near.events == [ConnectionLost]


@pytest.mark.parametrize("hidden", ["loseConnection", "abortConnection"])
def test_reset_of_a_connection_that_has_ended_unseen_is_told(hidden: str) -> None:
    bench = Bench().meet()
    bench.link.cut()
    getattr(bench.far.transport, hidden)()
    bench.pass_time(1)
    assert bench.near.events == []
    bench.link.reset()
    bench.pass_time(1)
    assert bench.near.events == [ConnectionLost]
    bench.near.transport.abortConnection()
    bench.pass_time(1)
    assert bench.switch.links == ()


def test_reset_within_a_call_of_the_protocol_is_told_later() -> None:
    bench = Bench().meet()
    bench.near.on_data = lambda data: bench.link.reset()
    bench.far.transport.write(b"x")
    bench.pass_time(1)
    assert bench.near.events == [b"x", ConnectionLost]
    bench.near.transport.write(b"too late")


def test_switch_holds_for_connections_made_later_and_who_dials_waits() -> None:
    bench = Bench().meet()
    bench.switch.cut()
    outcome = bench.dial()
    bench.pass_time(4.9)
    assert outcome == []
    bench.pass_time(0.2)
    assert str(outcome[0].value).endswith("name: no answer within 5 s")
    later = bench.dial()
    bench.pass_time(1)
    bench.switch.heal()
    bench.pass_time()
    assert later == [bench.near]
    bench.switch.freeze()
    [frozen] = bench.dial()
    frozen.transport.write(b"x")
    bench.pass_time(1)
    assert bench.far.received == b""
    bench.switch.heal()
    bench.pass_time()
    assert bench.far.received == b"x"
    assert [link.number for link in bench.switch.links] == [1, 3, 4]
    bench.switch.reset()
    bench.pass_time()
    assert bench.switch.links == ()
    assert bench.clock.calls == []


def test_dial_that_waits_can_be_cancelled_before_and_after_it_goes_on() -> None:
    bench = Bench()
    bench.switch.cut()
    first, second = (bench.endpoint.connect(bench.callers) for _ in range(2))
    errors: list[Any] = []
    for each in first, second:
        each.addErrback(lambda failure: errors.append(failure.type))
    first.cancel()
    bench.switch.heal()
    second.cancel()
    bench.pass_time(10)
    assert len(errors) == 2
    assert bench.callers.made == []
    assert bench.clock.calls == []


def test_faults_can_be_given_without_an_address_and_an_address_adds_to_them() -> None:
    faults = Faults(reset_after=Amount.seconds(5), slice=Amount.bytes(1))
    bench = Bench("?slice=2", faults=faults).meet()
    bench.far.transport.write(b"abcd")
    bench.pass_time(6)
    assert bench.near.events == [b"ab", b"cd", ConnectionLost]


def test_sixty_of_a_hundred_are_cut_and_come_back() -> None:
    benches = [Bench().meet() for _ in range(100)]
    for bench in benches[:60]:
        bench.switch.cut()
    for bench in benches:
        bench.near.transport.write(b"1")
        bench.pass_time(1)
    assert sum(bench.far.received == b"1" for bench in benches) == 40
    for bench in benches:
        bench.switch.heal()
        bench.pass_time(1)
    assert all(bench.far.received == b"1" for bench in benches)


def test_abort_in_a_cut_that_is_healed_at_once_is_seen() -> None:
    bench = Bench().meet()
    bench.link.cut()
    bench.near.transport.abortConnection()
    bench.link.heal()
    bench.pass_time(1)
    assert bench.near.events == [ConnectionAborted]
    assert bench.far.events == [ConnectionLost]
    assert bench.switch.links == ()


def test_paused_protocol_can_close_what_has_ended_behind_its_back() -> None:
    bench = Bench(near=HalfCloseable).meet()
    bench.near.transport.loseWriteConnection()
    bench.pass_time(1)
    bench.near.transport.pauseProducing()
    bench.far.transport.loseConnection()
    bench.pass_time(1)
    bench.near.transport.loseConnection()
    bench.pass_time(1)
    assert bench.near.events[-1] is ConnectionDone
    assert bench.switch.links == ()


def test_what_is_written_when_it_is_healed_does_not_overtake_what_waited() -> None:
    bench = Bench().meet()
    bench.link.freeze()
    bench.near.transport.write(b"first")
    bench.far.transport.write(b"first")
    bench.pass_time(1)
    bench.link.heal()
    bench.near.transport.write(b"second")
    bench.far.transport.write(b"second")
    bench.pass_time(1)
    assert bench.near.received == bench.far.received == b"firstsecond"


def test_strike_comes_once_though_both_directions_are_counted() -> None:
    bench = Bench("?freeze-after=5b&freeze-for=1s").meet()
    bench.near.transport.write(b"12345")
    bench.pass_time(0.1)
    assert bench.link.is_frozen
    bench.pass_time(2)
    bench.far.transport.write(b"1234567")
    bench.pass_time(0.1)
    assert bench.near.received == b"1234567"


def test_who_is_accepted_while_a_switch_is_cut_is_cut_from_the_beginning() -> None:
    clock, switch = Clock(), Switch()
    listeners, callers = Recorders(), Recorders()
    FaultTransport(INPROC, switch=switch).server_endpoint(clock, NAME).listen(listeners)
    switch.cut()
    dial(clock, callers)
    clock.pump([0] * 5)
    [near], [far] = callers.made, listeners.made
    near.transport.write(b"hello")
    clock.pump([0] * 5)
    assert far.received == b""
    switch.heal()
    clock.pump([0] * 5)
    assert far.received == b"hello"
    near.transport.abortConnection()
    clock.pump([0] * 5)
    assert switch.links == ()
