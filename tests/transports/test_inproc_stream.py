"""Both ends of a stream, on a clock that a test moves by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IListeningPort,
    IPushProducer,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from tests.transports.recording import (
    Backwards,
    HalfCloseable,
    Meeting,
    Producer,
    Recorder,
    Recorders,
    dial,
    listen,
)


def test_ends_keep_twisteds_interfaces() -> None:
    meeting = Meeting()
    for end in meeting.near, meeting.far:
        for interface in ITransport, IConsumer, IPushProducer:
            assert verifyObject(interface, end.transport)
        assert verifyObject(IAddress, end.transport.getPeer())
    assert verifyObject(IListeningPort, meeting.port)
    assert meeting.dialled == [meeting.near]


@given(st.lists(st.binary(max_size=4)), st.lists(st.binary(max_size=4)))
def test_bytes_arrive_in_order_and_in_a_later_turn(out: list[bytes], back: list[bytes]) -> None:
    meeting = Meeting()
    for data in out:
        meeting.near.transport.write(data)
    meeting.far.transport.writeSequence(back)
    assert meeting.near.events == meeting.far.events == []
    meeting.settle()
    assert meeting.far.received == b"".join(out)
    assert meeting.near.received == b"".join(back)


def test_bytes_are_not_copied() -> None:
    meeting = Meeting()
    data = b"x" * 1000
    meeting.near.transport.write(data)
    meeting.settle()
    assert meeting.far.events[0] is data


@pytest.mark.parametrize("data", ["text", bytearray(b"x"), None])
def test_only_bytes_can_be_written(data: Any) -> None:
    with pytest.raises(TypeError):
        Meeting().near.transport.write(data)


def test_answer_comes_after_the_asker_has_returned() -> None:
    meeting = Meeting()
    running: list[str] = []

    def ask(data: bytes) -> None:
        running.append("in")
        if len(running) < 20:
            meeting.near.transport.write(b"?")
        assert running[-1] == "in"
        running[-1] = "out"

    def answer(data: bytes) -> None:
        assert "in" not in running
        meeting.far.transport.write(b"!")
        assert "in" not in running

    meeting.near.on_data, meeting.far.on_data = ask, answer
    meeting.near.transport.write(b"?")
    meeting.settle()
    assert running == ["out"] * 20


def test_losing_the_connection_flushes_first() -> None:
    meeting = Meeting()
    meeting.near.transport.write(b"one")
    meeting.near.transport.loseConnection()
    meeting.near.transport.write(b"two")
    meeting.near.transport.loseConnection()
    assert meeting.near.transport.disconnecting
    assert meeting.near.transport.connected
    meeting.settle()
    assert meeting.far.events == [b"one", ConnectionDone]
    assert meeting.near.events == [ConnectionDone]
    assert not meeting.near.transport.connected


def test_nothing_is_received_after_losing_the_connection() -> None:
    meeting = Meeting()
    meeting.far.transport.write(b"too late")
    meeting.near.transport.loseConnection()
    meeting.settle()
    assert meeting.near.events == meeting.far.events == [ConnectionDone]


def test_both_ends_may_close_at_once() -> None:
    meeting = Meeting()
    for end in meeting.near, meeting.far:
        end.transport.write(b"x")
        end.transport.loseConnection()
    meeting.settle()
    assert meeting.near.events[-1:] == meeting.far.events[-1:] == [ConnectionDone]


def test_closing_waits_for_a_paused_peer_and_an_abort_does_not() -> None:
    meeting = Meeting()
    meeting.far.transport.pauseProducing()
    meeting.near.transport.write(b"x")
    meeting.near.transport.loseConnection()
    meeting.settle()
    assert meeting.near.events == meeting.far.events == []
    meeting.near.transport.abortConnection()
    meeting.settle()
    assert meeting.near.events == [ConnectionAborted]
    assert meeting.far.events == [ConnectionLost]


def test_closing_ends_when_a_paused_peer_reads_on() -> None:
    meeting = Meeting()
    meeting.far.transport.pauseProducing()
    meeting.near.transport.write(b"x")
    meeting.near.transport.loseConnection()
    meeting.settle()
    meeting.far.transport.resumeProducing()
    assert meeting.far.events == []
    meeting.settle()
    assert meeting.far.events == [b"x", ConnectionDone]
    assert meeting.near.events == [ConnectionDone]


def test_closing_ends_when_a_paused_peer_closes_too() -> None:
    meeting = Meeting()
    meeting.far.transport.pauseProducing()
    meeting.near.transport.write(b"x")
    meeting.near.transport.loseConnection()
    meeting.settle()
    meeting.far.transport.loseConnection()
    meeting.settle()
    assert meeting.near.events == meeting.far.events == [ConnectionDone]


def test_paused_end_learns_of_the_end_when_it_reads_on() -> None:
    meeting = Meeting()
    meeting.far.transport.pauseProducing()
    meeting.near.transport.loseConnection()
    meeting.settle()
    assert meeting.near.events == [ConnectionDone]
    assert meeting.far.events == []
    meeting.far.transport.write(b"to nobody")
    meeting.settle()
    assert meeting.far.events == []
    meeting.far.transport.resumeProducing()
    meeting.settle()
    assert meeting.far.events == [ConnectionDone]


def test_abort_drops_what_waits_and_resets_the_peer() -> None:
    meeting = Meeting()
    meeting.near.transport.write(b"out")
    meeting.far.transport.write(b"back")
    meeting.near.transport.abortConnection()
    meeting.near.transport.abortConnection()
    meeting.near.transport.write(b"more")
    assert meeting.near.events == []
    meeting.settle()
    assert meeting.near.events == [ConnectionAborted]
    assert meeting.far.events == [ConnectionLost]


def test_nothing_turns_an_abort_into_a_clean_end() -> None:
    clock, factory, callers = Backwards(), Recorders(), Recorders()
    listen(clock, factory)
    dial(clock, callers)
    clock.settle()
    callers.made[0].transport.abortConnection()
    callers.made[0].transport.loseWriteConnection()
    callers.made[0].transport.loseConnection()
    clock.settle()
    assert callers.made[0].events == [ConnectionAborted]
    assert factory.made[0].events == [ConnectionLost]


def test_lost_end_ignores_everything() -> None:
    meeting = Meeting()
    transport = meeting.near.transport
    transport.abortConnection()
    meeting.settle()
    before = list(meeting.near.events), list(meeting.far.events)
    transport.write(b"x")
    transport.loseConnection()
    transport.loseWriteConnection()
    transport.abortConnection()
    transport.pauseProducing()
    transport.resumeProducing()
    transport.stopProducing()
    late = Producer(transport)
    transport.registerProducer(late, True)
    transport.unregisterProducer()
    meeting.settle()
    assert late.asked == ["stop"]
    assert (meeting.near.events, meeting.far.events) == before
    assert meeting.clock.getDelayedCalls() == []


def test_half_close_leaves_the_other_half_open() -> None:
    meeting = Meeting(HalfCloseable, HalfCloseable)
    meeting.near.transport.write(b"question")
    meeting.near.transport.loseWriteConnection()
    meeting.near.transport.loseWriteConnection()
    meeting.near.transport.write(b"dropped")
    meeting.settle()
    assert meeting.near.events == ["write closed"]
    assert meeting.far.events == [b"question", "read closed"]
    meeting.far.transport.write(b"answer")
    meeting.far.transport.loseWriteConnection()
    meeting.settle()
    assert meeting.near.events == ["write closed", b"answer", "read closed", ConnectionDone]
    assert meeting.far.events == [b"question", "read closed", "write closed", ConnectionDone]


def test_half_close_ends_a_peer_that_cannot_live_with_half() -> None:
    meeting = Meeting(HalfCloseable, Recorder)
    meeting.near.transport.loseWriteConnection()
    meeting.settle()
    assert meeting.far.events == [ConnectionDone]
    assert meeting.near.events == ["write closed", "read closed", ConnectionDone]


def test_closing_end_flushes_though_the_other_half_has_ended() -> None:
    meeting = Meeting(HalfCloseable, Recorder)
    meeting.near.transport.pauseProducing()
    meeting.far.transport.write(b"last words")
    meeting.far.transport.loseConnection()
    meeting.near.transport.loseWriteConnection()
    meeting.settle()
    meeting.near.transport.resumeProducing()
    meeting.settle()
    assert meeting.near.events == ["write closed", b"last words", "read closed", ConnectionDone]
    assert meeting.far.events == [ConnectionDone]


def test_closing_after_a_half_close_is_a_clean_end() -> None:
    meeting = Meeting(HalfCloseable, HalfCloseable)
    meeting.near.transport.loseWriteConnection()
    meeting.settle()
    meeting.near.transport.loseConnection()
    meeting.settle()
    assert meeting.near.events == ["write closed", ConnectionDone]
    assert meeting.far.events == ["read closed"]
    meeting.far.transport.loseConnection()
    meeting.settle()
    assert meeting.far.events == ["read closed", ConnectionDone]


def test_writing_on_to_an_end_that_is_gone_is_answered_by_a_reset() -> None:
    meeting = Meeting(Recorder, HalfCloseable)
    meeting.near.transport.loseConnection()
    meeting.settle()
    assert meeting.far.events == ["read closed"]
    meeting.far.transport.write(b"anybody?")
    meeting.settle()
    assert meeting.far.events == ["read closed", ConnectionLost]


def test_last_words_to_an_end_that_is_gone_make_no_reset() -> None:
    meeting = Meeting(Recorder, HalfCloseable)
    meeting.near.transport.loseConnection()
    meeting.settle()
    meeting.far.transport.write(b"bye")
    meeting.far.transport.loseConnection()
    meeting.settle()
    assert meeting.far.events == ["read closed", ConnectionDone]


def test_paused_end_receives_nothing_until_it_resumes() -> None:
    meeting = Meeting()
    meeting.far.on_data = lambda data: meeting.far.transport.pauseProducing()
    for data in b"one", b"two":
        meeting.near.transport.write(data)
    meeting.settle()
    assert meeting.far.events == [b"one"]
    meeting.far.transport.resumeProducing()
    meeting.far.transport.resumeProducing()
    assert meeting.far.events == [b"one"]
    meeting.settle()
    assert meeting.far.events == [b"one", b"two"]


def test_error_in_data_received_costs_only_that_connection(logged_failures: list[Failure]) -> None:
    meeting = Meeting()
    dial(meeting.clock, meeting.callers)
    meeting.settle()
    meeting.far.on_data = lambda data: 1 / 0
    for caller in meeting.callers.made:
        caller.transport.write(b"x")
    meeting.settle()
    assert meeting.far.events == [b"x", ZeroDivisionError]
    assert meeting.near.events == [ConnectionDone]
    assert meeting.listeners.made[1].events == [b"x"]
    assert [failure.type for failure in logged_failures] == [ZeroDivisionError]
    logged_failures.clear()
