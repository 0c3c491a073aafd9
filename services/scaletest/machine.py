"""What a machine has of all that connections take, and how much of it is used.

Read from ``/proc``; what another system than Linux does not tell is left out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import define, field, frozen

from services.program.open_files import open_files as most_open_files
from services.scaletest.samples import open_files

__all__ = ["CPUMeter", "Share", "kernel_memory", "shares"]

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGESIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@frozen
class Share:
    """How much of something is used.

    Attributes:
        what: Of what.
        used: How much, in `unit`.
        most: How much there is, more than 0.
        unit: Such as ``GiB``.
    """

    what: str
    used: float
    most: float
    unit: str = ""

    @property
    def part(self) -> float:
        """What part is used; 1 where nothing is left."""
        return self.used / self.most

    def __str__(self) -> str:
        """Such as ``memory: 61 % of 23.4 GiB``."""
        digits = 0 if self.most >= 100 else 1
        most = f"{self.most:.{digits}f}".removesuffix(".0")
        return f"{self.what}: {100 * self.part:.0f} % of {most}{' ' * bool(self.unit)}{self.unit}"


@define(eq=False)
class CPUMeter:
    """How busy processes are, from one look to the next.

    Args:
        pids: Which.
    """

    _pids: tuple[int, ...]
    _since: float = field(init=False, factory=time.monotonic)
    _before: dict[int, float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._before = {pid: cpu_seconds(pid) for pid in self._pids}

    def look(self) -> dict[int, float]:
        """Return the part of a core that each process took since the last look."""
        now = time.monotonic()
        passed, self._since = max(now - self._since, 1e-6), now
        after = {pid: cpu_seconds(pid) for pid in self._pids}
        taken = {pid: (after[pid] - self._before[pid]) / passed for pid in self._pids}
        self._before = after
        return taken


def cpu_seconds(pid: int) -> float:
    """Return the seconds that a process was on a CPU."""
    # The second field is the command's name, which may hold anything.
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def kernel_memory() -> int:
    """Return the bytes that the kernel holds for itself: sockets, buffers, tables."""
    lines = (line.split() for line in (_PROC / "net/sockstat").read_text().splitlines())
    buffers = sum(
        int(line[line.index("mem") + 1]) * _PAGE
        for line in lines
        if "mem" in line and line[0] in ("TCP:", "UDP:")
    )
    return _meminfo()["Slab"] + buffers


def shares(pids: Iterable[int], busy: Mapping[int, float], connections: int) -> list[Share]:
    """Tell what may bind, whatever is used most first.

    Args:
        pids: The processes that hold connections; they have this one's limit of files.
        busy: What part of a core each takes.
        connections: The most that one of them makes from one address to another.
    """
    memory = _meminfo()
    total, available = memory["MemTotal"] / 2**30, memory["MemAvailable"] / 2**30
    found = [
        Share("CPU", sum(busy.values()), os.cpu_count() or 1, "cores"),
        Share("the busiest process", max(busy.values()), 1, "core"),
        Share("memory", total - available, total, "GiB"),
        Share("ports of one address", connections, _ports()),
    ]
    if (limit := most_open_files()) > 0:
        found.append(Share("open files of one process", max(map(open_files, pids)), limit))
    tracked = _number("sys/net/netfilter/nf_conntrack_count")
    if most := _number("sys/net/netfilter/nf_conntrack_max"):
        found.append(Share("tracked connections", tracked, most))
    return sorted(found, key=lambda share: share.part, reverse=True)


def _meminfo() -> dict[str, int]:
    lines = (line.split() for line in (_PROC / "meminfo").read_text().splitlines())
    return {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines if len(line) == 3}


def _ports() -> int:
    first, last = (_PROC / "sys/net/ipv4/ip_local_port_range").read_text().split()
    return int(last) - int(first) + 1


def _number(name: str) -> int:
    """Return what a file says; 0 where there is none."""
    try:
        return int((_PROC / name).read_text())
    except OSError:
        return 0
