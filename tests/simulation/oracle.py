"""What will happen at a broker, foretold from what is done to its engines.

It knows the rules, and nothing of how they are kept: no frames, no sessions, no rings. A
draw gives the middle of its range. Rules: protocol reference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from attrs import define, field

from tests.simulation.world import OFFSET, STEP, Event

_WAITS = (0.5, 2.25, 4.25, 8.25, 15.25)
_DIAL = 5.0
_PROBE = 2.0
_ANSWER_AGAIN = 0.25
_NEVER = math.inf


@define(eq=False)
class Foretold:
    """One id: what its engine does, and what the broker thinks of it.

    Attributes:
        is_connected: Whether the engine believes so.
        is_held: Whether the broker believes that somebody holds the id.
        is_ghost: Whether whoever holds it cannot be heard any more.
        was_dropped: Whether that is a connection which the broker may yet hear of.
        is_cut: Whether nothing comes through.
        is_claimed: Whether a stranger waits for what it says.
        has_spoken: Whether something waits to come through.
        seen: The broker's time of the last sign of life.
    """

    engine_id: str
    is_alive: bool = True
    is_connected: bool = False
    is_held: bool = False
    is_ghost: bool = False
    was_dropped: bool = False
    is_cut: bool = False
    has_spoken: bool = False
    is_late: bool = False
    seen: float = 0.0
    epoch: int = 0
    instance: int = 1
    holder: int = 0
    joined_at: float = 0.0
    beat_at: float = _NEVER
    dial_at: float = _NEVER
    dialling_until: float = _NEVER
    tries: int = 0
    asked_at: float = -_NEVER
    probed_at: float = _NEVER
    is_claimed: bool = False
    takeovers: list[float] = field(factory=list)


@define(eq=False)
class Oracle:
    """Foretells the events of a world with intervals of 10 s; tell it what is done there.

    Attributes:
        engines: All ids that there ever were.
        now: The world's time.
        clock: The broker's time.
        ticks: Whether the broker does.
        reads: Whether it does.
    """

    now: float
    engines: dict[str, Foretold] = field(init=False, factory=dict)
    clock: float = field(init=False, default=0.0)
    ticks: bool = field(init=False, default=True)
    reads: bool = field(init=False, default=True)
    _ticked_at: float = field(init=False)
    _events: list[Event] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self._ticked_at = self.now - OFFSET

    def take_events(self) -> list[Event]:
        taken, self._events = self._events, []
        return taken

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP)):
            tick = self.now + STEP - OFFSET
            if (tick - OFFSET) % 0.5 == 0 and self.ticks:
                self._tick(tick)
            self.now += STEP
            for engine in self._living():
                self._act(engine)

    def start(self, engine_id: str) -> None:
        engine = self.engines.setdefault(engine_id, Foretold(engine_id, is_alive=False))
        engine.instance += 1
        engine.is_alive, engine.is_cut, engine.has_spoken = True, False, False
        engine.was_dropped = False
        engine.tries, engine.dial_at = 0, self.now
        self._act(engine)

    def leave(self, engine: Foretold) -> None:
        if engine.is_connected and engine.is_held:
            self._end(engine, "left: stopped")
        self._die(engine)

    def die(self, engine: Foretold) -> None:
        is_holder = engine.is_held and engine.holder == engine.instance
        if engine.is_connected and is_holder and not engine.is_cut:
            self._end(engine, "lost: reset")
        engine.is_ghost = engine.is_held
        self._die(engine)

    def reset(self, engine: Foretold) -> None:
        if engine.is_connected:
            if engine.is_held and engine.holder == engine.instance:
                self._end(engine, "lost: reset")
            self._disconnected(engine)

    def drop(self, engine: Foretold) -> None:
        if engine.is_connected:
            engine.is_ghost = engine.was_dropped = engine.is_held
            self._disconnected(engine)

    def cut(self, engine: Foretold) -> None:
        engine.is_cut = True

    def heal(self, engine: Foretold) -> None:
        engine.is_cut = False
        if engine.is_ghost and engine.was_dropped:
            self._end(engine, "lost: reset")
        if engine.is_connected and not engine.is_held:
            self._disconnected(engine)
        elif engine.is_connected and (engine.has_spoken or engine.is_late):
            self._heard(engine, self.now)
        if engine.dialling_until < _NEVER:
            engine.dial_at, engine.dialling_until = self.now, _NEVER
            self._act(engine)

    def claim(self, engine: Foretold) -> None:
        if self._flaps(engine):
            self._note(f"{engine.engine_id} refused: 429", self.now)
            return
        if engine.is_claimed:
            self._note(f"{engine.engine_id} refused: 409", self.now)
        engine.is_claimed = True
        self._ask(engine, self.now)

    def stand_still(self) -> None:
        self.ticks = self.reads = False

    def go_on(self, *, ticks_first: bool) -> None:
        self.ticks = True
        if ticks_first:
            self.pass_time(0.5)
        self.reads = True
        for engine in self._living():
            if engine.is_connected and not engine.is_cut and engine.probed_at == _NEVER:
                if not engine.is_held or engine.is_ghost:
                    self._hello(engine)
                elif engine.has_spoken or engine.is_late:
                    self._heard(engine, self.now)

    def _living(self) -> Iterator[Foretold]:
        return (engine for engine in self.engines.values() if engine.is_alive)

    def _note(self, event: str, when: float) -> None:
        self._events.append((when, event))

    def _end(self, engine: Foretold, how: str, when: float | None = None) -> None:
        engine.is_held = engine.is_ghost = engine.was_dropped = engine.is_late = False
        self._note(f"{engine.engine_id} {how}", self.now if when is None else when)

    def _die(self, engine: Foretold) -> None:
        engine.is_alive = engine.is_connected = False
        engine.dial_at = engine.dialling_until = engine.beat_at = engine.probed_at = _NEVER

    def _disconnected(self, engine: Foretold) -> None:
        if self.now - engine.joined_at >= 30 and engine.beat_at < _NEVER:
            engine.tries = 0
        engine.is_connected = engine.has_spoken = False
        engine.beat_at = _NEVER
        self._wait(engine)

    def _wait(self, engine: Foretold, least: float = 0.0) -> None:
        engine.dial_at = self.now + least + _WAITS[min(engine.tries, 4)]
        engine.tries += 1

    def _act(self, engine: Foretold) -> None:
        """Do what an engine does by itself."""
        if engine.dialling_until <= self.now:
            engine.dialling_until = _NEVER
            self._wait(engine)
        if engine.dial_at <= self.now:
            engine.dial_at = _NEVER
            if engine.is_cut:
                engine.dialling_until = self.now + _DIAL
            else:
                engine.is_connected = True
                if self.reads:
                    self._hello(engine)
        if engine.beat_at <= self.now:
            engine.beat_at += 10
            engine.has_spoken = True
            if not engine.is_cut and self.reads:
                self._heard(engine, self.now)

    def _flaps(self, engine: Foretold) -> bool:
        return sum(self._reading - each < 60 for each in engine.takeovers) >= 5

    @property
    def _reading(self) -> float:
        """The broker's time between two ticks."""
        return self.clock + min(self.now - self._ticked_at, 1.0)

    def _hello(self, engine: Foretold) -> None:
        if engine.is_held:
            if self._flaps(engine):
                self._note(f"{engine.engine_id} refused: 429", self.now)
                engine.is_connected = False
                self._wait(engine, 60)
                return
            if engine.holder != engine.instance and not engine.is_late:
                engine.probed_at = self._reading
                return
            self._take_over(engine, self.now)
        self._register(engine, self.now)

    def _take_over(self, engine: Foretold, when: float) -> None:
        engine.probed_at = _NEVER
        engine.takeovers.append(self.clock)
        self._end(engine, "lost: 410", when)

    def _register(self, engine: Foretold, when: float) -> None:
        engine.epoch += 1
        engine.is_held, engine.holder = True, engine.instance
        engine.seen, engine.joined_at, engine.beat_at = self.clock, when, when + 5
        self._note(f"{engine.engine_id} registered, epoch {engine.epoch}", when)

    def _ask(self, engine: Foretold, when: float) -> None:
        """Send a PING to an engine, which may answer."""
        answers = self.reads and engine.is_connected and not engine.is_cut and not engine.is_ghost
        if answers and when - engine.asked_at >= _ANSWER_AGAIN:
            engine.asked_at = when
            self._heard(engine, when)

    def _heard(self, engine: Foretold, when: float) -> None:
        engine.seen, engine.has_spoken = self.clock, False
        if engine.is_claimed:
            engine.is_claimed = False
            self._note(f"{engine.engine_id} refused: 409", when)
        if engine.is_late:
            engine.is_late = False
            self._note(f"{engine.engine_id} recovered", when)

    def _tick(self, when: float) -> None:
        passed, self._ticked_at = when - self._ticked_at, when
        horizon = self.clock if passed > 1 else self.clock + passed
        self.clock += min(passed, 1.0)
        for engine in self.engines.values():
            silence = horizon - engine.seen
            if engine.is_held and silence >= 40:
                self._end(engine, "lost: timeout", when)
                if engine.probed_at < _NEVER:
                    engine.probed_at = _NEVER
                    self._register(engine, when)
                elif engine.is_connected and not engine.is_cut:
                    self._disconnected(engine)
            elif engine.is_held and silence >= 16 and not engine.is_late:
                engine.is_late = True
                self._note(f"{engine.engine_id} late after {self.clock - engine.seen:g} s", when)
                self._ask(engine, when)
        for engine in self.engines.values():
            if engine.is_claimed:
                self._ask(engine, when)
            if horizon - engine.probed_at >= _PROBE:
                self._take_over(engine, when)
                self._register(engine, when)
