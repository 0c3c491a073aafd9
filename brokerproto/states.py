"""The states of both sides, and one table of transitions for each.

The rules, of which the tables are the only copy in code (protocol reference, "States"):

* A broker's session asks about every hello and waits (HELD) until its owner accepts,
  challenges or refuses. Bytes that come meanwhile wait.
* Before registration nothing but a hello, or the proof that was asked for, is due: a
  frame of a registered engine gets 424, and an unknown verb 405.
* A second well-formed hello on one connection is 431, whosever id it names.
* In OPEN an unknown verb gets 405, and the third one ends the session.
* A Bye ends a session from every state, with nothing more to say.
* When an end is written the session is CLOSING: what the peer still says is counted as
  stale and changes nothing. CLOSED means that the connection is gone.
* An engine may be refused, or told to go away, at any time before it closes. A known
  verb out of its state makes it close and retry; an unknown one is ignored.

A table maps state and input to the next state, or to the error that ends the session.
An input is a message class, or a `Move` of our own side; an absent one is illegal.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any, Union

from brokerproto.errors import (
    AlreadyRegisteredError,
    BadFrameError,
    NotRegisteredError,
    RemoteProtocolError,
    UnknownVerbError,
)
from brokerproto.messages import (
    Ack,
    Bye,
    Challenge,
    DoWork,
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
    Unusable,
)

__all__ = [
    "BROKER_TRANSITIONS",
    "ENGINE_TRANSITIONS",
    "MAX_UNKNOWN_VERBS",
    "BrokerState",
    "EngineState",
    "Input",
    "Move",
]

MAX_UNKNOWN_VERBS = 3
"""The unknown verb of an open session that ends it."""


class BrokerState(Enum):
    """Where the broker's half of a conversation is."""

    HELLO = auto()
    PROVING = auto()
    HELD = auto()
    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


class EngineState(Enum):
    """Where the engine's half of a conversation is."""

    GREETING = auto()
    PROVED = auto()
    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


class Move(Enum):
    """What our own side does to a session."""

    ACCEPT = auto()
    CHALLENGE = auto()
    END = auto()
    LOSE = auto()


Input = Union[type[Any], Move]
BrokerStep = Union[BrokerState, type[RemoteProtocolError]]
EngineStep = Union[EngineState, type[RemoteProtocolError]]

_B, _E = BrokerState, EngineState

_UNREGISTERED: dict[Input, BrokerStep] = {
    Heartbeat: NotRegisteredError,
    Report: NotRegisteredError,
    Bye: _B.CLOSING,
    Unknown: UnknownVerbError,
    Move.END: _B.CLOSING,
    Move.LOSE: _B.CLOSED,
}

BROKER_TRANSITIONS: dict[BrokerState, dict[Input, BrokerStep]] = {
    _B.HELLO: {**_UNREGISTERED, NewEngine: _B.HELD, Proof: NotRegisteredError},
    _B.PROVING: {**_UNREGISTERED, NewEngine: AlreadyRegisteredError, Proof: _B.HELD},
    _B.HELD: {
        Move.ACCEPT: _B.OPEN,
        Move.CHALLENGE: _B.PROVING,
        Move.END: _B.CLOSING,
        Move.LOSE: _B.CLOSED,
    },
    _B.OPEN: {
        NewEngine: AlreadyRegisteredError,
        Proof: AlreadyRegisteredError,
        Heartbeat: _B.OPEN,
        Report: _B.OPEN,
        Bye: _B.CLOSING,
        Unknown: _B.OPEN,
        Move.END: _B.CLOSING,
        Move.LOSE: _B.CLOSED,
    },
    _B.CLOSING: {Move.END: _B.CLOSING, Move.LOSE: _B.CLOSED},
    _B.CLOSED: {Move.END: _B.CLOSED, Move.LOSE: _B.CLOSED},
}

_CONNECTED: dict[Input, EngineStep] = {
    Challenge: BadFrameError,
    Success: BadFrameError,
    Ack: BadFrameError,
    Ping: BadFrameError,
    DoWork: BadFrameError,
    Kill: BadFrameError,
    Unusable: BadFrameError,
    Failed: _E.CLOSING,
    Move.END: _E.CLOSING,
    Move.LOSE: _E.CLOSED,
}

ENGINE_TRANSITIONS: dict[EngineState, dict[Input, EngineStep]] = {
    _E.GREETING: {
        **_CONNECTED,
        Challenge: _E.PROVED,
        Success: _E.OPEN,
        GoAway: _E.GREETING,
        Unknown: _E.GREETING,
    },
    _E.PROVED: {
        **_CONNECTED,
        Success: _E.OPEN,
        GoAway: _E.PROVED,
        Unknown: _E.PROVED,
    },
    _E.OPEN: {
        **_CONNECTED,
        Ack: _E.OPEN,
        Ping: _E.OPEN,
        DoWork: _E.OPEN,
        Kill: _E.OPEN,
        Unusable: _E.OPEN,
        GoAway: _E.OPEN,
        Unknown: _E.OPEN,
    },
    _E.CLOSING: {Move.END: _E.CLOSING, Move.LOSE: _E.CLOSED},
    _E.CLOSED: {Move.END: _E.CLOSED, Move.LOSE: _E.CLOSED},
}
