"""``inproc://name``: a byte stream within one process, without sockets.

A name is known to one process and one reactor. Bytes arrive in a later turn of
the reactor, in the order in which they were written. What is written waits in
the process until the other side takes it, so `loseConnection` ends only when a
paused peer reads on; `abortConnection` does not wait.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import NoProtocol
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from brokerproto.errors import DialError, ListenError
from transports.inproc_stream import InprocAddress, Stream
from transports.interfaces import ITransport
from transports.uri import URI

__all__ = ["InprocAddress", "InprocTransport", "transport"]

_OPTIONS = {"framing": ("lines",)}

_log = Logger()

_listening: dict[tuple[Any, str], _Port] = {}
"""Who listens, by reactor and name."""


@implementer(ITransport)
class InprocTransport:
    """Streams between two protocols of one process."""

    scheme = "inproc"
    framing = "lines"

    def client_endpoint(self, reactor: Any, uri: URI) -> IStreamClientEndpoint:
        """See `ITransport`; the reactor needs only `IReactorTime`."""
        _check(uri)
        return _ClientEndpoint(reactor, uri)

    def server_endpoint(self, reactor: Any, uri: URI) -> IStreamServerEndpoint:
        """See `ITransport`; the reactor needs only `IReactorTime`."""
        _check(uri)
        return _ServerEndpoint(reactor, uri)

    def is_local(self, uri: URI) -> bool:
        """See `ITransport`: always."""
        return True

    def listen_address(self, uri: URI, port: IListeningPort) -> URI:
        """See `ITransport`: a name leaves nothing open."""
        return uri


transport = InprocTransport()


def _check(uri: URI) -> None:
    uri.check_parts(port=False, path=False)
    uri.check_options(_OPTIONS)
    if uri.host == "*":
        raise uri.refusal("* is no name to listen on or to connect to")


@implementer(IListeningPort, IPushProducer)
@define(eq=False)
class _Port:
    _reactor: Any
    _uri: URI
    _factory: IProtocolFactory
    _numbers: count[int] = field(factory=lambda: count(1), repr=False)
    _calling: deque[Stream] = field(init=False, factory=deque, repr=False)
    _paused: bool = field(init=False, default=False)

    def startListening(self) -> None:
        if (self._reactor, self._uri.host) in _listening:
            raise ListenError(str(self._uri), "the name is in use")
        self._factory.doStart()
        _listening[self._reactor, self._uri.host] = self

    def stopListening(self) -> Deferred[None]:
        if self._is_listening():
            del _listening[self._reactor, self._uri.host]
            self._factory.doStop()
            self.resumeProducing()
        return succeed(None)

    def pauseProducing(self) -> None:
        """Let callers wait, as in the listen queue of a socket."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Accept those who wait, and those who come."""
        self._paused = False
        for _ in self._calling:
            self._reactor.callLater(0, self._accept)

    def stopProducing(self) -> None:
        """Listen no longer."""
        self.stopListening()

    def getHost(self) -> InprocAddress:
        return InprocAddress(self._uri.host)

    def call(self) -> Stream:
        """Give the caller's end of a new stream; ours is accepted in a later turn."""
        near, far = Stream.pair(self._reactor, self._uri.host, next(self._numbers))
        self._calling.append(far)
        self._reactor.callLater(0, self._accept)
        return near

    def _is_listening(self) -> bool:
        return _listening.get((self._reactor, self._uri.host)) is self

    def _accept(self) -> None:
        # Two turns may have been planned for one who waited.
        if self._paused or not self._calling:
            return
        stream = self._calling.popleft()
        if not self._is_listening():
            stream.abortConnection()
            return
        if not stream.connected:
            return
        try:
            protocol = self._factory.buildProtocol(stream.getPeer())
            if protocol is not None:
                stream.start(protocol)
                return
        except Exception:  # it costs this caller its connection, and nobody else
            _log.failure("Unhandled error in {factory!r}", factory=self._factory)
        stream.loseConnection()


@implementer(IStreamServerEndpoint)
@frozen
class _ServerEndpoint:
    reactor: Any
    uri: URI

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; the Deferred has already fired when this returns."""
        port = _Port(self.reactor, self.uri, protocolFactory)
        try:
            port.startListening()
        except ListenError as exc:
            return fail(exc)
        return succeed(port)


@implementer(IStreamClientEndpoint)
@frozen
class _ClientEndpoint:
    reactor: Any
    uri: URI

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect in a later turn; until then it can be cancelled."""
        connected: Deferred[IProtocol] = Deferred(lambda _: turn.cancel())
        turn = self.reactor.callLater(0, self._dial, protocolFactory, connected)
        return connected

    def _dial(self, factory: IProtocolFactory, connected: Deferred[IProtocol]) -> None:
        port = _listening.get((self.reactor, self.uri.host))
        if port is None:
            connected.errback(DialError(str(self.uri), "nobody listens on this name"))
            return
        factory.doStart()
        try:
            protocol = factory.buildProtocol(port.getHost())
            if protocol is None:
                raise NoProtocol
            stream = port.call()
        except Exception:
            factory.doStop()
            connected.errback(Failure())
            return
        try:
            stream.start(protocol, on_lost=factory.doStop)
        except Exception:
            connected.errback(Failure())
            return
        connected.callback(protocol)
