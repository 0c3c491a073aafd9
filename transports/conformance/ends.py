"""Both ends of a connection, as protocols that write down what happens to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["PART", "Diary", "End", "Ends", "HalfEnd", "Source", "echo", "pattern"]

_CYCLE = b"".join(b"%07x " % offset for offset in range(0, 1 << 20, 8))
PART = 64 * 1024
"""Bytes of one write of a `Source`."""


def pattern(length: int) -> bytes:
    """Make bytes that tell where they belong: each eight name their own offset."""
    return (_CYCLE * (length // len(_CYCLE) + 1))[:length]


@define(eq=False)
class Diary:
    """What the ends of one law share.

    Attributes:
        notice: Called whenever something has happened.
        calls: The methods of transports that are running now, the innermost last.
        reentered: The callbacks that came from within such a method, in words.
    """

    notice: Callable[[], None]
    calls: list[str] = field(factory=list)
    reentered: list[str] = field(factory=list)

    @contextmanager
    def calling(self, method: str) -> Iterator[None]:
        """Remember that a method of a transport runs."""
        self.calls.append(method)
        try:
            yield
        finally:
            self.calls.pop()


class End(Protocol):
    """One end; it drops a connection of which its peer has ended one half.

    Attributes:
        received: All bytes that came.
        story: The callbacks, in order, ``dataReceived`` once for any number in a row.
        reason: With what ``connectionLost`` came; None before.
        on_made: Called from within ``connectionMade``.
        on_data: Called from within ``dataReceived``.
    """

    transport: Any
    name = "the end"

    def __init__(self, diary: Diary) -> None:
        self.diary = diary
        self.received = bytearray()
        self.story: list[str] = []
        self.reason: Failure | None = None
        self.on_made: Callable[[], None] = lambda: None
        self.on_data: Callable[[bytes], None] = lambda _: None

    @property
    def is_lost(self) -> bool:
        """Whether ``connectionLost`` came."""
        return self.reason is not None

    def call(self, method: str, *arguments: Any) -> None:
        """Call a method of the transport, so that a callback from within it is seen."""
        with self.diary.calling(method):
            getattr(self.transport, method)(*arguments)

    def write(self, data: bytes) -> None:
        """Send `data`."""
        self.call("write", data)

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        self._happened("connectionMade")
        self.on_made()

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        self._happened("dataReceived")
        self.received += data
        with self.diary.calling(f"dataReceived of {self.name}"):
            self.on_data(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        self._happened("connectionLost")
        self.reason = reason

    def _happened(self, callback: str) -> None:
        if self.diary.calls:
            self.diary.reentered.append(f"{callback} from within {self.diary.calls[-1]}")
        if callback != "dataReceived" or self.story[-1:] != [callback]:
            self.story.append(callback)
        self.diary.notice()


def echo(end: End) -> None:
    """Let an end send back whatever it receives."""
    end.on_data = end.write


@implementer(IHalfCloseableProtocol)
class HalfEnd(End):
    """An end that lives on with one half of its connection."""

    def readConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""
        self._happened("readConnectionLost")

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""
        self._happened("writeConnectionLost")


class Ends(Factory):
    """Makes the ends of one side, and keeps them.

    Attributes:
        made: All that were asked for; a dial that failed may leave one that was never connected.
        on_end: Called with each before it is connected.
    """

    noisy = False

    def __init__(self, diary: Diary, kind: type[End], name: str) -> None:
        self.diary, self.kind, self.name = diary, kind, name
        self.made: list[End] = []
        self.on_end: Callable[[End], None] = lambda _: None

    @property
    def connected(self) -> list[End]:
        """Those that were connected, also if they are no more."""
        return [end for end in self.made if end.story]

    def buildProtocol(self, addr: IAddress | None) -> End:
        """Make the end of a new connection."""
        end = self.kind(self.diary)
        end.name = self.name
        self.on_end(end)
        self.made.append(end)
        return end


@implementer(IPushProducer)
class Source:
    """Writes the pattern, a part in each turn, until it is paused or has written enough.

    Attributes:
        written: Bytes so far.
        calls: What the transport asked of it, in order: ``pause``, ``resume``, ``stop``.
    """

    def __init__(self, reactor: Any, end: End, enough: int) -> None:
        self.written = 0
        self.calls: list[str] = []
        self._reactor, self._end, self._enough = reactor, end, enough
        self._turn: Any = None

    def start(self) -> None:
        """Begin in the next turn."""
        self._turn = self._reactor.callLater(0, self._write)

    def close(self) -> None:
        """Write nothing more."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self._asked("resume")

    def pauseProducing(self) -> None:
        """See `IPushProducer`; it writes no more, also when it is resumed."""
        self._asked("pause")
        self.close()

    def stopProducing(self) -> None:
        """See `IPushProducer`."""
        self._asked("stop")
        self.close()

    def _asked(self, what: str) -> None:
        self.calls.append(what)
        self._end.diary.notice()

    def _write(self) -> None:
        self._turn = None
        part = pattern(self.written % (1 << 20) + PART)[-PART:]
        self.written += len(part)
        # Planned first: to be paused from within write() is as it should be.
        if self.written < self._enough:
            self.start()
        self._end.transport.write(part)
        self._end.diary.notice()
