"""Drive both ends of a stream, and a small model of them, side by side."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock

from tests.transports.recording import HalfCloseable, Recorder, Recorders, dial, listen, run_due

ENDS = st.sampled_from(["near", "far"])
KINDS = st.sampled_from([Recorder, HalfCloseable])
# More calls than any run can have waiting, and so a proof that it comes to rest.
MANY = 10_000


@define
class Model:
    """What one end has written, and what it was told to do."""

    written: bytes = b""
    paused: bool = False
    half_closing: bool = False
    closing: bool = False
    aborted: bool = False
    events_when_paused: list[Any] = field(factory=list)

    def write(self, data: bytes) -> None:
        if not (self.half_closing or self.closing or self.aborted):
            self.written += data


class StreamMachine(RuleBasedStateMachine):
    """The model: what arrives is a beginning of what was written, and all of it

    where nobody pauses, closes or aborts. Calls that are due at once run in any
    order, since a reactor promises none.
    """

    @initialize(near=KINDS, far=KINDS)
    def meet(self, near: Any, far: Any) -> None:
        self.clock = Clock()
        listeners, callers = Recorders(far), Recorders(near)
        listen(self.clock, listeners)
        dial(self.clock, callers)
        while not listeners.made:
            run_due(self.clock, 0)
        self.ends: dict[str, Any] = {"near": callers.made[0], "far": listeners.made[0]}
        self.models = {"near": Model(), "far": Model()}
        self.running = False
        for end in self.ends.values():
            end.on_data = self._came

    def _came(self, data: bytes) -> None:
        assert self.running, "bytes came while an end was being called"

    @rule(choices=st.lists(st.integers(0, 5), min_size=1, max_size=8))
    def calls_run(self, choices: list[int]) -> None:
        self.running = True
        for choice in choices:
            if self.clock.calls:
                run_due(self.clock, choice)
        self.running = False

    @rule(end=ENDS, size=st.integers(0, 3) | st.just(70_000))
    def write(self, end: str, size: int) -> None:
        model = self.models[end]
        data = bytes([len(model.written) % 251]) * size
        if self.ends[end].transport.connected:
            model.write(data)
        self.ends[end].transport.write(data)

    @rule(end=ENDS)
    def pause(self, end: str) -> None:
        model = self.models[end]
        if not model.paused:
            model.paused = True
            model.events_when_paused = list(self.ends[end].events)
        self.ends[end].transport.pauseProducing()

    @rule(end=ENDS)
    def resume(self, end: str) -> None:
        self.models[end].paused = False
        self.ends[end].transport.resumeProducing()

    @rule(end=ENDS)
    def lose(self, end: str) -> None:
        self.models[end].closing = True
        self.ends[end].transport.loseConnection()

    @rule(end=ENDS)
    def lose_write(self, end: str) -> None:
        self.models[end].half_closing = True
        self.ends[end].transport.loseWriteConnection()

    @rule(end=ENDS)
    def abort(self, end: str) -> None:
        if self.ends[end].transport.connected:
            self.models[end].aborted = True
        self.ends[end].transport.abortConnection()

    @invariant()
    def what_arrives_is_a_beginning_of_what_was_written(self) -> None:
        for end, other in (("near", "far"), ("far", "near")):
            assert self.models[other].written.startswith(self.ends[end].received)

    @invariant()
    def an_end_is_lost_once_and_then_silent(self) -> None:
        for end in self.ends.values():
            lost = [event for event in end.events if isinstance(event, type)]
            assert len(lost) == (0 if end.transport.connected else 1)
            assert not lost or end.events[-1] is lost[0]

    @invariant()
    def a_paused_end_receives_nothing(self) -> None:
        for name, model in self.models.items():
            if model.paused:
                news = self.ends[name].events[len(model.events_when_paused) :]
                assert not any(isinstance(event, bytes) or event == "read closed" for event in news)

    def teardown(self) -> None:
        if not hasattr(self, "ends"):
            return
        self.running = True
        for end in self.ends.values():
            end.transport.resumeProducing()
        for _ in range(MANY):
            if not self.clock.calls:
                break
            run_due(self.clock, 0)
        assert not self.clock.calls
        for name, other in (("near", "far"), ("far", "near")):
            self._check_outcome(self.ends[name], self.models[name], self.models[other])

    def _check_outcome(self, end: Any, model: Model, other: Model) -> None:
        undisturbed = not (model.closing or model.aborted or other.aborted)
        half = isinstance(end, HalfCloseable)
        if undisturbed and (half or not model.half_closing):
            assert end.received == other.written
        if model.closing or model.aborted or other.aborted:
            assert not end.transport.connected
        if not (model.closing or model.aborted or other.aborted or other.closing):
            untouched = not (model.half_closing or other.half_closing)
            assert end.transport.connected or not untouched
        if end.events[-1:] == [ConnectionAborted]:
            assert model.aborted
        if model.aborted:
            assert end.events[-1] in (ConnectionAborted, ConnectionLost)
            assert end.events[-1] is ConnectionAborted or other.aborted
        if end.events[-1:] == [ConnectionLost]:
            assert other.aborted or half
        if other.closing and not other.aborted and not model.aborted and not half:
            assert end.events[-1] is ConnectionDone


TestStreamStateful = StreamMachine.TestCase
