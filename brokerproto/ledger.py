"""The ledger: all commands of a broker, and what waits for engines of the original.

It issues commands, says whose turn it is, takes the engines' reports, and forgets what
is old. Rules: protocol reference, section "Commands".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from attrs import define, field

from brokerproto.commands import (
    COMMANDS_KEPT,
    ENTRIES_KEPT,
    REPORTED,
    WORK_WAITING,
    Command,
    Entry,
    Key,
    Step,
    Target,
    Verb,
)
from brokerproto.errors import KeyReusedError
from brokerproto.messages import Report

__all__ = ["Ledger"]

_PLAIN_PAUSE = 1.0


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
    _keys: dict[str, Command] = field(init=False, factory=dict)
    _issued: int = field(init=False, default=0)
    _entries: int = field(init=False, default=0)
    _plain: dict[str, _PlainQueue] = field(init=False, factory=dict)

    def __len__(self) -> int:
        """How many commands are kept."""
        return len(self._commands)

    def __iter__(self) -> Iterator[Command]:
        """The commands kept, oldest first."""
        return iter(self._commands.values())

    def get(self, command: str) -> Command | None:
        """Return the command of this id, while it is kept."""
        return self._commands.get(command)

    def known_by(self, key: Key) -> Command | None:
        """Return the command that was issued under a key, while it is kept.

        Raises:
            KeyReusedError: It was issued for another request.
        """
        command = self._keys.get(key.name)
        if command is not None and command.key != key:
            raise KeyReusedError(key.name, command.command)
        return command

    def issue(
        self,
        verb: Verb,
        value: int,
        targets: Iterable[Target],
        now: float,
        key: Key | None = None,
    ) -> Command:
        """Enter a command, queued for each of `targets`; `write` says whose turn it is.

        Raises:
            ValueError: `value` is none that the verb can have.
            KeyReusedError: A command of this key is kept.
        """
        if key is not None and key.name in self._keys:
            raise KeyReusedError(key.name, self._keys[key.name].command)
        command = Command(f"{self.boot}-{self._issued + 1}", verb, value, now, key)
        self._issued += 1
        for target in targets:
            entry = command.add(target)
            if target.plain:
                self._queue(command, target.engine_id, entry, now)
        self._commands[command.command] = command
        if key is not None:
            self._keys[key.name] = command
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
            if surplus.key is not None:
                del self._keys[surplus.key.name]
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
        command.advance(entry, REPORTED[report.state], now, report.error)
        return True

    def ended(self, engine_id: str, now: float) -> None:
        """Take note that an engine's registration is over.

        A KILL that was written counts as done; every other open command is lost.
        """
        self._plain.pop(engine_id, None)
        for command in list(self._commands.values()):
            entry = command.entries.get(engine_id)
            if entry is None or entry.is_settled:
                continue
            killed = command.verb == "KILL" and entry.step is not Step.QUEUED
            command.advance(entry, Step.DONE if killed else Step.LOST, now)
