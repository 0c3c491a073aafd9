"""Transports that are wrong about addresses or interfaces, with one fault each."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from zope.interface import classImplementsOnly

from brokerproto.errors import DialError
from tests.transports.conformance.harbour import (
    Dialling,
    Harbour,
    Listening,
    Numbered,
)
from transports import URI, InvalidURIError
from transports.inproc import InprocAddress


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


class IsNoTransport(Harbour):
    """Does not say that it is a transport."""


classImplementsOnly(IsNoTransport)


class PlainDialling(Dialling):
    """Does not say that it is an endpoint."""


classImplementsOnly(PlainDialling)


class GivesNoEndpointToDial(Harbour):
    def client_endpoint(self, reactor: Any, uri: URI) -> Any:
        super().client_endpoint(reactor, uri)
        return PlainDialling(self, reactor, uri)


class PlainPort(Numbered):
    """Does not say that it is a port."""


classImplementsOnly(PlainPort)


class GivesNoPort(Harbour):
    def numbered(self, port: Any, number: int) -> Any:
        return PlainPort(port, number)


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


class RefusesUnderAnotherName(Harbour):
    def check(self, uri: URI) -> None:
        uri.check_options({})
        evolve(uri, scheme="inner").check_parts(port=True, path=False)
