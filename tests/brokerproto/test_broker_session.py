"""The broker's half of a conversation, example by example and on each edge."""

from __future__ import annotations

from inspect import signature

import pytest

from brokerproto.account import Account, Gap, Repeat, Totals
from brokerproto.broker_events import Recovered, Stale
from brokerproto.broker_session import BrokerSession
from brokerproto.errors import HeartbeatTimeoutError, LocalProtocolError
from brokerproto.liveness import Patience
from brokerproto.messages import (
    Ack,
    Bye,
    DoWork,
    GoAway,
    Heartbeat,
    Kill,
    NewEngine,
    Ping,
    Report,
    Success,
)
from brokerproto.states import BrokerState
from brokerproto.terms import Grant, Terms
from tests.brokerproto.talk import REFUSAL, Talk, grant_for, listed, opened, refusals, said

# The hello


def test_a_hello_is_a_question_and_its_answer_registers() -> None:
    session = BrokerSession(3.0)
    hello = NewEngine("a", 4, v=1, instance="0f", interval=5, ack=6)
    line = b"NewEngine:a:4:v=1;instance=0f;interval=5;ack=6\n"
    assert listed(session.receive_data(line, 3.5)) == [hello]
    assert (session.hello, session.terms, session.account) == (hello, None, None)
    assert session.data_to_send() == b""
    account = Account(4, 5.0)
    grant = Grant(Terms(5, 20, 6), account, epoch=2, herd=3, boot="b0")
    assert list(session.accept(grant, 5.0)) == []
    assert session.data_to_send() == (
        b"SUCCESS:Registered:v=1;epoch=2;interval=5;timeout=20;ack=6;herd=3;boot=b0\n"
    )
    assert session.is_open
    assert (session.terms, session.account, session.seen) == (grant.terms, account, 5.0)
    assert session.patience == Patience.of(5, 20)


def test_a_plain_engine_is_told_no_options() -> None:
    session = BrokerSession(0.0)
    session.receive_data(b"NewEngine:a:0\n", 0.0)
    session.accept(grant_for(NewEngine("a", 0)), 0.0)
    assert session.data_to_send() == b"SUCCESS:Registered\n"


def test_no_acks_are_announced_where_none_were_asked_for() -> None:
    session = BrokerSession(0.0)
    session.receive_data(b"NewEngine:a:0:v=1\n", 0.0)
    session.accept(Grant(Terms(1, 4, 0), Account(0, 0.0)), 0.0)
    assert said(session) == [Success(v=1, epoch=1, interval=1, timeout=4, herd=1)]
    session.receive_data(b"HeartBeat:a:1\nHeartBeat:a:1\n", 0.0)
    assert session.data_to_send() == b""


def test_a_hello_may_be_refused() -> None:
    session = BrokerSession(0.0)
    session.receive_data(b"NewEngine:a:0\nHeartBeat:a:1\nHeart", 0.0)
    assert list(session.end(REFUSAL)) == [Stale(1)]
    assert session.data_to_send() == (b"FAILED:409:DUPLICATE_ID:7:this id is registered\n")
    assert listed(session.receive_data(b"Beat:a:2\n", 0.0)) == [Stale(1)]
    assert session.data_to_send() == b""


def test_nothing_can_be_answered_that_was_not_asked() -> None:
    hello = NewEngine("a", 0)
    with pytest.raises(LocalProtocolError):
        BrokerSession(0.0).accept(grant_for(hello), 0.0)
    session = opened()
    with pytest.raises(LocalProtocolError):
        session.accept(grant_for(hello), 0.0)


@pytest.mark.parametrize(("waiting", "full"), [(4095, False), (4096, True), (5000, True)])
def test_a_session_is_full_where_4096_bytes_wait_for_a_decision(waiting: int, full: bool) -> None:
    session = BrokerSession(0.0)
    session.receive_data(b"NewEngine:a:0\n" + b"x" * waiting, 0.0)
    assert session.is_full is full
    session.accept(grant_for(NewEngine("a", 0)), 0.0)
    assert not session.is_full


def test_a_session_without_bytes_is_not_full() -> None:
    session = BrokerSession(0.0)
    assert not session.is_full
    session.receive_data(b"NewEngine:a:0\n", 0.0)
    assert not session.is_full


# Heartbeats


@pytest.mark.fault("C001")
@pytest.mark.parametrize("count", [2, 1000])
def test_many_frames_in_one_segment_are_all_counted(count: int) -> None:
    session = opened()
    stream = b"".join(b"HeartBeat:a:%d\n" % seq for seq in range(1, count + 1))
    assert listed(session.receive_data(stream, 0.0)) == []
    assert said(session) == [Ack(seq) for seq in range(1, count + 1)]
    assert session.account is not None
    assert session.account.totals == Totals(count, 0, 0)


