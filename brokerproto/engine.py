"""An engine without sockets: one life, its sessions in turn, and its work.

`Engine` takes commands from whichever session is open, has a `Worker` do them, and
reports. It knows no transport and no reactor; ``brokerproto.protocol`` brings it bytes
and time. Rules: protocol reference, section "Commands".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Protocol

from attrs import define, field

from brokerproto.carrier import Carrier
from brokerproto.commands import WORK_WAITING
from brokerproto.engine_session import EngineEvent, EngineSession, Life, Wishes
from brokerproto.errors import LocalProtocolError
from brokerproto.framing import Framing
from brokerproto.messages import DoWork, Kill, Report, Success, Unusable

__all__ = ["Engine", "EngineObserver", "Worker"]


class Worker(Protocol):
    """Who keeps a CPU busy for an engine, and ends its process."""

    def start(self, ms: int) -> None:
        """Begin to work for `ms` milliseconds; `Engine.worked` is called at the end."""

    def stop(self) -> None:
        """Drop the work that runs; `Engine.worked` is not called for it any more."""

    def exit(self, code: int) -> None:
        """End the process with this status; the connection is closed by now."""


class EngineObserver:
    """Hears what happens to an engine. Override what is of interest."""

    def registered(self, engine: Engine, success: Success) -> None:
        """The engine is registered, on the terms of `success`."""

    def ended(self, engine: Engine, session: EngineSession) -> None:
        """A connection is gone; ``session.failure`` says why, where that is known."""


@define(eq=False)
class Engine:
    """One life of an engine. All times are monotonic seconds.

    Args:
        life: Its id and instance.
        worker: Who works.
        seconds: A monotonic clock, as ``reactor.seconds``.
        random: Draws the heartbeats' phase and jitter.
        wishes: What to ask of brokers.
        observer: Hears what happens.

    Attributes:
        session: The present conversation.
        exit_code: The status that a KILL asked for.

    Raises:
        LocalProtocolError: Its hello could be one that no broker reads.
    """

    life: Life
    worker: Worker
    seconds: Callable[[], float]
    random: Random = field(factory=Random)
    wishes: Wishes = field(factory=Wishes)
    observer: EngineObserver = field(factory=EngineObserver)
    session: EngineSession | None = field(init=False, default=None)
    exit_code: int | None = field(init=False, default=None)
    _carrier: Carrier | None = field(init=False, default=None)
    _waiting: deque[DoWork] = field(init=False, factory=deque)
    _at_work: DoWork | None = field(init=False, default=None)
    _started_at: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self.wishes.check(self.life.engine_id)

    def open(self, carrier: Carrier, framing: Framing = "lines") -> EngineSession:
        """Begin the session of a new connection.

        Args:
            carrier: Moves the session's bytes; settled when something is owed.
            framing: How its transport delivers frames.

        Raises:
            LocalProtocolError: The one before is not gone yet.
        """
        if self.session is not None:
            raise LocalProtocolError("an engine has one connection at a time")
        self._carrier = carrier
        self.session = EngineSession(self.life, self.seconds(), self.random, self.wishes, framing)
        return self.session

    def receive_data(self, data: bytes) -> None:
        """Take what the connection delivered; what is owed then waits in the session."""
        if self.session is not None:
            self._follow(self.session.receive_data(data, self.seconds()))

    def lose(self) -> None:
        """Take note that the connection is gone."""
        session, self.session, self._carrier = self.session, None, None
        if session is None:
            return
        session.lose()
        if self.exit_code is not None:
            self.worker.exit(self.exit_code)
        self.observer.ended(self, session)

    def worked(self, error: str | None = None) -> None:
        """Take note that the work is over.

        Args:
            error: A word that says why it failed; None where it was done.
        """
        work = self._at_work
        if work is None:
            return
        self._end_work("done" if error is None else "failed", error)
        self._next()
        self._settle()

    def leave(self, reason: str | None = None) -> None:
        """Drop all work, reported as failed, and end the conversation with a Bye."""
        self._drop_work("stopped")
        if self.session is not None:
            self.session.leave(reason)
        self._settle()

    def _settle(self) -> None:
        if self._carrier is not None:
            self._carrier.settle()

    def _follow(self, events: Iterable[EngineEvent]) -> None:
        for event in events:
            if isinstance(event, Success):
                self.observer.registered(self, event)
            elif isinstance(event, DoWork):
                self._take(event)
            elif isinstance(event, Unusable):
                self._report(event.command, "failed", error="bad-value")
            elif isinstance(event, Kill):
                self._kill(event)
                return

    def _take(self, work: DoWork) -> None:
        if len(self._waiting) >= WORK_WAITING:
            self._report(work.command, "failed", error="queue-full")
            return
        self._report(work.command, "received")
        self._waiting.append(work)
        if self._at_work is None:
            self._next()

    def _next(self) -> None:
        while self._waiting and self._at_work is None:
            work = self._at_work = self._waiting.popleft()
            self._started_at = self.seconds()
            self.life.busy = work.command
            self._report(work.command, "started")
            self.worker.start(work.ms)

    def _end_work(self, state: str, error: str | None) -> None:
        work, self._at_work = self._at_work, None
        self.life.busy = None
        if work is not None:
            ms = round((self.seconds() - self._started_at) * 1000)
            self._report(work.command, state, ms=ms, error=error)

    def _drop_work(self, error: str) -> None:
        if self._at_work is not None:
            self.worker.stop()
            self._end_work("failed", error)
        while self._waiting:
            self._report(self._waiting.popleft().command, "failed", error=error)

    def _kill(self, kill: Kill) -> None:
        self.exit_code = kill.code
        self._drop_work("killed")
        self._report(kill.command, "done")
        if self.session is not None:
            self.session.leave("killed")

    def _report(
        self, command: str | None, state: str, *, ms: int | None = None, error: str | None = None
    ) -> None:
        # A plain broker names no command and reads no report.
        if command is None:
            return
        report = Report(command, state, ms, error)
        if self.session is not None:
            self.session.report(report)
        else:
            self.life.keep(report)
