"""Laws of addresses: what is refused, and where one really is."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IListeningPort,
    IPushProducer,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.interfaces import ITransport as IConnection
from zope.interface import Interface
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from brokerproto.errors import InvalidURIError
from transports.conformance.ends import End
from transports.conformance.law import Law
from transports.conformance.meeting import Meeting
from transports.conformance.subject import Subject
from transports.interfaces import FRAMINGS, ITransport
from transports.profile import Profile
from transports.uri import URI

__all__ = ["LAWS"]

_UNKNOWN_OPTION = "option-that-nobody-knows"
_PORT = 1337
_STRANGE_HOST = {"host": "host"}
_STRANGE_PARTS: dict[str, Any] = {**_STRANGE_HOST, "port": _PORT, "path": "/path"}


def _provides(meeting: Meeting, interface: type[Interface], thing: object) -> None:
    try:
        verifyObject(interface, thing)
    except Invalid as exc:
        problem = " ".join(str(exc).split())
        raise meeting.broken(f"an object that provides {interface.__name__}", problem) from exc


async def _interfaces(meeting: Meeting) -> None:
    subject = meeting.subject
    transport, uri = subject.transport, subject.address
    _provides(meeting, ITransport, transport)
    meeting.expect(
        transport.scheme == uri.scheme, f"the scheme {uri.scheme!r}", repr(transport.scheme)
    )
    meeting.expect(
        transport.framing in FRAMINGS,
        f"a framing of {' or '.join(FRAMINGS)}",
        repr(transport.framing),
    )
    profile = getattr(transport, "profile", subject.profile)
    meeting.expect(isinstance(profile, Profile), "a Profile, if anything", type(profile).__name__)
    local = transport.is_local(uri)
    meeting.expect(isinstance(local, bool), "True or False of is_local", repr(local))
    _provides(meeting, IStreamServerEndpoint, transport.server_endpoint(subject.reactor, uri))
    listener = await meeting.listen()
    _provides(meeting, IListeningPort, listener.port)
    dialling = transport.client_endpoint(subject.reactor, listener.contact)
    _provides(meeting, IStreamClientEndpoint, dialling)
    for end in await meeting.connect(listener=listener):
        for interface in IConnection, IConsumer, IPushProducer:
            meeting.expect(
                interface.providedBy(end.transport),
                f"a connection that provides {interface.__name__}",
                type(end.transport).__name__,
            )


async def _listen_address(meeting: Meeting) -> None:
    listener = await meeting.listen()
    uri = listener.uri
    meeting.expect(isinstance(uri, URI), "a URI of listen_address", type(uri).__name__)
    asked = meeting.subject.address
    # What is opaque may have a port within, which only the scheme knows.
    unchanged = bool(asked.opaque) or (evolve(uri, port=0) if asked.port == 0 else uri) == asked
    meeting.expect(unchanged, f"{asked}, with nothing replaced but port 0", str(uri))
    for _ in range(2):
        near, far = await meeting.connect(listener=listener)
        await meeting.round_trips(1, near, far)


async def _port_0(meeting: Meeting) -> None:
    uri = evolve(meeting.subject.address, port=0)
    first, second = await meeting.listen(uri), await meeting.listen(uri)
    for listener in first, second:
        meeting.expect(bool(listener.uri.port), "the port that the system chose", f"{listener.uri}")
    meeting.expect(
        first.uri.port != second.uri.port, "two ports of two listeners", f"{first.uri} twice"
    )
    await meeting.connect(listener=first)
    await meeting.connect(listener=second)


def _whereabouts_of(near: End, far: End) -> dict[str, Any]:
    return {
        "getHost() of the dialling end": near.transport.getHost(),
        "getPeer() of the accepting end": far.transport.getPeer(),
        "getPeer() of the dialling end": near.transport.getPeer(),
        "getHost() of the accepting end": far.transport.getHost(),
    }


async def _whereabouts(meeting: Meeting) -> None:
    listener = await meeting.listen()
    found = _whereabouts_of(*await meeting.connect(listener=listener))
    found["getHost() of the listening port"] = listener.port.getHost()
    for what, address in found.items():
        meeting.expect(IAddress.providedBy(address), f"an IAddress of {what}", repr(address))
        meeting.expect(str(address).isprintable(), f"printable text of {what}", repr(str(address)))


async def _mirrored_whereabouts(meeting: Meeting) -> None:
    found = list(_whereabouts_of(*await meeting.connect()).items())
    for (one, address), (other, mirrored) in zip(found[::2], found[1::2], strict=True):
        meeting.expect(
            address == mirrored, f"{one} and {other} to be equal", f"{address!r} and {mirrored!r}"
        )


def _refuses(meeting: Meeting, **changes: Any) -> None:
    """Demand that both endpoints refuse the address with these changes."""
    subject = meeting.subject
    # Port 0 cannot be dialled, and would be refused for that.
    address = evolve(subject.address, port=_PORT) if subject.address.port == 0 else subject.address
    for name, uri in (
        ("client_endpoint", subject.contact(address)),
        ("server_endpoint", address),
    ):
        try:
            strange = evolve(uri, **changes)
        except InvalidURIError:
            continue  # no scheme can have such an address
        expected = f"InvalidURIError of {name} for {strange}"
        try:
            getattr(subject.transport, name)(meeting.reactor, strange)
        except InvalidURIError as exc:
            line = str(exc)
            meeting.expect(line.isprintable(), "one printable line that says it", repr(line))
            names = f"InvalidURIError of {name} that names {strange}"
            meeting.expect(exc.text == str(strange), names, exc.text)
        except Exception as exc:
            raise meeting.broken(expected, f"{type(exc).__name__}: {exc}") from exc
        else:
            raise meeting.broken(expected, "an endpoint")


async def _unknown_option(meeting: Meeting) -> None:
    options = {**meeting.subject.address.options, _UNKNOWN_OPTION: "1"}
    _refuses(meeting, options=options)


def _strange_parts(subject: Subject) -> list[dict[str, Any]]:
    """Give what may be put into an address that the scheme has no place for."""
    uri = subject.address
    own = {"host": bool(uri.host), "port": uri.port is not None, "path": uri.path not in ("", "/")}
    known = subject.profile.parts
    if known is None:
        known = [part for part, there in own.items() if there]
    strange = [{part: _STRANGE_PARTS[part]} for part in own if part not in known]
    if not uri.host:
        # An address with a port has a host.
        strange = [{**_STRANGE_HOST, **each} if "port" in each else each for each in strange]
    return [changes for changes in strange if _is_possible(uri, changes)]


def _is_possible(uri: URI, changes: dict[str, Any]) -> bool:
    try:
        evolve(uri, **changes)
    except InvalidURIError:
        return False
    return True


async def _unknown_part(meeting: Meeting) -> None:
    for changes in _strange_parts(meeting.subject):
        _refuses(meeting, **changes)


def _opaque(subject: Subject) -> str | None:
    return "an opaque address has neither parts nor options" if subject.address.opaque else None


LAWS = (
    Law(
        "interfaces",
        "the transport, its endpoints, ports and connections provide the interfaces",
        _interfaces,
    ),
    Law("listen-address", "listen_address gives the address that can be dialled", _listen_address),
    Law(
        "port-0",
        "on port 0 the system chooses, and listen_address says what",
        _port_0,
        lambda subject: "the address has no port" if subject.address.port is None else None,
    ),
    Law(
        "whereabouts",
        "getHost and getPeer give addresses that can be printed",
        _whereabouts,
    ),
    Law(
        "mirrored-whereabouts",
        "getHost of one end is getPeer of the other",
        _mirrored_whereabouts,
    ),
    Law(
        "unknown-option",
        "an option that the scheme does not know is refused with InvalidURIError",
        _unknown_option,
        _opaque,
    ),
    Law(
        "unknown-part",
        "a part that the scheme does not know is refused with InvalidURIError",
        _unknown_part,
        lambda subject: (
            _opaque(subject)
            or (None if _strange_parts(subject) else "its addresses can have no other part")
        ),
    ),
)
