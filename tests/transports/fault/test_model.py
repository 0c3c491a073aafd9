"""Both ends have faults that harm nothing: they keep the model of a stream without."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from tests.transports.fault.bench import Bench
from tests.transports.recording import run_due
from tests.transports.test_inproc_model import KINDS, Model, StreamMachine

HARMLESS = st.sampled_from(["", "?slice=1-5000", "?delay=1&jitter=1", "?limit=100000&slice=7000"])


class LinkMachine(StreamMachine):
    """The model of a stream holds; and what is frozen or cut delivers nothing until healed."""

    @initialize(near=KINDS, far=KINDS)
    def meet(self, near: Any, far: Any) -> None:
        """Replaced by what follows."""

    @initialize(near=KINDS, far=KINDS, options=HARMLESS, accepting=st.none() | HARMLESS)
    def meet_with_faults(self, near: Any, far: Any, options: str, accepting: str | None) -> None:
        bench = self.bench = Bench(options, accepting, near, far).meet()
        self.clock = bench.clock
        bench.pass_time()
        self.ends: dict[str, Any] = {"near": bench.near, "far": bench.far}
        self.models = {"near": Model(), "far": Model()}
        self.running = False
        self.received_when_stopped: bytes | None = None
        for end in self.ends.values():
            end.on_data = self._came

    @rule(choices=st.lists(st.integers(0, 5), min_size=1, max_size=8))
    def calls_run(self, choices: list[int]) -> None:
        self.running = True
        for choice in choices:
            if any(call.getTime() <= self.clock.seconds() for call in self.clock.calls):
                run_due(self.clock, choice)
        self.running = False

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.1, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.running = True
        self.bench.pass_time(seconds)
        self.running = False

    @rule(cut=st.booleans())
    def stop(self, cut: bool) -> None:
        for link in self.bench.switch.links:
            (link.cut if cut else link.freeze)()
            self.received_when_stopped = self.ends["near"].received

    @rule()
    def heal(self) -> None:
        self.received_when_stopped = None
        self.bench.switch.heal()

    @invariant()
    def a_stopped_end_receives_nothing(self) -> None:
        if self.received_when_stopped is not None:
            assert self.ends["near"].received == self.received_when_stopped

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.heal()
            self.running = True
            for end in self.ends.values():
                end.transport.resumeProducing()
            self.bench.pass_time(100)
            super().teardown()
            if not any(end.transport.connected for end in self.ends.values()):
                assert self.bench.switch.links == ()


TestLinkStateful = LinkMachine.TestCase
