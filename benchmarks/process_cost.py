"""What a process has used so far, looked at from outside, in ``/proc``."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

__all__ = ["ProcessCost"]


@frozen
class ProcessCost:
    """CPU time and memory of a process.

    Attributes:
        cpu_ns: CPU time of all its threads, by the scheduler's own account.
        resident: Bytes of memory.
        anonymous: Bytes of these that no file stands behind.
    """

    cpu_ns: int
    resident: int
    anonymous: int

    @classmethod
    def now(cls, pid: int) -> ProcessCost:
        """Look at it."""
        folder = Path(f"/proc/{pid}")
        threads = folder.glob("task/*/schedstat")
        # Exact, where VmRSS may lack some hundred KiB that other CPUs have not added up yet.
        sizes = dict(
            line.split()[:2] for line in (folder / "smaps_rollup").read_text().splitlines()[1:]
        )
        return cls(
            sum(int(thread.read_text().split()[0]) for thread in threads),
            int(sizes["Rss:"]) * 1024,
            int(sizes["Anonymous:"]) * 1024,
        )
