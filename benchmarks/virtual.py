"""What many engines in one process cost that process: ``twistd engine --count``.

Their broker is the limit, so that nothing but they themselves can be slow. Memory is what
a process with all of them holds beyond one with a single engine.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from attrs import define

from benchmarks.building import NativeTools
from benchmarks.contenders import Contender
from benchmarks.hazards import SynCounts, wait_for_connection_tracking
from benchmarks.process_cost import ProcessCost
from benchmarks.results import Sample
from benchmarks.serving import Serving, end, pin, serve
from services.scaletest.programs import Program, wait_until

__all__ = ["VirtualEngines"]

_PATIENCE = 600.0


@define(eq=False)
class VirtualEngines:
    """Engines of this project towards the limit.

    Args:
        tools: Where the limit is.
        cores: Of the engines and of the limit; None to leave it to the system.
        interval: Seconds between the heartbeats of each.
        seconds: For how long they are measured, when all have joined and beaten once.
        tell: Told of what has to be waited for.
    """

    tools: NativeTools
    cores: tuple[int, int] | None
    interval: int
    seconds: float
    tell: Callable[[str], None]

    def run(self, engines: int, number: int, options: tuple[str, ...] = ()) -> Iterator[Sample]:
        """Measure once; give a sample each for joining and for beating.

        Args:
            engines: How many.
            number: Of the round.
            options: Of ``twistd engine``.
        """
        alone = self._resident_of_one(options)
        wait_for_connection_tracking(engines, self.tell)
        with ExitStack() as stack:
            serving = self._limit(stack)
            syns = SynCounts.now()
            began = time.monotonic()
            program = self._engines(stack, serving, engines, options)
            pid = program.process.pid
            wait_until(
                "all engines to register",
                lambda: serving.stats()["registered"] == engines,
                _PATIENCE,
            )
            joined = ProcessCost.now(pid)
            yield self._sample(
                "join",
                engines,
                number,
                {
                    "wall_ms": (time.monotonic() - began) * 1000,
                    "cpu_us_each": joined.cpu_ns / 1000 / engines,
                },
                syns.problems_until(SynCounts.now()),
            )
            # Each has its phase now, and all that is made at the first heartbeat is there.
            time.sleep(self.interval + 1)
            yield self._sample(
                "beat", engines, number, *self._measure(serving, pid, engines, alone)
            )

    def _measure(
        self, serving: Serving, pid: int, engines: int, alone: int
    ) -> tuple[dict[str, float], list[str], list[str]]:
        first, before, began = serving.stats(), ProcessCost.now(pid), time.monotonic()
        time.sleep(self.seconds)
        after, wall, last = ProcessCost.now(pid), time.monotonic() - began, serving.stats()
        beats = last["heartbeats"] - first["heartbeats"]
        cpu_us = (after.cpu_ns - before.cpu_ns) / 1000
        invalid = [] if beats else ["no heartbeat came"]
        inexact = [
            f"{name}: {last[name]} instead of {right}"
            for name, right in (("missed", 0), ("unknown", 0), ("registered", engines))
            if last[name] != right
        ]
        figures = {
            "heartbeats": beats,
            "us_per_heartbeat": cpu_us / max(1, beats),
            "core_percent": cpu_us / 1e4 / wall,
            "resident_bytes_per_engine": (after.resident - alone) / max(1, engines - 1),
        }
        return figures, invalid, inexact

    def _resident_of_one(self, options: tuple[str, ...]) -> int:
        with ExitStack() as stack:
            serving = self._limit(stack)
            program = self._engines(stack, serving, 1, options)
            wait_until("it to beat", lambda: serving.stats()["registered"], _PATIENCE)
            time.sleep(1)
            return ProcessCost.now(program.process.pid).resident

    def _limit(self, stack: ExitStack) -> Serving:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        contender = Contender("limit", "", "limit")
        core = self.cores[1] if self.cores else None
        serving = serve(contender, self.tools, folder, core, ("--interval", str(self.interval)))
        stack.callback(serving.end)
        return serving

    def _engines(
        self, stack: ExitStack, serving: Serving, engines: int, options: tuple[str, ...]
    ) -> Program:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        broker = f"tcp://127.0.0.1:{serving.place[1]}"
        arguments = ["--broker", broker, "--id", "bench", "--count", str(engines), *options]
        program = Program("engine", arguments, folder)
        stack.callback(end, program.process)
        pin(program.process.pid, self.cores[0] if self.cores else None)
        return program

    def _sample(
        self,
        work: str,
        engines: int,
        number: int,
        figures: dict[str, float],
        invalid: list[str],
        inexact: list[str] | None = None,
    ) -> Sample:
        return Sample(
            "virtual",
            "engines",
            work,
            engines,
            number,
            figures=figures,
            invalid=invalid,
            inexact=inexact or (),
        )
