"""The ledger of commands: for each engine, how far each command has come.

An entry moves queued -> written -> received -> started -> done or failed, or to lost
when the engine goes; a report of the same instance may still move a lost one. Steps
may be skipped, and none is taken back. Rules: protocol reference, section "Commands".
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Literal

from attrs import define, field, frozen

from brokerproto.messages import DoWork, Kill, Report

__all__ = [
    "COMMANDS_KEPT",
    "ENTRIES_KEPT",
    "WORK_WAITING",
    "Command",
    "Entry",
    "Latency",
    "Ledger",
    "Step",
    "Target",
    "Verb",
]

COMMANDS_KEPT = 100
"""How many commands are kept in full."""

ENTRIES_KEPT = 200_000
"""How many engines the kept commands may concern in all: 230 bytes are kept for each."""

WORK_WAITING = 16
"""How many commands may wait for one engine; one more fails as ``queue-full``."""

_PLAIN_PAUSE = 1.0

Verb = Literal["DOWORK", "KILL"]


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
_REPORTED = {step.value: step for step in (Step.RECEIVED, Step.STARTED, *_FINAL)}


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


@define(eq=False)
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
        moment: float | None = getattr(self, f"{step.value}_at")
        return moment

    def is_beyond(self, step: Step) -> bool:
        """Whether a report of a later step than `step` has come."""
        later = (each for each in _REPORTED.values() if _RANK[each] > _RANK[step])
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


@define(eq=False)
class Command:
    """One order to many engines, and what became of it.

    Attributes:
        command: Its id, with the broker's boot id in it.
        verb: ``DOWORK`` or ``KILL``.
        value: Milliseconds, or the exit status.
        issued_at: Monotonic seconds.
        entries: By engine id.
        states: How many engines stand at each step now.
    """

    command: str
    verb: Verb
    value: int
    issued_at: float
    entries: dict[str, Entry] = field(init=False, factory=dict)
    states: Counter[Step] = field(init=False, factory=Counter)
    _settled: list[Callable[[Command], None]] = field(init=False, factory=list)

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
        return (
            engine_id
            for engine_id, entry in self.entries.items()
            if entry.step in (Step.QUEUED, Step.WRITTEN)
        )

    def latency(self, step: Step) -> Latency | None:
        """Summarise how long the engines took to reach `step`, any but QUEUED."""
        return Latency.of(
            moment - self.issued_at
            for entry in self.entries.values()
            if (moment := entry.at(step)) is not None
        )

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
            if step not in _REPORTED.values() or entry.is_beyond(step):
                return
        elif _RANK[step] <= _RANK[entry.step]:
            return
        was_settled = self.is_settled
        self.states[entry.step] -= 1
        self.states[step] += 1
        entry.step, entry.error = step, error
        if entry.at(step) is None:
            setattr(entry, f"{step.value}_at", now)
        if self.is_settled and not was_settled:
            self.call_back()

    def call_back(self) -> None:
        """Tell all that wait for the command not to wait any longer."""
        callbacks, self._settled = self._settled, []
        for callback in callbacks:
            callback(self)


@define(eq=False)
class _PlainQueue:
    """What waits for a plain engine, which takes one command at a time."""

    waiting: deque[Command] = field(factory=deque)
    at_work: Command | None = None
    not_before: float = 0.0


@define(eq=False)
class Ledger:
    """All commands of one broker. All times are monotonic seconds, given by the owner.

    Args:
        boot: Names this start of the broker; part of each command's id.
        kept: How many commands to keep; the oldest of the settled is forgotten first.
        entries_kept: How many entries they may have in all; the last one is kept anyway.
    """

    boot: str
    kept: int = COMMANDS_KEPT
    entries_kept: int = ENTRIES_KEPT
    _commands: dict[str, Command] = field(init=False, factory=dict)
    _issued: int = field(init=False, default=0)
    _entries: int = field(init=False, default=0)
    _plain: dict[str, _PlainQueue] = field(init=False, factory=dict)

    def __iter__(self) -> Iterator[Command]:
        """The commands kept, oldest first."""
        return iter(self._commands.values())

    def get(self, command: str) -> Command | None:
        """Return the command of this id, while it is kept."""
        return self._commands.get(command)

    def issue(self, verb: Verb, value: int, targets: Iterable[Target], now: float) -> Command:
        """Enter a command, queued for each of `targets`; `write` says whose turn it is."""
        self._issued += 1
        command = Command(f"{self.boot}-{self._issued}", verb, value, now)
        for target in targets:
            entry = command.add(target)
            if target.plain:
                self._queue(command, target.engine_id, entry, now)
        self._commands[command.command] = command
        self._entries += len(command.entries)
        self._forget_surplus()
        return command

    def _queue(self, command: Command, engine_id: str, entry: Entry, now: float) -> None:
        """Have `command` wait for a plain engine; a KILL overtakes the work."""
        waiting = self._plain.setdefault(engine_id, _PlainQueue()).waiting
        if command.verb == "KILL":
            waiting.appendleft(command)
        elif len(waiting) < WORK_WAITING:
            waiting.append(command)
        else:
            command.advance(entry, Step.FAILED, now, "queue-full")

    def _forget_surplus(self) -> None:
        while len(self._commands) > self.kept or self._entries > self.entries_kept:
            *earlier, _last = self._commands.values()
            if not earlier:
                break
            surplus = next((command for command in earlier if command.is_settled), earlier[0])
            del self._commands[surplus.command]
            self._entries -= len(surplus.entries)
            surplus.call_back()

    def write(self, command: Command, engine_id: str, now: float) -> bool:
        """Say that `command` is written to an engine now, if its turn has come.

        A plain engine's turn comes by `heartbeat`, one command at a time.

        Returns:
            Whether the owner must send it.
        """
        entry = command.entries[engine_id]
        if entry.step is not Step.QUEUED:
            return False
        if entry.plain:
            queue = self._plain[engine_id]
            if queue.at_work is not None or queue.waiting[0] is not command:
                return False
            queue.waiting.popleft()
            pause = max(command.value / 1000, _PLAIN_PAUSE) if command.verb == "DOWORK" else 0
            queue.at_work, queue.not_before = command, now + pause
        command.advance(entry, Step.WRITTEN, now)
        return True

    def heartbeat(self, engine_id: str, now: float) -> Command | None:
        """Take note of a plain engine's heartbeat.

        The DOWORK that it had been sent is done at the first heartbeat that came at
        least max(ms, 1 s) after it was written.

        Returns:
            The command that may be written to it next.
        """
        queue = self._plain.get(engine_id)
        if queue is None:
            return None
        if queue.at_work is not None:
            if queue.at_work.verb == "KILL" or now < queue.not_before:
                return None
            done, queue.at_work = queue.at_work, None
            done.advance(done.entries[engine_id], Step.DONE, now)
        if queue.waiting:
            return queue.waiting[0]
        del self._plain[engine_id]
        return None

    def is_waiting(self, engine_id: str) -> bool:
        """Whether a plain engine's next heartbeat matters to the ledger."""
        return engine_id in self._plain

    def report(self, engine_id: str, instance: str | None, report: Report, now: float) -> bool:
        """Take an engine's report, whichever connection brought it.

        Returns:
            False where it fits no command, engine and instance that are kept.
        """
        command = self._commands.get(report.command)
        entry = command.entries.get(engine_id) if command is not None else None
        if command is None or entry is None or entry.plain or entry.instance != instance:
            return False
        if instance is None and entry.step is Step.LOST:
            # Without an instance each connection is a life of its own.
            return False
        command.advance(entry, _REPORTED[report.state], now, report.error)
        return True

    def ended(self, engine_id: str, now: float) -> None:
        """Take note that an engine's registration is over.

        A KILL that was written counts as done; every other open command is lost.
        """
        self._plain.pop(engine_id, None)
        for command in list(self._commands.values()):
            entry = command.entries.get(engine_id)
            if entry is None or entry.step in _SETTLED:
                continue
            killed = command.verb == "KILL" and entry.step is not Step.QUEUED
            command.advance(entry, Step.DONE if killed else Step.LOST, now)
