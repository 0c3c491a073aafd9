"""What the process has of files and memory, and what that means for newcomers.

Rules: protocol reference, section "Limits".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from brokerproto.broker import Broker
from services.program.memory import Memory, MemoryLimits
from services.program.open_files import open_files

__all__ = ["MOST_MEMORY", "Capacity", "ResourceWatch"]

MOST_MEMORY = 0.8
"""Part of the memory limit above which no newcomer is let in."""

_LOOK_EACH = 1.0

# Whoever was refused was told to come back in 5 s at the earliest.
_SHORT_FOR = 5.0

# Files of the reserve that are no connections of the control API.
_OWN_FILES = 24

_MIB = 1024 * 1024

log = Logger()


@frozen
class Capacity:
    """How many connections the process has files for.

    Attributes:
        engines: Of engines.
        control: Of the control API.
    """

    engines: int
    control: int

    @classmethod
    def within(cls, files: int, wanted: int) -> Capacity:
        """Divide what may be open.

        Args:
            files: The limit of open files, -1 for none.
            wanted: Connections of engines, at most.
        """
        if files < 0:
            return cls(wanted, wanted)
        reserve = max(32, min(512, files // 10))
        return cls(max(1, min(wanted, files - reserve)), reserve - _OWN_FILES)


@define(eq=False, slots=False)
class ResourceWatch(Service):
    """Tells a broker's admission what the process has left.

    Args:
        broker: The broker.
        reactor: Its clock.
        wanted: Connections of engines, at most.
        memory: Tells how the memory stands.
        files: Tells the limit of open files, -1 for none.
    """

    broker: Broker
    _reactor: Any
    _wanted: int
    _memory: Callable[[], Memory | None] = field(factory=lambda: MemoryLimits().tightest)
    _files: Callable[[], int] = open_files
    _loop: LoopingCall | None = field(init=False, default=None)
    _short_since: float = field(init=False, default=-math.inf)

    def startService(self) -> None:
        """Begin to look."""
        Service.startService(self)
        self._loop = LoopingCall(self._look)
        self._loop.clock = self._reactor
        self._loop.start(_LOOK_EACH)

    def stopService(self) -> None:
        """Look no longer."""
        Service.stopService(self)
        if self._loop is not None:
            self._loop.stop()

    def _look(self) -> None:
        try:
            self._look_at_files()
            self._look_at_memory()
        except Exception:
            log.failure("what the process has left could not be seen")

    def _look_at_files(self) -> None:
        files = self._files()
        connections = Capacity.within(files, self._wanted).engines
        if connections != self.broker.admission.connections:
            self.broker.admission.connections = connections
            log.warn(
                "open files: {files} now; at most {connections} connections",
                files=files,
                connections=connections,
            )

    def _look_at_memory(self) -> None:
        memory = self._memory()
        admission, now = self.broker.admission, self._reactor.seconds()
        if memory is not None and memory.share > MOST_MEMORY:
            self._short_since = now
            if not admission.is_short_of_memory:
                admission.is_short_of_memory = True
                log.warn(
                    "memory: {used} of {limit} MiB; no newcomer is let in above {most} %",
                    used=memory.used // _MIB,
                    limit=memory.limit // _MIB,
                    most=round(100 * MOST_MEMORY),
                )
        elif admission.is_short_of_memory and now >= self._short_since + _SHORT_FOR:
            admission.is_short_of_memory = False
            log.info("memory: below {most} %; newcomers are let in", most=round(100 * MOST_MEMORY))
