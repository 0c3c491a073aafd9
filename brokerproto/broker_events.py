"""What a broker's session makes of what its engine says, beside the messages themselves."""

from __future__ import annotations

from typing import Union

from attrs import frozen

from brokerproto.account import Gap, Repeat
from brokerproto.messages import Bye, Heartbeat, NewEngine, Proof, Report, Unknown

__all__ = ["BrokerEvent", "Foreign", "Recovered", "Stale"]


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
