"""Laws of dialling and listening: how it fails, and how it is given up."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectingCancelledError
from twisted.python.failure import Failure

from brokerproto.errors import DialError, ListenError
from transports.conformance.ends import echo
from transports.conformance.law import Law
from transports.conformance.meeting import Listener, Meeting
from transports.uri import URI

__all__ = ["LAWS"]

_CANCELLED = (CancelledError, ConnectingCancelledError)


def _expect_error(
    meeting: Meeting, came: Any, kind: type[DialError | ListenError], uri: URI, what: str
) -> None:
    """Demand a typed error that tells of this address in one line."""
    name = kind.__name__
    expected = f"{name} for {what}"
    if not isinstance(came, Failure):
        raise meeting.broken(expected, "success")
    error = came.value
    if not isinstance(error, kind):
        raise meeting.broken(expected, f"{type(error).__name__}: {error}") from error
    meeting.expect(error.address == str(uri), f"{name} that names {uri}", error.address)
    line = str(error)
    meeting.expect(line.isprintable(), f"{name} in one printable line", repr(line))


async def _dial_in_vain(meeting: Meeting, uri: URI, what: str) -> Any:
    """Dial, and give the Failure that comes of it."""
    ends = meeting.ends("the dialling end")
    came = await meeting.outcome(
        f"the outcome of dialling {uri}", lambda: meeting.start_dialling(uri, ends)
    )
    meeting.expect(
        isinstance(came, Failure) and not ends.connected,
        f"a failure to dial {what}",
        "a connection",
    )
    return came


async def _dial_error(meeting: Meeting, uri: URI, what: str) -> None:
    came = await _dial_in_vain(meeting, uri, what)
    _expect_error(meeting, came, DialError, uri, what)
    retriable = came.value.retriable
    meeting.expect(isinstance(retriable, bool), "True or False of retriable", repr(retriable))


async def _listen_in_vain(meeting: Meeting, uri: URI, what: str) -> None:
    ends = meeting.ends("the accepting end")
    came = await meeting.outcome(
        f"the outcome of listening on {uri}", lambda: meeting.start_listening(uri, ends)
    )
    _expect_error(meeting, came, ListenError, uri, what)


async def _stop(meeting: Meeting, listener: Listener) -> None:
    waiting: Any = listener.port.stopListening()
    # IListeningPort allows None where there is nothing to wait for.
    if waiting is not None:
        await meeting.success("stopListening to be done", lambda: waiting)


async def _refused(meeting: Meeting) -> None:
    listener = await meeting.listen()
    await _stop(meeting, listener)
    await _dial_error(meeting, listener.contact, "an address where nobody listens")


async def _unreachable(meeting: Meeting) -> None:
    uri = URI.parse(meeting.subject.profile.unreachable)
    await _dial_error(meeting, uri, "an address that nobody can reach")


async def _unlistenable(meeting: Meeting) -> None:
    uri = URI.parse(meeting.subject.profile.unlistenable)
    await _listen_in_vain(meeting, uri, "an address that nobody can listen on")


async def _in_use(meeting: Meeting) -> None:
    """Who listens may be asked by a connection of the second whether he is alive."""
    listener = await meeting.listen()
    near, far = await meeting.connect(listener=listener)
    await _listen_in_vain(meeting, listener.uri, "an address that somebody listens on")
    await meeting.round_trips(1, near, far)
    listener.ends.on_end = echo
    another = await meeting.dial(listener)
    another.write(b"still there?")
    await meeting.receive(another, b"still there?")


async def _lazy_endpoint(meeting: Meeting) -> None:
    transport = meeting.subject.transport
    listener = await meeting.listen()
    transport.client_endpoint(meeting.reactor, listener.contact)
    near, far = await meeting.connect(listener=listener)
    await meeting.round_trips(1, near, far)
    count = len(listener.ends.connected)
    meeting.expect(count == 1, "no connection before connect() is called", f"{count - 1}")
    await _stop(meeting, listener)
    transport.server_endpoint(meeting.reactor, listener.uri)
    await meeting.turns()
    await _dial_in_vain(meeting, listener.contact, "an address where listen() was not called")


async def _cancelled_dial(meeting: Meeting) -> None:
    listener = await meeting.listen()
    ends = meeting.ends("the dialling end")

    def start_and_cancel() -> Any:
        waiting = meeting.start_dialling(listener.contact, ends)
        waiting.cancel()
        return waiting

    came = await meeting.outcome("the outcome of a dial that is cancelled", start_and_cancel)
    meeting.expect(
        isinstance(came, Failure) and came.check(*_CANCELLED) is not None,
        "CancelledError or ConnectingCancelledError",
        repr(came.value if isinstance(came, Failure) else came),
    )
    listener.ends.on_end = echo
    another = await meeting.dial(listener)
    another.write(b"still there?")
    await meeting.receive(another, b"still there?")
    meeting.expect(not ends.connected, "no connection of a dial that was cancelled", "one")
    await meeting.until(
        "what the listener made of a cancelled dial to be told connectionLost",
        lambda: sum(not end.is_lost for end in listener.ends.connected) == 1,
    )


async def _stopped_listening(meeting: Meeting) -> None:
    listener = await meeting.listen()
    near, far = await meeting.connect(listener=listener)
    await meeting.round_trips(1, near, far)
    await _stop(meeting, listener)
    await _dial_in_vain(meeting, listener.contact, "an address that is listened on no more")
    await meeting.round_trips(1, near, far)
    again = await meeting.listen(listener.uri)
    await meeting.connect(listener=again)


def _unless_named(address: str) -> str | None:
    return None if address else "the profile names no such address"


LAWS = (
    Law(
        "lazy-endpoint",
        "an endpoint does nothing before connect() or listen() is called",
        _lazy_endpoint,
    ),
    Law("refused", "dialling where nobody listens is a DialError", _refused),
    Law(
        "unreachable",
        "dialling what cannot be reached is a DialError",
        _unreachable,
        lambda subject: _unless_named(subject.profile.unreachable),
    ),
    Law("in-use", "listening where somebody listens is a ListenError, and harms nobody", _in_use),
    Law(
        "unlistenable",
        "listening where it cannot be is a ListenError",
        _unlistenable,
        lambda subject: _unless_named(subject.profile.unlistenable),
    ),
    Law("cancelled-dial", "a dial that is cancelled leaves no connection", _cancelled_dial),
    Law(
        "stopped-listening",
        "stopListening frees the address, and leaves the connections alone",
        _stopped_listening,
    ),
)
