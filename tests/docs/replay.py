"""Plays a conversation of the documentation against the real broker or engine.

A line is a frame of the engine (``E:``), one of the broker (``B:``), or says what
happens beside them (``--``). The side under test must say its lines, all of them and
nothing else, and end the conversation where and only where the page says ``closed``.
A page may turn back to an earlier connection, ``-- on the first connection``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from random import Random
from typing import Literal

from brokerproto.broker import Broker
from brokerproto.broker_session import BrokerSession
from brokerproto.commands import Verb
from brokerproto.drain import Drain
from brokerproto.engine import Engine
from brokerproto.engine_session import EngineSession
from brokerproto.errors import DrainingError
from brokerproto.fleet import Origin
from brokerproto.life import Life, Wishes
from brokerproto.messages import NewEngine
from brokerproto.testing import ManualClock, RecordingCarrier, RecordingWorker
from brokerproto.wire import decode

BOOT = "7d1f0c22"

# What the tokens on the pages are made with.
RESUME_KEY = b"documentation"

_RESUME = re.compile(r";resume=[0-9a-f]{32}")
_PASS = re.compile(r"([0-9.]+) s pass")
_STILL = re.compile(r"the broker stands still for ([0-9]+) s")
_ORDER = re.compile(r"(DOWORK|KILL) ([0-9]+) is ordered")
_TURN = re.compile(r"on the (first|second|third) connection")
_TURNS = ("first", "second", "third")


class Side(ABC):
    """One real side, which is told the other side's lines.

    Attributes:
        connections: Whether each connection made so far is still there.
        turn: Which of them the lines are about.
    """

    speaker: Literal["E", "B"]

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.carrier = RecordingCarrier()
        self.connections: list[bool] = [True]
        self.turn = 0

    def next_line(self) -> str | None:
        """Take the next line that this side has said; None when there is none."""
        self.carrier.settle()
        line, end, self.carrier.written = self.carrier.written.partition(b"\n")
        return line.decode() if end else None

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether the present conversation has ended."""

    @abstractmethod
    def hear(self, data: bytes) -> None:
        """Take a slice of what the other side sends."""

    @abstractmethod
    def let_pass(self, seconds: float) -> None:
        """Let time pass, with all that is due in it."""

    @abstractmethod
    def connect(self) -> None:
        """Begin a new connection; one before it may still be open."""

    @abstractmethod
    def disconnect(self) -> None:
        """End the present connection."""

    def turn_to(self, turn: int) -> None:
        """Go on with another connection."""
        assert turn < len(self.connections), "there is no such connection"
        self.turn = turn

    @abstractmethod
    def happen(self, event: str) -> None:
        """Have happen what the page says in words."""


class BrokerSide(Side):
    """A broker with its default settings."""

    speaker = "B"
    session: BrokerSession
    drain: Drain | None = None

    def __init__(self) -> None:
        super().__init__()
        self.broker = Broker(self.clock.seconds, BOOT, resume_key=RESUME_KEY)
        self._sessions: list[BrokerSession] = []
        self.connect()

    @property
    def is_over(self) -> bool:
        return self.session.is_over

    def hear(self, data: bytes) -> None:
        self.broker.receive_data(self.session, data)

    def let_pass(self, seconds: float) -> None:
        ticks, rest = divmod(seconds, self.broker.tick_length)
        assert rest == 0, "time passes in whole ticks here"
        for _ in range(int(ticks)):
            self.clock.advance(self.broker.tick_length)
            self.broker.tick()
            if self.drain is not None:
                self.drain.see_off()

    def connect(self) -> None:
        self.carrier = RecordingCarrier()
        self.session = self.broker.open(self.carrier, Origin("peer", "wire://"))
        self.carrier.session = self.session
        self._sessions.append(self.session)

    def turn_to(self, turn: int) -> None:
        super().turn_to(turn)
        self.session = self._sessions[turn]
        carrier = self.session.carrier
        assert isinstance(carrier, RecordingCarrier)
        self.carrier = carrier

    def disconnect(self) -> None:
        self.broker.lose(self.session, reset=not self.is_over)

    def happen(self, event: str) -> None:
        order = _ORDER.fullmatch(event)
        if order is not None:
            verb: Verb = "KILL" if order[1] == "KILL" else "DOWORK"
            self.broker.order(verb, int(order[2]), self.broker.fleet)
        elif still := _STILL.fullmatch(event):
            self.clock.advance(float(still[1]))
        elif event == "the broker drains":
            self.drain = self.broker.drain(Random(1))
        elif event == "the broker stops":
            self.broker.close(DrainingError())
        else:
            assert event == "the work is over", f"what is: {event}?"


