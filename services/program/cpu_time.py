"""What a thread gets of the CPUs: how long it ran, and how long it was not let run."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

from services.program.control_groups import MOUNTED, PROCESS, groups

__all__ = ["CPUTime"]

# A cpu.stat of version 2 says it in microseconds, one of version 1 in nanoseconds.
_THROTTLED = re.compile(rb"^throttled_(usec|time) (\d+)$", re.MULTILINE)
_UNITS = {b"usec": 1e-6, b"time": 1e-9}
_READ = 4096


class CPUTime:
    """The kernel's account of one thread and of its control groups, since they began.

    What this system does not tell is None.

    Args:
        cgroups: Where control groups are mounted.
        process: The process's folder in ``/proc``.
    """

    def __init__(self, cgroups: Path = MOUNTED, process: Path = PROCESS) -> None:
        self._schedstat = _opened(process / f"task/{threading.get_native_id()}/schedstat")
        self._cpu_stats = list(_throttling(cgroups, process))

    def close(self) -> None:
        """Give up the files that it reads; afterwards nothing is known."""
        for descriptor in (*self._cpu_stats, self._schedstat):
            if descriptor is not None:
                os.close(descriptor)
        self._cpu_stats, self._schedstat = [], None

    @property
    def ran(self) -> float | None:
        """Seconds for which the thread had a CPU."""
        return self._scheduled(0)

    @property
    def waited(self) -> float | None:
        """Seconds for which the thread could have run, and had no CPU.

        Other processes had them all, or, with most kernels, the thread was throttled.
        """
        return self._scheduled(1)

    @property
    def throttled(self) -> float | None:
        """Seconds for which a limit of CPU time kept the control groups from running."""
        if not self._cpu_stats:
            return None
        # The group itself, and those around it, where a pod's limit stands for instance.
        found = [_THROTTLED.search(_content(each)) for each in self._cpu_stats]
        return sum(int(each[2]) * _UNITS[each[1]] for each in found if each is not None)

    def _scheduled(self, column: int) -> float | None:
        if self._schedstat is None:
            return None
        columns = _content(self._schedstat).split()
        return int(columns[column]) / 1e9 if len(columns) > column else None


def _content(descriptor: int) -> bytes:
    try:
        return os.pread(descriptor, _READ, 0)
    except OSError:
        return b""


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY)
    except OSError:
        return None


def _throttling(cgroups: Path, process: Path) -> Iterator[int]:
    """Open each ``cpu.stat`` above the process that counts throttling."""
    for folder in groups("cpu", "cpu.stat", cgroups, process):
        descriptor = _opened(folder / "cpu.stat")
        if descriptor is None:
            continue
        if _THROTTLED.search(_content(descriptor)):
            yield descriptor
        else:
            os.close(descriptor)
