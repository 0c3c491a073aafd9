"""What an engine says, and when: the hello, the heartbeats, how long it waits."""

from __future__ import annotations

import pytest

from brokerproto.engine_session import SUCCESS_DEADLINE
from brokerproto.errors import BadFrameError, HandshakeTimeoutError, SilentBrokerError
from brokerproto.life import Life, Wishes
from brokerproto.messages import Success
from brokerproto.states import EngineState
from tests.brokerproto.drawn import Drawn
from tests.brokerproto.engine_conversation import GRANTED, Conversation


@pytest.mark.parametrize(
    ("wishes", "seq", "hello"),
    [
        (Wishes(), 0, "NewEngine:e:0:v=1;instance=a1;ack=1"),
        (Wishes(30, 3), 0, "NewEngine:e:0:v=1;instance=a1;interval=30;ack=3"),
        (Wishes(ack=0), 7, "NewEngine:e:7:v=1;instance=a1"),
        (
            Wishes(labels={"node": "aks-1", "spot": ""}),
            0,
            "NewEngine:e:0:v=1;instance=a1;ack=1;label-node=aks-1;label-spot=",
        ),
    ],
)
def test_hello_says_life_number_and_wishes(wishes: Wishes, seq: int, hello: str) -> None:
    conversation = Conversation(life=Life("e", "a1", seq), wishes=wishes)
    assert conversation.says() == [hello]
    assert conversation.says() == []


def test_terms_are_those_of_the_success() -> None:
    conversation = Conversation()
    conversation.now = 3.0
    (success,) = conversation.hears(GRANTED)
    assert success == Success(v=1, interval=10, timeout=40, ack=1, herd=1)
    session = conversation.session
    assert (session.success, session.registered_at, session.interval) == (success, 3.0, 10)
    assert session.is_open
    assert not session.is_plain


# The schedule


@pytest.mark.parametrize(("end", "first"), [(0, 5.0), (1, 15.0)])
def test_first_heartbeat_comes_within_one_interval(end: int, first: float) -> None:
    drawn = Drawn(end)
    conversation = Conversation(drawn)
    conversation.now = 5.0
    conversation.hears(GRANTED)
    assert drawn.ranges == [(0, 10)]
    assert conversation.session.due == first
    conversation.says()
    assert conversation.at(first) == ["HeartBeat:e:1"]


@pytest.mark.parametrize(("end", "pause"), [(0, 9.0), (1, 11.0)])
def test_heartbeats_follow_each_interval_with_a_tenth_of_jitter(end: int, pause: float) -> None:
    terms = "SUCCESS:Registered:v=1;interval=10;timeout=40"
    conversation = Conversation.opened(terms, Drawn(end))
    first = conversation.session.due
    for seq in range(1, 20):
        assert conversation.session.due == pytest.approx(first + (seq - 1) * pause)
        assert conversation.sleeps_until_due() == [f"HeartBeat:e:{seq}"]


def test_nothing_is_said_before_it_is_due() -> None:
    conversation = Conversation.opened()
    assert conversation.at(9.999) == []
    assert conversation.at(10.0) == ["HeartBeat:e:1"]
    assert conversation.at(10.0) == []


def test_a_heartbeat_that_is_late_does_not_move_the_schedule() -> None:
    conversation = Conversation.opened()
    assert conversation.at(14.0) == ["HeartBeat:e:1"]
    assert conversation.session.due == 10.0 + 11.0


@pytest.mark.parametrize("now", [21.0, 1000.0])
def test_whoever_overslept_says_one_heartbeat_and_begins_anew(now: float) -> None:
    conversation = Conversation.opened()
    assert conversation.at(now) == ["HeartBeat:e:1"]
    assert conversation.session.due == now + 11.0


def test_a_granted_interval_is_kept_whatever_was_wished() -> None:
    drawn = Drawn()
    conversation = Conversation(drawn, wishes=Wishes(5))
    conversation.hears("SUCCESS:Registered:v=1;interval=60;timeout=240")
    conversation.sleeps_until_due()
    assert conversation.now == 60.0
    assert conversation.session.due == 126.0


@pytest.mark.parametrize("interval", [0, 301, 900_000, 2**53 - 1])
def test_an_interval_that_no_broker_may_grant_is_no_registration(interval: int) -> None:
    conversation = Conversation(Drawn())
    conversation.hears(f"SUCCESS:Registered:v=1;interval={interval};timeout=4")
    assert conversation.session.is_over
    assert isinstance(conversation.session.failure, BadFrameError)
    assert conversation.session.life.seq == 0


def test_heartbeats_go_on_where_the_last_connection_left_off() -> None:
    life = Life("e", "a1")
    first = Conversation.opened(life=life)
    first.sleeps_until_due()
    first.session.lose()
    second = Conversation(life=life)
    assert second.says() == ["NewEngine:e:1:v=1;instance=a1;ack=1"]
    second.hears(GRANTED)
    assert second.sleeps_until_due() == ["HeartBeat:e:2"]


def test_a_heartbeat_says_what_work_runs() -> None:
    conversation = Conversation.opened()
    conversation.life.busy = "b-1"
    assert conversation.sleeps_until_due() == ["HeartBeat:e:1:busy=b-1"]
    conversation.life.busy = None
    assert conversation.sleeps_until_due() == ["HeartBeat:e:2"]


# PING and ACK


def test_a_ping_is_answered_at_once_and_moves_no_schedule() -> None:
    conversation = Conversation.opened()
    conversation.now = 3.0
    assert conversation.hears("PING") == []
    assert conversation.says() == ["HeartBeat:e:1"]
    assert conversation.session.due == 10.0
    assert conversation.at(10.0) == ["HeartBeat:e:2"]


