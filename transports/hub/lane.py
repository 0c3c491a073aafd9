"""The connections whose bytes go straight to receivers, by factory."""

from __future__ import annotations

from typing import Any

from attrs import define, field

__all__ = ["Lane", "Lanes"]


@define(eq=False)
class Lane:
    """One factory, and what it is told of a drain; see `transports.interfaces`.

    Attributes:
        users: Connections that may have a receiver.
        silently: How many times a receiver returned None in this drain.
    """

    _factory: Any
    users: int = field(init=False, default=0)
    silently: int = field(init=False, default=0)
    _now: float | None = field(init=False, default=None)

    def end(self) -> None:
        """Tell that connections have been read."""
        silently, self.silently, self._now = self.silently, 0, None
        self._factory.drain_ends(silently)


@define(eq=False)
class Lanes:
    """All lanes of a hub.

    Attributes:
        are_several: Whether there is more than one.
    """

    are_several: bool = field(init=False, default=False)
    _by_factory: dict[Any, Lane] = field(init=False, factory=dict)
    _begun: list[Lane] = field(init=False, factory=list)

    def join(self, factory: Any) -> bool:
        """Count one more connection of a factory; False where it knows no drains."""
        factory = _answering(factory)
        if not hasattr(factory, "drain_begins"):
            return False
        lane = self._by_factory.setdefault(factory, Lane(factory))
        lane.users += 1
        self.are_several = len(self._by_factory) > 1
        return True

    def leave(self, factory: Any) -> None:
        """Count one less."""
        factory = _answering(factory)
        lane = self._by_factory[factory]
        lane.users -= 1
        if not lane.users:
            del self._by_factory[factory]
            self.are_several = len(self._by_factory) > 1

    def begin(self, factory: Any) -> tuple[Lane, float]:
        """Give the lane of a factory, and the time that its receivers are told."""
        factory = _answering(factory)
        lane = self._by_factory[factory]
        now = lane._now
        if now is None:
            now = lane._now = factory.drain_begins()
            self._begun.append(lane)
        return lane, now

    def end(self) -> list[Lane]:
        """Give those that have begun, which now are to `Lane.end`."""
        begun, self._begun = self._begun, []
        return begun


def _answering(factory: Any) -> Any:
    """Give who is told of the drains of a factory's connections."""
    return getattr(factory, "drained", factory)
