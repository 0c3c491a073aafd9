"""Whom a hub tells of its drains."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from transports.hub.lane import Lanes


@define(eq=False)
class Factory:
    """One that is told of drains."""

    told: list[object] = field(factory=list)

    def drain_begins(self) -> float:
        self.told.append("begins")
        return float(len(self.told))

    def drain_ends(self, silently: int) -> None:
        self.told.append(silently)


@define(eq=False)
class Single:
    """A factory of one connection, which has others in common with `drained`."""

    drained: Any


def test_factories_of_one_connection_each_share_a_lane() -> None:
    common = Factory()
    lanes = Lanes()
    singles = [Single(common) for _ in range(3)]
    assert all(lanes.join(single) for single in singles)
    assert not lanes.are_several
    lane, now = lanes.begin(singles[0])
    assert lanes.begin(singles[1]) == (lane, now)
    lane.silently += 2
    for begun in lanes.end():
        begun.end()
    assert common.told == ["begins", 2]
    several = []
    assert lanes.join(Factory())
    several.append(lanes.are_several)
    for single in singles:
        lanes.leave(single)
        several.append(lanes.are_several)
    assert several == [True, True, True, False]


def test_factory_that_knows_no_drains_has_no_lane() -> None:
    lanes = Lanes()
    assert not lanes.join(object())
    assert not lanes.join(Single(object()))
