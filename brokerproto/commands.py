"""Commands: for each engine, how far each one has come.

An entry moves queued -> written -> received -> started -> done or failed, or to lost
when the engine goes; a report of the same instance may still move a lost one. Steps
may be skipped, and none is taken back. Rules: protocol reference, section "Commands".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from enum import Enum
from operator import attrgetter
from typing import Literal

from attrs import define, field, frozen, validators

from brokerproto.grammar import MAX_CODE, MAX_WORK_MS
from brokerproto.messages import DoWork, Kill

__all__ = [
    "COMMANDS_KEPT",
    "ENTRIES_KEPT",
    "KEY_PATTERN",
    "REPORTED",
    "WORK_WAITING",
    "Command",
    "Entry",
    "Key",
    "Latency",
    "Step",
    "Target",
    "Verb",
]

COMMANDS_KEPT = 100
"""How many commands are kept in full."""

ENTRIES_KEPT = 200_000
"""How many engines the kept commands may concern in all; 230 bytes are kept for each."""

WORK_WAITING = 16
"""How many commands may wait for one engine; one more fails as ``queue-full``."""

KEY_PATTERN = "[!-~]{1,255}"
"""The form of a key's name; visible ASCII characters, without blanks."""

Verb = Literal["DOWORK", "KILL"]

_VALUES: dict[Verb, tuple[str, int]] = {
    "DOWORK": ("milliseconds", MAX_WORK_MS),
    "KILL": ("an exit status", MAX_CODE),
}


class Step(Enum):
    """How far a command has come at one engine, in order."""

    QUEUED = "queued"
    WRITTEN = "written"
    RECEIVED = "received"
    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"


_RANK = {step: rank for rank, step in enumerate(Step)}
_FINAL = (Step.DONE, Step.FAILED)
_SETTLED = (*_FINAL, Step.LOST)
_MOMENTS: dict[Step, str] = {step: f"{step.value}_at" for step in list(Step)[1:]}

REPORTED = {step.value: step for step in (Step.RECEIVED, Step.STARTED, *_FINAL)}
"""The steps that engines report, by the state in their reports."""


@frozen
class Target:
    """An engine that a command is meant for.

    Attributes:
        engine_id: Its id.
        instance: Its life; only this life's reports count. None for a plain engine.
        plain: Whether it is an original engine, which reports nothing.
    """

    engine_id: str
    instance: str | None = None
    plain: bool = False


@define(eq=False, weakref_slot=False)
class Entry:
    """How far a command has come at one engine.

    Attributes:
        instance: The engine's life; only this life's reports count.
        plain: Whether it is an original engine, which reports nothing.
        step: Where it stands.
        error: Why it failed.
        written_at: When it was written, monotonic seconds; likewise the others.
    """

    instance: str | None
    plain: bool
    step: Step = Step.QUEUED
    error: str | None = None
    written_at: float | None = None
    received_at: float | None = None
    started_at: float | None = None
    done_at: float | None = None
    failed_at: float | None = None
    lost_at: float | None = None

    def at(self, step: Step) -> float | None:
        """Return when `step`, any but QUEUED, was first reached."""
        moment: float | None = getattr(self, _MOMENTS[step])
        return moment

    @property
    def is_settled(self) -> bool:
        """Whether the engine has done it, failed, or is lost."""
        return self.step in _SETTLED

    def is_beyond(self, step: Step) -> bool:
        """Whether a report of a later step than `step` has come."""
        later = (each for each in REPORTED.values() if _RANK[each] > _RANK[step])
        return any(self.at(each) is not None for each in later)


@frozen
class Latency:
    """How long the engines took from the command's issue to a step, in seconds."""

    n: int
    min: float
    p50: float
    p90: float
    p99: float
    max: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Latency | None:
        """Summarise by nearest rank; None where there is nothing."""
        ordered = sorted(seconds)
        if not ordered:
            return None
        p50, p90, p99 = (ordered[math.ceil(len(ordered) * q) - 1] for q in (0.5, 0.9, 0.99))
        return cls(len(ordered), ordered[0], p50, p90, p99, ordered[-1])


