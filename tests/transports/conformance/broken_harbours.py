"""Transports that do not dial or listen as they should, with one fault each."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from brokerproto.errors import DialError, ListenError
from tests.transports.conformance.harbour import (
    NOWHERE,
    Dialling,
    Harbour,
    Listening,
    Numbered,
    inner_name,
)
from transports import URI

NOBODY = Factory.forProtocol(Protocol)
NOBODY.noisy = False


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


class ConnectsInVain(Harbour):
    """Connects the protocol to nothing before it fails."""

    def dial(self, reactor: Any, uri: URI, factory: Any) -> Any:
        def connect(failure: Any) -> Any:
            failure.trap(DialError)
            if uri.host != NOWHERE:
                protocol = factory.buildProtocol(None)
                protocol.makeConnection(None)
                protocol.connectionLost(failure)
            return failure

        return super().dial(reactor, uri, factory).addErrback(connect)


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


class GivesWay(Harbour):
    """Stops listening when another one wants to, who does not get it either."""

    def __init__(self) -> None:
        super().__init__()
        self.ports: list[Any] = []

    def numbered(self, port: Any, number: int) -> Any:
        self.ports.append(port)
        return super().numbered(port, number)

    def in_use(self, uri: URI, failure: Any) -> Any:
        for port in self.ports:
            port.stopListening()
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


class ForgetsWhomItCalled(Harbour):
    """Leaves the accepting end alone with a connection that was cancelled."""

    def dial(self, reactor: Any, uri: URI, factory: Any) -> Any:
        dialling = super().dial(reactor, uri, factory)
        outer: Deferred[Any] = Deferred(lambda _: self.dial_again(dialling, reactor, uri))
        dialling.chainDeferred(outer)
        return outer

    def dial_again(self, dialling: Any, reactor: Any, uri: URI) -> None:
        dialling.addErrback(lambda failure: None).cancel()
        super().dial(reactor, uri, NOBODY)


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
