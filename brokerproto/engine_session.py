"""The engine's half of one conversation: no socket, no clock, no work.

The owner feeds what the network gave to `EngineSession.receive_data`, calls `tick` when
`due` says so, acts on the events, and writes what `data_to_send` returns. What outlives
a connection stands in `Life`. Rules: protocol reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Union

from attrs import define, field, frozen

from brokerproto.errors import (
    AuthRequiredError,
    BadFrameError,
    HandshakeTimeoutError,
    LocalProtocolError,
    ProtocolError,
    RefusedError,
    RemoteProtocolError,
    SilentBrokerError,
)
from brokerproto.framing import (
    FRAMINGS,
    LIMIT_REGISTERED,
    LIMIT_UNREGISTERED,
    Framer,
    Framing,
)
from brokerproto.grammar import MAX_NUMBER
from brokerproto.messages import (
    NO_LABELS,
    Ack,
    BrokerMessage,
    Bye,
    Challenge,
    DoWork,
    Failed,
    GoAway,
    Heartbeat,
    Kill,
    Message,
    NewEngine,
    Ping,
    Report,
    Success,
    Unusable,
)
from brokerproto.states import ENGINE_TRANSITIONS, EngineState, Move
from brokerproto.terms import MAX_INTERVAL, PLAIN_INTERVAL
from brokerproto.wire import decode, encode, verb_of

__all__ = [
    "REPORTS_KEPT",
    "SENT_AWAY",
    "SUCCESS_DEADLINE",
    "EngineEvent",
    "EngineSession",
    "Life",
    "Wishes",
]

SUCCESS_DEADLINE = 30.0
"""Seconds from connecting to SUCCESS; later, the attempt has failed."""

REPORTS_KEPT = 32
"""Of how many commands an engine remembers its last report."""

SENT_AWAY = "goaway"
"""The reason of the Bye in a drain's slot."""

_JITTER = 0.1
_PING_WINDOW = 0.25
_RTT_EACH = 6


@frozen
class Wishes:
    """What an engine asks for in its hello.

    Attributes:
        interval: Seconds between heartbeats, 1 to 300; None to leave it to the broker.
        ack: Have each multiple of this acknowledged; 0 for none.
        labels: What it says of itself, by name; see protocol reference, section
            "Labels".
    """

    interval: int | None = None
    ack: int = 1
    labels: Mapping[str, str] = field(default=NO_LABELS, hash=False)

    def hello(self, life: Life) -> NewEngine:
        """Make the hello with which `life` asks for this."""
        return NewEngine(
            life.engine_id,
            life.seq,
            v=1,
            instance=life.instance,
            interval=self.interval,
            ack=self.ack or None,
            resume=life.resume,
            labels=self.labels,
        )

    def check(self, engine_id: str) -> None:
        """Make sure that every hello of this engine will be one that brokers read.

        Raises:
            LocalProtocolError: The id or a label breaks the grammar, or together they
                are too long; the text is for the one who chose them.
        """
        longest = self.hello(Life(engine_id, "f" * 32, MAX_NUMBER, resume="f" * 32))
        excess = len(encode(longest).rstrip(b"\n")) - LIMIT_UNREGISTERED
        if excess > 0:
            raise LocalProtocolError(
                f"id and labels are {excess} bytes too long together: a broker reads "
                f"{LIMIT_UNREGISTERED} bytes of a hello"
            )


@define(eq=False)
class Life:
    """One start of an engine: what outlives its connections.

    Attributes:
        engine_id: Its id.
        instance: 1 to 32 lower-case hex digits, drawn at random once per start.
        seq: The number of the last heartbeat sent.
        settled: The highest number that a broker has acknowledged.
        busy: The command whose work runs.
        resume: What the last SUCCESS said gives the id back to this life.
        reports: The last report of each of the last commands taken.
    """

    engine_id: str
    instance: str
    seq: int = 0
    settled: int = 0
    busy: str | None = None
    resume: str | None = None
    reports: dict[str, Report] = field(init=False, factory=dict)

    def keep(self, report: Report) -> None:
        """Remember a report, to be repeated after each registration."""
        self.reports.pop(report.command, None)
        self.reports[report.command] = report
        while len(self.reports) > REPORTS_KEPT:
            del self.reports[next(iter(self.reports))]


