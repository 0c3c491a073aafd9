"""What an engine makes of a broker's words, and how a conversation ends."""

from __future__ import annotations

import math

import pytest

from brokerproto.errors import (
    AuthRequiredError,
    BadFrameError,
    FrameTooLongError,
    RefusedError,
    VersionError,
)
from brokerproto.life import Life
from brokerproto.messages import DoWork, GoAway, Kill, Unusable
from brokerproto.states import EngineState
from tests.brokerproto.drawn import Drawn
from tests.brokerproto.engine_conversation import GRANTED, Conversation

PLAIN = "SUCCESS:Registered"


# Refusals, and what is no good


def test_a_refusal_is_kept_as_it_was_told() -> None:
    conversation = Conversation()
    conversation.says()
    conversation.hears("FAILED:409:DUPLICATE_ID:12:in use: here")
    failure = conversation.session.failure
    assert isinstance(failure, RefusedError)
    assert (failure.code, failure.name) == (409, "DUPLICATE_ID")
    assert (failure.retry, failure.text) == (12, "in use: here")
    assert conversation.session.state is EngineState.CLOSING
    assert conversation.says() == []


@pytest.mark.parametrize("frame", ["FAILLED:in use", "FAILLED:", "FAILLED"])
def test_the_originals_refusal_is_read_as_a_duplicate_id(frame: str) -> None:
    conversation = Conversation()
    conversation.hears(frame)
    failure = conversation.session.failure
    assert isinstance(failure, RefusedError)
    assert (failure.code, failure.name) == (409, "DUPLICATE_ID")


def test_an_engine_without_a_secret_gives_up_on_a_challenge() -> None:
    conversation = Conversation()
    conversation.says()
    conversation.hears("CHALLENGE:" + "0" * 64)
    assert isinstance(conversation.session.failure, AuthRequiredError)
    assert conversation.session.state is EngineState.CLOSING
    assert conversation.says() == []


@pytest.mark.parametrize("frame", ["Whatever", "NewEngine:a:0", "STATUS:3:x=y;x=z", "HeartBeat"])
def test_an_unknown_verb_is_passed_over(frame: str) -> None:
    for conversation in (Conversation(), Conversation.opened()):
        state = conversation.session.state
        assert conversation.hears(frame) == []
        assert conversation.session.state is state


def test_an_unknown_option_is_passed_over() -> None:
    conversation = Conversation()
    conversation.hears(GRANTED + ";color=blue")
    assert conversation.hears("PING:now=1") == []
    assert conversation.session.is_open


@pytest.mark.parametrize("frame", ["PING:!now=1", "DOWORK:5:command=b-1;!cores=2"])
def test_an_unknown_option_that_is_demanded_closes(frame: str) -> None:
    conversation = Conversation.opened()
    assert conversation.hears(frame, "PING") == []
    assert isinstance(conversation.session.failure, VersionError)
    assert conversation.says() == []


@pytest.mark.parametrize(
    "frame", ["DOWORK:86400001:command=b-1", "DOWORK:-1:command=b-1", "KILL:256:command=b-1"]
)
def test_a_bad_number_with_a_legible_command_is_handed_on(frame: str) -> None:
    conversation = Conversation.opened()
    assert conversation.hears(frame) == [Unusable("b-1")]
    assert conversation.session.is_open


@pytest.mark.parametrize(
    "frame", ["DOWORK:-1", "KILL:256:command=", "DOWORK:x:y", "ACK:x", "SUCCESS:Reg", "GOAWAY:-1"]
)
def test_any_other_malformed_frame_closes(frame: str) -> None:
    conversation = Conversation.opened()
    assert conversation.hears(frame, "DOWORK:1:command=b-1") == []
    assert isinstance(conversation.session.failure, BadFrameError)
    assert conversation.session.state is EngineState.CLOSING


def test_what_came_before_the_offence_still_counts() -> None:
    conversation = Conversation.opened()
    events = conversation.hears("DOWORK:1:command=b-1", "PING", "oops!", "KILL:1:command=b-2")
    assert events == [DoWork(1, "b-1")]
    assert conversation.says() == ["HeartBeat:e:1"]


