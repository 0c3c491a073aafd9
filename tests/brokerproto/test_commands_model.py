"""Drive a ledger and a model of its entries side by side."""

from __future__ import annotations

from collections import Counter

from attrs import define
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from brokerproto.commands import Command, Step, Target, Verb
from brokerproto.ledger import Ledger
from brokerproto.messages import Report

TICK = 0.125
KEPT = 4
RICH, NAMELESS, PLAIN = ("r", "s"), ("n",), ("p", "q")
EVERYBODY = (*RICH, *NAMELESS, *PLAIN)
ORDER = ["queued", "written", "received", "started", "done", "failed"]
engines = st.sampled_from(EVERYBODY)
places = st.integers(0, KEPT - 1)


@define
class Expected:
    """Where one engine should stand, and the furthest it has been."""

    verb: str
    instance: str | None
    plain: bool
    step: str = "queued"
    furthest: str = "queued"

    def move(self, step: str) -> None:
        self.step = self.furthest = step

    @property
    def is_over(self) -> bool:
        return self.step in {"done", "failed"}


@define
class PlainEngine:
    """A plain engine's commands, in order, and until when it is at work."""

    waiting: list[str]
    at_work: str | None = None
    free_at: float = 0.0


class LedgerMachine(RuleBasedStateMachine):
    """The model is a table of steps, and a queue for each plain engine."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger("b0", kept=KEPT)
        self.now = 0.0
        self.lives = dict.fromkeys(RICH, 1)
        self.plain = {name: PlainEngine([]) for name in PLAIN}
        self.commands: dict[str, Command] = {}
        self.kept: list[str] = []
        self.dropped: set[str] = set()
        self.expected: dict[str, dict[str, Expected]] = {}
        self.called: list[list[Command]] = []
        self.due: list[tuple[list[Command], str]] = []

    def _instance(self, name: str) -> str | None:
        return str(self.lives[name]) if name in self.lives else None

    @property
    def _kept(self) -> list[str]:
        return self.kept

    @rule(ticks=st.integers(1, 12))
    def time_passes(self, ticks: int) -> None:
        self.now += ticks * TICK

    @rule(
        verb=st.sampled_from(["DOWORK", "DOWORK", "KILL"]),
        value=st.sampled_from([0, 250, 1000, 1500]),
        names=st.sets(engines),
    )
    def issue(self, verb: Verb, value: int, names: set[str]) -> None:
        targets = [Target(name, self._instance(name), name in PLAIN) for name in sorted(names)]
        command = self.ledger.issue(verb, value if verb == "DOWORK" else 3, targets, self.now)
        assert command.command == f"b0-{len(self.commands) + 1}"
        self.commands[command.command] = command
        self.expected[command.command] = {
            each.engine_id: Expected(verb, each.instance, each.plain) for each in targets
        }
        for name in names & set(PLAIN):
            waiting = self.plain[name].waiting
            if verb == "KILL":
                waiting.insert(0, command.command)
            elif len(waiting) < 16:
                waiting.append(command.command)
            else:
                self.expected[command.command][name].move("failed")
        self.kept.append(command.command)
        if len(self.kept) > KEPT:
            earlier = self.kept[:-1]
            surplus = next(filter(self._is_settled, earlier), earlier[0])
            self.kept.remove(surplus)
            self.dropped.add(surplus)

    def _targeted(self, place: int, name: str) -> tuple[Command, Expected] | None:
        kept = self._kept
        if not kept or name not in self.expected[kept[place % len(kept)]]:
            return None
        command = kept[place % len(kept)]
        return self.commands[command], self.expected[command][name]

    @rule(place=places, name=engines)
    def write(self, place: int, name: str) -> None:
        target = self._targeted(place, name)
        if target is not None:
            self._write(*target, name)

    def _write(self, command: Command, expected: Expected, name: str) -> None:
        may = expected.step == "queued"
        if expected.plain and may:
            queue = self.plain[name]
            may = queue.at_work is None and queue.waiting[0] == command.command
            if may:
                pause = max(1.0, command.value / 1000) if command.verb == "DOWORK" else 1e9
                queue.at_work, queue.free_at = queue.waiting.pop(0), self.now + pause
        assert self.ledger.write(command, name, self.now) is may
        if may:
            expected.move("written")

    @rule(name=st.sampled_from(PLAIN), obey=st.booleans())
    def heartbeat(self, name: str, obey: bool) -> None:
        queue = self.plain[name]
        if queue.at_work is not None and self.now >= queue.free_at:
            self.expected[queue.at_work][name].move("done")
            queue.at_work = None
        following = None
        if queue.at_work is None and queue.waiting:
            following = self.commands[queue.waiting[0]]
        assert self.ledger.heartbeat(name, self.now) is following
        assert self.ledger.is_waiting(name) is (queue.at_work is not None or bool(queue.waiting))
        if following is not None and obey:
            self._write(following, self.expected[following.command][name], name)

    @precondition(lambda self: self.commands)
    @rule(
        place=places,
        name=engines,
        state=st.sampled_from(["received", "started", "done", "failed"]),
        stranger=st.booleans(),
    )
    def report(self, place: int, name: str, state: str, stranger: bool) -> None:
        kept = self._kept
        command = kept[place % len(kept)]
        self._report(command, name, state, "0" if stranger else self._instance(name))

    @precondition(lambda self: self.dropped)
    @rule(name=engines)
    def report_on_what_is_forgotten(self, name: str) -> None:
        message = Report(min(self.dropped), "done")
        assert not self.ledger.report(name, self._instance(name), message, self.now)

    def _report(self, command: str, name: str, state: str, instance: str | None) -> None:
        expected = self.expected[command].get(name)
        fits = (
            expected is not None
            and not expected.plain
            and expected.instance == instance
            and not (instance is None and expected.step == "lost")
        )
        assert self.ledger.report(name, instance, Report(command, state), self.now) is fits
        if expected is None or not fits or expected.is_over:
            return
        further = ORDER.index(state) - ORDER.index(expected.furthest)
        if further > 0 or (further == 0 and expected.step == "lost"):
            expected.move(state)

    @rule(name=engines, reborn=st.booleans())
    def end(self, name: str, reborn: bool) -> None:
        self.ledger.ended(name, self.now)
        for command in self._kept:
            expected = self.expected[command].get(name)
            if expected is not None and not expected.is_over and expected.step != "lost":
                if expected.verb == "KILL" and expected.step != "queued":
                    expected.move("done")
                else:
                    expected.step = "lost"
        if name in self.lives and reborn:
            self.lives[name] += 1
        if name in PLAIN:
            self.plain[name] = PlainEngine([])

    @precondition(lambda self: self.commands)
    @rule(place=places)
    def wait(self, place: int) -> None:
        kept = self._kept
        command = kept[place % len(kept)]
        calls: list[Command] = []
        self.commands[command].when_settled(calls.append)
        self.due.append((calls, command))

    def _is_settled(self, command: str) -> bool:
        return all(each.is_over or each.step == "lost" for each in self.expected[command].values())

    @invariant()
    def every_entry_stands_where_it_should(self) -> None:
        for name, entries in self.expected.items():
            command = self.commands[name]
            shown = {engine: entry.step.value for engine, entry in command.entries.items()}
            assert shown == {engine: each.step for engine, each in entries.items()}
            counted = Counter({step: n for step, n in command.states.items() if n})
            assert counted == Counter(Step(each.step) for each in entries.values())
            assert command.is_settled is self._is_settled(name)

    @invariant()
    def whoever_waited_was_told_once(self) -> None:
        for calls, command in self.due:
            assert len(calls) <= 1
            assert calls or not (self._is_settled(command) or command in self.dropped)
            assert calls in ([], [self.commands[command]])

    @invariant()
    def a_plain_engine_has_one_command_at_a_time(self) -> None:
        for name in PLAIN:
            written = [
                command
                for command in self._kept
                if name in self.expected[command] and self.expected[command][name].step == "written"
            ]
            assert len(written) <= 1

    @invariant()
    def the_last_commands_are_kept(self) -> None:
        assert [command.command for command in self.ledger] == self._kept


TestLedgerStateful = LedgerMachine.TestCase
