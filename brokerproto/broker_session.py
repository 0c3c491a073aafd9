"""The broker's half of one conversation: no socket, no clock, no other engine.

The owner feeds what the network gave to `BrokerSession.receive_data`, acts on the
events, and writes what `data_to_send` returns. Rules: protocol reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from brokerproto.account import Account, Repeat
from brokerproto.beats import ENDS, PADDED_ENDS, THOUSANDS, ack_of, beginning_of, id_in, run_of
from brokerproto.broker_events import BrokerEvent, Recovered, Stale
from brokerproto.carrier import Carrier
from brokerproto.circumstances import Circumstances
from brokerproto.errors import (
    LocalProtocolError,
    NotYourIdError,
    RemoteProtocolError,
    UnknownVerbError,
    VersionError,
)
from brokerproto.framing import (
    FRAMINGS,
    LIMIT_REGISTERED,
    Framer,
    Framing,
)
from brokerproto.incoming import next_frame
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
    Report,
    Success,
    Unknown,
)
from brokerproto.outgoing import Outgoing
from brokerproto.states import BROKER_TRANSITIONS, MAX_UNKNOWN_VERBS, BrokerState, Move
from brokerproto.terms import Grant, Terms
from brokerproto.wire import decode, verb_of

__all__ = ["BrokerSession", "failed"]


_NOTHING: tuple[BrokerEvent, ...] = ()
_READING = (BrokerState.HELLO, BrokerState.PROVING, BrokerState.OPEN)


def failed(error: RemoteProtocolError) -> Failed:
    """Derive the frame that tells a peer of `error`."""
    return Failed(error.code, error.name, error.retry, error.text)


class BrokerSession(Outgoing):
    """The broker's half of one conversation, sans-I/O.

    Never raises for what the peer sent. When the peer breaks a rule, the events before
    the offence come out, `failure` is set, `state` is CLOSING, and the refusal waits in
    `data_to_send`. The outcome depends on the stream alone, never on how it was cut.

    All times are detector seconds (`brokerproto.liveness.DetectorClock`), given by the
    owner; the session asks no clock. What is seldom of interest is inherited.

    Args:
        now: When the connection was accepted.
        framing: ``lines`` on a byte stream, ``message`` where boundaries are kept.

    Attributes:
        state: Where the conversation is; `brokerproto.states` says how it moves.
        terms: What was granted; None before that.
        account: The life's account; None before that.
        seen: When the last valid frame came, or the connection was accepted.
        rtt_us: Microseconds from a heartbeat to its ACK, as the engine told last.
        carrier: Whoever moves the bytes; None where the owner asks by itself.
        used_until: Kept by `brokerproto.pacing`; a heartbeat that `receive_data` returns
            None for has been paced.
    """

    if not TYPE_CHECKING:
        __slots__ = (
            *("seen", "used_until", "state", "terms", "account", "rtt_us", "carrier"),
            "_beginning",
        )

    seen: float
    used_until: float
    state: BrokerState
    terms: Terms | None
    account: Account | None
    rtt_us: int | None
    carrier: Carrier | None
    _beginning: bytes | None

    def __init__(self, now: float, framing: Framing = "lines") -> None:
        super().__init__(Circumstances(framing))
        self.seen, self.used_until = now, -math.inf
        self.state = BrokerState.HELLO
        self.terms, self.account, self._beginning = None, None, None
        self.rtt_us, self.carrier = None, None

    @property
    def patience(self) -> Patience | None:
        """How long the engine may be silent; None unless it is registered."""
        if self.state is BrokerState.OPEN and self.terms is not None:
            return self.terms.patience
        return None

    @property
    def engine_id(self) -> str | None:
        """The id in its hello; None before that."""
        if self._beginning is not None:
            return id_in(self._beginning)
        return None if self.hello is None else self.hello.engine_id

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

    def receive_data(self, data: bytes, now: float) -> Sequence[BrokerEvent] | None:
        """Take bytes from the peer and return what they amount to, in wire order.

        After a `NewEngine` event the session waits for `accept` or `end`; bytes that
        come meanwhile are kept.

        Args:
            data: Any slice of the stream; on ``message`` framing one whole message.
            now: Detector seconds.

        Returns:
            None where all is done: there is no event, nothing more is owed, and the frame
            has been paced. So it is for the next heartbeat of an engine at rest, the
            first of its tick.
        """
        if self.circumstances is None:
            account = self.account
            assert account is not None
            seq = account.last + 1
            if seq < 1000:
                end = ENDS[seq]
            elif seq < 1_000_000:
                end = THOUSANDS[seq // 1000] + PADDED_ENDS[seq % 1000]
            else:
                return self._receive_run(account, data, now)
            if data == self._beginning + end and self.used_until < now:  # type: ignore[operator]
                account.last = seq
                account.counted_at = self.seen = now
                ack = self.terms.ack  # type: ignore[union-attr]
                if ack and seq % ack == 0:
                    self._owed += b"ACK:" + end
                    return _NOTHING
                self.used_until = now
                return None
            return self._receive_run(account, data, now)
        return self._receive_frames(data, now)

    def _receive_run(
        self, account: Account, data: bytes, now: float
    ) -> Sequence[BrokerEvent] | None:
        """Take several heartbeats in order, or one with a round trip; or whatever it is."""
        assert self._beginning is not None
        assert self.terms is not None
        run = run_of(data, self._beginning, account.last)
        if run is None:
            return self._receive_frames(data, now)
        first, ack = account.last + 1, self.terms.ack
        account.last = run.last
        account.counted_at = self.seen = now
        self.rtt_us = run.rtt_us or self.rtt_us
        if ack:
            for seq in range(first + -first % ack, run.last + 1, ack):
                self._owed += ack_of(seq)
        if self._owed or run.last != first or self.used_until >= now:
            return _NOTHING
        self.used_until = now
        return None

    def _receive_frames(self, data: bytes, now: float) -> Sequence[BrokerEvent]:
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
        assert self.hello is not None
        self.terms, self.account = grant.terms, grant.account
        self._beginning, self.hello = beginning_of(self.hello.engine_id), None
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
        if self._framer is not None:
            return self._read(self._framer, now)
        self._rest(now)
        return _NOTHING

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
        if self.circumstances is None:
            # An engine that is not registered any more is not at rest.
            self.circumstances = Circumstances()

    def _rest(self, now: float) -> None:
        """Forget the circumstances, where they are over."""
        circumstances = self.circumstances
        if circumstances is not None and self.is_open and circumstances.are_over(now):
            self.circumstances = None

    def _read(self, framer: Framer, now: float) -> Sequence[BrokerEvent]:
        events: list[BrokerEvent] = []
        try:
            while self.state in _READING:
                frame = next_frame(framer, events, is_registered=self.is_open)
                if frame is None:
                    break
                self._apply(decode(frame, "engine"), now, events)
        except RemoteProtocolError as error:
            events.extend(self.end(error))
        if self.is_over:
            events.extend(self._drop_rest())
        elif framer.idle:
            self._framer = None
            self._rest(now)
        return events

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
        assert self.terms is not None
        assert self.account is not None
        if heartbeat.engine_id != self.engine_id:
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
