"""The transport that puts faults on another one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, TypeVar

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from brokerproto.errors import DialError, InvalidURIError, ListenError
from transports.fault.faults import Faults
from transports.fault.link import Link
from transports.fault.options import OPTIONS, faults_of
from transports.fault.outgoing import HIGH_WATER
from transports.fault.switch import Switch
from transports.interfaces import ITransport
from transports.profile import Profile
from transports.uri import URI

__all__ = ["DIAL_TIMEOUT", "PREFIX", "FaultTransport", "transport_over"]

T = TypeVar("T")

PREFIX = "fault+"
"""What stands before the scheme of the transport below."""

DIAL_TIMEOUT = 5.0
"""Seconds that who dials waits while a `Switch` is cut."""

_NO_FAULTS = Faults()


def transport_over(inner: ITransport) -> ITransport:
    """Give the transport of ``fault+`` and the scheme of `inner`."""
    return FaultTransport(inner)


@implementer(ITransport)
class FaultTransport:
    """Another transport, with faults on its connections.

    It takes addresses of its own scheme, whose options say what is done, and those
    of the transport below.

    Args:
        inner: The transport below.
        faults: What is done where an address does not say otherwise.
        switch: Is told of each connection, to disturb it by hand.
    """

    def __init__(
        self, inner: ITransport, faults: Faults = _NO_FAULTS, switch: Switch | None = None
    ) -> None:
        self.scheme = PREFIX + inner.scheme
        self.framing = inner.framing
        self.profile = _profile_over(inner)
        self._inner, self._faults, self._switch = inner, faults, switch

    def client_endpoint(self, reactor: Any, uri: URI) -> IStreamClientEndpoint:
        """See `ITransport`."""
        below, faults = self._split(uri)
        endpoint = self._asked(uri, below, lambda: self._inner.client_endpoint(reactor, below))
        return _ClientEndpoint(self._links(reactor, below, faults), endpoint, uri)

    def server_endpoint(self, reactor: Any, uri: URI) -> IStreamServerEndpoint:
        """See `ITransport`."""
        below, faults = self._split(uri)
        endpoint = self._asked(uri, below, lambda: self._inner.server_endpoint(reactor, below))
        return _ServerEndpoint(self._links(reactor, below, faults), endpoint, uri)

    def is_local(self, uri: URI) -> bool:
        """See `ITransport`: what the transport below says."""
        below, _ = self._split(uri)
        return self._asked(uri, below, lambda: self._inner.is_local(below))

    def listen_address(self, uri: URI, port: IListeningPort) -> URI:
        """See `ITransport`: that of the transport below, with the same faults."""
        below, _ = self._split(uri)
        found = self._asked(uri, below, lambda: self._inner.listen_address(below, port))
        if found == below:
            return uri
        if uri.opaque:
            _, mark, query = uri.opaque.rpartition("?")
            return URI(uri.scheme, opaque=found.opaque + mark + query * bool(mark))
        kept = {
            key: found.options.get(key, value)
            for key, value in uri.options.items()
            if self._is_ours(uri, key) or key in found.options
        }
        return evolve(found, scheme=uri.scheme, options={**kept, **found.options})

    def _is_ours(self, uri: URI, key: str) -> bool:
        return uri.scheme == self.scheme and key in OPTIONS

    def _split(self, uri: URI) -> tuple[URI, Faults]:
        """Give the address for the transport below, and what is to be done."""
        below, faults = self._read(uri)
        if faults.slice is not None and self._is_whole(below):
            raise uri.refusal("the option 'slice' is for streams, and this carries whole frames")
        return below, faults

    def _read(self, uri: URI) -> tuple[URI, Faults]:
        if uri.scheme != self.scheme:
            return uri, self._faults
        inner = self._inner.scheme
        if not uri.opaque:
            ours = {key: text for key, text in uri.options.items() if key in OPTIONS}
            theirs = {key: text for key, text in uri.options.items() if key not in OPTIONS}
            below = evolve(uri, scheme=inner, options=theirs)
            return below, faults_of(uri, ours, self._faults)
        # What is opaque has no options; a question mark in it is seldom.
        string, mark, query = uri.opaque.rpartition("?")
        if not mark:
            return URI(inner, opaque=uri.opaque), self._faults
        try:
            ours = dict(URI.parse(f"{inner}://faults?{query}").options) if query else {}
            below = URI(inner, opaque=string)
        except InvalidURIError as exc:
            raise uri.refusal(exc.problem) from None
        for key in ours:
            if key not in OPTIONS:
                known = ", ".join(OPTIONS)
                raise uri.refusal(f"the option {key!r} is unknown; {PREFIX} knows {known}")
        return below, faults_of(uri, ours, self._faults)

    def _asked(self, uri: URI, below: URI, ask: Callable[[], T]) -> T:
        """Ask the transport below; what it refuses, it refuses by the name that was given."""
        try:
            return ask()
        except InvalidURIError as exc:
            problem = exc.problem
            if any(f"the option {key!r} is unknown" in problem for key in below.options):
                problem += f"; {PREFIX} knows {', '.join(OPTIONS)}"
            raise uri.refusal(problem) from exc

    def _links(self, reactor: Any, below: URI, faults: Faults) -> _Links:
        return _Links(reactor, faults, self._switch, self._is_whole(below))

    def _is_whole(self, below: URI) -> bool:
        framing: str = below.options.get("framing", self.framing)
        return framing != "lines"


def _profile_over(inner: ITransport) -> Any:
    profile = getattr(inner, "profile", Profile())
    if not isinstance(profile, Profile):
        return profile
    return evolve(
        profile,
        unreachable=profile.unreachable and PREFIX + profile.unreachable,
        unlistenable=profile.unlistenable and PREFIX + profile.unlistenable,
        buffered_bytes=profile.buffered_bytes + 4 * HIGH_WATER,
    )


@define(eq=False)
class _Links:
    """Makes the links of one endpoint, and counts them."""

    reactor: Any
    faults: Faults
    switch: Switch | None
    is_whole: bool
    _numbers: count[int] = field(factory=lambda: count(1), repr=False)

    def next_maker(self) -> _Maker:
        """Draw what the next connection gets."""
        return _Maker(self, number := next(self._numbers), self.faults.plan(number))


@frozen
class _Maker:
    links: _Links
    number: int
    plan: Any

    def link(self, protocol: IProtocol) -> Link:
        links = self.links
        return Link(links.reactor, self.number, protocol, self.plan, links.is_whole, links.switch)


@implementer(IProtocolFactory)
@define(eq=False)
class _Factory:
    """Puts a link below each protocol of another factory."""

    _factory: IProtocolFactory
    _next_maker: Callable[[], _Maker]
    noisy: bool = field(init=False, default=False)

    def buildProtocol(self, addr: IAddress) -> Any:
        """See `IProtocolFactory`."""
        maker = self._next_maker()
        if maker.plan.is_refused:
            return None
        protocol = self._factory.buildProtocol(addr)
        return None if protocol is None else maker.link(protocol)

    def doStart(self) -> None:
        """See `IProtocolFactory`."""
        self._factory.doStart()

    def doStop(self) -> None:
        """See `IProtocolFactory`."""
        self._factory.doStop()


@implementer(IStreamServerEndpoint)
@frozen
class _ServerEndpoint:
    links: _Links
    endpoint: IStreamServerEndpoint
    uri: URI

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; whether that is done when this returns is the affair of what is below."""
        listening: Deferred[IListeningPort]
        listening = self.endpoint.listen(_Factory(protocolFactory, self.links.next_maker))
        return listening.addErrback(self._refused)

    def _refused(self, failure: Failure) -> Failure:
        failure.trap(ListenError)
        error: Any = failure.value
        return Failure(ListenError(str(self.uri), error.reason))


