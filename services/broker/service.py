"""A broker as a service: it ticks, reports, and sends its engines away at the end."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from brokerproto.broker import Broker
from brokerproto.carrying import FLUSH_DEADLINE
from brokerproto.commands import Command
from brokerproto.errors import DrainingError
from services.broker.reporting import report, report_unfinished
from services.program.counted import Counted
from services.program.exit_status import ExitStatus

__all__ = ["REPORT_SECONDS", "BrokerService"]

REPORT_SECONDS = 10.0
"""Between two lines in the log that say how the fleet stands."""

PROGRESS_SECONDS = 1.0
"""Between two lines that say how far a drain has come."""

_GONE_POLL = 0.05

log = Logger()


@define(eq=False, slots=False)
class BrokerService(Service):
    """Keeps a broker going while it runs.

    Args:
        broker: What ticks.
        reactor: Its clock.
        ports: Where engines are accepted; closed when it drains or stops.
        random: Draws who leaves when.

    Attributes:
        control_port: Where the control API is served, until everybody is gone.
    """

    broker: Broker
    _reactor: Any
    _ports: list[IListeningPort]
    _random: Random = field(factory=Random)
    control_port: IListeningPort | None = field(init=False, default=None)
    _loops: list[LoopingCall] = field(init=False, factory=list)
    _closing: Deferred[Any] | None = field(init=False, default=None)
    _unfinished: list[Command] = field(init=False, factory=list)

    @property
    def is_ready(self) -> bool:
        """Whether engines can register."""
        return bool(self.running) and not self.broker.is_draining

    def startService(self) -> None:
        """Begin to tick and to report."""
        Service.startService(self)
        self._loop(self.broker.tick, self.broker.tick_length)
        self._loop(lambda: report(self.broker), REPORT_SECONDS)

    def leave(self, exit_status: ExitStatus) -> None:
        """Drain, and then end the process."""
        draining = self.drain()
        draining.addErrback(lambda failure: log.failure("the drain failed", failure=failure))
        draining.addCallback(lambda _: exit_status.end(0))

    def drain(self) -> Deferred[None]:
        """Send every engine away in a slot of its own.

        Returns:
            Fires when all are gone, or when the time for it is over.
        """
        return Deferred.fromCoroutine(self._drain())

    def stopService(self) -> Deferred[None]:
        """Tell everybody who is still here; fires when the connections are gone."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _drain(self) -> None:
        broker, longest = self.broker, self.broker.limits.drain
        if not longest:
            return
        engines = len(broker.fleet)
        self._listen_no_longer()
        drain = broker.drain(self._random)
        if engines:
            log.info(
                "draining: {engines} over {spread} s; a second signal ends the broker at once",
                engines=Counted(engines, "engine leaves", "engines leave"),
                spread=round(drain.spread, 1),
            )
        told_at = drain.began
        while self.running and broker.connections:
            now = self._reactor.seconds()
            if now - drain.began >= longest:
                return
            if now - told_at >= PROGRESS_SECONDS and len(broker.fleet):
                told_at = now
                here = Counted(len(broker.fleet), "engine is", "engines are")
                log.info("draining: {engines} still here", engines=here)
            await _later(self._reactor, _GONE_POLL)
            _guarded(drain.see_off)

    async def _stop(self) -> None:
        await self._listen_no_longer()
        engines = len(self.broker.fleet)
        log.info(
            "the broker stops; {engines} told so" if engines else "the broker stops",
            engines=Counted(engines, "engine is", "engines are"),
        )
        _guarded(lambda: self.broker.close(DrainingError()))
        deadline = self._reactor.seconds() + FLUSH_DEADLINE + 2 * _GONE_POLL
        while self.broker.connections and self._reactor.seconds() < deadline:
            await _later(self._reactor, _GONE_POLL)
        if self.control_port is not None:
            await _closed(self.control_port)
        for loop in self._loops:
            loop.stop()
        report_unfinished(self._unfinished)
        report(self.broker)

    def _listen_no_longer(self) -> Deferred[Any]:
        """Accept no engines any more; fires, once, when no port is open."""
        if self._closing is None:
            self._unfinished = [each for each in self.broker.ledger if not each.is_settled]
            self._closing = gatherResults([_closed(port) for port in self._ports])
        return self._closing

    def _loop(self, function: Callable[[], object], seconds: float) -> None:
        # A loop that raises ends, and with it the broker's sense of time.
        loop = LoopingCall(lambda: _guarded(function))
        loop.clock = self._reactor
        loop.start(seconds, now=False)
        self._loops.append(loop)


def _guarded(function: Callable[[], object]) -> None:
    """Call; what it raises is logged, and stops nothing."""
    try:
        function()
    except Exception:
        log.failure("the broker's regular work failed")


def _closed(port: IListeningPort) -> Deferred[Any]:
    """Close a port; one that fails keeps nobody from hearing that the broker stops."""
    return maybeDeferred(port.stopListening).addErrback(
        lambda failure: log.failure("{port} could not be closed", failure=failure, port=port)
    )


def _later(reactor: Any, seconds: float) -> Deferred[None]:
    done: Deferred[None] = Deferred()
    reactor.callLater(seconds, done.callback, None)
    return done
