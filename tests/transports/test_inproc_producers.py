"""Producers on both sides of a stream, and how much passes in one turn."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock

from tests.transports.recording import Meeting, Producer, Recorders, dial, listen
from transports.inproc_stream import HIGH_WATER


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


def test_idle_pull_producer_holds_a_closing_end_until_it_is_unregistered() -> None:
    meeting = Meeting()
    meeting.near.transport.registerProducer(Producer(meeting.near.transport), False)
    meeting.near.transport.loseConnection()
    meeting.settle()
    assert meeting.near.events == []
    meeting.near.transport.unregisterProducer()
    meeting.settle()
    assert meeting.near.events == meeting.far.events == [ConnectionDone]


def test_what_was_taken_does_not_count_towards_the_mark() -> None:
    meeting = Meeting()
    producer = Producer(meeting.near.transport)
    meeting.near.transport.registerProducer(producer, True)
    for _ in range(3):
        meeting.near.transport.write(b"x" * HIGH_WATER)
        meeting.settle()
    assert producer.asked == []


def test_push_producer_is_resumed_when_its_reader_closes_instead_of_reading_on() -> None:
    meeting = Meeting()
    producer = Producer(meeting.near.transport)
    for end in meeting.near, meeting.far:
        end.transport.pauseProducing()
    meeting.far.transport.write(b"x")
    meeting.near.transport.registerProducer(producer, True)
    meeting.near.transport.write(b"x" * (HIGH_WATER + 1))
    meeting.settle()
    meeting.far.transport.loseConnection()
    meeting.settle()
    assert producer.asked == ["pause", "resume"]


def test_producer_cannot_write_after_an_abort() -> None:
    meeting = Meeting()
    meeting.near.transport.registerProducer(Producer(meeting.near.transport), True)
    meeting.near.transport.abortConnection()
    meeting.near.transport.write(b"x")
    meeting.near.transport.unregisterProducer()
    meeting.settle()
    assert meeting.near.events == [ConnectionAborted]
    assert meeting.far.events == [ConnectionLost]


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
