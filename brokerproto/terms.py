"""What a broker allows, and what it grants to an engine.

Rules: protocol reference, sections "Liveness" and "Limits".
"""

from __future__ import annotations

import math
from typing import Any

from attrs import field, frozen, validators

from brokerproto.account import Account
from brokerproto.liveness import Patience
from brokerproto.messages import NewEngine

__all__ = ["MAX_INTERVAL", "PLAIN_INTERVAL", "Grant", "Limits", "Terms"]

MAX_INTERVAL = 300
"""Longest interval in seconds, granted or configured."""

_SHORTEST_SPREAD = 5.0
_SLOT_ROOM = 1.5

PLAIN_INTERVAL = 10
"""Seconds between the heartbeats of a plain engine, which cannot be told another."""


@frozen
class Terms:
    """What an engine is granted; shared by all that are granted the same.

    Attributes:
        interval: Seconds between heartbeats.
        timeout: Seconds of silence until it is lost.
        ack: An ACK at each multiple of this; 0 for none.
        plain: Whether the engine is an original one, without options.
        patience: The steps on the way to the timeout.
    """

    interval: int
    timeout: int
    ack: int = 0
    plain: bool = False
    patience: Patience = field(init=False)

    @patience.default
    def _derive_patience(self) -> Patience:
        return Patience.of(self.interval, self.timeout)


@frozen
class Grant:
    """The answer yes to a hello.

    Attributes:
        terms: What is granted.
        account: The account of the engine's life, already moved to the hello.
        epoch: How many times this id was registered, from 1.
        herd: Seconds over which the fleet would come back.
        boot: Names this start of the broker, hex.
        resume: Gives the id back to this instance, 32 hex digits; None where there is
            no instance.
    """

    terms: Terms
    account: Account
    epoch: int = 1
    herd: int = 1
    boot: str | None = None
    resume: str | None = None


@frozen
class Limits:
    """How a broker is set up. Times are whole seconds.

    Attributes:
        interval: Between heartbeats, 1 to 300; an engine may wish for a longer one.
        timeout: Silence until an engine at `interval` is lost; others in proportion.
            At least ``2 * interval + 2``; 0 means the larger of that and
            ``4 * interval``.
        handshake: From accept to registration, at least 1.
        connections: Most connections at one time, at least 1.
        accept_rate: Connections accepted in a second, and registrations in a second
            that the fleet's return is spread for; 0 for neither.
        drain: That a drain may take at most; 0 to send everybody away at once.
        unregistered: Most of these connections that are not registered, at least 1.
        frame_rate: Frames in a second of each engine; 0 for as many as come.
        unread: Most bytes that wait for one engine because it does not read.
        unread_in_all: Most bytes that wait for all engines together.
    """

    interval: int = field(default=10, validator=[validators.ge(1), validators.le(MAX_INTERVAL)])
    timeout: int = field(default=0)
    handshake: int = field(default=10, validator=validators.ge(1))
    connections: int = field(default=65_536, validator=validators.ge(1))
    accept_rate: int = field(default=2_000, validator=validators.ge(0))
    drain: int = field(default=25, validator=validators.ge(0))
    unregistered: int = field(default=1_024, validator=validators.ge(1))
    frame_rate: int = field(default=20, validator=validators.ge(0))
    unread: int = field(default=256 * 1024, validator=validators.ge(0))
    unread_in_all: int = field(default=256 * 1024 * 1024, validator=validators.ge(0))

    @timeout.validator
    def _check_timeout(self, _: Any, timeout: int) -> None:
        if timeout != 0 and timeout < 2 * self.interval + 2:
            raise ValueError(
                f"a timeout of {timeout} s is too short: at least "
                f"{2 * self.interval + 2} s where heartbeats come each {self.interval} s"
            )

    def timeout_of(self, interval: int) -> int:
        """Return the seconds of silence that an engine at `interval` is allowed."""
        least = 2 * interval + 2
        if self.timeout:
            return max(least, math.ceil(self.timeout * interval / self.interval))
        return max(least, 4 * interval)

    def herd(self, engines: int) -> int:
        """Return the seconds over which `engines` should spread their return."""
        return max(1, math.ceil(engines / self.accept_rate)) if self.accept_rate else 1

    def spread(self, engines: int) -> float:
        """Return the seconds over which a drain sends `engines` away."""
        needed = _SLOT_ROOM * engines / self.accept_rate if self.accept_rate else 0.0
        return min(float(self.drain), max(_SHORTEST_SPREAD, needed))

    def grant(self, hello: NewEngine) -> Terms:
        """Decide the terms of an engine by its wishes."""
        if hello.plain:
            interval = PLAIN_INTERVAL
        elif hello.interval and self.interval <= hello.interval <= MAX_INTERVAL:
            interval = hello.interval
        else:
            interval = self.interval
        return Terms(interval, self.timeout_of(interval), hello.ack or 0, hello.plain)
