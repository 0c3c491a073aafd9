"""A broker as a service: it ticks, reports, and closes its connections at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from brokerproto.broker import Broker
from brokerproto.errors import DrainingError
from brokerproto.protocol import FLUSH_DEADLINE
from services.broker.reporting import report

__all__ = ["REPORT_SECONDS", "BrokerService"]

REPORT_SECONDS = 10.0
"""Between two lines in the log that say how the fleet stands."""

_GONE_POLL = 0.05

log = Logger()


@define(eq=False, slots=False)
class BrokerService(Service):
    """Keeps a broker going while it runs.

    Args:
        broker: What ticks.
        reactor: Its clock.
        ports: What listens already; closed when the service stops.
    """

    broker: Broker
    _reactor: Any
    _ports: list[IListeningPort]
    _loops: list[LoopingCall] = field(init=False, factory=list)

    @property
    def is_ready(self) -> bool:
        """Whether engines can register."""
        return bool(self.running)

    def startService(self) -> None:
        """Begin to tick and to report."""
        Service.startService(self)
        self._loop(self.broker.tick, self.broker.tick_length)
        self._loop(lambda: report(self.broker), REPORT_SECONDS)

    async def _stop(self) -> None:
        await gatherResults([_closed(port) for port in self._ports])
        log.info("the broker stops; {engines} engines are told so", engines=len(self.broker.fleet))
        self.broker.close(DrainingError("the broker stops"))
        deadline = self._reactor.seconds() + FLUSH_DEADLINE + 2 * _GONE_POLL
        while self.broker.connections and self._reactor.seconds() < deadline:
            await _later(self._reactor, _GONE_POLL)
        for loop in self._loops:
            loop.stop()
        report(self.broker)

    def stopService(self) -> Deferred[None]:
        """Tell everybody that the broker stops; fires when the connections are gone."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    def _loop(self, function: Callable[[], object], seconds: float) -> None:
        def guarded() -> None:
            # A loop that raises ends, and with it the broker's sense of time.
            try:
                function()
            except Exception:
                log.failure("the broker's regular work failed")

        loop = LoopingCall(guarded)
        loop.clock = self._reactor
        loop.start(seconds, now=False)
        self._loops.append(loop)


def _closed(port: IListeningPort) -> Deferred[Any]:
    """Close a port; one that fails keeps nobody from hearing that the broker stops."""
    return maybeDeferred(port.stopListening).addErrback(
        lambda failure: log.failure("{port} could not be closed", failure=failure, port=port)
    )


def _later(reactor: Any, seconds: float) -> Deferred[None]:
    done: Deferred[None] = Deferred()
    reactor.callLater(seconds, done.callback, None)
    return done
