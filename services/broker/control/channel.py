"""A connection of the control API: how long each step of it may take.

Rule: control API's reference, section "Limits".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.server import Request

from services.broker.control.answers import ControlError, refusal, rendered
from services.broker.control.progress import Sent, close_now, hold_little, taken

if TYPE_CHECKING:
    from services.broker.control.site import ControlSite

__all__ = ["IDLE", "MAX_HEAD", "PATIENCE", "SURPLUS", "ControlChannel"]

MAX_HEAD = HTTPChannel.totalHeadersSize
"""Bytes of the first line and the headers of a request."""

PATIENCE = 10.0
"""Seconds to send a whole request, and for which nothing of an answer may be read."""

IDLE = 60.0
"""Seconds from an answer to the first byte of the next request."""

SURPLUS = 1.0
"""Seconds to send a request where the answer can only be that there is no place."""

_LOOKS = 4
"""How often in that time it is looked whether anything was read."""

_LONG_HEAD = f"path, query and headers of more than {MAX_HEAD} bytes"

# Before it may be a line end that belongs to the request before.
_METHOD = re.compile(rb"[\r\n]*[!#$%&'*+.^_`|~0-9A-Za-z-]*")


class _Step(Enum):
    """What a connection is at."""

    IDLE = auto()
    RECEIVING = auto()
    ANSWERING = auto()
    SENDING = auto()
    CLOSING = auto()


class ControlChannel(HTTPChannel):
    """A connection; what is no HTTP gets an answer in JSON too.

    One request follows another only when the answer is on its way: so a connection holds
    one answer at most, and has one in a turn of the reactor.

    Attributes:
        source: Whose it is.
        site: The factory that has made it.
    """

    source: str
    site: ControlSite
    transport: Any

    _step = _Step.IDLE
    _timer: IDelayedCall | None = None
    _in_method = True
    _taken: object = None
    _unchanged = 0

    def connectionMade(self) -> None:
        """Wait for the first request; who connects has one."""
        hold_little(self.transport)
        HTTPChannel.connectionMade(self)
        has_place = self.site.places.has(self)
        self._after(PATIENCE if has_place else SURPLUS, self.loseConnection)

    def dataReceived(self, data: bytes) -> None:
        """Take what came, or keep it until the answer before it is on its way."""
        if self._step is _Step.IDLE and data.strip(b"\r\n"):
            self._step, self._in_method = _Step.RECEIVING, True
            if self.site.places.has(self):
                self._after(PATIENCE, self._too_slow)
        if self._step is _Step.RECEIVING and not self._may_be_http(data):
            self._respondToBadRequestAndDisconnect()
            return
        if self._step is _Step.SENDING:
            self.transport.pauseProducing()
        HTTPChannel.dataReceived(self, data)

    def lineReceived(self, line: bytes) -> None:
        """Take a line; one that goes on with a header is read differently by many a proxy."""
        if line.startswith((b" ", b"\t")):
            self._respondToBadRequestAndDisconnect()
        else:
            HTTPChannel.lineReceived(self, line)

    def headerReceived(self, line: bytes) -> bool:
        """Take a header; False where it makes the request a bad one."""
        try:
            return bool(HTTPChannel.headerReceived(self, line))
        except ValueError:
            # A Content-Length of more digits than Python cares to convert.
            self._respondToBadRequestAndDisconnect()
            return False

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that does not end."""
        self._receivedHeaderSize += len(line)
        self._respondToBadRequestAndDisconnect()

    def allContentReceived(self) -> None:
        """Answer a request that is complete, however long that takes."""
        self._step = _Step.ANSWERING
        self._after(None)
        self.site.places.work(self)
        HTTPChannel.allContentReceived(self)

    def requestDone(self, request: Request) -> None:
        """Go on to the next request when this one's answer is on its way."""
        if not self.persistent:
            HTTPChannel.requestDone(self, request)
            return
        self._step = _Step.SENDING
        self._watch()
        self.transport.unregisterProducer()
        Sent(self.transport, lambda: self._go_on(request))

    def writeHeaders(self, version: Any, code: Any, reason: Any, headers: Any) -> None:
        """Begin an answer; a refusal is counted."""
        self._count(int(code))
        HTTPChannel.writeHeaders(self, version, code, reason, headers)

    def loseConnection(self) -> None:
        """Close when all is on its way, and do not wait forever for that."""
        if self._step is not _Step.CLOSING:
            self._step = _Step.CLOSING
            self._watch()
            HTTPChannel.loseConnection(self)

    def give_way(self) -> None:
        """See `services.broker.control.places.Connection`."""
        self._abort()
        close_now(self.transport)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Leave nothing behind."""
        self._after(None)
        self.site.places.leave(self)
        HTTPChannel.connectionLost(self, reason)

    def _go_on(self, request: Request) -> None:
        self._step = _Step.IDLE
        self.site.places.wait(self)
        self._after(IDLE, self.loseConnection)
        self.transport.registerProducer(self, True)
        HTTPChannel.resumeProducing(self)
        HTTPChannel.requestDone(self, request)

    def _watch(self) -> None:
        """See that what is written is read."""
        self._taken, self._unchanged = taken(self.transport), 0
        self._after(PATIENCE / _LOOKS, self._look)

    def _look(self) -> None:
        now_taken = taken(self.transport)
        self._unchanged = self._unchanged + 1 if now_taken == self._taken else 0
        self._taken = now_taken
        if self._unchanged < _LOOKS:
            self._after(PATIENCE / _LOOKS, self._look)
        else:
            self._abort()

    def _may_be_http(self, data: bytes) -> bool:
        """Whether it may be a request so far; what begins otherwise may have no line end."""
        if not self._in_method:
            return True
        match = _METHOD.match(data)
        assert match is not None
        self._in_method = match.end() == len(data)
        return self._in_method or data[match.end()] in b" "

    def _too_slow(self) -> None:
        self._refuse(ControlError(408, f"the request was not complete after {PATIENCE:.0f} s"))

    def _respondToBadRequestAndDisconnect(self) -> None:
        # Whoever has named a thousand engines would not see what is wrong with it.
        is_long = self._receivedHeaderSize > MAX_HEAD
        self._refuse(ControlError(400, _LONG_HEAD if is_long else "this is no HTTP request"))

    def _refuse(self, error: ControlError) -> None:
        """Answer what has not become a request, unless that is done, and close."""
        if not any(request.startedWriting for request in self.requests):
            self._count(error.status)
            body = rendered(refusal(error))
            self.transport.write(
                b"HTTP/1.1 %d %b\r\n"
                b"Content-Type: application/json\r\n"
                b"Content-Length: %d\r\n"
                b"Connection: close\r\n\r\n%b"
                % (error.status, HTTPStatus(error.status).phrase.encode(), len(body), body)
            )
        self.loseConnection()

    def _count(self, status: int) -> None:
        if status >= HTTPStatus.BAD_REQUEST:
            self.site.refused[status] += 1

    def _after(self, seconds: float | None, call: Callable[[], Any] = lambda: None) -> None:
        """Do that, and not what was to be done before; nothing for None."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None if seconds is None else self.site.reactor.callLater(seconds, call)

    def _abort(self) -> None:
        self._step = _Step.CLOSING
        self._after(None)
        self.transport.abortConnection()
