"""What tests of an engine's work need to look at processes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

import services.engine.burn
from services.engine.work import (
    ChildWork,
    WorkFailed,
)

A_MINUTE = 60_000
BURN = services.engine.burn.__file__

linux_only = pytest.mark.skipif(
    not hasattr(os, "pidfd_open") or not os.path.isdir("/proc/self/fd"),
    reason="looks at a process through /proc and pidfd_open",
)


@implementer(IReadDescriptor)
class ProcessEnd:
    """Fires `seen` when any process, our child or not, has ended."""

    def __init__(self, reactor: Any, pid: int) -> None:
        self.seen: Deferred[None] = Deferred()
        self._reactor = reactor
        self._fd = os.pidfd_open(pid)
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._fd

    def doRead(self) -> None:
        self._reactor.removeReader(self)
        os.close(self._fd)
        self.seen.callback(None)

    def connectionLost(self, reason: Failure) -> None:
        os.close(self._fd)

    def logPrefix(self) -> str:
        return "process end"


async def until(reactor: Any, condition: Callable[[], bool]) -> None:
    while not condition():
        await deferLater(reactor, 0.005)


def gives_way(pid: int) -> bool:
    idle = os.sched_getscheduler(pid) == os.SCHED_IDLE
    return idle or os.getpriority(os.PRIO_PROCESS, pid) == 19


async def burning(reactor: Any, work: ChildWork) -> int:
    """Wait until the child has come to its loop; return its pid."""
    pid = work.pid
    assert pid is not None
    await until(reactor, lambda: gives_way(pid))
    return pid


async def reason_of(failing: Deferred[None]) -> str:
    with pytest.raises(WorkFailed) as caught:
        await failing
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,32}", caught.value.reason)
    return caught.value.reason
