"""The broker's half of one conversation: no socket, no clock, no other engine.

The owner feeds what the network gave to `BrokerSession.receive_data`, acts on the
events, and writes what `data_to_send` returns. Rules: protocol reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

from attrs import define, field, frozen

from brokerproto.account import Account, Gap, Repeat
from brokerproto.carrier import Carrier
from brokerproto.errors import (
    BadFrameError,
    FrameTooLongError,
    LocalProtocolError,
    NotYourIdError,
    RemoteProtocolError,
    UnknownVerbError,
    VersionError,
)
from brokerproto.framing import (
    FRAMINGS,
    LIMIT_REGISTERED,
    LIMIT_UNREGISTERED,
    Framer,
    Framing,
)
from brokerproto.liveness import Patience
from brokerproto.messages import (
    Ack,
    Bye,
    DoWork,
    EngineMessage,
    Failed,
    GoAway,
    Heartbeat,
    Kill,
    NewEngine,
    Ping,
    Proof,
    Report,
    Success,
    Unknown,
)
from brokerproto.outgoing import Outgoing
from brokerproto.states import BROKER_TRANSITIONS, MAX_UNKNOWN_VERBS, BrokerState, Move
from brokerproto.terms import Grant, Terms
from brokerproto.wire import check_beginning, decode, foreign_protocol, verb_of

__all__ = [
    "BrokerEvent",
    "BrokerSession",
    "Foreign",
    "Recovered",
    "Stale",
    "failed",
]


@frozen
class Recovered:
    """The engine was late and has been heard again."""


@frozen
class Stale:
    """Frames that came after the end and changed nothing.

    Attributes:
        frames: How many, at least 1.
    """

    frames: int


@frozen
class Foreign:
    """The peer speaks another protocol.

    Attributes:
        protocol: ``tls``, ``http``, ``ssh`` or ``zmtp``.
    """

    protocol: str


BrokerEvent = Union[
    NewEngine, Proof, Heartbeat, Report, Bye, Unknown, Gap, Repeat, Recovered, Stale, Foreign
]
"""What `BrokerSession.receive_data` returns.

