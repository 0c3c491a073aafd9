"""How an engine keeps a CPU busy for so many milliseconds.

Three ways, one interface: `ChildWork` burns in a process of its own and leaves
the engine's heartbeats alone, `BlockWork` burns in the reactor, `PretendWork`
only waits. `work_for` finds one by its name on the command line.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from attrs import Factory, define, field
from twisted.internet.defer import Deferred, fail, gatherResults, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from .burn import burn

__all__ = ["WORK_NAMES", "BlockWork", "ChildWork", "PretendWork", "Work", "WorkFailed", "work_for"]

log = Logger()

PATIENCE = 0.25
"""Seconds that a child may be late before its work is over without it."""

COMPLAINT_KEPT = 2048
"""Characters of a child's last words that the log shows."""


class WorkFailed(Exception):  # noqa: N818 - an outcome of work, not always an error
    """The work did not last its time.

    Attributes:
        reason: A word as reports carry it: ``stopped``, ``spawn-failed`` or
            ``child-died``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Work(Protocol):
    """A CPU that can be kept busy, with one piece of work at a time."""

    def start(self, ms: int) -> Deferred[None]:
        """Keep a CPU busy for `ms` milliseconds.

        Args:
            ms: 0 to 86,400,000, as a DOWORK frame carries it (protocol
                reference, section "Frames"), which is where it was checked.

        Returns:
            Fires when the time is over: in a later turn of the reactor, for 0
            too. Its callback may start the next work. Fails with `WorkFailed`
            when the work was stopped or could not be done; when it could not
            even begin, it has failed already.

        Raises:
            RuntimeError: Work is running already.
        """

    def stop(self) -> Deferred[None]:
        """End running work before its time; do nothing where none runs.

        Returns:
            Fires once nothing is left of the work; at once where there is
            nothing to wait for. The Deferred of its `start` has failed with
            `WorkFailed` ``stopped`` when this returns, and the next work may be
            started.
        """


@define(eq=False)
class PretendWork:
    """Work that only waits and leaves the CPU alone.

    For many virtual engines in one process, which would otherwise take as many
    CPUs.
    """

    _clock: IReactorTime
    _over: Deferred[None] | None = field(init=False, default=None)
    _call: IDelayedCall | None = field(init=False, default=None)

    def start(self, ms: int) -> Deferred[None]:
        """Wait for `ms` milliseconds of the clock; see `Work.start`."""
        if self._over is not None:
            raise RuntimeError("work is running already")
        self._over = over = Deferred[None]()
        self._call = self._clock.callLater(ms / 1000, self._end)
        return over

    def stop(self) -> Deferred[None]:
        """Wait no longer; see `Work.stop`."""
        if self._call is not None:
            self._call.cancel()
            self._end(WorkFailed("stopped"))
        return succeed(None)

    def _end(self, failed: WorkFailed | None = None) -> None:
        over, self._over, self._call = self._over, None, None
        assert over is not None
        _settle(over, failed)


@define(eq=False)
class BlockWork:
    """Work inside the reactor: the whole engine stands still meanwhile.

    So did the original's engines, and so looks an engine whose loop hangs: no
    heartbeat is sent, nothing is read, `stop` comes too late, and a signal waits
    until the time is over.
    """

    _reactor: IReactorTime
    _turn: PretendWork = field(
        init=False, default=Factory(lambda self: PretendWork(self._reactor), takes_self=True)
    )

    def start(self, ms: int) -> Deferred[None]:
        """Burn for `ms` milliseconds, two turns from now; see `Work.start`."""
        over = self._turn.start(0)
        # A turn runs its timed calls before it writes: after one turn the
        # report that the work has started could still wait in its buffer.
        over.addCallback(lambda _: self._turn.start(0))
        over.addCallback(lambda _: burn(time.monotonic() + ms / 1000))
        return over

    def stop(self) -> Deferred[None]:
        """End work that does not burn yet; see `Work.stop`."""
        return self._turn.stop()


def _burn_command() -> tuple[str, ...]:
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "burn.py")
    return (sys.executable or "", "-I", "-S", program)


@define(eq=False)
class ChildWork:
    """Work in a child process of idle priority: heartbeats go on.

    Each piece of work has a child of its own (9 MB resident, 3 of them not
    shared, and 15 ms of CPU to start it), so an idle engine carries none. The
    child inherits no descriptor of the engine; it ends by itself after its time,
    and within a few hundredths of a second of the engine's own end, ``kill -9``
    included (`services.engine.burn`).

    Where other processes take every CPU, the work gets what they leave. It is
    over at most `PATIENCE` after its time all the same, and stopped at once; only
    the killed child may then take a second or two to be gone.

    Args:
        reactor: Spawns and reaps the child, hence runs with its signal handlers
            installed, as ``twistd`` runs it.
        command: The child's program; the milliseconds are appended to it.

    Attributes:
        share: How much of a CPU the last work got whose child could say so, from
            0 to about 1; None before there was one.
    """

    _reactor: Any
    _command: tuple[str, ...] = field(factory=_burn_command, kw_only=True)
    share: float | None = field(init=False, default=None)
    _over: Deferred[None] | None = field(init=False, default=None)
    _child: _Child | None = field(init=False, default=None)
    _alive: list[_Child] = field(init=False, factory=list)
    _limit: IDelayedCall | None = field(init=False, default=None)

    @property
    def pid(self) -> int | None:
        """The process number of the child; None while there is none."""
        return None if self._child is None else self._child.pid

    def start(self, ms: int) -> Deferred[None]:
        """Burn for `ms` milliseconds in a new child; see `Work.start`.

        0 milliseconds need no child.
        """
        if self._over is not None:
            raise RuntimeError("work is running already")
        longest = 0.0
        if ms:
            longest = ms / 1000 + PATIENCE
            child = _Child(self._child_ended)
            command = (*self._command, str(ms))
            try:
                self._reactor.spawnProcess(child, command[0], command, env=None)
            except OSError as problem:
                log.error("no child process for the work: {problem}", problem=problem)
                return fail(WorkFailed("spawn-failed"))
            self._child = child
            self._alive.append(child)
        self._over = over = Deferred[None]()
        self._limit = self._reactor.callLater(longest, self._longest_over)
        return over

    def stop(self) -> Deferred[None]:
        """Kill the child and see it gone; see `Work.stop`."""
        gone = gatherResults([child.kill() for child in self._alive])
        if self._over is not None:
            self._end(WorkFailed("stopped"))
        return gone.addCallback(lambda _: None)

    def _longest_over(self) -> None:
        if self._child is not None:
            log.info("work is over; its child got too little of a CPU to say so")
            self._child.kill()
        self._end()

    def _child_ended(self, child: _Child, reason: Failure) -> None:
        self._alive.remove(child)
        if child is not self._child:
            return
        if child.share is None:
            log.error(
                "the child that did the work died: {reason} {complaint}",
                reason=reason.getErrorMessage(),
                complaint=child.complaint,
            )
            self._end(WorkFailed("child-died"))
        else:
            log.info("work is over; it got {share:.0%} of a CPU", share=child.share)
            self.share = child.share
            self._end()

    def _end(self, failed: WorkFailed | None = None) -> None:
        over, limit = self._over, self._limit
        self._over = self._limit = self._child = None
        assert over is not None
        assert limit is not None
        if limit.active():
            limit.cancel()
        _settle(over, failed)


@define(eq=False, slots=False)
class _Child(ProcessProtocol):
    """One child process, from its start until it is reaped."""

    _ended: Callable[[_Child, Failure], None]
    share: float | None = field(init=False, default=None)
    complaint: str = field(init=False, default="")
    _gone: list[Deferred[None]] = field(init=False, factory=list)

    @property
    def pid(self) -> int | None:
        assert self.transport is not None
        pid: int | None = self.transport.pid
        return pid

    def kill(self) -> Deferred[None]:
        gone: Deferred[None] = Deferred()
        self._gone.append(gone)
        assert self.transport is not None
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")
        return gone

    def outReceived(self, data: bytes) -> None:
        # Read here and not at an exit status of 0, which alone proves little: in
        # a frozen application `sys.executable` is the application itself.
        with suppress(ValueError):
            self.share = float(data)

    def errReceived(self, data: bytes) -> None:
        self.complaint = (self.complaint + data.decode(errors="replace"))[-COMPLAINT_KEPT:]

    def processEnded(self, reason: Failure) -> None:
        self._ended(self, reason)
        for gone in self._gone:
            gone.callback(None)


def _settle(over: Deferred[None], failed: WorkFailed | None) -> None:
    if failed is None:
        over.callback(None)
    else:
        over.errback(failed)


_KINDS: Final[dict[str, Callable[[Any], Work]]] = {
    "child": ChildWork,
    "block": BlockWork,
    "pretend": PretendWork,
}

WORK_NAMES: Final = tuple(_KINDS)
"""What `work_for` knows, the default of a single engine first."""


def work_for(name: str, reactor: Any) -> Work:
    """Make the work that `name` stands for on the command line.

    Args:
        name: One of `WORK_NAMES`.
        reactor: What the work runs on; for ``pretend`` any clock will do.

    Raises:
        ValueError: No work has this name.
    """
    try:
        make = _KINDS[name]
    except KeyError:
        raise ValueError(f"no work is called {name!r}: {', '.join(WORK_NAMES)}") from None
    return make(reactor)
