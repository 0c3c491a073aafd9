"""A fleet in memory whose network can be cut and healed, on a clock of its own."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from attrs import define, field

from brokerproto.broker import Broker
from brokerproto.engine import Engine
from brokerproto.life import Life
from brokerproto.stats import Stats
from brokerproto.terms import Limits
from brokerproto.testing import ManualClock, RecordingObserver, RecordingWorker, Wire


@define(eq=False)
class SimulatedFleet:
    """A broker whose engines beat once a second, and what lies between them.

    An engine behind a cut goes on beating. What it and the broker say waits on the way,
    as long as both keep the connection, and so it is with TCP.
    """

    size: int
    interval: int = 1
    clock: ManualClock = field(init=False, factory=ManualClock)
    observer: RecordingObserver = field(init=False, factory=RecordingObserver)
    broker: Broker = field(init=False)
    engines: dict[str, Engine] = field(init=False)
    wires: dict[str, Wire] = field(init=False, factory=dict)
    cut_off: set[str] = field(init=False, factory=set)

    def __attrs_post_init__(self) -> None:
        self.broker = Broker(
            self.clock.seconds, "b0", Limits(interval=self.interval), self.observer
        )
        random = Random(7)
        self.engines = {
            f"e{number}": Engine(
                Life(f"e{number}", f"{number:x}"), RecordingWorker(), self.clock.seconds, random
            )
            for number in range(self.size)
        }
        self.passes(3 * self.interval)
        self.observer.events.clear()

    @property
    def stats(self) -> Stats:
        return self.broker.stats()

    def passes(self, seconds: float) -> None:
        for _ in range(round(seconds / self.broker.tick_length)):
            self.turns(self.broker.tick_length)

    def turns(self, seconds: float) -> None:
        """Have the broker read all it can once, and tick, after so many seconds."""
        self.clock.advance(seconds)
        for name, engine in self.engines.items():
            wire = self.wires.get(name)
            if wire is not None and wire.engine_side.due <= self.clock.now:
                wire.engine_side.tick(self.clock.now)
            if name not in self.cut_off:
                self._exchange(name, engine, wire)
        self.broker.tick()
        for name in self.cut_off:
            # The broker's edge does not wait for who does not read.
            wire = self.wires[name]
            if wire.broker_side.is_over and wire.broker_side.carrier is not None:
                wire.broker_side.carrier = None
                self.broker.lose(wire.broker_side, reset=True)

    def _exchange(self, name: str, engine: Engine, wire: Wire | None) -> None:
        if wire is not None:
            if wire.broker_side.is_over and wire.broker_side.carrier is None:
                engine.lose()
            wire.exchange()
        if wire is None or wire.is_cut:
            self.wires[name] = Wire(self.broker, engine, name)
            self.wires[name].exchange()

    def cut(self, names: Iterable[str]) -> None:
        self.cut_off.update(names)

    def heal(self) -> None:
        self.cut_off.clear()

    def told(self, what: str) -> list[tuple[str, object]]:
        """Return of whom the broker has told this, and the detail."""
        return [(name, detail) for event, name, detail in self.observer.events if event == what]

    def leaves(self) -> None:
        """Let all leave, and see every heartbeat that was sent accounted for."""
        self.passes(2)
        for engine in self.engines.values():
            engine.leave("stopped")
        for wire in self.wires.values():
            wire.exchange()
        stats = self.stats
        sent = sum(engine.life.seq for engine in self.engines.values())
        assert stats.heartbeats + stats.missed == sent
        assert stats.connections == stats.registered == stats.late == 0
        assert stats.opened == stats.closed
        assert self.broker.brake.waiting == 0
