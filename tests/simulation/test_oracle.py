"""Whatever is done to engines and their links, a broker says of them what is foretold."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.simulation.oracle import Foretold, Oracle
from tests.simulation.world import World

pytestmark = pytest.mark.fault("C110")

IDS = 3
_NUMBERS = st.integers(1, IDS)
_LONGEST_CUT = 90.0
_LONGEST_STOP = 25.0


class WholeBroker(RuleBasedStateMachine):
    """Does the same to a world and to the oracle.

    Hypothesis prints the steps that led to a difference as a program: a schedule that
    can be replayed by running it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.oracle = Oracle(self.world.now)
        self.cut_at: dict[int, float] = {}
        self.stopped_at: float | None = None

    def foretold(self, number: int) -> Foretold | None:
        return self.oracle.engines.get(f"e-{number}")

    def is_well(self, number: int) -> bool:
        """Whether an engine is registered, and nothing lies between it and the broker."""
        engine = self.foretold(number)
        return (
            engine is not None
            and engine.is_alive
            and engine.is_connected
            and engine.is_held
            and not engine.is_cut
            and not engine.is_ghost
            and self.stopped_at is None
        )

    def can_be_cut(self, engine: Foretold) -> bool:
        """Whether that leaves nobody behind of whom the oracle knows nothing."""
        is_asking = engine.probed_at < math.inf
        return engine.is_alive and not engine.is_cut and not is_asking and self.stopped_at is None

    @initialize()
    def begin(self) -> None:
        for number in range(1, IDS + 1):
            self.start(number)

    @rule(number=_NUMBERS)
    def start(self, number: int) -> None:
        """A new life of an id that nobody has."""
        engine = self.foretold(number)
        if (engine is None or not engine.is_alive) and self.stopped_at is None:
            self.world.fleet.start(number)
            self.world.settle()
            self.oracle.start(f"e-{number}")

    @rule(seconds=st.sampled_from((0.25, 0.5, 1, 2, 3, 5, 10, 16, 25, 40)))
    def pass_time(self, seconds: float) -> None:
        for number, since in list(self.cut_at.items()):
            if self.world.now + seconds - since > _LONGEST_CUT:
                self.heal(number)
        if (
            self.stopped_at is not None
            and self.world.now + seconds - self.stopped_at > _LONGEST_STOP
        ):
            self.go_on(ticks_first=False)
        self.world.pass_time(seconds)
        self.oracle.pass_time(seconds)

    @rule(number=_NUMBERS)
    def leave(self, number: int) -> None:
        if self.is_well(number):
            self.world.fleet.leave(f"e-{number}")
            self.world.settle()
            self.oracle.leave(self.oracle.engines[f"e-{number}"])

    @rule(number=_NUMBERS)
    def die(self, number: int) -> None:
        engine = self.foretold(number)
        if engine is not None and engine.is_alive and self.stopped_at is None:
            self.cut_at.pop(number, None)
            self.world.fleet.die(f"e-{number}")
            self.world.settle()
            self.oracle.die(engine)

    @rule(number=_NUMBERS)
    def cut(self, number: int) -> None:
        engine = self.foretold(number)
        if engine is not None and self.can_be_cut(engine):
            self.cut_at[number] = self.world.now
            self.world.fleet.engines[f"e-{number}"].switch.cut()
            self.oracle.cut(engine)

    @rule(number=_NUMBERS)
    def heal(self, number: int) -> None:
        engine = self.foretold(number)
        if engine is not None and number in self.cut_at and self.stopped_at is None:
            del self.cut_at[number]
            self.world.fleet.engines[f"e-{number}"].switch.heal()
            self.world.settle()
            self.oracle.heal(engine)

    @rule(number=_NUMBERS)
    def reset(self, number: int) -> None:
        """The network breaks a connection, and both sides see it."""
        if self.is_well(number):
            self.world.fleet.engines[f"e-{number}"].switch.reset()
            self.world.settle()
            self.oracle.reset(self.oracle.engines[f"e-{number}"])

    @rule(number=_NUMBERS)
    def drop(self, number: int) -> None:
        """An engine loses its connection, and the broker does not hear of it."""
        if self.is_well(number):
            self.world.drop(self.world.fleet.engines[f"e-{number}"])
            self.oracle.drop(self.oracle.engines[f"e-{number}"])

    @rule(number=_NUMBERS)
    def move(self, number: int) -> None:
        """An engine vanishes without a word, and another life of its id comes."""
        if self.is_well(number):
            self.cut(number)
            self.die(number)
            self.start(number)

    @rule(number=_NUMBERS, seconds=st.sampled_from((1, 5, 16)))
    def flap(self, number: int, seconds: float) -> None:
        """An engine loses its connection again and again."""
        for _ in range(7):
            self.drop(number)
            self.pass_time(seconds)

    @rule(number=_NUMBERS)
    def claim(self, number: int) -> None:
        """Two strangers ask for the id of an engine that is well, and get their answers."""
        if self.is_well(number):
            for _ in range(2):
                self.world.claim(f"e-{number}")
                self.oracle.claim(self.oracle.engines[f"e-{number}"])
            self.pass_time(1)

    @precondition(lambda self: self.stopped_at is None)
    @rule()
    def stand_still(self) -> None:
        """The broker's process is stopped."""
        self.stopped_at = self.world.now
        self.world.stand_still()
        self.oracle.stand_still()

    @precondition(lambda self: self.stopped_at is not None)
    @rule(ticks_first=st.booleans())
    def go_on(self, ticks_first: bool) -> None:
        self.stopped_at = None
        self.world.go_on(ticks_first=ticks_first)
        self.oracle.go_on(ticks_first=ticks_first)

    @invariant()
    def everything_happens_as_foretold(self) -> None:
        assert sorted(self.world.take_events()) == sorted(self.oracle.take_events())

    def teardown(self) -> None:
        if self.stopped_at is not None:
            self.go_on(ticks_first=False)
        for number in list(self.cut_at):
            self.heal(number)
        self.world.pass_time(60)
        self.world.close()


TestWholeBroker = WholeBroker.TestCase
TestWholeBroker.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
