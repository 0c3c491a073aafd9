"""The command: ``python -m fuzz.live [--seconds N]``, random bytes at a live broker.

Starts a broker of its own on this machine, with engines that must notice nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from fuzz.barrage import Barrage
from tests.e2e.peers import RawEngine, host_and_port
from tests.e2e.scene import BrokerProgram, Stage

_NEIGHBOURS = 10
_EACH = 100
_FIGURES_EACH = 60


def main(arguments: list[str] | None = None) -> int:
    """Run the barrage, and print what it came to.

    Returns:
        0; whatever does not hold raises.
    """
    parser = argparse.ArgumentParser(prog="python -m fuzz.live", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), [])
        try:
            _bombard(stage, options.seconds, options.seed)
            stage.check()
        finally:
            stage.clear()
    print("no error in the log; the broker ended with 0 when told to")
    return 0


def _bombard(stage: Stage, seconds: float, seed: int) -> None:
    broker = stage.broker("--handshake-timeout", "2")
    neighbours = [RawEngine.at(broker.address, f"neighbour-{n}") for n in range(_NEIGHBOURS)]
    barrage = Barrage(*host_and_port(broker.address), Random(seed))
    for _ in range(_EACH):
        barrage.converse()
    files = _figures("after the first hundred", broker, barrage)
    begins = shown = time.monotonic()
    while (now := time.monotonic()) < begins + seconds:
        if now >= shown + _FIGURES_EACH:
            shown = now
            _figures(f"after {now - begins:.0f} s", broker, barrage)
        for _ in range(_EACH):
            barrage.converse()
        for neighbour in neighbours:
            neighbour.beat()
    barrage.end()
    stats = broker.until(60, connections=_NEIGHBOURS, registered=_NEIGHBOURS, late=0)
    assert stats["opened"] == barrage.counts["connections"] + _NEIGHBOURS
    broker.until_open_files(files)
    for engine_id, engine in broker.engines().items():
        account = engine["account"]
        [seq] = [each.seq for each in neighbours if each.engine_id == engine_id]
        assert (account["counted"], account["missed"]) == (seq, 0)
    _figures("at the end", broker, barrage)
    for name in ("registrations", "heartbeats", "missed", "repeated", "causes", "rejected"):
        print(f"  {name}: {stats[name]}")
    print(f"  stale: {stats['stale']}, wrong_protocol: {stats['wrong_protocol']}")
    for neighbour in neighbours:
        neighbour.leave()


def _figures(when: str, broker: BrokerProgram, barrage: Barrage) -> int:
    files = broker.open_files()
    size = broker.program.log_path.stat().st_size
    print(
        f"{when}: {dict(barrage.counts)}\n  broker: {broker.resident() / 2**20:.1f} MiB,"
        f" {broker.cpu_seconds():.1f} s of CPU, {files} open files, {size} bytes of log",
        flush=True,
    )
    return files


if __name__ == "__main__":
    sys.exit(main())
