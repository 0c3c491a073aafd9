"""``harbour://name:0``: in-process streams with ports, on a clock, that a fault can spoil.

It keeps every law. A fault is a subclass of it, or of the `Line` that stands between
a protocol and its stream.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from attrs import evolve
from twisted.internet.defer import Deferred, ensureDeferred, fail
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IListeningPort,
    IProtocol,
    IPushProducer,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.interfaces import ITransport as IConnection
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from brokerproto.errors import DialError, ListenError
from transports import URI, ITransport, transport_for
from transports.conformance import Law, Profile, Subject, check

INPROC = transport_for("inproc")
NOWHERE = "nowhere"
ADDRESS = "harbour://name:0"


@implementer(IConnection, IConsumer, IPushProducer)
class Line(Protocol):
    """Protocol to the stream, transport to the protocol: it passes everything on."""

    stream: Any

    def __init__(self, harbour: Harbour, inner: Any) -> None:
        self.harbour, self.inner = harbour, inner
        harbour.lines.append(self)

    @property
    def other(self) -> Line:
        """The line of the other end."""
        [other] = [
            line
            for line in self.harbour.lines
            if (line.stream.getHost(), line.stream.getPeer()) == (self.getPeer(), self.getHost())
        ]
        return other

    def makeConnection(self, transport: Any) -> None:
        self.stream = transport
        self.inner.makeConnection(self)

    def dataReceived(self, data: bytes) -> None:
        self.inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.inner.connectionLost(reason)

    def write(self, data: bytes) -> None:
        self.stream.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        self.stream.loseConnection()

    def abortConnection(self) -> None:
        self.stream.abortConnection()

    def loseWriteConnection(self) -> None:
        self.stream.loseWriteConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.stream.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        self.stream.unregisterProducer()

    def pauseProducing(self) -> None:
        self.stream.pauseProducing()

    def resumeProducing(self) -> None:
        self.stream.resumeProducing()

    def stopProducing(self) -> None:
        self.stream.stopProducing()

    def getHost(self) -> Any:
        return self.stream.getHost()

    def getPeer(self) -> Any:
        return self.stream.getPeer()


class Halves:
    """What a line has besides where the protocol can live with half a connection."""

    inner: Any

    def readConnectionLost(self) -> None:
        self.inner.readConnectionLost()

    def writeConnectionLost(self) -> None:
        self.inner.writeConnectionLost()


class Lines(Factory):
    """Puts a line before each protocol of another factory."""

    noisy = False

    def __init__(self, harbour: Harbour, inner: Any) -> None:
        self.harbour, self.inner = harbour, inner

    def buildProtocol(self, addr: Any) -> Line:
        protocol = self.inner.buildProtocol(addr)
        kind: Any = self.harbour.line
        if IHalfCloseableProtocol.providedBy(protocol):
            kind = implementer(IHalfCloseableProtocol)(type("Half", (kind, Halves), {}))
        line: Line = kind(self.harbour, protocol)
        return line


@implementer(ITransport)
class Harbour:
    """The transport; one of its own for every law."""

    scheme = "harbour"
    framing = "lines"
    profile = Profile(
        unreachable=f"harbour://{NOWHERE}:1",
        unlistenable=f"harbour://{NOWHERE}:0",
        # Enough to see that a producer is paused, and no more to be waited for.
        buffered_bytes=1024 * 1024,
    )
    line: type[Line] = Line

    def __init__(self) -> None:
        self.clock = Clock()
        self.lines: list[Line] = []
        self.last_port = 0

    def client_endpoint(self, reactor: Any, uri: URI) -> IStreamClientEndpoint:
        self.check(uri)
        if not uri.port:
            raise uri.refusal("port 0 is for listening")
        return Dialling(self, reactor, uri)

    def server_endpoint(self, reactor: Any, uri: URI) -> IStreamServerEndpoint:
        self.check(uri)
        return Listening(self, reactor, uri)

    def is_local(self, uri: URI) -> bool:
        return True

    def listen_address(self, uri: URI, port: Any) -> URI:
        return evolve(uri, port=port.number)

    def check(self, uri: URI) -> None:
        uri.check_parts(port=True, path=False)
        uri.check_options({})

    def next_port(self) -> int:
        self.last_port += 1
        return self.last_port

    def dial(self, reactor: Any, uri: URI, factory: Any) -> Deferred[IProtocol]:
        connecting = INPROC.client_endpoint(reactor, inner_name(uri)).connect(Lines(self, factory))
        return connecting.addCallbacks(
            lambda line: line.inner, lambda failure: self.dial_failed(uri, failure)
        )

    def dial_failed(self, uri: URI, failure: Failure) -> Failure:
        failure.trap(DialError)
        return Failure(DialError(str(uri), "nobody is there"))

    def listen(self, reactor: Any, uri: URI, factory: Any) -> Deferred[IListeningPort]:
        if uri.host == NOWHERE:
            return fail(self.unlistenable(uri))
        number = uri.port or self.next_port()
        inner = inner_name(evolve(uri, port=number))
        listening = INPROC.server_endpoint(reactor, inner).listen(Lines(self, factory))
        return listening.addCallbacks(
            lambda port: self.numbered(port, number), lambda failure: self.in_use(uri, failure)
        )

    def numbered(self, port: Any, number: int) -> IListeningPort:
        return Numbered(port, number)

    def in_use(self, uri: URI, failure: Failure) -> Any:
        return Failure(ListenError(str(uri), "in use"))

    def unlistenable(self, uri: URI) -> Exception:
        return ListenError(str(uri), "nobody can listen there")


def inner_name(uri: URI) -> URI:
    return URI("inproc", f"{uri.host.lower()}-{uri.port}")


@implementer(IListeningPort)
class Numbered:
    """A listening port that knows its number."""

    def __init__(self, port: Any, number: int) -> None:
        self.port, self.number = port, number

    def startListening(self) -> None:
        self.port.startListening()

    def stopListening(self) -> Any:
        return self.port.stopListening()

    def getHost(self) -> Any:
        return self.port.getHost()


@implementer(IStreamClientEndpoint)
class Dialling:
    def __init__(self, harbour: Harbour, reactor: Any, uri: URI) -> None:
        self.harbour, self.reactor, self.uri = harbour, reactor, uri

    def connect(self, protocolFactory: Any) -> Deferred[IProtocol]:
        return self.harbour.dial(self.reactor, self.uri, protocolFactory)


@implementer(IStreamServerEndpoint)
class Listening:
    def __init__(self, harbour: Harbour, reactor: Any, uri: URI) -> None:
        self.harbour, self.reactor, self.uri = harbour, reactor, uri

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        return self.harbour.listen(self.reactor, self.uri, protocolFactory)


def examine(law: Law, harbour: Harbour, **others: Any) -> str | None:
    """Hold a harbour to a law, as `check` does, but wait on its own clock alone."""
    clock = harbour.clock
    results: list[Any] = []
    subject = Subject(clock, harbour, URI.parse(ADDRESS), **others)
    ensureDeferred(check(law, subject)).addBoth(results.append)
    for _ in range(1000):
        if results:
            break
        clock.advance(max(0.0, min(call.getTime() for call in clock.calls) - clock.seconds()))
    [result] = results
    if isinstance(result, Failure):
        result.raiseException()
    return cast("str | None", result)
