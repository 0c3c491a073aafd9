"""What a broker's process costs, looked at from outside and again and again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression, median

from attrs import frozen

__all__ = ["Sample", "flatness", "open_files", "resident"]


@frozen
class Sample:
    """One look at a broker.

    Attributes:
        seconds: When, since the beginning.
        resident: Bytes of memory that its process holds.
        open_files: Descriptors that it has open.
        connections: Connections that it counts as open.
        registered: Engines that it counts as registered.
    """

    seconds: float
    resident: int
    open_files: int
    connections: int
    registered: int


def resident(pid: int) -> int:
    """Return the bytes of memory that a process holds."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


def open_files(pid: int) -> int:
    """Count a process's descriptors."""
    return len(os.listdir(f"/proc/{pid}/fd"))


@frozen
class Flatness:
    """Whether memory stays what it is, once everything has happened at least once.

    Attributes:
        slope: Bytes a minute, by least squares over all samples but the first fifth.
        middle: Median bytes of the second of three equal parts of those.
        last: Median bytes of the third part.
    """

    slope: float
    middle: float
    last: float

    @property
    def grown(self) -> float:
        """By what share memory has grown from the middle to the end; 0.01 is 1 %."""
        return self.last / self.middle - 1


def flatness(samples: Sequence[Sample]) -> Flatness:
    """Judge the memory of a long run.

    Args:
        samples: At least ten, oldest first.
    """
    steady = samples[len(samples) // 5 :]
    slope = linear_regression(
        [sample.seconds / 60 for sample in steady], [sample.resident for sample in steady]
    ).slope
    third = len(steady) // 3
    return Flatness(
        slope,
        median(sample.resident for sample in steady[third:-third]),
        median(sample.resident for sample in steady[-third:]),
    )
