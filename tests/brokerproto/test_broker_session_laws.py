"""Every state times every message, and: the network's cuts never show."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brokerproto.broker_events import Stale
from brokerproto.broker_session import BrokerSession
from brokerproto.messages import (
    Bye,
    Heartbeat,
    NewEngine,
    Proof,
    Report,
    Unknown,
)
from brokerproto.states import BrokerState, Move
from tests.brokerproto.strategies import MESSAGES, frame_of, frames_of, segments, spoilt
from tests.brokerproto.talk import REFUSAL, Outcome, Talk, grant_for, listed, opened

HELLO = NewEngine("a", 0, v=1, ack=1)
TOKEN = "0" * 64


def session_in(state: str) -> BrokerSession:
    """A session of engine ``a`` in this state, that owes nothing."""
    session = BrokerSession(0.0)
    if state == "HELLO":
        return session
    session.receive_data(b"NewEngine:a:0:v=1;ack=1\n", 0.0)
    if state == "PROVING":
        # Nobody challenges yet; the table knows how it would be.
        session._move(Move.CHALLENGE)
    elif state == "OPEN":
        session.accept(grant_for(HELLO), 0.0)
    elif state != "HELD":
        session.end(REFUSAL)
        if state == "CLOSED":
            session.lose()
    session.data_to_send()
    assert session.state is BrokerState[state]
    return session


# What protocol.md, section "States", says: the next state, and the code where it ends.
HEARD = {"HELD": ("HELD", None), "CLOSING": ("CLOSING", None), "CLOSED": ("CLOSED", None)}
TABLE: dict[type[Any], dict[str, tuple[str, int | None]]] = {
    NewEngine: {
        **HEARD,
        "HELLO": ("HELD", None),
        "PROVING": ("CLOSING", 431),
        "OPEN": ("CLOSING", 431),
    },
    Proof: {
        **HEARD,
        "HELLO": ("CLOSING", 424),
        "PROVING": ("HELD", None),
        "OPEN": ("CLOSING", 431),
    },
    Heartbeat: {
        **HEARD,
        "HELLO": ("CLOSING", 424),
        "PROVING": ("CLOSING", 424),
        "OPEN": ("OPEN", None),
    },
    Report: {
        **HEARD,
        "HELLO": ("CLOSING", 424),
        "PROVING": ("CLOSING", 424),
        "OPEN": ("OPEN", None),
    },
    Bye: {
        **HEARD,
        "HELLO": ("CLOSING", None),
        "PROVING": ("CLOSING", None),
        "OPEN": ("CLOSING", None),
    },
    Unknown: {
        **HEARD,
        "HELLO": ("CLOSING", 405),
        "PROVING": ("CLOSING", 405),
        "OPEN": ("OPEN", None),
    },
}
EXAMPLES: dict[type[Any], bytes] = {
    NewEngine: b"NewEngine:a:0",
    Proof: frame_of(Proof(TOKEN, TOKEN)),
    Heartbeat: b"HeartBeat:a:1",
    Report: b"Report:b0-1:done",
    Bye: b"Bye",
    Unknown: b"Nonsense",
}
STATES = [state.name for state in BrokerState]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.__name__)
def test_every_state_meets_every_message(state: str, kind: type[Any]) -> None:
    session = session_in(state)
    before = session.failure
    events = session.receive_data(EXAMPLES[kind] + b"\n", 1.0)
    expected, code = TABLE[kind][state]
    assert session.state is BrokerState[expected]
    if code is not None:
        assert session.failure is not None
        assert session.failure.code == code
        assert session.data_to_send().startswith(b"FAILED:%d:" % code)
    else:
        assert session.failure is before
    if state in {"CLOSING", "CLOSED"}:
        assert listed(events) == [Stale(1)]
        assert session.data_to_send() == b""
    if state == "HELD":
        assert listed(events) == []
        assert session.data_to_send() == b""


UNFIT = {NewEngine: {426, 431}, Heartbeat: {422, 424, 441, 442}, Unknown: {400, 405}}


@given(
    st.sampled_from(STATES),
    st.sampled_from(sorted(EXAMPLES, key=str)),
    st.booleans(),
    st.data(),
)
def test_no_message_is_too_much_for_any_state(
    state: str, kind: type[Any], crlf: bool, data: st.DataObject
) -> None:
    frame = EXAMPLES[Unknown] if kind is Unknown else frame_of(data.draw(MESSAGES[kind]))
    session = session_in(state)
    before = session.failure
    session.receive_data(frame + (b"\r\n" if crlf else b"\n"), 1.0)
    expected, code = TABLE[kind][state]
    told = None if session.failure is None else session.failure.code
    if session.failure is before or told == code:
        assert session.state is BrokerState[expected]
    else:
        assert told in UNFIT[kind]
        assert session.state is BrokerState.CLOSING


@given(st.sampled_from(STATES), st.lists(spoilt(frames_of("engine")) | st.binary(), max_size=4))
def test_no_bytes_are_too_much_for_any_state(state: str, frames: list[bytes]) -> None:
    session = session_in(state)
    for frame in frames:
        was_over = session.is_over
        events = session.receive_data(frame + b"\n", 1.0)
        owed = session.data_to_send()
        if was_over:
            assert owed == b""
            assert all(isinstance(event, Stale) for event in listed(events))
        elif session.failure is not None:
            told = b"FAILED:%d:%s:" % (session.failure.code, session.failure.name.encode())
            assert owed.splitlines()[-1].startswith(told)
            assert session.state is BrokerState.CLOSING


# Segmentation


def outcomes(
    stream: bytes, pieces: list[bytes], *, accept: bool, wait: int
) -> tuple[Outcome, Outcome]:
    whole = Talk(accept=accept).feed([stream]).outcome()
    cut = Talk(accept=accept, wait=wait).feed(pieces).outcome()
    return whole, cut


THREE_FRAMES = b"NewEngine:a:0:v=1;ack=2\r\nHeartBeat:a:2\nReport:c:done\n"
CONVERSATIONS = {
    "three frames": THREE_FRAMES,
    "a whole life": THREE_FRAMES
    + b"\n\r\nHeartBeat:a:2:busy=c\nBye:reason=killed\nHeartBeat:a:3\n",
    "refused by its first bytes": b"GET /kill HTTP/1.1\r\nHost: a\r\n\r\n",
    "refused in its id": b"NewEngine:a\x1b[31m:0\nHeartBeat:a:1\nHeartBeat:a:2\n",
    "a number too large": b"NewEngine:a:90071992547409920\nHeartBeat:a:1\n",
    "odd verbs": b"NewEngine:a:0\nFoo\nFoo:bar\nHeartBeat:a:1\nFoo:\nHeartBeat:a:2\n",
    "a regress": b"NewEngine:a:5\r\nHeartBeat:a:6\r\nHeartBeat:a:5\r\nHeartBeat:a:7\r\n",
    "a second hello": b"NewEngine:a:0:v=1\nNewEngine:a:0:v=1\nNewEngine:a:0:v=1\nBye",
    "demanded": b"NewEngine:a:0:v=1;!must=1\nHeartBeat:a:1\n",
    "empty lines": b"\n" * 9 + b"\r\n" * 7 + b"NewEngine:a:0\n",
}


@pytest.mark.fault("C004")
@pytest.mark.parametrize("accept", [True, False], ids=["accepted", "refused"])
@pytest.mark.parametrize("wait", [0, 1, 99], ids=["at once", "a piece later", "at the end"])
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_every_cut_gives_the_same_outcome(name: str, wait: int, accept: bool) -> None:
    stream = CONVERSATIONS[name]
    for end in range(len(stream) + 1):
        pieces = [stream[:end], stream[end:]]
        whole, cut = outcomes(stream, pieces, accept=accept, wait=wait)
        assert cut == whole, end


@pytest.mark.fault("C004")
def test_every_pair_of_cuts_gives_the_same_outcome() -> None:
    whole = Talk().feed([THREE_FRAMES]).outcome()
    for one in range(len(THREE_FRAMES) + 1):
        for two in range(one, len(THREE_FRAMES) + 1):
            pieces = [THREE_FRAMES[:one], THREE_FRAMES[one:two], THREE_FRAMES[two:]]
            assert Talk(wait=1).feed(pieces).outcome() == whole


@pytest.mark.fault("C003")
@pytest.mark.parametrize("accept", [True, False], ids=["accepted", "refused"])
@pytest.mark.parametrize("wait", [0, 1, 9, 999])
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_one_byte_at_a_time_gives_the_same_outcome(name: str, wait: int, accept: bool) -> None:
    stream = CONVERSATIONS[name]
    pieces = [stream[place : place + 1] for place in range(len(stream))]
    whole, cut = outcomes(stream, pieces, accept=accept, wait=wait)
    assert cut == whole


hellos = st.sampled_from(
    [b"NewEngine:a:0", b"NewEngine:a:7:v=1;ack=1", b"NewEngine:a:0:v=99;ack=3;interval=2"]
)
steps = st.sampled_from(["beat"] * 6 + ["again", "gap", "far", "back", "busy"])
strays = (
    st.sampled_from([b"", b"", b"Report:c:done", b"Odd:x", b"HeartBeat:b:1", b"Bye", b"PING"])
    | st.sampled_from([b"x" * 1025, b"HeartBeat:a:1:x=" + b"v" * 300, b"y" * 4097])
    | spoilt(frames_of("engine"))
    | st.binary(max_size=12)
)


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Frames that mostly make sense together, and now and then do not."""
    frames = [b""] * draw(st.integers(0, 2))
    frames.append(draw(st.one_of(hellos, hellos, hellos, spoilt(hellos), strays)))
    last = 7 if b":7" in frames[-1] else 0
    for _ in range(draw(st.integers(0, 8))):
        if draw(st.integers(0, 4)) == 0:
            frames.append(draw(strays))
            continue
        how = draw(steps)
        last += {"again": 0, "gap": 4, "far": 99, "back": -1}.get(how, 1)
        busy = b":busy=c;rtt=5" if how == "busy" else b""
        frames.append(b"HeartBeat:a:%d%s" % (max(0, last), busy))
    return frames


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    ends = st.sampled_from([b"\n", b"\n", b"\r\n"])
    stream = b"".join(frame + draw(ends) for frame in draw(conversations()))
    stream += draw(st.just(b"") | st.sampled_from([b"HeartBeat:a", b"\r", b"\0"]))
    return stream, draw(segments(stream))


