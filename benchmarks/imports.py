"""What the modules cost that a program imports until it runs, family by family.

Python itself tells, under ``PYTHONPROFILEIMPORTTIME``: each module as it is imported, at
whatever time, and the microseconds without those of what it imports in turn.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.results import Sample
from benchmarks.serving import end
from services.scaletest.programs import ControlAPI, Program, wait_until

__all__ = ["cost_of_families", "imported", "imports_of_programs", "measure_imports"]

_LINE = re.compile(r"import time:\s+([0-9]+) \|\s+[0-9]+ \|\s+(\S+)")
_OURS = ("brokerproto", "transports", "services")
_TOLD_APART = ("twisted.web",)


def imported(lines: Iterable[str]) -> dict[str, int]:
    """Read the modules out of a program's output, and the microseconds of each."""
    found = filter(None, map(_LINE.match, lines))
    return {match[2]: int(match[1]) for match in found}


def cost_of_families(modules: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Add up by family: how many modules, and their microseconds, the dearest first."""
    families: dict[str, tuple[int, int]] = {}
    for module, cost in modules.items():
        family = _family(module)
        count, total = families.get(family, (0, 0))
        families[family] = count + 1, total + cost
    return dict(sorted(families.items(), key=lambda each: -each[1][1]))


def _family(module: str) -> str:
    top = module.partition(".")[0]
    apart = next((name for name in _TOLD_APART if f"{module}.".startswith(f"{name}.")), None)
    if apart:
        return apart
    if top in _OURS:
        return "this project"
    return "standard library" if top in sys.stdlib_module_names else top


def imports_of_programs() -> dict[str, dict[str, int]]:
    """Start a broker and an engine, and end them when the engine is registered.

    Returns:
        By program, what `imported` gives.
    """
    told = {"PYTHONPROFILEIMPORTTIME": "1"}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        anywhere = ["--listen", "tcp://127.0.0.1:0", "--control", "http://127.0.0.1:0"]
        broker = Program("broker", anywhere, folder, environment=told)
        stack.callback(end, broker.process)
        address = broker.logged("address", "accepting engines on")
        api = ControlAPI(broker.logged("address", "control API on"))
        engine = Program("engine", ["--broker", address], folder, environment=told)
        stack.callback(end, engine.process)
        wait_until("it to register", lambda: api.ask("/stats")["registered"], 600)
        return {
            program.name: imported(str(event["message"]) for event in program.events())
            for program in (broker, engine)
        }


def measure_imports(number: int) -> Iterator[Sample]:
    """Give a sample for each family of each program.

    Args:
        number: Of the round.
    """
    for program, modules in imports_of_programs().items():
        for family, (count, cost) in cost_of_families(modules).items():
            figures = {"modules": count, "ms": cost / 1000}
            yield Sample("imports", program, family, 1, number, figures=figures)
