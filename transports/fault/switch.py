"""All connections of one transport, disturbed by hand at once."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from transports.fault.faults import Direction
from transports.fault.link import Link

__all__ = ["Switch"]


@define(eq=False)
class Switch:
    """Knows the connections of a `FaultTransport`, and does the same to all of them.

    Give each engine of a simulation a transport and a switch of its own, and any part
    of a fleet can be cut off and come back.

    What was done holds for connections that are made later too, until `heal`: while
    it is cut, who dials waits, as long as for a host that does not answer, and who is
    accepted is cut from the beginning.
    """

    _links: dict[Link, None] = field(init=False, factory=dict)
    _frozen: Direction | None = field(init=False, default=None)
    _cut: Direction | None = field(init=False, default=None)
    _waiting: dict[Callable[[], None], None] = field(init=False, factory=dict)

    @property
    def links(self) -> tuple[Link, ...]:
        """The connections that live, and those left behind in a cut; the oldest first."""
        return tuple(self._links)

    @property
    def is_cut(self) -> bool:
        """Whether all is cut, in one direction at least."""
        return self._cut is not None

    def freeze(self, direction: Direction = "both") -> None:
        """See `Link.freeze`."""
        self._frozen = direction
        for link in self.links:
            link.freeze(direction)

    def cut(self, direction: Direction = "both") -> None:
        """See `Link.cut`."""
        self._cut = direction
        for link in self.links:
            link.cut(direction)

    def heal(self) -> None:
        """See `Link.heal`; who waits to dial does so now."""
        self._frozen = self._cut = None
        for link in self.links:
            link.heal()
        waiting, self._waiting = self._waiting, {}
        for go_on in waiting:
            go_on()

    def reset(self) -> None:
        """See `Link.reset`; it means nothing to connections that are made later."""
        for link in self.links:
            link.reset()

    def joined(self, link: Link) -> None:
        """Take note of a connection that is being made."""
        self._links[link] = None
        if self._frozen is not None:
            link.freeze(self._frozen)
        if self._cut is not None:
            link.cut(self._cut)

    def left(self, link: Link) -> None:
        """Forget a connection of which nothing is left."""
        self._links.pop(link, None)

    def wait(self, go_on: Callable[[], None]) -> Callable[[], None]:
        """Have `go_on` called once at the next `heal`; give what keeps it from being called."""
        self._waiting[go_on] = None
        return lambda: self._waiting.pop(go_on, None)
