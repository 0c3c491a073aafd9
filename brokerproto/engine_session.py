"""The engine's half of one conversation: no socket, no clock, no work.

The owner feeds what the network gave to `EngineSession.receive_data`, calls `tick` when
`due` says so, acts on the events, and writes what `data_to_send` returns. What outlives
a connection stands in `Life`. Rules: protocol reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Union

from attrs import define

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
from brokerproto.framing import FRAMINGS, LIMIT_REGISTERED, Framer, Framing
from brokerproto.life import Life, Wishes
from brokerproto.messages import (
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
    Ping,
    Report,
    Success,
    Unusable,
)
from brokerproto.rhythm import Rhythm
from brokerproto.states import ENGINE_TRANSITIONS, EngineState, Move
from brokerproto.terms import MAX_INTERVAL
from brokerproto.wire import decode, encode, verb_of

__all__ = ["SENT_AWAY", "SUCCESS_DEADLINE", "EngineEvent", "EngineSession"]

SUCCESS_DEADLINE = 30.0
"""Seconds from connecting to SUCCESS; later, the attempt has failed."""

SENT_AWAY = "goaway"
"""The reason of the Bye in a drain's slot."""

_PING_WINDOW = 0.25
_RTT_EACH = 6
_OPEN = EngineState.OPEN

EngineEvent = Union[Success, DoWork, Kill, Unusable, GoAway]
"""What `EngineSession.receive_data` returns; acks and pings are the session's own."""


