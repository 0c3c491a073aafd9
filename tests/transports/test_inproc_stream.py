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
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from tests.transports.recording import (
    HalfCloseable,
    Meeting,
    Producer,
    Recorder,
    Recorders,
    dial,
    listen,
)
from transports.inproc_stream import HIGH_WATER


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


def test_push_producer_is_paused_above_the_mark_and_resumed_when_all_is_taken() -> None:
    meeting = Meeting()
    producer = Producer(meeting.near.transport)
    meeting.far.transport.pauseProducing()
    meeting.near.transport.registerProducer(producer, True)
    meeting.near.transport.write(b"x" * HIGH_WATER)
    assert producer.asked == []
    meeting.near.transport.write(b"x")
    meeting.near.transport.write(b"x")
    meeting.settle()
    assert producer.asked == ["pause"]
    meeting.far.transport.resumeProducing()
    meeting.settle()
    assert producer.asked == ["pause", "resume"]
    assert len(meeting.far.received) == HIGH_WATER + 2


def test_push_producer_does_not_keep_a_closing_end_open() -> None:
    meeting = Meeting()
    producer = Producer(meeting.near.transport)
    meeting.near.transport.registerProducer(producer, True)
    meeting.near.transport.write(b"x" * (HIGH_WATER + 1))
    meeting.near.transport.loseConnection()
    meeting.settle()
    assert producer.asked == ["pause", "resume", "stop"]
    assert len(meeting.far.received) == HIGH_WATER + 1
    assert meeting.near.events == [ConnectionDone]


def test_pull_producer_is_asked_each_time_all_was_taken() -> None:
    meeting = Meeting()
    producer = Producer(meeting.near.transport, parts=3)
    meeting.near.transport.registerProducer(producer, False)
    assert producer.asked == ["resume"]
    meeting.settle()
    assert producer.asked == ["resume"] * 3
    assert meeting.far.events == [b"2", b"1", b"0"]


@pytest.mark.parametrize("close", ["loseConnection", "loseWriteConnection"])
def test_pull_producer_may_finish_before_the_end(close: str) -> None:
    meeting = Meeting()
    producer = Producer(meeting.near.transport, parts=3)
    meeting.near.transport.registerProducer(producer, False)
    getattr(meeting.near.transport, close)()
    meeting.settle()
    assert meeting.far.received == b"210"
    assert meeting.far.events[-1:] == [ConnectionDone]


def test_two_producers_cannot_be_registered() -> None:
    meeting = Meeting()
    meeting.near.transport.registerProducer(Producer(meeting.near.transport), True)
    with pytest.raises(RuntimeError):
        meeting.near.transport.registerProducer(Producer(meeting.near.transport), True)
    meeting.near.transport.unregisterProducer()
    meeting.near.transport.registerProducer(Producer(meeting.near.transport), True)


def test_end_can_be_the_producer_of_its_peer() -> None:
    meeting = Meeting()
    relayed = Meeting()
    relayed.near.transport.registerProducer(meeting.far.transport, True)
    meeting.far.on_data = relayed.near.transport.write
    relayed.far.transport.pauseProducing()
    for _ in range(3):
        meeting.near.transport.write(b"x" * HIGH_WATER)
    meeting.settle()
    assert len(meeting.far.received) == 2 * HIGH_WATER
    relayed.far.transport.resumeProducing()
    for each in relayed, meeting, relayed:
        each.settle()
    assert len(relayed.far.received) == 3 * HIGH_WATER
    relayed.near.transport.abortConnection()
    for each in relayed, meeting:
        each.settle()
    assert meeting.far.events[-1] is ConnectionDone


def test_much_data_is_spread_over_turns() -> None:
    turns: list[float] = []

    class Counting(Clock):
        def callLater(self, delay: float, *args: Any, **kwargs: Any) -> Any:
            turns.append(delay)
            return super().callLater(delay, *args, **kwargs)

    clock, factory, callers = Counting(), Recorders(), Recorders()
    listen(clock, factory)
    dial(clock, callers)
    clock.advance(0)
    del turns[:]
    for _ in range(100):
        callers.made[0].transport.write(b"x" * 16 * 1024)
    clock.advance(0)
    assert len(factory.made[0].received) == 100 * 16 * 1024
    assert turns == [0] * 25


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