@frozen
class Key:
    """A name that the caller gives a command, so that it is not issued twice.

    Attributes:
        name: See `KEY_PATTERN`; compared letter by letter.
        request: What was asked for under it. Equal requests under one name are the same
            one, asked again.
    """

    name: str = field(validator=validators.matches_re(KEY_PATTERN))
    request: Hashable


@define(eq=False)
class Command:
    """One order to many engines, and what became of it.

    Attributes:
        command: Its id, with the broker's boot id in it.
        verb: ``DOWORK`` or ``KILL``.
        value: Milliseconds, or the exit status.
        issued_at: Monotonic seconds.
        key: The caller's name for it, if there is one.
        entries: By engine id.
        states: How many engines stand at each step now.

    Raises:
        ValueError: `value` is none that the verb can have.
    """

    command: str
    verb: Verb
    value: int = field()
    issued_at: float
    key: Key | None = None
    entries: dict[str, Entry] = field(init=False, factory=dict)
    states: Counter[Step] = field(init=False, factory=Counter)
    _settled: list[Callable[[Command], None]] = field(init=False, factory=list)

    @value.validator
    def _check_value(self, _: object, value: int) -> None:
        what, most = _VALUES[self.verb]
        if not 0 <= value <= most:
            raise ValueError(f"{self.verb} takes {what}, 0 to {most}, not {value}")

    @property
    def message(self) -> DoWork | Kill:
        """The frame that carries it."""
        make = DoWork if self.verb == "DOWORK" else Kill
        return make(self.value, self.command)

    @property
    def is_settled(self) -> bool:
        """Whether every engine has done it, failed, or is lost."""
        return sum(self.states[step] for step in _SETTLED) == len(self.entries)

    @property
    def silent(self) -> Iterator[str]:
        """The engines that have not said anything about it, by id."""
        return (engine_id for engine_id, _ in self.standing(Step.QUEUED, Step.WRITTEN))

    def standing(self, *steps: Step) -> Iterator[tuple[str, Entry]]:
        """The engines that stand at one of `steps` now, by id, each with its entry."""
        # No further than the last one: where nobody stands there, nobody is looked at.
        left = sum(self.states[step] for step in steps)
        for engine_id, entry in self.entries.items() if left else ():
            if entry.step in steps:
                yield engine_id, entry
                left -= 1
                if not left:
                    return

    def latency(self, step: Step) -> Latency | None:
        """Summarise how long the engines took to reach `step`, any but QUEUED."""
        issued_at = self.issued_at
        moments = map(attrgetter(_MOMENTS[step]), self.entries.values())
        return Latency.of(moment - issued_at for moment in moments if moment is not None)

    def when_settled(self, callback: Callable[[Command], None]) -> None:
        """Call back once, when `is_settled` becomes true; at once where it is.

        A command that the ledger has to forget calls back then.
        """
        if self.is_settled:
            callback(self)
        else:
            self._settled.append(callback)

    def forget(self, callback: Callable[[Command], None]) -> None:
        """Take back a `when_settled`; nothing happens where it was called already."""
        if callback in self._settled:
            self._settled.remove(callback)

    def add(self, target: Target) -> Entry:
        """Aim at one more engine."""
        entry = self.entries[target.engine_id] = Entry(target.instance, target.plain)
        self.states[Step.QUEUED] += 1
        return entry

    def advance(self, entry: Entry, step: Step, now: float, error: str | None = None) -> None:
        """Move an entry forward to `step`; a step back, or out of an end, is no move."""
        if entry.step in _FINAL:
            return
        if entry.step is Step.LOST:
            if step not in REPORTED.values() or entry.is_beyond(step):
                return
        elif _RANK[step] <= _RANK[entry.step]:
            return
        was_settled = self.is_settled
        self.states[entry.step] -= 1
        self.states[step] += 1
        entry.step, entry.error = step, error
        if entry.at(step) is None:
            setattr(entry, _MOMENTS[step], now)
        if self.is_settled and not was_settled:
            self.call_back()

    def call_back(self) -> None:
        """Tell all that wait for the command not to wait any longer."""
        callbacks, self._settled = self._settled, []
        for callback in callbacks:
            callback(self)
