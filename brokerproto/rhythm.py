"""The terms on which engines beat: one object for all that beat alike."""

from __future__ import annotations

import math
from functools import lru_cache
from random import Random

from attrs import evolve, field, frozen

from brokerproto.messages import Success
from brokerproto.terms import PLAIN_INTERVAL

__all__ = ["Rhythm"]

_JITTER = 0.1
_REMEMBERED = 64


@frozen(eq=False, weakref_slot=False)
class Rhythm:
    """How an engine beats. Rules: protocol reference, section "Liveness".

    Get one by `Rhythm.of`: engines with the same terms share it.

    Attributes:
        random: Draws the phase and the jitter.
        success: The terms, without what is only one engine's own: its epoch, its token
            and the broker's proof. None before they are known.
        interval: Seconds between two heartbeats; a plain broker's are fixed.
        is_plain: Whether the broker is an original one, that knows no reports and no Bye.
        ack: Each multiple of it is acknowledged; 0 where none is.
        patience: How many heartbeats may bring no frame back; None where none need to.
    """

    random: Random
    success: Success | None
    interval: int = field(init=False)
    is_plain: bool = field(init=False)
    ack: int = field(init=False)
    patience: int | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        success = self.success or Success()
        derived = {
            "interval": success.interval or PLAIN_INTERVAL,
            "is_plain": self.success is not None and success.v is None,
            "ack": success.ack or 0,
            "patience": None,
        }
        if success.ack:
            silence = 3 * (success.timeout or 0) / (success.interval or PLAIN_INTERVAL)
            derived["patience"] = math.ceil(max(success.ack + 1.5, silence))
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, random: Random, success: Success | None = None) -> Rhythm:
        """Give the rhythm that goes with the terms of a registration.

        Args:
            random: Draws.
            success: The broker's answer; None before there is one.
        """
        if success is not None:
            success = evolve(success, epoch=None, resume=None, proof=None)
        return _rhythm(random, success)

    def phase(self) -> float:
        """Draw the seconds from the registration to the first heartbeat."""
        return self.random.uniform(0, self.interval)

    def pause(self) -> float:
        """Draw the seconds from one heartbeat to the next."""
        return self.interval * self.random.uniform(1 - _JITTER, 1 + _JITTER)


@lru_cache(_REMEMBERED)
def _rhythm(random: Random, success: Success | None) -> Rhythm:
    return Rhythm(random, success)
