"""How the engines of a process reach their broker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

from attrs import Factory, define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint

from brokerproto.framing import Framing
from brokerproto.wheel import Wheel

__all__ = ["Dialler"]


@define(eq=False)
class Dialler:
    """Connects all engines of a process, and knows when they are due.

    Args:
        reactor: Connects, and keeps time.
        endpoints: Where the broker is; more than one where connections come from several
            of our addresses. They are taken in turn.
        framing: How the transport delivers frames.
        wheel: Ticks the engines.
    """

    reactor: Any
    endpoints: Sequence[IStreamClientEndpoint]
    framing: Framing = "lines"
    wheel: Wheel = field(default=Factory(lambda self: Wheel(self.reactor), takes_self=True))
    _turns: Iterator[IStreamClientEndpoint] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._turns = cycle(self.endpoints)

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Begin an attempt."""
        try:
            connecting: Deferred[IProtocol] = next(self._turns).connect(factory)
        except Exception:  # an endpoint may be anybody's
            return fail()
        return connecting

    def drain_begins(self) -> float:
        """Give the time that all engines are told; see `transports.interfaces`."""
        now: float = self.reactor.seconds()
        return now

    def drain_ends(self, silently: int) -> None:
        """Nothing: see `transports.interfaces`."""
