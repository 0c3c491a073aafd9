"""Drive an engine and a small model of its work side by side, over many connections."""

from __future__ import annotations

from collections import deque
from typing import cast

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from brokerproto.engine import Engine
from brokerproto.life import Life
from brokerproto.testing import ManualClock, RecordingCarrier, RecordingWorker
from tests.brokerproto.engine_conversation import GRANTED


def is_connected(self: RuleBasedStateMachine) -> bool:
    machine = cast(EngineMachine, self)
    return machine.connected and not machine.killed


class EngineMachine(RuleBasedStateMachine):
    """The model: what runs, what waits, and the last report of each command."""

    @initialize()
    def be_born(self) -> None:
        self.clock, self.worker = ManualClock(), RecordingWorker()
        self.engine = Engine(Life("e", "a1"), self.worker, self.clock.seconds)
        self.carrier = RecordingCarrier()
        self.at_work: str | None = None
        self.began = 0.0
        self.waiting: deque[str] = deque()
        self.reports: dict[str, str] = {}
        self.said: list[str] = []
        self.commands = 0
        self.connected = self.killed = False
        self.connects()

    def _says(self, *frames: str) -> None:
        expected = [*self.said, *frames] if self.connected else []
        self.said = []
        assert self.carrier.take().decode().splitlines() == expected

    def _reports(self, command: str, state: str) -> None:
        self.reports.pop(command, None)
        frame = self.reports[command] = f"Report:{command}:{state}"
        self.reports = dict(list(self.reports.items())[-32:])
        self.said.append(frame)

    def _begins_the_next(self) -> None:
        if self.at_work is None and self.waiting:
            self.at_work, self.began = self.waiting.popleft(), self.clock.now
            self._reports(self.at_work, "started")

    def _drops_all(self, why: str) -> None:
        if self.at_work is not None:
            ms = round((self.clock.now - self.began) * 1000)
            self._reports(self.at_work, f"failed:ms={ms};error={why}")
            self.at_work = None
        while self.waiting:
            self._reports(self.waiting.popleft(), f"failed:error={why}")

    def _hears(self, *frames: str) -> None:
        self.engine.receive_data("".join(f"{frame}\n" for frame in frames).encode())

    @precondition(is_connected)
    @rule(times=st.sampled_from([1, 2, 9]))
    def is_given_work(self, times: int) -> None:
        first = self.commands
        self.commands += times
        commands = [f"c-{n}" for n in range(first, self.commands)]
        self._hears(*[f"DOWORK:5:command={command}" for command in commands])
        for command in commands:
            if len(self.waiting) == 16:
                self._reports(command, "failed:error=queue-full")
            else:
                self._reports(command, "received")
                self.waiting.append(command)
                self._begins_the_next()
        self._says()

    @rule(error=st.sampled_from([None, None, "crashed"]))
    def work_ends(self, error: str | None) -> None:
        self.engine.worked(error)
        if self.at_work is not None:
            ms = round((self.clock.now - self.began) * 1000)
            ended = f"done:ms={ms}" if error is None else f"failed:ms={ms};error={error}"
            self._reports(self.at_work, ended)
            self.at_work = None
            self._begins_the_next()
        self._says()

    @rule(ticks=st.integers(1, 8))
    def time_passes(self, ticks: int) -> None:
        self.clock.advance(ticks / 8)

    @precondition(lambda self: self.connected)
    @rule()
    def loses_the_connection(self) -> None:
        self.engine.lose()
        self.connected = False
        assert self.worker.exit_code == (3 if self.killed else None)
        if self.killed:
            self.be_born()

    @precondition(lambda self: not self.connected)
    @rule()
    def connects(self) -> None:
        self.carrier.session = self.engine.open(self.carrier)
        self.carrier.take()
        self._hears(GRANTED)
        self.connected = True
        self.said = list(self.reports.values())
        self._says()

    @precondition(is_connected)
    @rule(alone=st.booleans())
    def is_killed(self, alone: bool) -> None:
        self._hears("KILL:3:command=k", *["DOWORK:1:command=late"] * (not alone))
        self._drops_all("killed")
        self._reports("k", "done")
        self._says("Bye:reason=killed")
        self.killed = True

    @precondition(is_connected)
    @rule()
    def leaves(self) -> None:
        self.engine.leave("stopped")
        self._drops_all("stopped")
        self._says("Bye:reason=stopped")
        self.engine.lose()
        self.connected = False

    @invariant()
    def works_on_what_the_model_works_on(self) -> None:
        assert self.engine.life.busy == self.at_work
        assert (self.worker.running is not None) >= (self.at_work is not None)
        assert self.engine.exit_code == (3 if self.killed else None)


TestEngine = EngineMachine.TestCase