@given(streams(), st.booleans(), st.sampled_from([0, 0, 1, 2, 5, 999]))
@example((b"NewEngine:a:0\n" + b"x" * 4096 + b"\r\n\n", [b"NewEngine:a:0\n", b"x"]), True, 0)
def test_outcome_does_not_depend_on_the_segmentation(
    case: tuple[bytes, list[bytes]], accept: bool, wait: int
) -> None:
    stream, pieces = case
    rest = stream[sum(map(len, pieces)) :]
    whole, cut = outcomes(stream, [*pieces, rest], accept=accept, wait=wait)
    assert cut == whole
    single = [stream[place : place + 1] for place in range(len(stream))]
    whole, cut = outcomes(stream, single, accept=accept, wait=wait)
    assert cut == whole


@given(conversations(), st.booleans(), st.sampled_from([0, 1, 999]))
def test_outcome_does_not_depend_on_the_framing(
    frames: list[bytes], accept: bool, wait: int
) -> None:
    # A line end inside a message is an offence of its own, and no frame in lines; of a
    # message that is too long nothing is looked at, not even its first byte.
    unlike = (b"\n", b"\r", b"x" * 1025, b"y" * 1025)
    frames = [frame for frame in frames if not any(each in frame for each in unlike)]
    as_lines = Talk(accept=accept).feed([frame + b"\n" for frame in frames]).outcome()
    as_messages = Talk("message", accept, wait).feed(frames).outcome()
    assert as_messages == as_lines


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
def test_nothing_waits_in_a_session_that_is_over(pieces: list[bytes]) -> None:
    session = opened()
    session.end(None)
    for piece in pieces:
        session.receive_data(piece, 0.0)
        assert session._framer is not None
        assert session._framer.waiting == 0
        assert session.data_to_send() == b""
