"""A broker's session with an owner that decides, at once or later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import define, field, frozen

from brokerproto.account import Account, Totals
from brokerproto.broker_events import BrokerEvent, Stale
from brokerproto.broker_session import BrokerSession
from brokerproto.errors import DuplicateIdError, RemoteProtocolError
from brokerproto.framing import Framing
from brokerproto.messages import Failed, NewEngine
from brokerproto.states import BrokerState
from brokerproto.terms import Grant, Limits
from brokerproto.wire import decode

REFUSAL = DuplicateIdError("this id is registered", 7)


def grant_for(hello: NewEngine, now: float = 0.0) -> Grant:
    """What a broker without any other engine grants, at T = 1 s."""
    terms = Limits(interval=1).grant(hello)
    return Grant(terms, Account(hello.seq, now), epoch=1, herd=1, boot="b0")


def listed(events: Sequence[BrokerEvent] | None) -> list[BrokerEvent]:
    """List what a session made of what came; nothing where all was done at once."""
    return list(events or ())


def said(session: BrokerSession) -> list[Any]:
    """Take what the session owes, as messages."""
    return [decode(frame, "broker") for frame in session.data_to_send().split(b"\n")[:-1]]


def refusals(session: BrokerSession) -> list[int]:
    """Take what the session owes, and return the codes of the FAILED frames in it."""
    return [message.code for message in said(session) if isinstance(message, Failed)]


def opened(hello: bytes = b"NewEngine:a:0:v=1;ack=1\n", now: float = 0.0) -> BrokerSession:
    """A session that is registered and owes nothing."""
    session = BrokerSession(now)
    session.receive_data(hello, now)
    assert session.hello is not None
    session.accept(grant_for(session.hello, now), now)
    session.data_to_send()
    return session


@frozen
class Outcome:
    """All that shows of a conversation."""

    events: tuple[BrokerEvent, ...]
    stale: int
    owed: bytes
    state: BrokerState
    failure: RemoteProtocolError | None
    last: int | None
    totals: Totals | None
    facts: tuple[object, ...]


@define
class Talk:
    """Feeds a session and decides about its hello.

    Args:
        framing: How frames are delivered.
        accept: What is decided.
        wait: How many pieces go by before it is decided; those at the end count.
    """

    framing: Framing = "lines"
    accept: bool = True
    wait: int = 0
    session: BrokerSession = field(init=False)
    events: list[BrokerEvent] = field(init=False, factory=list)
    owed: bytes = field(init=False, default=b"")
    _pieces_to_wait: int | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.session = BrokerSession(0.0, self.framing)

    def feed(self, pieces: Iterable[bytes]) -> Talk:
        for piece in pieces:
            self._take(self.session.receive_data(piece, 0.0))
            self._decide_in_time()
        return self

    def outcome(self) -> Outcome:
        """Decide what is still open, and say what it all came to."""
        if self.session.state is BrokerState.HELD:
            self._pieces_to_wait = 0
            self._decide_in_time()
        session = self.session
        return Outcome(
            tuple(event for event in self.events if not isinstance(event, Stale)),
            sum(event.frames for event in self.events if isinstance(event, Stale)),
            self.owed + session.data_to_send(),
            session.state,
            session.failure,
            session.account.last if session.account else None,
            session.account.totals if session.account else None,
            (session.engine_id, session.bye, session.busy, session.rtt_us, session.seen),
        )

    def _decide_in_time(self) -> None:
        if self.session.state is not BrokerState.HELD:
            return
        if self._pieces_to_wait is None:
            self._pieces_to_wait = self.wait
        if self._pieces_to_wait:
            self._pieces_to_wait -= 1
            return
        hello = self.session.hello
        assert hello is not None
        if self.accept:
            self._take(self.session.accept(grant_for(hello), 0.0))
        else:
            self._take(self.session.end(REFUSAL))

    def _take(self, events: Sequence[BrokerEvent] | None) -> None:
        self.events += events or ()
        # Taken at every step, so that what is owed shows no less than once.
        self.owed += self.session.data_to_send()
