"""A fleet whose ends are ours to choose: what each has sent is known, whatever becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.task import LoopingCall
from twisted.internet.testing import MemoryReactorClock

from brokerproto.broker import Broker
from brokerproto.protocol import BrokerFactory
from brokerproto.terms import Limits
from services.scaletest.virtual_fleet import VirtualFleet
from transports import URI, transport_for

ENGINES = 5


@define(eq=False)
class World:
    """A broker and a fleet on one clock, and no socket anywhere."""

    clock: Any = field(factory=MemoryReactorClock)
    broker: Broker = field(init=False)
    fleet: VirtualFleet = field(init=False)
    _ports: list[Any] = field(init=False, factory=list)
    _ticking: LoopingCall = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.broker = Broker(self.clock.seconds, "b0", Limits(interval=10))
        uri = URI.parse("inproc://virtual-fleet")
        endpoint = transport_for("inproc").server_endpoint(self.clock, uri)
        factory = BrokerFactory(self.broker, self.clock, str(uri))
        endpoint.listen(factory).addCallback(self._ports.append)
        self._ticking = LoopingCall(self.broker.tick)
        self._ticking.clock = self.clock
        self._ticking.start(self.broker.tick_length)
        self.fleet = VirtualFleet(self.clock, uri, "v", Random(1))
        for number in range(1, ENGINES + 1):
            self.fleet.start(number)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, in steps that no heartbeat is too short for."""
        self.clock.pump([0.05] * round(seconds / 0.05))

    def close(self) -> None:
        """Let everybody go, and see that nothing is left behind."""
        self.fleet.stop()
        self.pass_time(2)
        self._ticking.stop()
        self._ports[0].stopListening()
        self.pass_time(1)
        assert self.broker.connections == 0
        assert self.clock.getDelayedCalls() == []


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.pass_time(1)
    assert world.fleet.population == len(world.broker.fleet) == ENGINES
    yield world
    world.close()


def known(world: World) -> int:
    """Return how many heartbeats the broker knows to have been sent."""
    stats = world.broker.stats()
    return stats.heartbeats + stats.missed


def test_who_leaves_has_told_all(world: World) -> None:
    world.pass_time(25)
    world.fleet.leave("v-1")
    world.pass_time(1)
    assert "v-1" not in world.fleet.engines
    assert world.fleet.sent >= 2
    assert world.fleet.untold == 0
    assert known(world) == world.fleet.heartbeats_sent
    assert world.broker.stats().left == 1


def test_who_dies_says_nothing_and_has_told_what_was_acknowledged(world: World) -> None:
    world.pass_time(25)
    world.fleet.die("v-2")
    world.pass_time(1)
    stats = world.broker.stats()
    assert (stats.left, stats.lost) == (0, 1)
    assert world.fleet.untold == 0
    assert known(world) == world.fleet.heartbeats_sent


def test_what_dies_with_its_sender_is_counted_as_untold(world: World) -> None:
    world.pass_time(25)
    world.fleet.engines["v-3"].switch.cut()
    world.pass_time(25)
    world.fleet.die("v-3")
    world.pass_time(60)
    assert 1 <= world.fleet.untold <= 4
    assert world.fleet.heartbeats_sent - known(world) == world.fleet.untold


def test_id_comes_back_as_another_life(world: World) -> None:
    first = world.fleet.engines["v-4"].runner.life.instance
    world.fleet.leave("v-4")
    world.pass_time(1)
    again = world.fleet.start(4)
    world.pass_time(1)
    assert again.is_registered
    assert again.runner.life.instance != first


def test_only_who_loses_its_registration_is_interrupted(world: World) -> None:
    world.fleet.leave("v-1")
    world.fleet.die("v-2")
    world.fleet.engines["v-3"].switch.reset()
    world.fleet.engines["v-4"].switch.freeze()
    world.pass_time(12)
    world.fleet.engines["v-4"].switch.heal()
    world.pass_time(20)
    assert [each.engine_id for each in world.fleet.interruptions] == ["v-3"]
    assert world.fleet.population == 3