@implementer(IStreamClientEndpoint)
@frozen
class _ClientEndpoint:
    links: _Links
    endpoint: IStreamClientEndpoint
    uri: URI

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, unless this one is refused; while a switch is cut, wait."""
        maker = self.links.next_maker()
        if maker.plan.is_refused:
            return fail(DialError(str(self.uri), "refused on purpose"))
        factory = _Factory(protocolFactory, lambda: maker)
        switch = self.links.switch
        if switch is not None and switch.is_cut:
            return _Waiting(self, switch, factory).begun()
        return self.dial(factory)

    def dial(self, factory: _Factory) -> Deferred[IProtocol]:
        """Have the transport below connect."""
        connecting: Deferred[IProtocol] = self.endpoint.connect(factory)
        return connecting.addCallbacks(_without_link, self._failed)

    def _failed(self, failure: Failure) -> Failure:
        if not failure.check(DialError):
            return failure
        error: Any = failure.value
        return Failure(DialError(str(self.uri), error.reason, retriable=error.retriable))


def _without_link(connected: Any) -> IProtocol:
    protocol: IProtocol = connected.protocol if isinstance(connected, Link) else connected
    return protocol


@define(eq=False)
class _Waiting:
    """A dial that gets no answer, until the switch heals or the time is over."""

    _endpoint: _ClientEndpoint
    _switch: Switch
    _factory: _Factory
    _stop_waiting: Callable[[], None] = field(init=False)
    _timer: Any = field(init=False)
    _dialling: Deferred[Any] | None = field(init=False, default=None)
    _connected: Deferred[IProtocol] = field(init=False)

    def begun(self) -> Deferred[IProtocol]:
        self._connected = Deferred(self._cancel)
        self._stop_waiting = self._switch.wait(self._go_on)
        reactor = self._endpoint.links.reactor
        self._timer = reactor.callLater(DIAL_TIMEOUT, self._give_up)
        return self._connected

    def _go_on(self) -> None:
        self._timer.cancel()
        self._dialling = self._endpoint.dial(self._factory)
        self._dialling.chainDeferred(self._connected)

    def _give_up(self) -> None:
        self._stop_waiting()
        reason = f"no answer within {DIAL_TIMEOUT:g} s"
        self._connected.errback(DialError(str(self._endpoint.uri), reason))

    def _cancel(self, _: object) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
        else:
            self._stop_waiting()
            self._timer.cancel()