@pytest.mark.fault("C002")
def test_a_heartbeat_behind_its_hello_waits_for_the_decision() -> None:
    session = BrokerSession(0.0)
    events = session.receive_data(b"NewEngine:a:0:v=1;ack=1\nHeartBeat:a:1\nHeartBeat:a:3\n", 0.0)
    assert listed(events) == [NewEngine("a", 0, v=1, ack=1)]
    assert list(session.accept(grant_for(NewEngine("a", 0, 1, ack=1)), 0.0)) == [Gap(2, 2)]
    assert said(session)[1:] == [Ack(1), Ack(3)]


@pytest.mark.fault("C003")
def test_frames_byte_by_byte_are_the_same_frames() -> None:
    stream = b"NewEngine:a:0:v=1;ack=1\r\nHeartBeat:a:1\r\nHeartBeat:a:2\r\nBye:reason=done\r\n"
    whole = Talk().feed([stream]).outcome()
    assert Talk().feed(stream[n : n + 1] for n in range(len(stream))).outcome() == whole
    assert whole.totals == Totals(2, 0, 0)
    assert whole.state is BrokerState.CLOSING


@pytest.mark.fault("C016")
def test_a_repeat_is_acknowledged_again() -> None:
    session = opened(b"NewEngine:a:0:v=1;ack=3\n")
    events = session.receive_data(b"HeartBeat:a:1\nHeartBeat:a:1\n", 2.0)
    assert listed(events) == [Repeat(1)]
    assert said(session) == [Ack(1)]
    assert session.seen == 2.0
    assert session.account is not None
    assert session.account.totals == Totals(1, 0, 1)


@pytest.mark.fault("C017")
def test_a_gap_is_one_event_and_the_number_after_it_is_in_order() -> None:
    session = opened()
    events = session.receive_data(b"HeartBeat:a:1\nHeartBeat:a:3\nHeartBeat:a:4\n", 0.0)
    assert listed(events) == [Gap(2, 2)]
    assert said(session) == [Ack(1), Ack(3), Ack(4)]
    assert session.account is not None
    assert session.account.totals == Totals(3, 1, 0)


@pytest.mark.parametrize(("silence", "largest"), [(0.0, 8), (0.375, 8), (0.5, 9), (3.0, 14)])
def test_a_gap_of_the_largest_size_is_a_loss_and_one_more_is_an_error(
    silence: float, largest: int
) -> None:
    session = opened()
    session.receive_data(b"HeartBeat:a:%d\n" % (largest + 1), silence)
    assert said(session) == [Ack(largest + 1)]
    session = opened()
    session.receive_data(b"HeartBeat:a:%d\n" % (largest + 2), silence)
    assert refusals(session) == [422]
    assert session.seen == 0.0


@pytest.mark.fault("C018")
def test_a_number_lower_than_the_last_ends_the_session_and_is_no_sign_of_life() -> None:
    session = opened()
    session.receive_data(b"HeartBeat:a:1\nHeartBeat:a:2\n", 1.0)
    session.data_to_send()
    session.receive_data(b"HeartBeat:a:1\n", 3.0)
    assert refusals(session) == [441]
    assert session.seen == 1.0
    assert session.account is not None
    assert session.account.totals == Totals(2, 0, 0)


@pytest.mark.fault("C020")
def test_another_engines_id_ends_the_session_and_ages_neither() -> None:
    victim, session = opened(b"NewEngine:b:0:v=1\n"), opened()
    session.receive_data(b"HeartBeat:b:1\n", 3.0)
    assert refusals(session) == [442]
    assert (session.seen, victim.seen) == (0.0, 0.0)
    assert session.account is not None
    assert session.account.totals == Totals()


def test_acks_come_at_each_multiple_of_what_was_asked_for() -> None:
    session = opened(b"NewEngine:a:4:v=1;ack=3\n")
    session.receive_data(b"".join(b"HeartBeat:a:%d\n" % seq for seq in range(5, 13)), 0.0)
    assert said(session) == [Ack(6), Ack(9), Ack(12)]


def test_what_a_heartbeat_tells_is_kept() -> None:
    session = opened()
    session.receive_data(b"HeartBeat:a:1:busy=b0-1;rtt=250\n", 0.0)
    assert (session.busy, session.rtt_us) == ("b0-1", 250)
    session.receive_data(b"HeartBeat:a:2\n", 0.0)
    assert (session.busy, session.rtt_us) == (None, 250)


def test_whoever_is_attentive_hears_each_heartbeat_after_what_it_showed() -> None:
    session = opened()
    session.attentive = True
    session.pings = 2
    events = session.receive_data(b"HeartBeat:a:2\nHeartBeat:a:2\nHeartBeat:a:3:busy=c\n", 0.0)
    assert listed(events) == [
        *(Recovered(), Gap(1, 1), Heartbeat("a", 2)),
        *(Repeat(2), Heartbeat("a", 2)),
        Heartbeat("a", 3, busy="c"),
    ]
    assert session.pings == 0


@pytest.mark.parametrize("frame", [b"HeartBeat:a:1", b"HeartBeat:a:0", b"Report:c:done"])
def test_any_valid_frame_is_a_sign_of_life(frame: bytes) -> None:
    session = opened()
    session.pings = 1
    assert Recovered() in listed(session.receive_data(frame + b"\n", 9.0))
    assert (session.seen, session.pings) == (9.0, 0)


