"""How the control API meets the network: who is let in, and how often one may ask."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.resource import IResource
from twisted.web.server import Site

from brokerproto.broker import Broker
from services.broker.control.answers import ControlError
from services.broker.control.channel import ControlChannel
from services.broker.control.places import MOST, Places
from services.broker.control.request import ControlRequest
from services.broker.control.routes import control_resource
from services.broker.control.sources import Rates, source_of
from services.program.health import ProcessHealth

__all__ = ["RATE", "ControlSite", "control_site"]

RATE = 20
"""Requests a second that one source may make, if nobody says otherwise."""

log = Logger()


class ControlSite(Site):
    """The factory of the connections. It keeps no access log.

    Args:
        resource: The root.
        reactor: Ends connections that are idle.
        places: Who may be connected.
        rates: How often a source may ask.
        refused: Counts the requests that are refused, by status.
    """

    noisy = False
    protocol = ControlChannel  # type: ignore[assignment]  # No proxy: it never turns into HTTP/2.
    requestFactory = ControlRequest
    displayTracebacks = False

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime,
        places: Places,
        rates: Rates,
        refused: Counter[int],
    ) -> None:
        # A form that is none would be refused before anybody asks who sent it.
        Site.__init__(self, resource, timeout=None, reactor=reactor, parsePOSTFormSubmission=False)
        self.places = places
        self.refused = refused
        self._rates = rates

    def startFactory(self) -> None:
        """Start nothing: what Twisted starts here is the access log, and its clock."""

    def stopFactory(self) -> None:
        """Stop nothing."""

    def buildProtocol(self, addr: Any) -> ControlChannel | None:  # type: ignore[override]
        """Let a connection in, or close it at once."""
        channel: Any = Site.buildProtocol(self, addr)
        channel.source = source_of(addr)
        if self.places.enter(channel):
            return channel  # type: ignore[no-any-return]
        _tell(channel.source, self._all_taken)
        self.refused[503] += 1
        return None

    def refusal(self, channel: ControlChannel) -> ControlError | None:
        """Say why a request is not looked at, which has come whole on this connection.

        Protocol: 429 for a source that asks too often, 503 for want of a place.
        """
        source, status = channel.source, 503
        if not self._rates.allows(source):
            status, reason = 429, f"more than {self._rates.rate} requests a second"
        elif not self.places.has(channel):
            reason = self._all_taken
        elif self.places.is_crowded(source):
            reason = f"{self.places.share} requests of this address are being answered"
        else:
            return None
        _tell(source, reason)
        return ControlError(status, reason)

    @property
    def _all_taken(self) -> str:
        return f"all {self.places.most} connections are being answered"


def _tell(source: str, reason: str) -> None:
    # How often it may be told of one source is the log's affair.
    log.warn("refused a request of {address}: {reason}", address=source, reason=reason)


def control_site(
    broker: Broker,
    reactor: IReactorTime,
    *,
    extra_hosts: Iterable[str] = (),
    is_ready: Callable[[], bool] = lambda: True,
    connections: int = MOST,
    rate: int = RATE,
    wall: Callable[[], float] = time.time,
    random: Random | None = None,
    health: ProcessHealth | None = None,
) -> ControlSite:
    """Make the factory that serves a broker's control API.

    Args:
        broker: The broker that it serves.
        reactor: Ends what waits, and connections that are idle.
        extra_hosts: Names that it answers for, besides the machine's own.
        is_ready: Whether engines can register.
        connections: For how many at one time there are files, 1 or more; it takes no
            more than `MOST`.
        rate: Requests a second of one source; 0 for any number.
        wall: What people's clocks show, POSIX seconds.
        random: Draws shares.
        health: How the process runs; None where nobody measures it.
    """
    refused: Counter[int] = Counter()
    resource = control_resource(
        broker,
        reactor,
        extra_hosts=extra_hosts,
        is_ready=is_ready,
        wall=wall,
        random=random,
        health=health,
        refused=refused,
    )
    places, rates = Places(min(MOST, connections)), Rates(rate, reactor.seconds)
    return ControlSite(resource, reactor, places, rates, refused)
