"""Many engines of this process, whose ends are ours to choose, and what each has sent."""

from __future__ import annotations

from random import Random
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, gatherResults

from brokerproto.life import Wishes
from brokerproto.messages import Success
from brokerproto.wheel import Wheel
from services.engine.dialler import Dialler
from services.engine.runner import Crew, Runner
from services.engine.service import reborn_after
from services.engine.work import work_for
from transports import URI, transport_for
from transports.fault import Faults, FaultTransport, Switch

__all__ = ["Interruption", "VirtualEngine", "VirtualFleet"]


@frozen
class Interruption:
    """An engine lost its connection, or an attempt failed.

    Attributes:
        engine_id: Whose.
        reason: Why.
        at: When, by the reactor's clock.
    """

    engine_id: str
    reason: str
    at: float


@define(eq=False)
class VirtualEngine:
    """One id of the fleet.

    Attributes:
        engine_id: The id.
        switch: Stands on its way to the broker.
        runner: Keeps it connected, until it dies.
    """

    engine_id: str
    switch: Switch
    runner: Runner

    @property
    def is_registered(self) -> bool:
        """Whether it believes that it is."""
        return self.runner.is_registered

    def hang_up(self) -> None:
        """Have it lose its connection, as by a fault of its own machine."""
        self.runner.hang_up()


@define(eq=False)
class VirtualFleet:
    """Engines with ids ``<name>-1`` to ``<name>-<count>``, each with a switch of its own.

    Args:
        reactor: Connects, and keeps time.
        broker: Where they register.
        name: What their ids begin with.
        random: Draws their phases and waits.

    Attributes:
        engines: Those that live, by id.
        interruptions: All of them. Leaving, dying and being killed are none.
        sent: Heartbeats sent by lives that are over.
        untold: How many of these no ACK had settled when their life was cut short. Of no
            more than so many the broker need not know.
    """

    reactor: Any
    broker: URI
    name: str
    random: Random
    engines: dict[str, VirtualEngine] = field(init=False, factory=dict)
    interruptions: list[Interruption] = field(init=False, factory=list)
    sent: int = field(init=False, default=0)
    untold: int = field(init=False, default=0)
    _wheel: Wheel = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._wheel = Wheel(self.reactor)

    def start(self, number: int, faults: Faults | None = None) -> VirtualEngine:
        """Start the engine of this number, as a new life.

        Args:
            number: Ends its id.
            faults: What its connections suffer.
        """
        engine_id = f"{self.name}-{number}"
        switch = Switch()
        inner = transport_for(self.broker.scheme)
        transport = FaultTransport(inner, faults or Faults(), switch=switch)
        endpoint = transport.client_endpoint(self.reactor, self.broker)
        crew = Crew(
            Dialler(self.reactor, [endpoint], transport.framing, self._wheel),
            lambda: work_for("pretend", self.reactor),
            Wishes(),
            self,
            lambda deaths: reborn_after(deaths, self.random),
            self.random,
        )
        runner = Runner(engine_id, crew)
        engine = self.engines[engine_id] = VirtualEngine(engine_id, switch, runner)
        runner.start()
        return engine

    def leave(self, engine_id: str) -> Deferred[None]:
        """Have an engine say Bye; fires when its connection is gone."""
        engine = self.engines.pop(engine_id)
        return engine.runner.stop().addCallback(lambda _: self._bury(engine))

    def die(self, engine_id: str) -> Deferred[None]:
        """Have an engine vanish as a process does that is killed; fires when it is gone."""
        engine = self.engines.pop(engine_id)
        return engine.runner.die().addCallback(lambda _: self._bury(engine))

    def stop(self) -> Deferred[Any]:
        """Have all engines say Bye; fires when their connections are gone."""
        return gatherResults([self.leave(engine_id) for engine_id in list(self.engines)])

    @property
    def population(self) -> int:
        """How many engines believe that they are registered."""
        return sum(engine.is_registered for engine in self.engines.values())

    @property
    def heartbeats_sent(self) -> int:
        """Heartbeats sent by all lives."""
        return self.sent + sum(engine.runner.heartbeats_sent for engine in self.engines.values())

    def registered(self, runner: Runner, success: Success) -> None:
        """See `services.engine.runner.Journal`."""

    def lost(self, runner: Runner, reason: str, seconds: float) -> None:
        """See `services.engine.runner.Journal`."""
        self.interruptions.append(Interruption(runner.engine_id, reason, self.reactor.seconds()))

    def gave_up(self, runner: Runner, reason: str) -> None:
        """See `services.engine.runner.Journal`."""
        self.interruptions.append(Interruption(runner.engine_id, reason, self.reactor.seconds()))

    def killed(self, runner: Runner, code: int, seconds: float | None) -> None:
        """See `services.engine.runner.Journal`."""

    def _bury(self, engine: VirtualEngine) -> None:
        self.sent += engine.runner.heartbeats_sent
        self.untold += engine.runner.heartbeats_untold
