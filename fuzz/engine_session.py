"""What a broker says to one session of an engine: a stream of any bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any
from zlib import crc32

from attrs import define, field

from brokerproto.engine_session import EngineEvent, EngineSession
from brokerproto.framing import LIMIT_REGISTERED
from brokerproto.life import Life, Wishes
from brokerproto.messages import Bye, DoWork, Heartbeat, NewEngine, Report, Unknown
from brokerproto.states import EngineState
from brokerproto.wire import decode
from fuzz.pieces import single_bytes, some_pieces

__all__ = ["check"]


def check(data: bytes) -> None:
    """See that the outcome depends on the stream alone, and that states make sense."""
    random = Random(crc32(data))
    whole = _outcome([data])
    assert _outcome(some_pieces(data, random)) == whole
    if len(data) < 200:
        assert _outcome(single_bytes(data)) == whole
    _live_through(some_pieces(data, random), random)
    _live_through([line + b"\n" for line in data.split(b"\n")[:50]], random)


def _life() -> Life:
    life = Life("e", "a1", seq=7)
    life.keep(Report("b0-1", "done", 12))
    return life


def _outcome(pieces: list[bytes]) -> tuple[Any, ...]:
    """Say all that shows of a conversation in which no time passes."""
    life = _life()
    session = EngineSession(life, 0.0, Random(0))
    events: list[EngineEvent] = []
    owed = session.data_to_send()
    for piece in pieces:
        events += session.receive_data(piece, 0.0) or ()
        owed += session.data_to_send()
    failure = session.failure
    told = None if failure is None else (type(failure), str(failure))
    return events, owed, session.state, told, session.due, session.success, life.seq


@define
class _Listener:
    """Reads what the engine says, as a broker would.

    Attributes:
        seq: The last number it heard.
        plain: Whether it is to hear what original brokers understand, and no more.
    """

    seq: int
    greeted: bool = False
    plain: bool = False
    left: bool = False
    heard: list[Any] = field(factory=list)

    def listen(self, session: EngineSession) -> None:
        """Take what is owed, and see that it is due."""
        *frames, rest = session.data_to_send().split(b"\n")
        assert rest == b""
        self.plain = session.is_plain
        for frame in frames:
            self._hear(decode(frame, "engine"), session)

    def _hear(self, message: Any, session: EngineSession) -> None:
        assert not isinstance(message, Unknown)
        assert not self.left, "something is said after the Bye"
        if isinstance(message, NewEngine):
            assert (self.greeted, message.seq) == (False, self.seq)
            self.greeted = True
            return
        assert session.success is not None, "something is said before SUCCESS"
        if isinstance(message, Heartbeat):
            assert message.seq == self.seq + 1
            self.seq = message.seq
        else:
            assert not self.plain
            assert isinstance(message, Report | Bye)
            self.left = isinstance(message, Bye)


def _live_through(pieces: list[bytes], random: Random) -> None:
    """Have time pass, work end, and the engine leave now and then."""
    life = _life()
    wishes = Wishes(random.choice([None, 1, 300]), random.choice([0, 1, 3]))
    session = EngineSession(life, 0.0, random, wishes)
    listener = _Listener(life.seq)
    now = 0.0
    for piece in pieces:
        was_over = session.is_over
        events = session.receive_data(piece, now) or ()
        assert not (was_over and events)
        _check_state(session)
        _owner_acts(session, events, random)
        listener.listen(session)
        now = _wait(session, now + random.choice([0.0, 0.1, 1.0, 40.0]), listener)
    if not session.is_over:
        session.leave("stopped")
        listener.listen(session)
    assert session.due == math.inf
    assert listener.seq == life.seq
    session.lose()
    assert session.data_to_send() == b""
    assert session.state is EngineState.CLOSED


def _owner_acts(session: EngineSession, events: Sequence[EngineEvent], random: Random) -> None:
    for event in events:
        if isinstance(event, DoWork) and event.command is not None:
            session.life.busy = event.command
            session.report(Report(event.command, "started"))
    if random.randint(0, 19) == 0:
        session.leave("stopped")


def _wait(session: EngineSession, until: float, listener: _Listener) -> float:
    """Let the session do what is due, as its owner's timer does."""
    for _ in range(100):
        due = session.due
        if due > until:
            break
        now = due
        session.tick(now)
        assert session.due > now, "due again at once: its owner would never come to rest"
        listener.listen(session)
        _check_state(session)
    return until


def _check_state(session: EngineSession) -> None:
    assert session.failure is None or session.is_over
    assert session.is_open <= (session.success is not None)
    assert (session.due == math.inf) == session.is_over
    assert 1 <= session.interval <= 300
    waiting = 0 if session._framer is None else session._framer.waiting
    assert waiting <= LIMIT_REGISTERED + 1
