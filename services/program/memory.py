"""How much of the memory that it may use a process's control group has used."""

from __future__ import annotations

from pathlib import Path

from attrs import define, field, frozen

from services.program.control_groups import MOUNTED, PROCESS, groups

__all__ = ["VERSIONS", "Files", "Memory", "MemoryLimits"]

# Version 1 writes "none" as a number of pages that nobody has.
_NO_LIMIT = 2**62


@frozen
class Memory:
    """How a control group stands.

    Attributes:
        used: Bytes, without what the kernel could give back at once.
        limit: Bytes.
    """

    used: int
    limit: int

    @property
    def share(self) -> float:
        """What part is used, from 0 on."""
        return self.used / self.limit


@frozen
class Files:
    """Where a version of control groups tells what.

    Attributes:
        limit: A file's name.
        usage: A file's name.
        reclaimable: A line of ``memory.stat``.
    """

    limit: str
    usage: str
    reclaimable: str


VERSIONS = (
    Files("memory.max", "memory.current", "inactive_file"),
    Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Both versions, the newer first."""


@define(eq=False)
class MemoryLimits:
    """The limits of the process's control group, and of those around it.

    Args:
        cgroups: Where control groups are mounted.
        process: The process's folder in ``/proc``.
    """

    _cgroups: Path = MOUNTED
    _process: Path = PROCESS
    _groups: list[tuple[Path, Files]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._groups = [
            (folder, files)
            for files in VERSIONS
            for folder in groups("memory", files.usage, self._cgroups, self._process)
        ]

    def tightest(self) -> Memory | None:
        """Read how the group stands that is nearest to its limit; None without a limit."""
        found = [_read(folder, files) for folder, files in self._groups]
        limited = [memory for memory in found if memory is not None]
        return max(limited, key=lambda memory: memory.share, default=None)


def _read(folder: Path, files: Files) -> Memory | None:
    try:
        limit = (folder / files.limit).read_text().strip()
        if limit == "max" or int(limit) <= 0 or int(limit) >= _NO_LIMIT:
            return None
        used = int((folder / files.usage).read_text())
        return Memory(max(0, used - _reclaimable(folder, files.reclaimable)), int(limit))
    except (OSError, ValueError):
        return None


def _reclaimable(folder: Path, name: str) -> int:
    for line in (folder / "memory.stat").read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
