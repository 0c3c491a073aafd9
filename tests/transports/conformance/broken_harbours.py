"""Transports with one fault each; those of connections are in `broken_lines`."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from zope.interface import classImplementsOnly

from brokerproto.errors import DialError, ListenError
from tests.transports.conformance.harbour import (
    NOWHERE,
    Dialling,
    Harbour,
    Listening,
    Numbered,
    inner_name,
)
from transports import URI, InvalidURIError
from transports.inproc import InprocAddress

NOBODY = Factory.forProtocol(Protocol)
NOBODY.noisy = False


class OfNoFraming(Harbour):
    framing = "lines "


class OfStrangeProfile(Harbour):
    """Has something else by that name."""

    profile: Any = "half-close"


class LocalSomehow(Harbour):
    def is_local(self, uri: URI) -> Any:
        return "yes"


class OfAnotherScheme(Harbour):
    scheme = "haven"


class Plain(Listening):
    """Does not say that it is an endpoint."""


classImplementsOnly(Plain)


class GivesNoEndpoint(Harbour):
    def server_endpoint(self, reactor: Any, uri: URI) -> Any:
        self.check(uri)
        return Plain(self, reactor, uri)


class GivesAnotherProtocol(Harbour):
    """Gives its own protocol, not the factory's."""

    def dial(self, reactor: Any, uri: URI, factory: Any) -> Any:
        dialling: Deferred[Any] = super().dial(reactor, uri, factory)
        return dialling.addCallback(lambda inner: inner.transport)


class IsNowhere(Harbour):
    """Listens at an address that is none."""

    def numbered(self, port: Any, number: int) -> Any:
        port = super().numbered(port, number)
        port.getHost = lambda: ("name", number)
        return port


class IsSomewhere(Harbour):
    """Listens at an address that breaks a line."""

    def numbered(self, port: Any, number: int) -> Any:
        port = super().numbered(port, number)
        port.getHost = lambda: InprocAddress("na\nme")
        return port


class Capitals(Harbour):
    def listen_address(self, uri: URI, port: Any) -> URI:
        return evolve(super().listen_address(uri, port), host=uri.host.upper())


class TellsText(Harbour):
    def listen_address(self, uri: URI, port: Any) -> Any:
        return f"harbour://name:{port.number}"


class SharesItsPort(Harbour):
    """Tells the same number of every port that it chose."""

    def numbered(self, port: Any, number: int) -> Any:
        return Numbered(port, 1)


class KeepsPort0(Harbour):
    """Leaves port 0 in the address, and dials whoever listened last."""

    def client_endpoint(self, reactor: Any, uri: URI) -> Any:
        self.check(uri)
        return Dialling(self, reactor, uri)

    def dial(self, reactor: Any, uri: URI, factory: Any) -> Any:
        connecting = super().dial(reactor, evolve(uri, port=uri.port or self.last_port), factory)

        def failed(failure: Any) -> Any:
            failure.trap(DialError)
            return self.dial_failed(uri, failure)

        return connecting.addErrback(failed)

    def listen_address(self, uri: URI, port: Any) -> URI:
        return uri


class TakesAnyOption(Harbour):
    def check(self, uri: URI) -> None:
        uri.check_parts(port=True, path=False)


class TakesAnyOptionToListen(Harbour):
    def server_endpoint(self, reactor: Any, uri: URI) -> Any:
        return super().server_endpoint(reactor, evolve(uri, options={}))


class RaisesAtOptions(Harbour):
    def check(self, uri: URI) -> None:
        uri.check_parts(port=True, path=False)
        if uri.options:
            raise KeyError(*uri.options)


class TakesAnyPath(Harbour):
    def check(self, uri: URI) -> None:
        uri.check_options({})


class RefusesInTwoLines(Harbour):
    def check(self, uri: URI) -> None:
        uri.check_options({})
        if uri.path:
            raise InvalidURIError(str(uri), "it has\na path")


class DialsUnasked(Harbour):
    """Dials in a later turn, if connect() was not called until then."""

    def client_endpoint(self, reactor: Any, uri: URI) -> Any:
        self.check(uri)
        dialled: list[Any] = []
        harbour = self

        class Eager(Dialling):
            def connect(self, protocolFactory: Any) -> Any:
                dialled.append(protocolFactory)
                return super().connect(protocolFactory)

        def dial() -> None:
            if not dialled:
                harbour.dial(reactor, uri, NOBODY).addErrback(lambda failure: None)

        reactor.callLater(0, dial)
        return Eager(self, reactor, uri)


