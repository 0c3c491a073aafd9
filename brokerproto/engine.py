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
from brokerproto.engine_session import EngineEvent, EngineSession
from brokerproto.errors import LocalProtocolError
from brokerproto.framing import Framing
from brokerproto.life import Life, Wishes
from brokerproto.messages import DoWork, Kill, Report, Success, Unusable

__all__ = ["Engine", "EngineObserver", "EngineRules", "Worker"]


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


@define(eq=False, weakref_slot=False)
class _Duty:
    """The work that an engine has to do; most have none for most of their time."""

    waiting: deque[DoWork] = field(factory=deque)
    at_work: DoWork | None = None
    started_at: float = 0.0
    exit_code: int | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing of it is left to be done."""
        return self.at_work is None and self.exit_code is None and not self.waiting


class EngineRules:
    """What every engine does, whoever works for it and hears of it; see `Engine`.

    A subclass says where its clock, its worker and the rest are: of thousands in one
    process none has these for itself.

    Attributes:
        life: Its present life.
        session: The present conversation.
    """

    __slots__ = ("_duty", "life", "session")

    def __init__(self, life: Life) -> None:
        self.life = life
        self.session: EngineSession | None = None
        self._duty: _Duty | None = None

    @property
    def exit_code(self) -> int | None:
        """The status that a KILL asked for; None before there was one."""
        return None if self._duty is None else self._duty.exit_code

    def receive_data(self, data: bytes) -> bool:
        """Take what the connection delivered; what is owed then waits in the session.

        Returns:
            Whether its carrier has anything to settle.
        """
        session = self.session
        if session is None:
            return False
        events = session.receive_data(data, self._now())
        if events is None:
            return False
        self._follow(events)
        return True

    def lose(self) -> None:
        """Take note that the connection is gone."""
        session, self.session = self.session, None
        if session is None:
            return
        session.lose()
        if self.exit_code is not None:
            self._exit(self.exit_code)
        self._tell_ended(session)

    def worked(self, error: str | None = None) -> None:
        """Take note that the work is over.

        Args:
            error: A word that says why it failed; None where it was done.
        """
        duty = self._duty
        if duty is None or duty.at_work is None:
            return
        self._end_work(duty, "done" if error is None else "failed", error)
        self._next(duty)
        if duty.is_done:
            self._duty = None
        self._settle()

    def leave(self, reason: str | None = None) -> None:
        """Drop all work, reported as failed, and end the conversation with a Bye."""
        self._drop_work("stopped")
        if self.session is not None:
            self.session.leave(reason)
        self._settle()

    def _now(self) -> float:
        """Give the time, in monotonic seconds."""
        raise NotImplementedError

    def _settle(self) -> None:
        """Have the carrier settle, where there is one."""
        raise NotImplementedError

    def _work(self, ms: int) -> None:
        """Begin to work; see `Worker`."""
        raise NotImplementedError

    def _stop_work(self) -> None:
        """Drop the work that runs; see `Worker`."""
        raise NotImplementedError

    def _exit(self, code: int) -> None:
        """End the process; see `Worker`."""
        raise NotImplementedError

    def _tell_registered(self, success: Success) -> None:
        """See `EngineObserver`."""
        raise NotImplementedError

    def _tell_ended(self, session: EngineSession) -> None:
        """See `EngineObserver`."""
        raise NotImplementedError

    def _follow(self, events: Iterable[EngineEvent]) -> None:
        for event in events:
            if isinstance(event, Success):
                self._tell_registered(event)
            elif isinstance(event, DoWork):
                self._take(event)
            elif isinstance(event, Unusable):
                self._report(event.command, "failed", error="bad-value")
            elif isinstance(event, Kill):
                self._kill(event)
                return

    def _on_duty(self) -> _Duty:
        if self._duty is None:
            self._duty = _Duty()
        return self._duty

    def _take(self, work: DoWork) -> None:
        duty = self._on_duty()
        if len(duty.waiting) >= WORK_WAITING:
            self._report(work.command, "failed", error="queue-full")
            return
        self._report(work.command, "received")
        duty.waiting.append(work)
        if duty.at_work is None:
            self._next(duty)

    def _next(self, duty: _Duty) -> None:
        while duty.waiting and duty.at_work is None:
            work = duty.at_work = duty.waiting.popleft()
            duty.started_at = self._now()
            self.life.busy = work.command
            self._report(work.command, "started")
            self._work(work.ms)

    def _end_work(self, duty: _Duty, state: str, error: str | None) -> None:
        work, duty.at_work = duty.at_work, None
        self.life.busy = None
        if work is not None:
            ms = round((self._now() - duty.started_at) * 1000)
            self._report(work.command, state, ms=ms, error=error)

    def _drop_work(self, error: str) -> None:
        duty = self._duty
        if duty is None:
            return
        if duty.at_work is not None:
            self._stop_work()
            self._end_work(duty, "failed", error)
        while duty.waiting:
            self._report(duty.waiting.popleft().command, "failed", error=error)

    def _kill(self, kill: Kill) -> None:
        self._on_duty().exit_code = kill.code
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


class Engine(EngineRules):
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

    Raises:
        LocalProtocolError: Its hello could be one that no broker reads.
    """

    __slots__ = ("_carrier", "observer", "random", "seconds", "wishes", "worker")

    def __init__(
        self,
        life: Life,
        worker: Worker,
        seconds: Callable[[], float],
        random: Random | None = None,
        wishes: Wishes | None = None,
        observer: EngineObserver | None = None,
    ) -> None:
        super().__init__(life)
        self.worker = worker
        self.seconds = seconds
        self.random = Random() if random is None else random  # noqa: S311 - no secret
        self.wishes = wishes or Wishes()
        self.observer = observer or EngineObserver()
        self._carrier: Carrier | None = None
        self.wishes.check(life.engine_id)

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
        self.session = EngineSession(self.life, self._now(), self.random, self.wishes, framing)
        return self.session

    def _now(self) -> float:
        return self.seconds()

    def _settle(self) -> None:
        if self.session is not None and self._carrier is not None:
            self._carrier.settle()

    def _work(self, ms: int) -> None:
        self.worker.start(ms)

    def _stop_work(self) -> None:
        self.worker.stop()

    def _exit(self, code: int) -> None:
        self.worker.exit(code)

    def _tell_registered(self, success: Success) -> None:
        self.observer.registered(self, success)

    def _tell_ended(self, session: EngineSession) -> None:
        self._carrier = None
        self.observer.ended(self, session)
