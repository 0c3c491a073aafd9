"""Run the broker and an engine that are installed beside this interpreter, once.

``python -I wheel_smoke.py`` by the Python of an environment that has the wheel alone;
`wheel_check` does it. Nothing of the source tree is on the path.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from services.scaletest import programs
from services.scaletest.programs import ControlAPI, Program, ProgramError, wait_until

_HEAVY = ("klein", "werkzeug", "twisted.web", "OpenSSL")
_TRACE_IMPORTS = {"PYTHONVERBOSE": "1"}
_IMPORTED = re.compile(r"import '([\w.]+)' # ")
_CODE = 3


def expect(fact: bool, what: str) -> None:
    """Raise ProgramError with `what`, unless `fact`."""
    if not fact:
        raise ProgramError(what)


def imported(program: Program) -> set[str]:
    """Collect the modules that a program has imported; see `_TRACE_IMPORTS`."""
    lines = (str(event["message"]) for event in program.events())
    return {match[1] for line in lines if (match := _IMPORTED.match(line))}


def check(broker: Program, engine: Program, api: ControlAPI) -> None:
    """One engine registers, works, and is killed with a code."""
    wait_until("the engine to register", lambda: api.ask("/stats")["registered"] == 1, 20)
    done = api.ask("/dowork", time=100, wait=20)["states"]["done"]
    expect(done == 1, f"/dowork: {done} engines of 1 have worked")
    done = api.ask("/kill", code=_CODE, wait=20)["states"]["done"]
    expect(done == 1, f"/kill: {done} engines of 1 were killed")
    status = engine.process.wait(20)
    expect(status == _CODE, f"the engine killed with {_CODE} ended with {status}")
    stats = wait_until("the connection to close", lambda: _stats_when_gone(api), 20)
    expect(stats["causes"] == {"left:killed": 1}, f"/stats: {stats}")
    heavy = sorted(
        name for name in imported(engine) if any(f"{name}.".startswith(f"{h}.") for h in _HEAVY)
    )
    expect(not heavy, f"the engine has imported {', '.join(heavy)}")
    expect("klein" in imported(broker), "the imports were not traced")
    status = broker.end()
    expect(status == 0, f"the broker ended with {status}")


def _stats_when_gone(api: ControlAPI) -> dict[str, object] | None:
    stats = api.ask("/stats")
    return stats if stats["connections"] == 0 else None


def main() -> None:
    """Run both, and end with one line where something is not as it must be."""
    home = Path(sys.prefix).resolve()
    expect(home in Path(programs.__file__).resolve().parents, "this is not the wheel's own code")
    started: list[Program] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            anywhere = ["--listen", "tcp://127.0.0.1:0", "--control", "http://127.0.0.1:0"]
            broker = Program("broker", anywhere, folder, environment=_TRACE_IMPORTS)
            started.append(broker)
            address = broker.logged("address", "accepting engines on")
            api = ControlAPI(broker.logged("address", "control API on"))
            engine = Program("engine", ["--broker", address], folder, environment=_TRACE_IMPORTS)
            started.append(engine)
            check(broker, engine, api)
        finally:
            for program in reversed(started):
                program.end()


if __name__ == "__main__":
    try:
        main()
    except (ProgramError, OSError) as error:
        sys.exit(f"wheel check: {error}")