`NewEngine` is the question that waits for `accept` or `end`. A heartbeat in order makes
no event, unless `BrokerSession.attentive` asks for each.
"""

_NOTHING: tuple[BrokerEvent, ...] = ()
_READING = (BrokerState.HELLO, BrokerState.PROVING, BrokerState.OPEN)


def failed(error: RemoteProtocolError) -> Failed:
    """Derive the frame that tells a peer of `error`."""
    return Failed(error.code, error.name, error.retry, error.text)


@define(eq=False)
class BrokerSession(Outgoing):
    """The broker's half of one conversation, sans-I/O.

    Never raises for what the peer sent. When the peer breaks a rule, the events before
    the offence come out, `failure` is set, `state` is CLOSING, and the refusal waits in
    `data_to_send`. The outcome depends on the stream alone, never on how it was cut.

    All times are detector seconds (`brokerproto.liveness.DetectorClock`), given by the
    owner; the session asks no clock.

    Args:
        now: When the connection was accepted.
        framing: ``lines`` on a byte stream, ``message`` where boundaries are kept.

    Attributes:
        state: Where the conversation is; `brokerproto.states` says how it moves.
        failure: What ended it, where that was an error of the protocol.
        bye: The engine's Bye, where it left on purpose.
        hello: The accepted or pending hello; None before one came.
        terms: What was granted; None before that.
        account: The life's account; None before that.
        seen: When the last valid frame came, or the connection was accepted.
        pings: Kept by the detector: 0 alive, 1 or 2 late.
        busy: The command whose work the last heartbeat told of.
        rtt_us: Microseconds from a heartbeat to its ACK, as the engine told last.
        attentive: Whether each heartbeat is handed on as an event.
        carrier: Whoever moves the bytes; None where the owner asks by itself.
        used_until: Kept by `brokerproto.pacing`, as is `is_throttled`.
        is_throttled: Whether the engine sends too fast to be read for now.
    """

    seen: float
    framing: Framing = "lines"
    state: BrokerState = field(init=False, default=BrokerState.HELLO)
    failure: RemoteProtocolError | None = field(init=False, default=None)
    bye: Bye | None = field(init=False, default=None)
    hello: NewEngine | None = field(init=False, default=None)
    terms: Terms | None = field(init=False, default=None)
    account: Account | None = field(init=False, default=None)
    pings: int = field(init=False, default=0)
    busy: str | None = field(init=False, default=None)
    rtt_us: int | None = field(init=False, default=None)
    attentive: bool = field(init=False, default=False)
    carrier: Carrier | None = field(init=False, default=None)
    used_until: float = field(init=False, default=0.0)
    is_throttled: bool = field(init=False, default=False)
    _excused_until: float = field(init=False, default=0.0)
    _unknown_verbs: int = field(init=False, default=0)
    _framer: Framer | None = field(init=False, default=None)

    @property
    def patience(self) -> Patience | None:
        """How long the engine may be silent; None unless it is registered."""
        if self.state is BrokerState.OPEN and self.terms is not None:
            return self.terms.patience
        return None

    @property
    def is_open(self) -> bool:
        """Whether the engine is registered."""
        return self.state is BrokerState.OPEN

    @property
    def is_over(self) -> bool:
        """Whether an end was written or the connection is gone."""
        return self.state in (BrokerState.CLOSING, BrokerState.CLOSED)

    @property
    def is_full(self) -> bool:
        """Whether so much has come that reading should pause."""
        if self.state is BrokerState.OPEN:
            return self.is_throttled
        return (
            self.state is BrokerState.HELD
            and self._framer is not None
            and self._framer.waiting >= LIMIT_REGISTERED
        )

    def receive_data(self, data: bytes, now: float) -> Sequence[BrokerEvent]:
        """Take bytes from the peer and return what they amount to, in wire order.

        After a `NewEngine` event the session waits for `accept` or `end`; bytes that
        come meanwhile are kept.

        Args:
            data: Any slice of the stream; on ``message`` framing one whole message.
            now: Detector seconds.
        """
        framer = self._framer
        if framer is None:
            framer = self._framer = FRAMINGS[self.framing]()
        framer.feed(data)
        return self._read(framer, now)

    def accept(self, grant: Grant, now: float) -> Sequence[BrokerEvent]:
        """Register the engine, and return the events of the bytes held meanwhile.

        Raises:
            LocalProtocolError: No hello is pending.
        """
        self._move(Move.ACCEPT)
        self.terms, self.account = grant.terms, grant.account
        self.seen = now
        if grant.terms.plain:
            self._send(Success())
        else:
            self._send(
                Success(
                    v=1,
                    epoch=grant.epoch,
                    interval=grant.terms.interval,
                    timeout=grant.terms.timeout,
                    ack=grant.terms.ack or None,
                    herd=grant.herd,
                    resume=grant.resume,
                    boot=grant.boot,
                )
            )
        return _NOTHING if self._framer is None else self._read(self._framer, now)

    def end(self, error: RemoteProtocolError | None) -> Sequence[BrokerEvent]:
        """End the conversation: refuse a hello, or close a session.

        Ending one that is over does nothing.

        Args:
            error: What the peer is told; None to close without a word.

        Returns:
            `Stale`, where whole frames had been waiting for a decision.
        """
        if self.is_over:
            return _NOTHING
        self._move(Move.END)
        self.failure = error
        if error is not None:
            self._send(failed(error))
        return self._drop_rest()

    def lose(self) -> None:
        """Take note that the connection is gone."""
        self._move(Move.LOSE)
        self._framer = None
        self._drop_owed()

    def ping(self) -> None:
        """Ask for a heartbeat at once; a plain engine is not asked."""
        self._tell(Ping())

    def go_away(self, delay_ms: int) -> None:
        """Give an engine its slot to leave in; a plain engine is not told."""
        self._tell(GoAway(delay_ms, "drain"))

    def command(self, message: DoWork | Kill, now: float) -> None:
        """Send a command. A plain engine is sent it without its id.

        From a DOWORK on, a plain engine is not late before the work can be over: it
        works where it should beat.

        Raises:
            LocalProtocolError: The engine is not registered.
        """
        if not self.is_open or self.terms is None:
            raise LocalProtocolError(f"a command in {self.state.name}")
        if self.terms.plain:
            if isinstance(message, DoWork):
                self.excuse(max(now, self._excused_until) + message.ms / 1000)
                self.pings = 0
                message = DoWork(message.ms)
            else:
                message = Kill(message.code)
        self._send(message)

    def _tell(self, message: Ping | GoAway) -> None:
        if self.is_open and self.terms is not None and not self.terms.plain:
            self._send(message)

    def excuse(self, until: float) -> None:
        """Hold no silence before `until`, detector seconds, against the engine."""
        self._excused_until = max(until, self._excused_until)
        self.seen = max(self.seen, self._excused_until)

    def _move(self, move: Move) -> None:
        following = BROKER_TRANSITIONS[self.state].get(move)
        if not isinstance(following, BrokerState):
            raise LocalProtocolError(f"{move.name} in {self.state.name}")
        self.state = following

    def _read(self, framer: Framer, now: float) -> Sequence[BrokerEvent]:
        events: list[BrokerEvent] = []
        try:
            while self.state in _READING:
                frame = self._next_frame(framer, events)
                if frame is None:
                    break
                self._apply(decode(frame, "engine"), now, events)
        except RemoteProtocolError as error:
            events.extend(self.end(error))
        if self.is_over:
            events.extend(self._drop_rest())
        elif framer.idle:
            self._framer = None
        return events

    def _next_frame(self, framer: Framer, events: list[BrokerEvent]) -> bytes | None:
        if self.state is BrokerState.OPEN:
            return framer.next_frame(LIMIT_REGISTERED)
        try:
            frame = framer.next_frame(LIMIT_UNREGISTERED)
        except FrameTooLongError:
            # An offence within the limit comes before the one of being too long.
            _check(framer.beginning(LIMIT_UNREGISTERED), events)
            raise
        if frame is not None:
            _check(frame, events)
            return frame
        try:
            _check(framer.beginning(LIMIT_UNREGISTERED), events)
        except RemoteProtocolError:
            framer.cut_short()
            raise
        return None

    def _apply(self, message: EngineMessage, now: float, events: list[BrokerEvent]) -> None:
        following = BROKER_TRANSITIONS[self.state][type(message)]
        if following is UnknownVerbError:
            raise UnknownVerbError
        if not isinstance(following, BrokerState):
            raise following(f"{verb_of(message)} is not due in {self.state.name}")
        if isinstance(message, Heartbeat):
            self._count(message, now, events)
            return
        if isinstance(message, NewEngine):
            if message.v == 0:
                raise VersionError("this broker speaks version 1")
            self.hello = message
        elif isinstance(message, Report):
            self._heard(now, events)
        elif isinstance(message, Bye):
            self.bye = message
        elif isinstance(message, Unknown):
            self._refuse_verb()
        self.state = following
        events.append(message)

    def _count(self, heartbeat: Heartbeat, now: float, events: list[BrokerEvent]) -> None:
        assert self.hello is not None
        assert self.terms is not None
        assert self.account is not None
        if heartbeat.engine_id != self.hello.engine_id:
            raise NotYourIdError("a heartbeat in another engine's name")
        found = self.account.count(heartbeat.seq, now, self.terms.interval)
        self._heard(now, events)
        self.busy, self.rtt_us = heartbeat.busy, heartbeat.rtt_us or self.rtt_us
        if found is not None:
            events.append(found)
        ack = self.terms.ack
        if ack and (heartbeat.seq % ack == 0 or isinstance(found, Repeat)):
            self._send(Ack(heartbeat.seq))
        if self.attentive:
            events.append(heartbeat)

    def _heard(self, now: float, events: list[BrokerEvent]) -> None:
        self.seen = max(now, self._excused_until)
        if self.pings:
            self.pings = 0
            events.append(Recovered())

    def _refuse_verb(self) -> None:
        error = UnknownVerbError()
        self._unknown_verbs += 1
        if self._unknown_verbs >= MAX_UNKNOWN_VERBS:
            raise error
        self._send(failed(error))

    def _drop_rest(self) -> Sequence[BrokerEvent]:
        frames = self._framer.discard() if self._framer is not None else 0
        return (Stale(frames),) if frames else _NOTHING


def _check(beginning: bytes, events: list[BrokerEvent]) -> None:
    try:
        check_beginning(beginning, "engine")
    except RemoteProtocolError as error:
        protocol = foreign_protocol(beginning)
        if protocol is None:
            raise
        events.append(Foreign(protocol))
        raise BadFrameError(f"{protocol} is not what is spoken here") from error
