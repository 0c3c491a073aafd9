"""One law's listener and connections: made, waited for, and cleared away."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.python.failure import Failure

from transports.conformance.ends import Diary, End, Ends, Source
from transports.conformance.subject import LawBrokenError, Subject
from transports.uri import URI

__all__ = ["Listener", "Meeting"]

# A machine may stand still for longer than a law has. Such a time costs a law no more
# than this, for others than the reactor, such as threads, have yet to go on after it.
_LONGEST_WAIT = 1.0

# What has come meanwhile still counts.
_TURNS_OF_GRACE = 200

# What a law left open is aborted; a transport that cannot do it is not waited for.
_CLEARING_SECONDS = 5.0

_SHOWN = 24


@define(eq=False)
class Listener:
    """Where connections are accepted.

    Attributes:
        port: What listens.
        uri: What ``listen_address`` gave.
        contact: The address to dial.
        ends: The accepted ends.
    """

    port: IListeningPort
    uri: URI
    contact: URI
    ends: Ends


@define(eq=False)
class Meeting:
    """What a law works with: it listens, dials, waits, and says what is wrong.

    Every method raises `LawBrokenError` where something does not come in time.

    Args:
        law: The law's name.
        sentence: What it says.
        subject: What is examined.
        timeout: Seconds for the whole law.
    """

    law: str
    sentence: str
    subject: Subject
    timeout: float
    diary: Diary = field(init=False)
    _deadline: float = field(init=False)
    _waiting: Deferred[None] | None = field(init=False, default=None)
    _waking: IDelayedCall | None = field(init=False, default=None)
    _factories: list[Ends] = field(init=False, factory=list)
    _ports: list[IListeningPort] = field(init=False, factory=list)
    _sources: list[Source] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self.diary = Diary(self._notice)
        self._deadline = self.reactor.seconds() + self.timeout

    @property
    def reactor(self) -> Any:
        """The reactor of the subject."""
        return self.subject.reactor

    def broken(self, expected: str, came: str, offset: int | None = None) -> LawBrokenError:
        """Make the error that says how the law is broken."""
        came = " ".join(came.splitlines())
        return LawBrokenError(self.law, self.sentence, expected, came, offset)

    def expect(self, fact: bool, expected: str, came: str) -> None:
        """Raise `LawBrokenError`, unless `fact`."""
        if not fact:
            raise self.broken(expected, came)

    def ends(self, name: str, kind: type[End] = End) -> Ends:
        """Make the factory of one side, whose ends are closed with the meeting."""
        factory = Ends(self.diary, kind, name)
        self._factories.append(factory)
        return factory

    def source(self, end: End, enough: int) -> Source:
        """Make a producer that writes to `end` until the meeting is closed."""
        self._sources.append(Source(self.reactor, end, enough))
        return self._sources[-1]

    async def listen(self, uri: URI | None = None, kind: type[End] = End) -> Listener:
        """Listen, by default on the subject's address."""
        uri = self.subject.address if uri is None else uri
        ends = self.ends("the accepting end", kind)
        port = await self.success(f"to listen on {uri}", lambda: self.start_listening(uri, ends))
        listening = self.subject.transport.listen_address(uri, port)
        return Listener(port, listening, self.subject.contact(listening), ends)

    def start_listening(self, uri: URI, ends: Ends) -> Deferred[IListeningPort]:
        """Listen on `uri`; what comes of it is stopped with the meeting."""
        endpoint = self.subject.transport.server_endpoint(self.reactor, uri)
        listening: Deferred[IListeningPort] = endpoint.listen(ends)

        def keep(port: IListeningPort) -> IListeningPort:
            self._ports.append(port)
            return port

        return listening.addCallback(keep)

    def start_dialling(self, uri: URI, ends: Ends) -> Deferred[Any]:
        """Dial `uri`; what comes of it is closed with the meeting."""
        return self.subject.transport.client_endpoint(self.reactor, uri).connect(ends)

    async def dial(self, listener: Listener, kind: type[End] = End) -> End:
        """Dial; return the dialling end once it is connected."""
        uri = listener.contact
        ends = self.ends("the dialling end", kind)
        came = await self.success(f"to connect to {uri}", lambda: self.start_dialling(uri, ends))
        self.expect(
            came in ends.made and came.story[:1] == ["connectionMade"],
            "connect() to give the factory's own protocol, connected",
            f"{type(came).__name__}, {_in_words(getattr(came, 'story', []))}",
        )
        end: End = came
        return end

    async def connect(
        self, near: type[End] = End, far: type[End] = End, listener: Listener | None = None
    ) -> tuple[End, End]:
        """Connect two ends.

        Args:
            near: Kind of the dialling one.
            far: Kind of the accepting one; unused where `listener` is given.
            listener: Where to dial; by default a new one.
        """
        listener = await self.listen(kind=far) if listener is None else listener
        before = len(listener.ends.connected)
        dialling = await self.dial(listener, near)
        await self.until(
            "the listener's factory to be given the connection",
            lambda: len(listener.ends.connected) > before,
        )
        return dialling, listener.ends.connected[-1]

    async def receive(self, end: End, sent: bytes) -> None:
        """Wait until all that was sent to `end` has come, and nothing else."""
        checked = 0
        expected = f"{end.name} to receive {len(sent)} bytes"

        def all_came() -> bool:
            nonlocal checked
            came = end.received
            if came[checked:] != sent[checked : len(came)]:
                raise self._wrong_bytes(end, sent)
            checked = len(came)
            if checked < len(sent) and end.is_lost:
                raise self.broken(expected, f"{checked} bytes, then connectionLost", checked)
            return checked == len(sent)

        await self.until(
            expected,
            all_came,
            lambda: f"{len(end.received)} bytes",
            lambda: len(end.received),
        )

    async def lost(self, *ends: End) -> None:
        """Wait until all these were told connectionLost."""
        for end in ends:
            await self.told(end, "connectionLost")

    async def told(self, end: End, callback: str) -> None:
        """Wait until an end was told this, which is so only before it is lost."""
        await self.until(
            f"{end.name} to be told {callback}",
            lambda: callback in end.story or end.is_lost,
            lambda: _in_words(end.story),
        )
        self.expect(
            callback in end.story, f"{end.name} to be told {callback}", _in_words(end.story)
        )

    async def round_trips(self, count: int, near: End, far: End) -> None:
        """Let so many words go there and back, for what would come meanwhile."""
        for _ in range(count):
            for source, target in (near, far), (far, near):
                sent = bytes(target.received) + b"word"
                source.write(b"word")
                await self.receive(target, sent)

    async def outcome(self, what: str, start: Callable[[], Deferred[Any]]) -> Any:
        """Wait for what a Deferred gives, which may be a Failure.

        Args:
            what: As in `until`.
            start: Called at once; it must return the Deferred, not raise.
        """
        try:
            waiting = start()
        except Exception as exc:
            raise self.broken(what, f"{_told(exc)}, raised at once") from exc
        results: list[Any] = []

        def keep(result: Any) -> None:
            results.append(result)
            self._notice()

        waiting.addBoth(keep)
        try:
            await self.until(what, lambda: bool(results))
        finally:
            if not results:
                waiting.cancel()
        return results[0]

    async def success(self, what: str, start: Callable[[], Deferred[Any]]) -> Any:
        """Wait for what a Deferred gives, which must not be a Failure; see `outcome`."""
        came = await self.outcome(what, start)
        if isinstance(came, Failure):
            raise self.broken(what, _told(came.value)) from came.value
        return came

    async def until(
        self,
        what: str,
        happened: Callable[[], bool],
        so_far: Callable[[], str] = str,
        offset: Callable[[], int | None] = lambda: None,
    ) -> None:
        """Wait until something has happened.

        Args:
            what: What is awaited, for the failure.
            happened: Tells whether it has; asked again after each event of any end.
            so_far: Says what has come until now, if anything.
            offset: Says at which byte.
        """
        turns_left = _TURNS_OF_GRACE
        while not happened():
            seconds = self._deadline - self.reactor.seconds()
            if seconds <= 0:
                turns_left -= 1
            if turns_left < 0:
                came = f"{so_far()}, and nothing more" if so_far() else "nothing"
                raise self.broken(what, f"{came} within {self.timeout:g} s", offset())
            await self._event_or(max(0.0, seconds))

    async def turns(self, count: int = 10) -> None:
        """Let the reactor turn, for what would come in a later turn."""
        for _ in range(count):
            turned: Deferred[None] = Deferred()
            self.reactor.callLater(0, turned.callback, None)
            await turned

    async def close(self) -> None:
        """Stop listening, and abort what is still connected."""
        self._deadline = self.reactor.seconds() + min(_CLEARING_SECONDS, self.timeout)
        for source in self._sources:
            source.close()
        stopping = []
        for port in self._ports:
            try:
                stopping.append(port.stopListening())
            except Exception:  # noqa: S112 - a law of its own looks at this
                continue
        for end in self._open_ends():
            _abort(end)
        stopped: list[Any] = []
        for waiting in stopping:
            if isinstance(waiting, Deferred):
                waiting.addBoth(stopped.append).addBoth(lambda _: self._notice())
            else:
                stopped.append(waiting)
        with suppress(LawBrokenError):  # likewise
            await self.until(
                "the end of all", lambda: not self._open_ends() and len(stopped) == len(stopping)
            )

    def _open_ends(self) -> list[End]:
        return [end for factory in self._factories for end in factory.connected if not end.is_lost]

    def _wrong_bytes(self, end: End, sent: bytes) -> LawBrokenError:
        came = end.received
        offset = next(
            (at for at, pair in enumerate(zip(sent, came, strict=False)) if pair[0] != pair[1]),
            len(sent),
        )
        expected = sent[offset : offset + _SHOWN]
        return self.broken(
            f"{end.name} to receive {expected!r}" if expected else "nothing after the last byte",
            repr(bytes(came[offset : offset + _SHOWN])),
            offset,
        )

    def _notice(self) -> None:
        # In a later turn: a law must not go on from within a transport's callback.
        if self._waiting is not None and self._waking is None:
            self._waking = self.reactor.callLater(0, self._waiting.callback, None)

    async def _event_or(self, seconds: float) -> None:
        seconds = min(seconds, _LONGEST_WAIT)
        waiting = self._waiting = Deferred()
        timer = self.reactor.callLater(seconds, waiting.callback, None)
        begun = self.reactor.seconds()
        try:
            await waiting
        finally:
            self._deadline += max(0.0, self.reactor.seconds() - begun - seconds)
            for call in timer, self._waking:
                if call is not None and call.active():
                    call.cancel()
            self._waiting = self._waking = None


def _abort(end: End) -> None:
    try:
        end.transport.abortConnection()
    except Exception:  # a law of its own looks at this
        with suppress(Exception):
            end.transport.loseConnection()


def _told(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}"


def _in_words(story: list[str]) -> str:
    return ", ".join(story) or "nothing"
