"""What a program costs before it has done anything: CPU time and memory, idle.

Beside it stand bare Python, and Python with Twisted's reactor running: what any program
of this kind costs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.process_cost import ProcessCost
from benchmarks.results import Sample
from benchmarks.serving import end
from services.scaletest.programs import ControlAPI, Program, clean_environment, wait_until

__all__ = ["measure_start_up"]

_IDLE_SECONDS = 1.0
_BARE = {
    "bare Python": "print(flush=True); import time; time.sleep(600)",
    "Twisted's reactor": "from twisted.internet import reactor as r;"
    " r.callWhenRunning(print, flush=True); r.run()",
}


def measure_start_up(number: int) -> Iterator[Sample]:
    """Start each program once, and look at it when it idles.

    Args:
        number: Of the round.
    """
    for name, script in _BARE.items():
        with subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, env=clean_environment()
        ) as process:
            try:
                assert process.stdout is not None
                process.stdout.readline()
                yield _sample(name, process.pid, number)
            finally:
                end(process)
    yield from _measure_programs(number)


def _measure_programs(number: int) -> Iterator[Sample]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        anywhere = ["--listen", "tcp://127.0.0.1:0", "--control", "http://127.0.0.1:0"]
        broker = Program("broker", anywhere, folder)
        stack.callback(end, broker.process)
        address = broker.logged("address", "accepting engines on")
        api = ControlAPI(broker.logged("address", "control API on"))
        yield _sample("twistd broker", broker.process.pid, number)
        engine = Program("engine", ["--broker", address], folder)
        stack.callback(end, engine.process)
        wait_until("it to register", lambda: api.ask("/stats")["registered"], 600)
        yield _sample("twistd engine", engine.process.pid, number)


def _sample(case: str, pid: int, number: int) -> Sample:
    time.sleep(_IDLE_SECONDS)
    cost = ProcessCost.now(pid)
    figures = {
        "cpu_ms": cost.cpu_ns / 1e6,
        "resident_mib": cost.resident / 2**20,
        "anonymous_mib": cost.anonymous / 2**20,
    }
    return Sample("start-up", case, "idle", 1, number, figures=figures)