def test_a_frame_without_end_is_refused_before_more_is_kept() -> None:
    conversation = Conversation.opened()
    conversation.session.receive_data(b"X" * 4096, 0.0)
    assert conversation.session.is_open
    conversation.session.receive_data(b"X" * 2, 0.0)
    assert isinstance(conversation.session.failure, FrameTooLongError)


# Leaving


def test_commands_are_handed_on_in_order() -> None:
    conversation = Conversation.opened()
    events = conversation.hears("DOWORK:1:command=b-1", "DOWORK:2:command=b-2", "KILL:3")
    assert events == [DoWork(1, "b-1"), DoWork(2, "b-2"), Kill(3)]


@pytest.mark.parametrize(("reason", "frame"), [(None, "Bye"), ("stopped", "Bye:reason=stopped")])
def test_leaving_says_bye_once(reason: str | None, frame: str) -> None:
    conversation = Conversation.opened()
    conversation.session.leave(reason)
    conversation.session.leave("again")
    assert conversation.says() == [frame]
    assert conversation.session.state is EngineState.CLOSING
    assert conversation.session.failure is None


def test_leaving_before_registration_says_nothing() -> None:
    conversation = Conversation()
    conversation.says()
    conversation.session.leave("stopped")
    assert conversation.says() == []
    assert conversation.session.is_over


def test_a_goaway_is_obeyed_in_its_slot_and_not_before() -> None:
    conversation = Conversation.opened()
    conversation.now = 2.0
    assert conversation.hears("GOAWAY:10000:reason=drain") == [GoAway(10_000, "drain")]
    assert conversation.says() == []
    assert conversation.sleeps_until_due() == ["HeartBeat:e:1"]
    conversation.hears("PING")
    assert conversation.says() == ["HeartBeat:e:2"]
    assert conversation.session.due == 12.0
    assert conversation.at(11.999) == []
    assert conversation.at(12.0) == ["Bye:reason=goaway"]
    assert conversation.session.state is EngineState.CLOSING
    assert conversation.session.failure is None


def test_a_slot_comes_before_a_heartbeat_of_the_same_moment() -> None:
    conversation = Conversation.opened()
    conversation.hears("GOAWAY:10000")
    assert conversation.at(10.0) == ["Bye:reason=goaway"]


def test_a_goaway_before_registration_ends_in_its_slot_without_a_word() -> None:
    conversation = Conversation()
    conversation.says()
    conversation.hears("GOAWAY:5000")
    assert conversation.session.due == 5.0
    assert conversation.at(5.0) == []
    assert conversation.session.state is EngineState.CLOSING


def test_an_end_that_is_over_is_the_end() -> None:
    conversation = Conversation.opened()
    conversation.session.leave()
    conversation.says()
    assert conversation.session.due == math.inf
    assert conversation.hears("PING", "DOWORK:1:command=b-1", "oops!") == []
    assert conversation.at(1000.0) == []
    assert conversation.session.failure is None
    conversation.session.lose()
    assert conversation.session.state is EngineState.CLOSED
    conversation.session.leave()
    conversation.session.lose()
    assert conversation.session.state is EngineState.CLOSED


def test_what_a_lost_connection_still_owed_is_dropped() -> None:
    conversation = Conversation.opened()
    conversation.hears("PING")
    conversation.session.receive_data(b"PIN", 0.0)
    conversation.session.lose()
    assert conversation.says() == []
    assert conversation.at(1000.0) == []


# A plain broker


def test_a_plain_broker_hears_heartbeats_and_nothing_else() -> None:
    drawn = Drawn()
    conversation = Conversation.opened(PLAIN, drawn, Life("e", "a1", 4))
    assert conversation.session.is_plain
    assert drawn.ranges == [(0, 10)]
    conversation.life.busy = "b-1"
    said = [conversation.sleeps_until_due() for _ in range(100)]
    assert said == [[f"HeartBeat:e:{seq}"] for seq in range(5, 105)]
    conversation.session.leave("stopped")
    assert conversation.says() == []
    assert conversation.session.state is EngineState.CLOSING


def test_a_plain_brokers_commands_have_no_id() -> None:
    conversation = Conversation.opened(PLAIN)
    assert conversation.hears("DOWORK:5", "KILL:3") == [DoWork(5), Kill(3)]
