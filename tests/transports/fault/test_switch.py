"""Freezing, cutting, breaking and healing by hand."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock

from tests.transports.fault.bench import Bench, talk
from tests.transports.recording import (
    INPROC,
    NAME,
    HalfCloseable,
    Producer,
    Recorders,
    dial,
)
from transports.fault import HIGH_WATER, Amount, Faults, FaultTransport, Switch


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
