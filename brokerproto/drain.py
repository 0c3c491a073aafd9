"""How a broker sends its engines away, each in a slot of its own.

Rules: protocol reference, section "Draining".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from random import Random

from attrs import define, field

from brokerproto.broker_session import BrokerSession
from brokerproto.carrier import settle
from brokerproto.errors import DrainingError
from brokerproto.fleet import Member
from brokerproto.isolation import Apart
from brokerproto.liveness import DeadlineRing
from brokerproto.turns import Turns

__all__ = ["Drain", "slots"]

_STEP = 1 / 16
"""Seconds by which a plain engine may be closed too late."""


def slots(engines: int, spread: float, random: Random) -> list[float]:
    """Draw the seconds after which each of so many engines leaves.

    One slot lies in the middle of each of as many equal parts of `spread`: nobody leaves
    at once, and the last one is gone when the time is over. Their order is random, so
    that engines which came together, from one node say, do not leave together.
    """
    part = spread / engines if engines else 0.0
    drawn = [part * (number + 0.5) for number in range(engines)]
    random.shuffle(drawn)
    return drawn


@define(eq=False)
class Drain:
    """A drain of one broker.

    Args:
        seconds: A monotonic clock.
        end: Ends a session, and has its carrier settle.
        spread: Seconds until the last engine's slot has come.
        apart: Keeps one's error from the next one.
        turns: Has many told in parts.

    Attributes:
        began: When, on that clock.
    """

    seconds: Callable[[], float]
    end: Callable[[BrokerSession, DrainingError], None]
    spread: float
    apart: Apart
    turns: Turns
    began: float = field(init=False)
    _plain: DeadlineRing[BrokerSession] = field(init=False, factory=lambda: DeadlineRing(_STEP))

    def __attrs_post_init__(self) -> None:
        self.began = self.seconds()

    def begin(
        self, engines: Iterable[Member], sessions: Iterable[BrokerSession], random: Random
    ) -> None:
        """Tell each engine its slot, and refuse all who are not registered.

        Args:
            engines: The registered ones.
            sessions: All sessions, theirs included.
            random: Draws who leaves when.
        """
        staying = [member.session for member in engines if member.session is not None]
        drawn = slots(len(staying), self.spread, random)
        self.turns.take(self._dismissing(list(zip(staying, drawn, strict=True))))
        for session in [each for each in sessions if not each.is_open]:
            self.end(session, DrainingError())

    def see_off(self) -> None:
        """Close the plain engines whose slot has come; call it several times a second."""
        for session in self._plain.due(self.seconds() - self.began):
            self.end(session, DrainingError())

    def _dismissing(self, slotted: list[tuple[BrokerSession, float]]) -> Iterator[None]:
        for session, slot in slotted:
            self.apart(self._dismiss, session, slot)
            yield

    def _dismiss(self, session: BrokerSession, slot: float) -> None:
        if session.terms is not None and session.terms.plain:
            self._plain.put(session, slot)
        else:
            # Its slot is counted from the beginning, also where it is told later.
            left = max(0.0, slot - (self.seconds() - self.began))
            session.go_away(round(left * 1000))
            settle(session)
