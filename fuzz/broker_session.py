"""What an engine says to one session of a broker: a stream of any bytes.

The same stream comes whole and cut, its hello is accepted, refused and left waiting, and
time passes or does not.
"""

from __future__ import annotations

from random import Random
from zlib import crc32

from brokerproto.broker_events import Stale
from brokerproto.broker_session import BrokerSession
from brokerproto.framing import LIMIT_REGISTERED, LIMIT_UNREGISTERED
from brokerproto.messages import DoWork, Failed, Kill, Unknown, Unusable
from brokerproto.states import BrokerState
from brokerproto.wire import decode
from fuzz.pieces import single_bytes, some_pieces
from tests.brokerproto.talk import REFUSAL, Talk, grant_for

__all__ = ["check"]


def check(data: bytes) -> None:
    """See that the outcome depends on the stream alone, and that states make sense."""
    random = Random(crc32(data))
    accepted = Talk().feed([data]).outcome()
    cut = Talk(wait=random.randint(0, 3)).feed(some_pieces(data, random)).outcome()
    assert cut == accepted
    if len(data) < 200:
        single = Talk(wait=random.choice([0, 1, 20])).feed(single_bytes(data)).outcome()
        assert single == accepted
    refused = Talk(accept=False).feed([data]).outcome()
    cut = Talk(accept=False, wait=random.randint(0, 3)).feed(some_pieces(data, random)).outcome()
    assert cut == refused
    _live_through(some_pieces(data, random), random)
    _live_through([line + b"\n" for line in data.split(b"\n")[:50]], random)


def _live_through(pieces: list[bytes], random: Random) -> None:
    """Have time pass, commands and pings go out, and decisions come late."""
    session = BrokerSession(0.0)
    now = 0.0
    waits = random.randint(0, 2)
    for piece in pieces:
        was_over = session.is_over
        events = session.receive_data(piece, now) or ()
        assert not was_over or all(isinstance(event, Stale) for event in events)
        _check_state(session)
        if session.state is BrokerState.HELD:
            waits -= 1
            if waits < 0:
                _decide(session, now, random)
        if session.is_open or session.is_over:
            _owner_acts(session, now, random)
        _check_owed(session, silent=was_over)
        now += random.choice([0.0, 0.25, 1.0, 5.0, 60.0])
    session.lose()
    assert session.data_to_send() == b""
    assert session.state is BrokerState.CLOSED


def _decide(session: BrokerSession, now: float, random: Random) -> None:
    hello = session.hello
    assert hello is not None
    if random.randint(0, 3):
        session.accept(grant_for(hello, now), now)
    else:
        session.end(REFUSAL)
    _check_state(session)


def _owner_acts(session: BrokerSession, now: float, random: Random) -> None:
    act = random.randint(0, 9)
    if session.is_over:
        before = session.state, session.failure
        session.ping()
        assert list(session.end(REFUSAL if act % 2 else None)) == []
        assert before == (session.state, session.failure)
    elif act == 0:
        session.pings = 1
        session.ping()
    elif act == 1:
        session.command(DoWork(random.choice([0, 2500]), "b0-1"), now)
    elif act == 2:
        session.command(Kill(3, "b0-2"), now)
    elif act == 3:
        session.attentive = True
    elif act == 4:
        session.end(REFUSAL)


def _check_state(session: BrokerSession) -> None:
    assert session.state is not BrokerState.PROVING
    assert session.failure is None or session.is_over
    assert session.bye is None or session.is_over
    assert not session.is_full or session.state is BrokerState.HELD
    waiting = 0 if session._framer is None else session._framer.waiting
    if session.is_over:
        assert waiting == 0
    elif session.state is BrokerState.HELLO:
        assert (session.hello, session.account) == (None, None)
        assert waiting <= LIMIT_UNREGISTERED + 1
    else:
        assert session.engine_id is not None
    if session.is_open:
        assert waiting <= LIMIT_REGISTERED + 1
        account = session.account
        assert account is not None
        assert account.first <= account.last
        assert min(account.counted, account.missed, account.repeated) >= 0
        assert session.patience is not None


def _check_owed(session: BrokerSession, *, silent: bool) -> None:
    owed = session.data_to_send()
    assert not (silent and owed), "something is said after the end"
    *frames, rest = owed.split(b"\n")
    assert rest == b""
    messages = [decode(frame, "broker") for frame in frames]
    assert not any(isinstance(message, Unknown | Unusable) for message in messages)
    if session.failure is not None and not silent:
        last = messages[-1]
        assert isinstance(last, Failed)
        assert (last.code, last.text) == (session.failure.code, session.failure.text)