def test_a_ping_is_answered_while_work_runs() -> None:
    conversation = Conversation.opened()
    conversation.life.busy = "b-1"
    conversation.hears("PING")
    assert conversation.says() == ["HeartBeat:e:1:busy=b-1"]


def test_pings_within_a_quarter_of_a_second_are_answered_by_one_heartbeat() -> None:
    conversation = Conversation.opened()
    conversation.now = 3.0
    conversation.hears("PING", "PING")
    assert conversation.says() == ["HeartBeat:e:1"]
    for now in (3.125, 3.249):
        conversation.now = now
        conversation.hears("PING")
        assert conversation.says() == []
    conversation.now = 3.25
    conversation.hears("PING")
    assert conversation.says() == ["HeartBeat:e:2"]


def test_round_trip_is_measured_and_told_once_in_six() -> None:
    conversation = Conversation.opened()
    said = []
    for seq in range(1, 13):
        said += conversation.sleeps_until_due()
        conversation.now += 0.001 * seq
        conversation.hears(f"ACK:{seq}")
        assert conversation.session.rtt_us == 1000 * seq
    told = {6: ":rtt=5000", 12: ":rtt=11000"}
    assert said == [f"HeartBeat:e:{seq}{told.get(seq, '')}" for seq in range(1, 13)]


def test_nothing_is_told_of_a_round_trip_that_was_not_measured() -> None:
    conversation = Conversation.opened("SUCCESS:Registered:v=1;interval=10;timeout=40")
    said = [conversation.sleeps_until_due() for _ in range(6)]
    assert said[-1] == ["HeartBeat:e:6"]


def test_only_a_number_that_will_be_acknowledged_is_measured() -> None:
    conversation = Conversation.opened("SUCCESS:Registered:v=1;interval=10;timeout=40;ack=3")
    for _ in range(3):
        conversation.sleeps_until_due()
    sent_at = conversation.now
    conversation.sleeps_until_due()
    conversation.hears("ACK:2")
    assert conversation.session.rtt_us is None
    conversation.hears("ACK:3")
    assert conversation.session.rtt_us == round((conversation.now - sent_at) * 1_000_000)


def test_a_later_ack_settles_the_one_that_was_waited_for() -> None:
    conversation = Conversation.opened()
    conversation.sleeps_until_due()
    sent_at = conversation.now
    conversation.sleeps_until_due()
    conversation.hears("ACK:2")
    assert conversation.session.rtt_us == round((conversation.now - sent_at) * 1_000_000)


# Giving the broker up


@pytest.mark.fault("C095")
@pytest.mark.parametrize(
    ("terms", "heartbeats"),
    [
        ("interval=1;timeout=4;ack=1", 12),
        ("interval=10;timeout=40;ack=1", 12),
        ("interval=10;timeout=22;ack=1", 7),
        ("interval=10;timeout=40;ack=20", 22),
        ("interval=10;ack=2", 4),
        ("interval=10;timeout=0;ack=1", 3),
    ],
)
def test_a_broker_that_says_nothing_is_given_up_after_so_many_heartbeats(
    terms: str, heartbeats: int
) -> None:
    conversation = Conversation.opened(f"SUCCESS:Registered:v=1;{terms}")
    said = [conversation.sleeps_until_due() for _ in range(heartbeats)]
    assert said[-1] == [f"HeartBeat:e:{heartbeats}"]
    assert conversation.sleeps_until_due() == []
    failure = conversation.session.failure
    assert isinstance(failure, SilentBrokerError)
    assert (failure.heartbeats, failure.interval) == (heartbeats, conversation.session.interval)
    assert conversation.session.state is EngineState.CLOSING


@pytest.mark.parametrize("frame", ["ACK:1", "PING", "Whatever:1", "DOWORK:1:command=b-1"])
def test_any_frame_shows_that_the_broker_lives(frame: str) -> None:
    conversation = Conversation.opened("SUCCESS:Registered:v=1;interval=1;timeout=4;ack=1")
    for _ in range(12):
        conversation.sleeps_until_due()
    conversation.hears(frame)
    conversation.says()
    for _ in range(12):
        assert len(conversation.sleeps_until_due()) == 1
    assert conversation.sleeps_until_due() == []
    assert conversation.session.is_over


@pytest.mark.parametrize("terms", ["interval=1;timeout=4", "interval=1;timeout=4;ack=0"])
def test_a_broker_that_acknowledges_nothing_is_never_given_up(terms: str) -> None:
    conversation = Conversation.opened(f"SUCCESS:Registered:v=1;{terms}")
    for _ in range(200):
        assert len(conversation.sleeps_until_due()) == 1


def test_time_in_which_the_engine_did_not_run_is_not_held_against_the_broker() -> None:
    conversation = Conversation.opened("SUCCESS:Registered:v=1;interval=1;timeout=4;ack=1")
    for hours in range(1, 12):
        assert len(conversation.at(hours * 3600.0)) == 1
    assert conversation.session.is_open


def test_success_has_thirty_seconds() -> None:
    conversation = Conversation()
    conversation.says()
    assert conversation.session.due == SUCCESS_DEADLINE == 30.0
    assert conversation.at(29.999) == []
    assert not conversation.session.is_over
    assert conversation.at(30.0) == []
    assert isinstance(conversation.session.failure, HandshakeTimeoutError)
    assert conversation.session.state is EngineState.CLOSING


def test_success_at_the_last_moment_is_in_time() -> None:
    conversation = Conversation()
    conversation.now = 29.999
    conversation.hears(GRANTED)
    conversation.says()
    assert conversation.at(30.0) == []
    assert conversation.session.is_open
