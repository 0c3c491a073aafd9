"""Keep one CPU busy: the loop, and the program around it.

::

    python -I -S burn.py <ms>

The program burns at idle priority until `<ms>` of the monotonic clock have
passed, writes the share of a CPU that it got to standard output (``0.993417``) and
exits 0. It ends within `SLICE` seconds once standard input is at its end, with
status 1: its parent is gone, however that came about.

It imports nothing that the interpreter has not loaded anyway: a pod of a few
MiB has to hold this process beside the engine's.
"""

from __future__ import annotations

import os
import sys
import time

SLICE = 0.02
"""Seconds between two looks at standard input."""


def burn(until: float) -> None:
    """Keep the CPU busy until `time.monotonic()` reaches `until`."""
    while time.monotonic() < until:
        pass


def give_way() -> None:
    """Let every other process go first, as far as the system allows it."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (AttributeError, OSError):
        os.nice(19)


def main(arguments: list[str]) -> int:
    """Burn for `arguments[0]` milliseconds; return the exit status."""
    seconds = int(arguments[0]) / 1000
    # A group of its own: Ctrl-C in the engine's terminal is for the engine,
    # which then ends this process.
    os.setpgid(0, 0)
    give_way()
    os.set_blocking(0, False)
    used, begun = time.process_time(), time.monotonic()
    end = begun + seconds
    while (now := time.monotonic()) < end:
        burn(min(end, now + SLICE))
        if _parent_is_gone():
            return 1
    share = (time.process_time() - used) / (time.monotonic() - begun)
    os.write(1, b"%.6f" % share)
    return 0


def _parent_is_gone() -> bool:
    try:
        return not os.read(0, 64)
    except BlockingIOError:
        return False


if __name__ == "__main__":
    # At idle priority on a busy machine an orderly shutdown of the interpreter
    # could take longer than the work.
    os._exit(main(sys.argv[1:]))