# Our own side


def test_an_engine_is_pinged_and_a_plain_one_is_not() -> None:
    session, plain = opened(), opened(b"NewEngine:a:0\n")
    session.ping()
    plain.ping()
    assert said(session) == [Ping()]
    assert plain.data_to_send() == b""


def test_an_engine_is_sent_away_and_a_plain_one_is_not() -> None:
    session, plain = opened(), opened(b"NewEngine:a:0\n")
    session.go_away(2500)
    plain.go_away(2500)
    assert said(session) == [GoAway(2500, "drain")]
    assert plain.data_to_send() == b""
    assert session.is_open


def test_commands_carry_their_id_but_not_to_a_plain_engine() -> None:
    session, plain = opened(), opened(b"NewEngine:a:0\n")
    for each in (session, plain):
        each.command(DoWork(250, "b0-1"), 1.0)
        each.command(Kill(3, "b0-2"), 1.0)
    assert said(session) == [DoWork(250, "b0-1"), Kill(3, "b0-2")]
    assert said(plain) == [DoWork(250), Kill(3)]
    assert session.seen == 0.0


def test_a_plain_engine_at_work_is_not_silent() -> None:
    plain = opened(b"NewEngine:a:0\n")
    plain.command(DoWork(50_000, "b0-1"), 1.0)
    assert plain.seen == 51.0
    plain.receive_data(b"HeartBeat:a:1\n", 2.0)
    assert plain.seen == 51.0
    plain.command(DoWork(500, "b0-2"), 2.0)
    assert plain.seen == 51.5
    plain.receive_data(b"HeartBeat:a:2\n", 52.0)
    assert plain.seen == 52.0
    plain.command(DoWork(1000, "b0-3"), 60.0)
    assert plain.seen == 61.0


def test_a_command_needs_a_registered_engine() -> None:
    fresh, over = BrokerSession(0.0), opened()
    over.end(None)
    for session in (fresh, over):
        with pytest.raises(LocalProtocolError):
            session.command(Kill(0), 0.0)


def test_a_bye_ends_a_session_without_a_word() -> None:
    session = opened()
    events = session.receive_data(b"Bye:reason=goaway\nHeartBeat:a:1\n\n", 0.0)
    assert listed(events) == [Bye("goaway"), Stale(2)]
    assert session.bye == Bye("goaway")
    assert session.failure is None
    assert session.state is BrokerState.CLOSING
    assert session.data_to_send() == b""


def test_an_end_comes_once() -> None:
    session = opened()
    error = HeartbeatTimeoutError("silent")
    assert list(session.end(error)) == []
    assert refusals(session) == [440]
    assert list(session.end(REFUSAL)) == []
    assert session.data_to_send() == b""
    assert session.failure is error


def test_an_end_may_be_silent() -> None:
    session = opened()
    session.end(None)
    assert (session.data_to_send(), session.failure) == (b"", None)
    assert session.is_over


@pytest.mark.fault("C046")
def test_what_comes_after_the_end_is_counted_and_changes_nothing() -> None:
    session = opened()
    session.receive_data(b"HeartBeat:a:1\n", 1.0)
    session.end(REFUSAL)
    session.data_to_send()
    assert listed(session.receive_data(b"HeartBeat:a:2\nBye\nHeartBeat", 5.0)) == [Stale(2)]
    assert listed(session.receive_data(b":a:3\n", 5.0)) == [Stale(1)]
    assert (session.seen, session.bye, session.data_to_send()) == (1.0, None, b"")
    assert session.account is not None
    assert session.account.totals == Totals(1, 0, 0)


def test_a_lost_connection_takes_all_that_was_owed() -> None:
    session = opened()
    session.ping()
    session.lose()
    assert session.state is BrokerState.CLOSED
    assert (session.data_to_send(), session.patience) == (b"", None)
    assert session.is_over
    session.lose()
    session.ping()
    assert list(session.end(REFUSAL)) == []
    assert session.data_to_send() == b""
    assert session.failure is None


def test_a_session_at_rest_keeps_no_framer() -> None:
    session = opened()
    session.receive_data(b"HeartBeat:a:1\n", 0.0)
    assert session._framer is None
    session.receive_data(b"Heart", 0.0)
    assert session._framer is not None


def test_a_session_is_made_of_a_time_and_a_framing_only() -> None:
    assert list(signature(BrokerSession).parameters) == ["now", "framing"]


def test_a_report_is_handed_on() -> None:
    session = opened()
    events = session.receive_data(b"Report:b0-1:failed:ms=3;error=killed\n", 4.0)
    assert listed(events) == [Report("b0-1", "failed", 3, "killed")]
    assert session.data_to_send() == b""


def test_a_line_end_inside_a_message_ends_the_session() -> None:
    session = BrokerSession(0.0, "message")
    session.receive_data(b"NewEngine:a:0\n", 0.0)
    assert refusals(session) == [400]
    session = BrokerSession(0.0, "message")
    session.receive_data(b"NewEngine:a:0", 0.0)
    assert session.state is BrokerState.HELD
