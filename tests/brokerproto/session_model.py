"""A broker's session in a hundred lines: one whole message at a time, no bytes."""

from __future__ import annotations

from typing import Any

from brokerproto.account import Gap, Repeat
from brokerproto.broker_events import Recovered
from brokerproto.messages import (
    Ack,
    Bye,
    DoWork,
    Heartbeat,
    Kill,
    NewEngine,
    Ping,
    Proof,
    Report,
    Success,
    Unknown,
)


class SessionModel:
    """Says what a session must do, by the words of the reference.

    `events` and `owed` collect what should come of it; a refusal is owed as its code.
    """

    def __init__(self, now: float) -> None:
        self.state = "HELLO"
        self.code: int | None = None
        self.events: list[Any] = []
        self.owed: list[Any] = []
        self.stale = 0
        self.held: list[Any] = []
        self.heard_at = now
        self.excused_until = 0.0
        self.late = self.attentive = False
        self.odd_verbs = 0
        self.engine_id = ""
        self.plain = False
        self.ack = self.interval = 0
        self.busy: str | None = None
        self.rtt_us: int | None = None
        self.last = self.first = self.missed = self.repeated = 0
        self.counted_at = now

    @property
    def counted(self) -> int:
        return self.last - self.first - self.missed

    def receive(self, message: Any, now: float) -> None:
        if self.state in {"CLOSING", "CLOSED"}:
            self.stale += 1
        elif self.state == "HELD":
            self.held.append(message)
        elif self.state == "HELLO":
            self._greet(message)
        else:
            self._hear(message, now)

    def _greet(self, message: Any) -> None:
        if isinstance(message, NewEngine):
            if message.v == 0:
                self.end(426)
                return
            self.state, self.engine_id = "HELD", message.engine_id
            self.first = self.last = message.seq
            self.plain, self.ack = message.v is None, message.ack or 0
            self.events.append(message)
        elif isinstance(message, Bye):
            self.events.append(message)
            self.state = "CLOSING"
        else:
            self.end(405 if isinstance(message, Unknown) else 424)

    def accept(self, interval: int, success: Success, now: float) -> None:
        self.state, self.interval = "OPEN", interval
        self.heard_at = self.counted_at = now
        self.owed.append(success)
        held, self.held = self.held, []
        for message in held:
            self.receive(message, now)

    def end(self, code: int | None) -> None:
        if self.state in {"CLOSING", "CLOSED"}:
            return
        self.state, self.code = "CLOSING", code
        if code is not None:
            self.owed.append(code)
        self.stale += len(self.held)
        self.held = []

    def _hear(self, message: Any, now: float) -> None:
        if isinstance(message, NewEngine | Proof):
            self.end(431)
        elif isinstance(message, Bye):
            self.events.append(message)
            self.state = "CLOSING"
        elif isinstance(message, Unknown):
            self.odd_verbs += 1
            if self.odd_verbs == 3:
                self.end(405)
            else:
                self.owed.append(405)
                self.events.append(message)
        elif isinstance(message, Report):
            self._is_alive(now)
            self.events.append(message)
        else:
            self._count(message, now)

    def _count(self, beat: Heartbeat, now: float) -> None:
        step = beat.seq - self.last
        largest = 8 + int(2 * (now - self.counted_at) // self.interval)
        if beat.engine_id != self.engine_id:
            self.end(442)
        elif step < 0:
            self.end(441)
        elif step - 1 > largest:
            self.end(422)
        else:
            self._is_alive(now)
            self.busy, self.rtt_us = beat.busy, beat.rtt_us or self.rtt_us
            if step == 0:
                self.repeated += 1
                self.events.append(Repeat(beat.seq))
            else:
                if step > 1:
                    self.missed += step - 1
                    self.events.append(Gap(self.last + 1, beat.seq - 1))
                self.last, self.counted_at = beat.seq, now
            if self.ack and (step == 0 or beat.seq % self.ack == 0):
                self.owed.append(Ack(beat.seq))
            if self.attentive:
                self.events.append(beat)

    def _is_alive(self, now: float) -> None:
        self.heard_at = max(now, self.excused_until)
        if self.late:
            self.late = False
            self.events.append(Recovered())

    def command(self, message: DoWork | Kill, now: float) -> None:
        if self.plain and isinstance(message, DoWork):
            self.excused_until = max(now, self.excused_until) + message.ms / 1000
            self.heard_at = self.excused_until
            message = DoWork(message.ms)
        elif self.plain:
            message = Kill(message.code)  # type: ignore[union-attr]
        self.owed.append(message)

    def ping(self) -> None:
        if self.state == "OPEN" and not self.plain:
            self.owed.append(Ping())
