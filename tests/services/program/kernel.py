"""A kernel that tells of CPU time what a test has it tell."""

from __future__ import annotations

from attrs import define

from services.program.cpu_time import CPUTime

__all__ = ["Kernel"]


@define
class Kernel(CPUTime):
    """Tells what it was told to tell."""

    runs: float | None = None
    waits: float | None = None
    throttles: float | None = None

    @property
    def ran(self) -> float | None:
        return self.runs

    @property
    def waited(self) -> float | None:
        return self.waits

    @property
    def throttled(self) -> float | None:
        return self.throttles

    def close(self) -> None:
        self.runs = self.waits = self.throttles = None