EngineEvent = Union[Success, DoWork, Kill, Unusable, GoAway]
"""What `EngineSession.receive_data` returns; acks and pings are the session's own."""


@define(eq=False)
class EngineSession:
    """The engine's half of one conversation, sans-I/O.

    The hello waits in `data_to_send` from the start. Never raises for what the broker
    sent: where the conversation is over, `failure` says why and `state` is CLOSING.

    All times are monotonic seconds, given by the owner.

    Args:
        life: Whose conversation it is; its number and reports are kept up to date.
        opened_at: When the connection was made.
        random: Draws the phase and the jitter of the heartbeats.
        wishes: What to ask for.
        framing: ``lines`` on a byte stream, ``message`` where boundaries are kept.

    Attributes:
        state: Where the conversation is.
        success: The terms, once registered.
        failure: Why it ended, where that was not our own wish.
        registered_at: When SUCCESS came.
        rtt_us: Microseconds from a heartbeat to its ACK, measured last.
        left_for: The reason for which it ended by our own wish.
    """

    life: Life
    opened_at: float
    random: Random
    wishes: Wishes = field(factory=Wishes)
    framing: Framing = "lines"
    state: EngineState = field(init=False, default=EngineState.GREETING)
    success: Success | None = field(init=False, default=None)
    failure: ProtocolError | None = field(init=False, default=None)
    registered_at: float | None = field(init=False, default=None)
    rtt_us: int | None = field(init=False, default=None)
    left_for: str | None = field(init=False, default=None)
    _beat_at: float = field(init=False, default=math.inf)
    _leave_at: float = field(init=False, default=math.inf)
    _pinged_at: float = field(init=False, default=-math.inf)
    _sent: tuple[int, float] | None = field(init=False, default=None)
    _unheard: int = field(init=False, default=0)
    _framer: Framer | None = field(init=False, default=None)
    _owed: bytes = field(init=False, default=b"")

    def __attrs_post_init__(self) -> None:
        self._send(self.wishes.hello(self.life))

    @property
    def interval(self) -> int:
        """Granted seconds between heartbeats; a plain broker's are fixed."""
        granted = self.success.interval if self.success is not None else None
        return granted or PLAIN_INTERVAL

    @property
    def is_open(self) -> bool:
        """Whether the engine is registered."""
        return self.state is EngineState.OPEN

    @property
    def is_over(self) -> bool:
        """Whether the conversation has ended."""
        return self.state in (EngineState.CLOSING, EngineState.CLOSED)

    @property
    def is_plain(self) -> bool:
        """Whether the broker is an original one, that knows no reports and no Bye."""
        return self.success is not None and self.success.v is None

    @property
    def due(self) -> float:
        """When `tick` must be called next; infinity where never."""
        if self.is_over:
            return math.inf
        if not self.is_open:
            return min(self.opened_at + SUCCESS_DEADLINE, self._leave_at)
        return min(self._beat_at, self._leave_at)

    def receive_data(self, data: bytes, now: float) -> Sequence[EngineEvent]:
        """Take bytes from the broker and return what its owner must act on.

        Args:
            data: Any slice of the stream; on ``message`` framing one whole message.
            now: Monotonic seconds.
        """
        events: list[EngineEvent] = []
        if self.is_over:
            return events
        framer = self._framer
        if framer is None:
            framer = self._framer = FRAMINGS[self.framing]()
        framer.feed(data)
        try:
            while not self.is_over:
                frame = framer.next_frame(LIMIT_REGISTERED)
                if frame is None:
                    break
                self._apply(decode(frame, "broker"), now, events)
        except RemoteProtocolError as error:
            self._fail(error)
        if framer.idle or self.is_over:
            self._framer = None
        return events

    def tick(self, now: float) -> None:
        """Do what is due: beat, leave in the granted slot, or give the broker up."""
        if self.is_over:
            return
        if now >= self._leave_at:
            self.leave(SENT_AWAY)
        elif self.is_open:
            if now >= self._beat_at:
                self._beat_on_schedule(now)
        elif now >= self.opened_at + SUCCESS_DEADLINE:
            self._fail(HandshakeTimeoutError(f"no SUCCESS within {SUCCESS_DEADLINE:.0f} s"))

    def report(self, report: Report) -> None:
        """Keep a report and, where the broker reads reports, send it."""
        self.life.keep(report)
        if self.is_open and not self.is_plain:
            self._send(report)

    def leave(self, reason: str | None = None) -> None:
        """Say Bye, where the broker understands it, and end the conversation."""
        if self.is_over:
            return
        if self.is_open and not self.is_plain:
            self._send(Bye(reason))
        self.left_for = reason
        self._move(Move.END)

    def lose(self) -> None:
        """Take note that the connection is gone."""
        self._move(Move.LOSE)
        self._framer, self._owed = None, b""

    def data_to_send(self) -> bytes:
        """Take every byte owed to the broker; empty when nothing is owed."""
        owed, self._owed = self._owed, b""
        return owed

    def _send(self, message: Message) -> None:
        self._owed += encode(message)

    def _move(self, move: Move) -> None:
        following = ENGINE_TRANSITIONS[self.state].get(move)
        if not isinstance(following, EngineState):
            raise LocalProtocolError(f"{move.name} in {self.state.name}")
        self.state = following

    def _fail(self, error: ProtocolError) -> None:
        self.failure = error
        self._move(Move.END)

    def _apply(self, message: BrokerMessage, now: float, events: list[EngineEvent]) -> None:
        following = ENGINE_TRANSITIONS[self.state][type(message)]
        if not isinstance(following, EngineState):
            raise following(f"{verb_of(message)} is not due in {self.state.name}")
        self._unheard = 0
        self.state = following
        if isinstance(message, Success):
            self._registered(message, now)
        elif isinstance(message, Ack):
            self._acknowledged(message, now)
        elif isinstance(message, Ping):
            self._pinged(now)
        elif isinstance(message, Failed):
            self.failure = RefusedError(message.code, message.name, message.retry, message.text)
        elif isinstance(message, Challenge):
            self._fail(AuthRequiredError("the broker demands a secret, and there is none here"))
        elif isinstance(message, GoAway):
            self._leave_at = now + message.delay_ms / 1000
        if isinstance(message, (Success, DoWork, Kill, Unusable, GoAway)):
            events.append(message)

    def _registered(self, success: Success, now: float) -> None:
        if success.interval is not None and not 1 <= success.interval <= MAX_INTERVAL:
            raise BadFrameError(f"an interval of {success.interval} s")
        self.success, self.registered_at = success, now
        self.life.resume = success.resume
        if not self.is_plain:
            for report in self.life.reports.values():
                self._send(report)
        self._beat_at = now + self.random.uniform(0, self.interval)

    def _acknowledged(self, ack: Ack, now: float) -> None:
        self.life.settled = max(self.life.settled, min(ack.seq, self.life.seq))
        if self._sent is not None and ack.seq >= self._sent[0]:
            self.rtt_us = round((now - self._sent[1]) * 1_000_000)
            self._sent = None

    def _pinged(self, now: float) -> None:
        if now - self._pinged_at >= _PING_WINDOW:
            self._pinged_at = now
            self._beat(now)

    def _beat_on_schedule(self, now: float) -> None:
        if self._is_unheard:
            self._fail(SilentBrokerError(self._unheard, self.interval))
            return
        self._unheard += 1
        self._beat(now)
        pause = self.interval * self.random.uniform(1 - _JITTER, 1 + _JITTER)
        # Whoever overslept does not catch up with a burst.
        following = self._beat_at + pause
        self._beat_at = following if following > now else now + pause

    @property
    def _is_unheard(self) -> bool:
        """Whether acks are due and too many heartbeats brought no frame back.

        Counting heartbeats is a detector clock of our own: while the engine does not
        run, it sends none, and holds nothing against the broker.
        """
        success = self.success
        if success is None or not success.ack:
            return False
        patience = max(success.ack + 1.5, 3 * (success.timeout or 0) / self.interval)
        return self._unheard >= math.ceil(patience)

    def _beat(self, now: float) -> None:
        life = self.life
        life.seq += 1
        ack = self.success.ack if self.success is not None else None
        if ack and self._sent is None and life.seq % ack == 0:
            self._sent = life.seq, now
        if self.is_plain:
            self._send(Heartbeat(life.engine_id, life.seq))
            return
        rtt_us = self.rtt_us if life.seq % _RTT_EACH == 0 else None
        self._send(Heartbeat(life.engine_id, life.seq, life.busy, rtt_us))
