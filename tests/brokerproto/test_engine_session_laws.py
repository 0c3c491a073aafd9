"""The engine's session in every state, under every message, however it is cut."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerproto.engine_session import EngineSession
from brokerproto.errors import AuthRequiredError, BadFrameError, ProtocolError, RefusedError
from brokerproto.framing import Framing
from brokerproto.life import Life
from brokerproto.messages import Heartbeat
from brokerproto.states import EngineState
from brokerproto.wire import encode
from tests.brokerproto.engine_conversation import GRANTED
from tests.brokerproto.strategies import frames_of, segments, spoilt

FRAMES = {
    "CHALLENGE": "CHALLENGE:" + "0" * 64,
    "SUCCESS": GRANTED,
    "plain SUCCESS": "SUCCESS:Registered",
    "ACK": "ACK:1",
    "PING": "PING",
    "DOWORK": "DOWORK:5:command=b-1",
    "KILL": "KILL:5:command=b-1",
    "unusable DOWORK": "DOWORK:-5:command=b-1",
    "unusable KILL": "KILL:300:command=b-1",
    "GOAWAY": "GOAWAY:100",
    "FAILED": "FAILED:409:DUPLICATE_ID:5:in use",
    "FAILLED": "FAILLED:in use",
    "unknown": "Whatever:1",
    "malformed": "ACK",
}

_OPENING = {"SUCCESS", "plain SUCCESS"}
_REFUSALS = {"FAILED", "FAILLED"}
_ANYWHERE = {"GOAWAY", "unknown"}
_REGISTERED = {"ACK", "PING", "DOWORK", "KILL", "unusable DOWORK", "unusable KILL"}


def session_in(state: EngineState, seed: int = 1) -> EngineSession:
    """A session that stands in `state`, and owes nothing."""
    session = EngineSession(Life("e", "a1"), 0.0, Random(seed))
    if state is EngineState.PROVED:
        # No secret is known here, so nothing leads to this state yet.
        session.state = state
    elif state is not EngineState.GREETING:
        session.receive_data(f"{GRANTED}\n".encode(), 0.0)
    if state in (EngineState.CLOSING, EngineState.CLOSED):
        session.leave()
    if state is EngineState.CLOSED:
        session.lose()
    session.data_to_send()
    assert session.state is state
    return session


def expected(state: EngineState, name: str) -> tuple[EngineState, type[ProtocolError] | None]:
    """What the reference says of a message in a state: where it leads, and the failure."""
    if state in (EngineState.CLOSING, EngineState.CLOSED) or name in _ANYWHERE:
        return state, None
    if name in _REFUSALS:
        return EngineState.CLOSING, RefusedError
    if state is EngineState.GREETING and name == "CHALLENGE":
        return EngineState.CLOSING, AuthRequiredError
    if state is not EngineState.OPEN and name in _OPENING:
        return EngineState.OPEN, None
    if state is EngineState.OPEN and name in _REGISTERED:
        return EngineState.OPEN, None
    return EngineState.CLOSING, BadFrameError


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("state", EngineState)
def test_every_state_has_an_answer_to_every_message(state: EngineState, name: str) -> None:
    session = session_in(state)
    events = session.receive_data(f"{FRAMES[name]}\n".encode(), 1.0) or ()
    following, failure = expected(state, name)
    assert session.state is following
    assert type(session.failure) is (failure or type(None))
    handed_on = _REGISTERED | _OPENING | {"GOAWAY"}
    speaks = not session.is_over and name in handed_on - {"ACK", "PING"}
    assert len(events) == speaks
    beats = state is EngineState.OPEN and name == "PING"
    assert session.data_to_send() == (b"HeartBeat:e:1\n" if beats else b"")


def outcome(session: EngineSession, parts: list[bytes]) -> tuple[object, ...]:
    """All that can be seen of a session that was given these segments."""
    events = [event for part in parts for event in session.receive_data(part, 1.0) or ()]
    failure = session.failure
    return (
        events,
        session.state,
        type(failure),
        str(failure),
        session.data_to_send(),
        session.life.seq,
        session.rtt_us,
        session.due,
    )


STREAM = "\n".join(
    [GRANTED, "PING", "\r", "DOWORK:5:command=b-1\r", "GOAWAY:9000", "ACK:1", "KILL:x"]
).encode()


@pytest.mark.fault("C004")
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"", b"\nPING\n"])
def test_every_split_of_a_conversation_has_the_same_outcome(end: bytes) -> None:
    stream = STREAM + end
    whole = outcome(session_in(EngineState.GREETING), [stream])
    for cut in range(len(stream) + 1):
        parts = [stream[:cut], stream[cut:]]
        assert outcome(session_in(EngineState.GREETING), parts) == whole


@pytest.mark.fault("C003")
def test_one_byte_at_a_time_has_the_same_outcome() -> None:
    whole = outcome(session_in(EngineState.GREETING), [STREAM])
    bytewise = [STREAM[at : at + 1] for at in range(len(STREAM))]
    assert outcome(session_in(EngineState.GREETING), bytewise) == whole


conversations = st.lists(
    st.sampled_from([*FRAMES.values(), "", "PING"]).map(str.encode)
    | frames_of("broker")
    | spoilt(frames_of("broker")),
    max_size=12,
).map(lambda frames: b"".join(frame + b"\n" for frame in frames))


@given(st.data(), conversations, st.integers(0, 99))
def test_outcome_does_not_depend_on_chunking(data: st.DataObject, stream: bytes, seed: int) -> None:
    state = data.draw(st.sampled_from([EngineState.GREETING, EngineState.OPEN]))
    parts = data.draw(segments(stream))
    whole = outcome(session_in(state, seed), [stream])
    assert outcome(session_in(state, seed), parts) == whole


@given(st.lists(st.binary() | spoilt(frames_of("broker")).map(lambda frame: frame + b"\n")))
def test_whatever_a_broker_says_is_no_error_of_ours(parts: list[bytes]) -> None:
    for state in EngineState:
        session = session_in(state)
        outcome(session, parts)
        session.tick(1000.0)
        session.leave()
        session.lose()
        assert session.state is EngineState.CLOSED
        assert session.data_to_send() == b""


def live(acks: list[list[int]], cut: int, seed: int) -> list[tuple[object, ...]]:
    """What shows of a session that beats, and hears these of its last numbers acknowledged.

    Args:
        acks: After each heartbeat: how far behind the last number each ACK is.
        cut: After how many bytes what comes is cut in two; 0 for not at all.
        seed: Draws the schedule.
    """
    session = EngineSession(Life("e", "a1"), 0.0, Random(seed))
    session.receive_data(f"{GRANTED}\n".encode(), 0.0)
    seen: list[tuple[object, ...]] = []
    for behind in acks:
        now = session.due
        session.tick(now)
        for number in behind:
            data = b"ACK:%d\n" % max(0, session.life.seq - number)
            for part in filter(None, (data[:cut], data[cut:])):
                assert not session.receive_data(part, now + 0.125)
        life = session.life
        owed = session.data_to_send()
        seen.append((owed, session.state, session.due, session.rtt_us, life.settled, life.seq))
    return seen


@given(
    st.lists(st.lists(st.integers(0, 3), max_size=3), max_size=40),
    st.integers(1, 5),
    st.integers(0, 99),
)
def test_ack_that_is_read_by_a_glance_does_what_any_ack_does(
    acks: list[list[int]], cut: int, seed: int
) -> None:
    assert live(acks, 0, seed) == live(acks, cut, seed)


@given(
    st.from_regex(r"\A[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?\Z"), st.integers(0, 2**53 - 2)
)
def test_heartbeat_is_written_as_any_frame_is(engine_id: str, seq: int) -> None:
    session = EngineSession(Life(engine_id, "a1", seq), 0.0, Random(1))
    session.receive_data(f"{GRANTED}\n".encode(), 0.0)
    session.data_to_send()
    session.tick(session.due)
    assert session.data_to_send() == encode(Heartbeat(engine_id, seq + 1))


def test_glance_is_no_way_around_the_framing() -> None:
    framings: tuple[Framing, ...] = ("lines", "message")
    for framing in framings:
        session = EngineSession(Life("e", "a1"), 0.0, Random(1), framing=framing)
        end = "\n" if framing == "lines" else ""
        session.receive_data(f"{GRANTED}{end}".encode(), 0.0)
        session.tick(session.due)
        session.receive_data(b"ACK:1\n", 1.0)
        assert (session.state is EngineState.OPEN) is (framing == "lines")
    session = EngineSession(Life("e", "a1"), 0.0, Random(1))
    session.receive_data(f"{GRANTED}\nWHAT".encode(), 0.0)
    session.tick(session.due)
    # The frame that had begun ends here: an unknown verb, and no ACK.
    session.receive_data(b"ACK:1\n", 1.0)
    assert (session.state, session.life.settled) == (EngineState.OPEN, 0)


def test_broker_that_acknowledges_all_is_never_given_up() -> None:
    session = EngineSession(Life("e", "a1"), 0.0, Random(1))
    session.receive_data(f"{GRANTED}\n".encode(), 0.0)
    for number in range(1, 100):
        now = session.due
        session.tick(now)
        assert session.receive_data(b"ACK:%d\n" % number, now) is None
    assert (session.state, session.life.settled) == (EngineState.OPEN, 99)
