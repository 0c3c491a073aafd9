"""``twisted:<endpoint string>``: whatever Twisted's endpoints can dial or serve.

The string is that of `twisted.internet.endpoints.clientFromString` or
``serverFromString``, which differ from each other; plugins that add kinds of
endpoints work too. It is kept as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import ConnectingCancelledError, NoProtocol
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
from transports.endpoint_string import DIALLED, LISTENED, LISTENED_FILE, EndpointString
from transports.interfaces import ITransport
from transports.profile import Profile
from transports.reasons import dial_reason, listen_reason
from transports.tcp import set_no_delay, socket_of
from transports.uri import URI

__all__ = ["TwistedTransport", "transport"]

_CALLABLE = re.compile(r"^[\w.]+\(\) ")
_NO_NUMBER = re.compile(r"invalid literal for int\(\) with base \d+: (.*)")

_NOT_OURS = (CancelledError, ConnectingCancelledError, NoProtocol)


@implementer(ITransport)
class TwistedTransport:
    """Streams by any of Twisted's endpoints."""

    scheme = "twisted"
    framing = "lines"
    profile = Profile(
        unreachable="twisted:tcp:255.255.255.255:1337",
        unlistenable="twisted:tcp:0:interface=192.0.2.1",
    )

    def client_endpoint(self, reactor: Any, uri: URI) -> IStreamClientEndpoint:
        """See `ITransport`."""
        string = _string_of(uri)
        _check_port(uri, string, DIALLED, least=1)
        return _ClientEndpoint(uri, _made(clientFromString, reactor, uri, uri.opaque))

    def server_endpoint(self, reactor: Any, uri: URI) -> IStreamServerEndpoint:
        """See `ITransport`; files that the string names are read at once."""
        string = _string_of(uri)
        if string.kind == "stdio":
            raise uri.refusal("standard input is one conversation, and nothing to listen on")
        _check_port(uri, string.innermost, LISTENED, least=0)
        text = uri.opaque + _lock_forbidden(uri, string.innermost)
        return _ServerEndpoint(uri, _made(serverFromString, reactor, uri, text))

    def is_local(self, uri: URI) -> bool:
        """See `ITransport`: what is certain.

        That is a UNIX socket, also one of systemd's, and an interface that is a
        loopback address. Who stands behind a proxy is not known, nor is what a
        plugin does.
        """
        try:
            string = _string_of(uri)
        except InvalidURIError:
            return False
        if string.kind == "systemd":
            return string.get("domain", ("domain", "index", "name")) == "UNIX"
        if string.kind in LISTENED:
            return _is_loopback(string.get("interface", LISTENED[string.kind]))
        return string.kind == "unix"

    def listen_address(self, uri: URI, port: IListeningPort) -> URI:
        """See `ITransport`; it is still an address to listen on, not one to dial."""
        number = getattr(port.getHost(), "port", None)
        return evolve(uri, opaque=_with_port(uri.opaque, number)) if number else uri


transport = TwistedTransport()


def _string_of(uri: URI) -> EndpointString:
    if not uri.opaque:
        raise uri.refusal("no slashes follow the colon, as in twisted:tcp:1337")
    try:
        return EndpointString.parse(uri.opaque)
    except ValueError as exc:
        raise uri.refusal(str(exc)) from None


def _check_port(
    uri: URI, string: EndpointString, orders: Mapping[str, Sequence[str]], least: int
) -> None:
    """Refuse a port that Twisted would find out too late."""
    text = string.get("port", orders[string.kind]) if string.kind in orders else None
    # What is no number at all, Twisted refuses itself.
    if text and text.lstrip("-").isdecimal() and not least <= int(text) <= 65535:
        raise uri.refusal(f"the port is not within {least} to 65535")