@define(eq=False, weakref_slot=False)
class _Rarities:
    """What most sessions do without for most of their time."""

    framing: Framing = "lines"
    framer: Framer | None = None
    failure: ProtocolError | None = None
    left_for: str | None = None
    leave_at: float = math.inf
    pinged_at: float = -math.inf


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
        life: As given.
        state: Where the conversation is.
        registered_at: When SUCCESS came; None before.
        rtt_us: Microseconds from a heartbeat to its ACK, measured last.
    """

    __slots__ = (
        "_due_at",
        "_owed",
        "_rare",
        "_rhythm",
        "_sent",
        "_unheard",
        "life",
        "registered_at",
        "rtt_us",
        "state",
    )

    def __init__(
        self,
        life: Life,
        opened_at: float,
        random: Random,
        wishes: Wishes | None = None,
        framing: Framing = "lines",
    ) -> None:
        self.life = life
        self.state = EngineState.GREETING
        self.registered_at: float | None = None
        self.rtt_us: int | None = None
        self._rhythm = Rhythm.of(random)
        # The deadline of SUCCESS, and from then on the next heartbeat.
        self._due_at = opened_at + SUCCESS_DEADLINE
        self._sent: tuple[int, float] | None = None
        self._unheard = 0
        self._rare: _Rarities | None = None if framing == "lines" else _Rarities(framing)
        self._owed = encode((wishes or Wishes()).hello(life))

    @property
    def success(self) -> Success | None:
        """The terms, once registered; see `brokerproto.rhythm.Rhythm`."""
        return self._rhythm.success

    @property
    def failure(self) -> ProtocolError | None:
        """Why it ended, where that was not our own wish."""
        return None if self._rare is None else self._rare.failure

    @property
    def left_for(self) -> str | None:
        """The reason for which it ended by our own wish."""
        return None if self._rare is None else self._rare.left_for

    @property
    def interval(self) -> int:
        """Granted seconds between heartbeats; a plain broker's are fixed."""
        return self._rhythm.interval

    @property
    def is_open(self) -> bool:
        """Whether the engine is registered."""
        return self.state is _OPEN

    @property
    def is_over(self) -> bool:
        """Whether the conversation has ended."""
        return self.state is EngineState.CLOSING or self.state is EngineState.CLOSED

    @property
    def is_plain(self) -> bool:
        """Whether the broker is an original one, that knows no reports and no Bye."""
        return self._rhythm.is_plain

    @property
    def due(self) -> float:
        """When `tick` must be called next; infinity where never."""
        if self._rare is None:
            # Who ends has a reason, which is rare; who is lost has no time left.
            return self._due_at
        return math.inf if self.is_over else min(self._due_at, self._rare.leave_at)

    def receive_data(self, data: bytes, now: float) -> Sequence[EngineEvent] | None:
        """Take bytes from the broker and return what its owner must act on.

        Args:
            data: Any slice of the stream; on ``message`` framing one whole message.
            now: Monotonic seconds.

        Returns:
            What has come; None where that was the ACK that was awaited and nothing else, so
            that nothing is owed, and nothing due sooner.
        """
        if self._is_expected_ack(data):
            self._unheard = 0
            self._acknowledged(self.life.seq, now)
            return None
        events: list[EngineEvent] = []
        if self.is_over:
            return events
        framer = self._framer
        if framer is None:
            framer = FRAMINGS["lines" if self._rare is None else self._rare.framing]()
        framer.feed(data)
        try:
            while not self.is_over:
                frame = framer.next_frame(LIMIT_REGISTERED)
                if frame is None:
                    break
                self._apply(decode(frame, "broker"), now, events)
        except RemoteProtocolError as error:
            self._fail(error)
        self._framer = None if framer.idle or self.is_over else framer
        return events

    def _is_expected_ack(self, data: bytes) -> bool:
        """Whether `data` is what nearly all is: the ACK of the last heartbeat, and whole."""
        if self.state is not _OPEN or data != b"ACK:%d\n" % self.life.seq:
            return False
        rare = self._rare
        return rare is None or (rare.framer is None and rare.framing == "lines")

    def tick(self, now: float) -> None:
        """Do what is due: beat, leave in the granted slot, or give the broker up."""
        if self._rare is not None:
            if self.is_over:
                return
            if now >= self._rare.leave_at:
                self.leave(SENT_AWAY)
                return
        if now < self._due_at:
            return
        if self.state is _OPEN:
            self._beat_on_schedule(now)
        else:
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
        self._rarely().left_for = reason
        self._move(Move.END)

    def lose(self) -> None:
        """Take note that the connection is gone."""
        self._move(Move.LOSE)
        self._framer, self._owed, self._due_at = None, b"", math.inf

    def data_to_send(self) -> bytes:
        """Take every byte owed to the broker; empty when nothing is owed."""
        owed, self._owed = self._owed, b""
        return owed

    def _rarely(self) -> _Rarities:
        if self._rare is None:
            self._rare = _Rarities()
        return self._rare

    @property
    def _framer(self) -> Framer | None:
        return None if self._rare is None else self._rare.framer

    @_framer.setter
    def _framer(self, framer: Framer | None) -> None:
        if framer is not None or self._rare is not None:
            self._rarely().framer = framer

    def _send(self, message: Message) -> None:
        self._owed += encode(message)

    def _move(self, move: Move) -> None:
        following = ENGINE_TRANSITIONS[self.state].get(move)
        if not isinstance(following, EngineState):
            raise LocalProtocolError(f"{move.name} in {self.state.name}")
        self.state = following

    def _fail(self, error: ProtocolError) -> None:
        self._rarely().failure = error
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
            self._acknowledged(message.seq, now)
        elif isinstance(message, Ping):
            self._pinged(now)
        elif isinstance(message, Failed):
            refusal = RefusedError(message.code, message.name, message.retry, message.text)
            self._rarely().failure = refusal
        elif isinstance(message, Challenge):
            self._fail(AuthRequiredError("the broker demands a secret, and there is none here"))
        elif isinstance(message, GoAway):
            self._rarely().leave_at = now + message.delay_ms / 1000
        if isinstance(message, (Success, DoWork, Kill, Unusable, GoAway)):
            events.append(message)

    def _registered(self, success: Success, now: float) -> None:
        if success.interval is not None and not 1 <= success.interval <= MAX_INTERVAL:
            raise BadFrameError(f"an interval of {success.interval} s")
        self.registered_at = now
        self._rhythm = Rhythm.of(self._rhythm.random, success)
        self.life.resume = success.resume
        if not self.is_plain:
            for report in self.life.reports.values():
                self._send(report)
        self._due_at = now + self._rhythm.phase()

    def _acknowledged(self, seq: int, now: float) -> None:
        life = self.life
        if seq > life.settled:
            # Its own number where all is settled, which is one object less for each engine.
            life.settled = min(life.seq, seq)
        if self._sent is not None and seq >= self._sent[0]:
            self.rtt_us = round((now - self._sent[1]) * 1_000_000)
            self._sent = None

    def _pinged(self, now: float) -> None:
        rare = self._rarely()
        if now - rare.pinged_at >= _PING_WINDOW:
            rare.pinged_at = now
            self._beat(now)

    def _beat_on_schedule(self, now: float) -> None:
        rhythm = self._rhythm
        # Counting heartbeats is a detector clock of our own: while the engine does not run,
        # it sends none, and holds nothing against the broker.
        if rhythm.patience is not None and self._unheard >= rhythm.patience:
            self._fail(SilentBrokerError(self._unheard, rhythm.interval))
            return
        self._unheard += 1
        self._beat(now)
        pause = rhythm.pause()
        # Whoever overslept does not catch up with a burst.
        following = self._due_at + pause
        self._due_at = following if following > now else now + pause

    def _beat(self, now: float) -> None:
        life, rhythm = self.life, self._rhythm
        life.seq = seq = life.seq + 1
        if rhythm.ack and self._sent is None and seq % rhythm.ack == 0:
            self._sent = seq, now
        busy = None if rhythm.is_plain else life.busy
        rtt_us = self.rtt_us if seq % _RTT_EACH == 0 and not rhythm.is_plain else None
        if busy is None and rtt_us is None:
            # As `encode` would, at a tenth of its cost.
            self._owed += f"HeartBeat:{life.engine_id}:{seq}\n".encode("ascii")
        else:
            self._send(Heartbeat(life.engine_id, seq, busy, rtt_us))
