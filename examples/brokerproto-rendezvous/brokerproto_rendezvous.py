"""``rendezvous:///path``: a broker on any free port, found through a file.

Who listens has the system choose a TCP port and writes its address into the file;
who dials reads it there, anew each time. A lock on the file says whether its
writer lives, so nothing has to be cleared away after a crash.
"""

from __future__ import annotations

import fcntl
import os
from typing import Any

from attrs import define, frozen
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

from transports import URI, DialError, InvalidURIError, ITransport, ListenError, transport_for
from transports.profile import Profile

_LONGEST_ADDRESS = 1024


@implementer(ITransport)
class RendezvousTransport:
    """TCP, with the address in a file."""

    scheme = "rendezvous"
    framing = "lines"
    profile = Profile(
        unreachable="rendezvous:///nonexistent/file",
        unlistenable="rendezvous:///nonexistent/file",
    )

    def client_endpoint(self, reactor: Any, uri: URI) -> IStreamClientEndpoint:
        """See `ITransport`; the option ``host`` means nothing to whoever dials."""
        _tcp_address(uri)
        return _ClientEndpoint(reactor, uri)

    def server_endpoint(self, reactor: Any, uri: URI) -> IStreamServerEndpoint:
        """See `ITransport`."""
        return _ServerEndpoint(reactor, uri, _tcp_address(uri))

    def is_local(self, uri: URI) -> bool:
        """See `ITransport`: what the option ``host`` says; it is 127.0.0.1 by default."""
        return _tcp_address(uri).is_loopback

    def listen_address(self, uri: URI, port: IListeningPort) -> URI:
        """See `ITransport`: a file leaves nothing open."""
        return uri


transport = RendezvousTransport()


def _tcp_address(uri: URI) -> URI:
    """Check an address, and give the one to listen on in its place."""
    uri.check_parts(port=False, path=True)
    uri.check_options({"host": None})
    if uri.host:
        raise uri.refusal("a path begins with its third slash, as in rendezvous:///tmp/broker")
    host = uri.options.get("host", "127.0.0.1")
    if host == "*":
        raise uri.refusal("the option 'host' is one that others can dial, which * is not")
    try:
        return URI("tcp", host, port=0)
    except InvalidURIError as exc:
        raise uri.refusal(f"the option 'host': {exc.problem}") from None


@implementer(IStreamServerEndpoint)
@frozen
class _ServerEndpoint:
    reactor: Any
    uri: URI
    tcp: URI

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        try:
            file = os.open(self.uri.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            return fail(ListenError(str(self.uri), str(exc.strerror)))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return fail(ListenError(str(self.uri), "somebody listens who has written this file"))
        endpoint = transport_for("tcp").server_endpoint(self.reactor, self.tcp)
        listening: Deferred[IListeningPort] = endpoint.listen(protocolFactory)
        return listening.addCallbacks(
            self._listening, self._failed, callbackArgs=(file,), errbackArgs=(file,)
        )

    def _listening(self, port: IListeningPort, file: int) -> IListeningPort:
        address = transport_for("tcp").listen_address(self.tcp, port)
        os.ftruncate(file, 0)
        os.pwrite(file, f"{address}\n".encode(), 0)
        return _Port(port, file)

    def _failed(self, failure: Failure, file: int) -> Failure:
        os.close(file)
        failure.trap(ListenError)
        return Failure(ListenError(str(self.uri), str(failure.value)))


@implementer(IListeningPort)
@define(eq=False)
class _Port:
    """A listening port, and the file that is locked as long as it listens."""

    port: IListeningPort
    file: int | None

    def startListening(self) -> None:
        self.port.startListening()

    def stopListening(self) -> Deferred[None] | None:
        if self.file is not None:
            os.ftruncate(self.file, 0)
            os.close(self.file)
            self.file = None
        return self.port.stopListening()

    def getHost(self) -> IAddress:
        return self.port.getHost()


@implementer(IStreamClientEndpoint)
@frozen
class _ClientEndpoint:
    reactor: Any
    uri: URI

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        try:
            with open(self.uri.path, encoding="ascii", errors="replace") as file:
                text = file.read(_LONGEST_ADDRESS)
        except OSError as exc:
            return fail(DialError(str(self.uri), str(exc.strerror)))
        if not text.endswith("\n"):
            return fail(DialError(str(self.uri), "nobody has written an address into the file"))
        try:
            address = URI.parse(text[:-1])
            if address.scheme != "tcp":
                raise address.refusal("that is not the address of a broker on TCP")
            endpoint = transport_for("tcp").client_endpoint(self.reactor, address)
        except InvalidURIError as exc:
            return fail(DialError(str(self.uri), f"the file says {exc}"))
        connecting: Deferred[IProtocol] = endpoint.connect(protocolFactory)
        return connecting.addErrback(self._failed)

    def _failed(self, failure: Failure) -> Failure:
        failure.trap(DialError)
        return Failure(DialError(str(self.uri), str(failure.value)))
