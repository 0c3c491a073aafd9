"""Drive a session and its model side by side."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from brokerproto.broker_events import Stale
from brokerproto.broker_session import BrokerSession
from brokerproto.errors import CODES, LocalProtocolError
from brokerproto.framing import Framing
from brokerproto.messages import (
    Bye,
    DoWork,
    Failed,
    Heartbeat,
    Kill,
    NewEngine,
    Proof,
    Report,
    Success,
    Unknown,
)
from brokerproto.states import BrokerState
from tests.brokerproto.session_model import SessionModel
from tests.brokerproto.strategies import frame_of
from tests.brokerproto.talk import grant_for, said

# Exact in binary, so that a gap meets the largest one allowed, not only nearly.
TICK = 0.125
TOKEN = "0" * 64
cuts = st.integers(0, 24)
acks = st.sampled_from([None, 0, 1, 3])
numbers = st.sampled_from([0, 0, 5, 2**53 - 10_000])
ODD = st.sampled_from(["Nonsense", "PING", "heartbeat"])


class SessionMachine(RuleBasedStateMachine):
    """The model knows no bytes; the session is cut wherever the rules like."""

    @initialize(framing=st.sampled_from(["lines", "lines", "message"]))
    def connect(self, framing: Framing) -> None:
        self.now = 0.0
        self.framing = framing
        self.session = BrokerSession(self.now, framing)
        self.model = SessionModel(self.now)
        self.events: list[Any] = []
        self.owed: list[Any] = []

    def _say(self, message: Any, cut: int) -> None:
        frame = message.verb.encode() if isinstance(message, Unknown) else frame_of(message)
        if self.framing == "message":
            pieces = [frame]
        else:
            frame += b"\r\n" if cut % 2 else b"\n"
            pieces = [frame[:cut], frame[cut:]]
        for piece in pieces:
            self.events += self.session.receive_data(piece, self.now) or ()
        self.model.receive(message, self.now)

    @precondition(lambda self: self.model.state == "HELLO")
    @rule(seq=numbers, cut=cuts)
    def greet_plainly(self, seq: int, cut: int) -> None:
        self._say(NewEngine("a", seq), cut)

    @precondition(lambda self: self.model.state == "HELLO")
    @rule(seq=numbers, ack=acks, v=st.sampled_from([1, 1, 1, 0, 99]), cut=cuts)
    def greet(self, seq: int, ack: int | None, v: int, cut: int) -> None:
        self._say(NewEngine("a", seq, v, "00ff", 2, ack), cut)

    @rule()
    def accept(self) -> None:
        hello = self.session.hello
        if self.model.state != "HELD" or hello is None:
            with pytest.raises(LocalProtocolError):
                self.session.accept(grant_for(NewEngine("a", 0)), self.now)
            return
        grant = grant_for(hello, self.now)
        self.events += self.session.accept(grant, self.now)
        terms = grant.terms
        success = Success(1, 1, terms.interval, terms.timeout, terms.ack or None, 1, boot="b0")
        assert terms.interval == (10 if hello.plain else 2)
        self.model.accept(terms.interval, Success() if hello.plain else success, self.now)

    @precondition(lambda self: self.model.state != "HELLO")
    @rule(code=st.none() | st.sampled_from([409, 440, 503]))
    def end(self, code: int | None) -> None:
        error = None if code is None else CODES[code]("over")
        self.events += self.session.end(error)
        self.model.end(code)

    @precondition(lambda self: self.model.state in {"OPEN", "CLOSING"})
    @rule()
    def lose(self) -> None:
        self.owed += said(self.session)
        self.session.lose()
        self.model.state = "CLOSED"

    @precondition(lambda self: self.model.state != "HELLO")
    @rule(missing=st.just(0) | st.integers(0, 3) | st.integers(7, 14), cut=cuts)
    def beat(self, missing: int, cut: int) -> None:
        self._say(Heartbeat("a", self._last_said + 1 + missing), cut)

    @property
    def _last_said(self) -> int:
        """The last number on its way, judged or not."""
        held = [each.seq for each in self.model.held if isinstance(each, Heartbeat)]
        return held[-1] if held else self.model.last

    @precondition(lambda self: self.model.state != "HELLO")
    @rule(cut=cuts, busy=st.none() | st.just("b0-1"), rtt=st.none() | st.integers(1, 9))
    def beat_with_news(self, cut: int, busy: str | None, rtt: int | None) -> None:
        self._say(Heartbeat("a", self._last_said + 1, busy, rtt), cut)

    @rule(back=st.sampled_from([0, 0, 0, 1, 3]), cut=cuts)
    def beat_again(self, back: int, cut: int) -> None:
        self._say(Heartbeat("a", max(0, self._last_said - back)), cut)

    @rule(name=st.sampled_from(["b", "A", "a.a"]), cut=cuts)
    def beat_for_another(self, name: str, cut: int) -> None:
        self._say(Heartbeat(name, self._last_said + 1), cut)

    @rule(cut=cuts)
    def report(self, cut: int) -> None:
        self._say(Report("b0-1", "done", ms=3), cut)

    @rule(verb=ODD, cut=cuts)
    def say_something_odd(self, verb: str, cut: int) -> None:
        self._say(Unknown(verb), cut)

    @precondition(lambda self: self.model.state != "HELLO")
    @rule(cut=cuts, proof=st.booleans())
    def shake_hands_again(self, cut: int, proof: bool) -> None:
        self._say(Proof(TOKEN, TOKEN) if proof else NewEngine("b", 0, 1), cut)

    @rule(cut=cuts, reason=st.none() | st.just("goaway"))
    def leave(self, cut: int, reason: str | None) -> None:
        self._say(Bye(reason), cut)

    @rule(ticks=st.integers(1, 24))
    def time_passes(self, ticks: int) -> None:
        self.now += ticks * TICK

    @precondition(lambda self: self.model.state == "OPEN")
    @rule(pings=st.sampled_from([1, 2]))
    def turn_late(self, pings: int) -> None:
        self.session.pings, self.model.late = pings, True

    @rule()
    def ping(self) -> None:
        self.session.ping()
        self.model.ping()

    @rule(on=st.booleans())
    def be_attentive(self, on: bool) -> None:
        self.session.attentive = self.model.attentive = on

    @rule(message=st.sampled_from([DoWork(250, "b0-1"), DoWork(0, "b0-2"), Kill(3, "b0-3")]))
    def command(self, message: DoWork | Kill) -> None:
        if self.model.state == "OPEN":
            self.session.command(message, self.now)
            self.model.command(message, self.now)
        else:
            with pytest.raises(LocalProtocolError):
                self.session.command(message, self.now)

    @invariant()
    def it_says_what_the_model_says(self) -> None:
        self.owed += said(self.session)
        shown = [each.code if isinstance(each, Failed) else each for each in self.owed]
        assert shown == self.model.owed

    @invariant()
    def its_events_are_those_of_the_model(self) -> None:
        stale = [event.frames for event in self.events if isinstance(event, Stale)]
        assert sum(stale) == self.model.stale
        assert [event for event in self.events if not isinstance(event, Stale)] == self.model.events

    @invariant()
    def it_stands_where_the_model_stands(self) -> None:
        session, model = self.session, self.model
        assert session.state is BrokerState[model.state]
        assert session.is_open is (model.state == "OPEN")
        assert session.is_over is (model.state in {"CLOSING", "CLOSED"})
        assert (session.failure.code if session.failure else None) == model.code
        assert (session.patience is not None) is session.is_open
        assert (session.busy, session.rtt_us) == (model.busy, model.rtt_us)
        assert bool(session.pings) is model.late
        assert session.seen == model.heard_at
        assert not session.is_full

    @invariant()
    def its_account_closes(self) -> None:
        account, model = self.session.account, self.model
        if account is None:
            return
        assert (account.last, account.first) == (model.last, model.first)
        assert (account.counted, account.missed) == (model.counted, model.missed)
        assert account.repeated == model.repeated


TestSessionStateful = SessionMachine.TestCase