def _lock_forbidden(uri: URI, string: EndpointString) -> str:
    """Give what keeps Twisted from making a lock file beside a UNIX socket.

    The lock names the process that listens. twistd may fork after that, and then the
    next broker would take the living one's socket away.
    """
    if string.kind != "unix":
        return ""
    wanted = string.get("lockfile", LISTENED_FILE)
    if wanted not in (None, "0"):
        raise uri.refusal("a lock file would name a process that may be gone: lockfile=0 alone")
    return ":lockfile=0" if wanted is None else ""


def _made(maker: Callable[..., Any], reactor: Any, uri: URI, text: str) -> Any:
    try:
        return maker(reactor, text)
    except Exception as exc:  # what parses it may be anybody's, and raises what it likes
        problem = _problem(exc, EndpointString.parse(text))
        raise uri.refusal(f"Twisted refuses it: {problem}") from exc


def _problem(error: Exception, string: EndpointString) -> str:
    """Say in one line what an endpoint's parser did not like."""
    text = " ".join(str(error).split())
    system: object = getattr(error, "originalException", error)  # of Twisted's FilePath
    if isinstance(system, OSError) and system.strerror:
        return f"{system.strerror}: {system.filename}"
    if isinstance(error, ImportError):
        return f"it needs a package that is not installed: {text}"
    if isinstance(error, LookupError) and string.kind == "systemd":
        return "systemd has given this process no such socket"
    if number := _NO_NUMBER.fullmatch(text):
        return f"{number[1]} is not a whole number"
    return _CALLABLE.sub("", text) or type(error).__name__


def _is_loopback(interface: str | None) -> bool:
    try:
        return URI("tcp", interface or "").is_loopback
    except InvalidURIError:
        return False


def _with_port(text: str, number: int) -> str:
    string = EndpointString.parse(text).innermost
    prefix = text.removesuffix(str(string))
    return prefix + string.replaced("port", LISTENED.get(string.kind, ()), str(number))


@implementer(IStreamServerEndpoint)
@frozen
class _ServerEndpoint:
    uri: URI
    endpoint: IStreamServerEndpoint

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; whether that is done when this returns is the endpoint's affair."""
        listening: Deferred[IListeningPort]
        try:
            listening = self.endpoint.listen(protocolFactory)
        except Exception:
            listening = fail()
        return listening.addCallbacks(self._listening, self._refused)

    def _listening(self, port: Any) -> IListeningPort:
        set_no_delay(getattr(port, "socket", None))
        listening: IListeningPort = port
        return listening

    def _refused(self, failure: Failure) -> Failure:
        if failure.check(CancelledError):
            return failure
        return Failure(ListenError(str(self.uri), listen_reason(failure.value)))


@implementer(IProtocolFactory)
@define(eq=False)
class _Asked:
    """Passes a factory on; what it raised is its owner's to see, as it is."""

    _factory: IProtocolFactory
    raised: Exception | None = field(init=False, default=None)

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        try:
            return self._factory.buildProtocol(addr)
        except Exception as exc:
            self.raised = exc
            raise

    def doStart(self) -> None:
        """See `IProtocolFactory`."""
        self._factory.doStart()

    def doStop(self) -> None:
        """See `IProtocolFactory`."""
        self._factory.doStop()


@implementer(IStreamClientEndpoint)
@frozen
class _ClientEndpoint:
    uri: URI
    endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        asked = _Asked(protocolFactory)
        connecting: Deferred[IProtocol]
        try:
            connecting = self.endpoint.connect(asked)
        except Exception:
            connecting = fail()
        return connecting.addCallbacks(self._connected, self._failed, errbackArgs=(asked,))

    def _connected(self, protocol: IProtocol) -> IProtocol:
        set_no_delay(socket_of(getattr(protocol, "transport", None)))
        return protocol

    def _failed(self, failure: Failure, asked: _Asked) -> Failure:
        if failure.check(*_NOT_OURS) or failure.value is asked.raised:
            return failure
        return Failure(DialError(str(self.uri), dial_reason(failure.value)))