class _Middle(Random):
    """Draws the middle of every range."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


class EngineSide(Side):
    """The engine whose hello the conversation begins with."""

    speaker = "E"
    session: EngineSession

    def __init__(self, hello: NewEngine) -> None:
        super().__init__()
        assert hello.instance is not None
        self.engine = Engine(
            Life(hello.engine_id, hello.instance, hello.seq),
            RecordingWorker(),
            self.clock.seconds,
            _Middle(),
            Wishes(hello.interval, hello.ack or 0, hello.labels),
        )
        self.connect()

    @property
    def is_over(self) -> bool:
        return self.session.is_over

    def hear(self, data: bytes) -> None:
        self.engine.receive_data(data)

    def let_pass(self, seconds: float) -> None:
        until = self.clock.now + seconds
        while self.session.due <= until:
            self.clock.now = self.session.due
            self.session.tick(self.clock.now)
        self.clock.now = until

    def connect(self) -> None:
        self.session = self.engine.open(self.carrier)
        self.carrier.session = self.session

    def disconnect(self) -> None:
        self.engine.lose()

    def happen(self, event: str) -> None:
        if event == "the work is over":
            self.engine.worked()
        else:
            # What is ordered or decided reaches the engine as the broker's next line.
            known = event == "the broker drains" or _ORDER.fullmatch(event)
            assert known, f"what is: {event}?"


def side_for(speaker: str, conversation: str) -> Side:
    """Make the side to be tested, ``broker`` or ``engine``."""
    if speaker == "broker":
        return BrokerSide()
    hello = decode(conversation.partition("\n")[0].removeprefix("E: ").encode(), "engine")
    assert isinstance(hello, NewEngine), "an engine's conversation begins with its hello"
    return EngineSide(hello)


def replay(conversation: str, side: Side, slice_length: int = 1 << 20) -> None:
    """Play a conversation; what the other side says at once comes in one read.

    Args:
        conversation: The lines.
        side: A fresh one.
        slice_length: Bytes that one read has at most.
    """
    heard = b""
    for line in conversation.splitlines():
        kind, _, said = line.partition(" ")
        if kind in ("E:", "B:") and kind[0] != side.speaker:
            if not heard:
                _expect_silence(side, line)
            assert side.connections[side.turn], f"nobody hears: {line}"
            heard += said.encode() + b"\n"
            continue
        _hear(side, heard, slice_length)
        heard = b""
        if kind != "--":
            assert kind == f"{side.speaker}:", f"who says: {line}?"
            assert _shortened(side.next_line(), said) == said
            continue
        if turned := _TURN.fullmatch(said):
            side.turn_to(_TURNS.index(turned[1]))
            continue
        _expect_silence(side, line)
        if side.connections[side.turn]:
            assert side.is_over is (said == "closed"), f"over or not, at: {line}"
        if said in ("closed", "the connection breaks"):
            assert side.connections[side.turn], f"there is no connection: {line}"
            side.disconnect()
            side.connections[side.turn] = False
        elif said == "a new connection":
            side.connect()
            side.turn = len(side.connections)
            side.connections.append(True)
        elif passing := _PASS.fullmatch(said):
            side.let_pass(float(passing[1]))
        else:
            side.happen(said)
    _hear(side, heard, slice_length)
    for turn, connected in enumerate(side.connections):
        if side.turn != turn and not connected:
            continue
        if side.turn != turn:
            side.turn_to(turn)
        _expect_silence(side, "the end")
        assert not (connected and side.is_over), "over, and the page does not say so"


def _shortened(line: str | None, told: str) -> str | None:
    """Leave out the token of a SUCCESS where the page does not show it."""
    return line if line is None or ";resume=" in told else _RESUME.sub("", line, count=1)


def _hear(side: Side, data: bytes, slice_length: int) -> None:
    for start in range(0, len(data), slice_length):
        side.hear(data[start : start + slice_length])


def _expect_silence(side: Side, before: str) -> None:
    line = side.next_line()
    assert line is None, f"before {before!r} it says: {line}"
