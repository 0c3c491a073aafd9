"""Run a broker and engines over ``rendezvous://``, once; print what came of it.

By the Python of an environment that has both wheels, and nothing of the source tree:
``python -I rendezvous_smoke.py <folder>``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from services.scaletest.programs import ControlAPI, Program, wait_until

ENGINES = 3
SECONDS = 60


def main(folder: Path) -> None:
    """Three engines find their broker through the file, work, and leave."""
    file = folder / "broker"
    address = f"rendezvous://{file}"
    started: list[Program] = []
    try:
        control = ("--control", "http://127.0.0.1:0")
        broker = Program("broker", ["--listen", address, *control], folder)
        started.append(broker)
        listening = broker.logged("address", "accepting engines on", SECONDS)
        api = ControlAPI(broker.logged("address", "control API on", SECONDS))
        written = file.read_text()
        engine = Program("engine", ["--broker", listening, "--count", str(ENGINES)], folder)
        started.append(engine)
        wait_until(
            "the engines to register", lambda: api.ask("/stats")["registered"] == ENGINES, SECONDS
        )
        twistd = str(Path(sys.executable).with_name("twistd"))
        second = subprocess.run(
            [twistd, "-n", "broker", "--listen", address, *control],
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        states = api.ask("/dowork", time=1, wait=SECONDS)["states"]
        statuses = [engine.end(), broker.end()]
    finally:
        for program in reversed(started):
            program.end()
    print(
        json.dumps(
            {
                "listening": listening,
                "written": written,
                "second": [second.returncode, second.stderr],
                "done": states["done"],
                "statuses": statuses,
                "left": file.read_text(),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