class ListensUnasked(Harbour):
    """Listens in a later turn, if listen() was not called until then."""

    def server_endpoint(self, reactor: Any, uri: URI) -> Any:
        self.check(uri)
        listened: list[Any] = []
        harbour = self

        class Eager(Listening):
            def listen(self, protocolFactory: Any) -> Any:
                listened.append(protocolFactory)
                return super().listen(protocolFactory)

        def listen() -> None:
            if not listened:
                harbour.listen(reactor, uri, NOBODY).addErrback(lambda failure: None)

        reactor.callLater(0, listen)
        return Eager(self, reactor, uri)


class FailsToDial(Harbour):
    """Makes an error of its own where nobody listens."""

    def dial_failed(self, uri: URI, failure: Any) -> Any:
        sound = super().dial_failed(uri, failure)
        if uri.host == NOWHERE:
            return sound
        raise self.error(uri)

    def error(self, uri: URI) -> Exception:
        return ConnectionRefusedError(111, "Connection refused")


class NamesAnotherAddress(FailsToDial):
    def error(self, uri: URI) -> Exception:
        return DialError(str(inner_name(uri)), "nobody is there")


class FailsInTwoLines(FailsToDial):
    def error(self, uri: URI) -> Exception:
        return DialError(str(uri), "nobody\nis there")


class MayBeRetriable(FailsToDial):
    def error(self, uri: URI) -> Exception:
        retriable: Any = "maybe"
        return DialError(str(uri), "nobody is there", retriable=retriable)


class CannotReach(Harbour):
    """Makes an untyped error of what cannot be reached."""

    def dial_failed(self, uri: URI, failure: Any) -> Any:
        if uri.host == NOWHERE:
            raise TimeoutError("timed out")
        return super().dial_failed(uri, failure)


class ReachesNowhere(Harbour):
    """Connects to somebody else what cannot be reached."""

    def dial(self, reactor: Any, uri: URI, factory: Any) -> Any:
        if uri.host != NOWHERE:
            return super().dial(reactor, uri, factory)
        there = evolve(uri, host="somewhere")
        self.listen(reactor, there, NOBODY)
        return super().dial(reactor, there, factory)


class UntypedInUse(Harbour):
    def in_use(self, uri: URI, failure: Any) -> Any:
        raise OSError(98, "Address already in use")


class Usurps(Harbour):
    """Listens beside whoever listens."""

    def in_use(self, uri: URI, failure: Any) -> Any:
        return self.listen(self.clock, evolve(uri, port=4711), NOBODY)


class Disturbs(Harbour):
    """Ends the connections of whoever listens."""

    def in_use(self, uri: URI, failure: Any) -> Any:
        for line in self.lines:
            line.abortConnection()
        return super().in_use(uri, failure)


class UntypedUnlistenable(Harbour):
    def unlistenable(self, uri: URI) -> Exception:
        return OSError(99, "Cannot assign requested address")


class RaisesToListen(Harbour):
    def unlistenable(self, uri: URI) -> Exception:
        raise ListenError(str(uri), "nobody can listen there")


class DialsOn(Harbour):
    """Connects though the dial was cancelled."""

    def dial(self, reactor: Any, uri: URI, factory: Any) -> Any:
        outer: Deferred[Any] = Deferred()
        super().dial(reactor, uri, factory).chainDeferred(outer)
        return outer


class CancelledSomehow(Harbour):
    """Makes a failure to dial of a cancellation."""

    def dial(self, reactor: Any, uri: URI, factory: Any) -> Any:
        dialling = super().dial(reactor, uri, factory)
        return dialling.addErrback(lambda _: self.dial_error(uri))

    def dial_error(self, uri: URI) -> Any:
        raise DialError(str(uri), "cancelled")


class StopsConnections(Harbour):
    """Ends its connections when it stops listening."""

    def numbered(self, port: Any, number: int) -> Any:
        harbour = self

        class Stopping(Numbered):
            def stopListening(self) -> Any:
                for line in harbour.lines:
                    line.loseConnection()
                return super().stopListening()

        return Stopping(port, number)


class StaysInUse(Harbour):
    """Never listens twice on one port."""

    def __init__(self) -> None:
        super().__init__()
        self.used: set[int] = set()

    def listen(self, reactor: Any, uri: URI, factory: Any) -> Any:
        if uri.port in self.used:
            return Deferred.fromCoroutine(self.still_in_use(uri))
        return super().listen(reactor, uri, factory)

    async def still_in_use(self, uri: URI) -> Any:
        raise ListenError(str(uri), "in use")

    def numbered(self, port: Any, number: int) -> Any:
        self.used.add(number)
        return super().numbered(port, number)


class NeverStops(Harbour):
    """Does not tell that it has stopped to listen."""

    def numbered(self, port: Any, number: int) -> Any:
        class Stopping(Numbered):
            def stopListening(self) -> Any:
                super().stopListening()
                return Deferred()

        return Stopping(port, number)
