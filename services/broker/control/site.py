"""How the control API meets the network: one request at a time, nothing on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from io import BytesIO
from random import Random

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from brokerproto.broker import Broker
from services.broker.control.answers import ControlError, error_for, refusal, rendered, send
from services.broker.control.guard import MAX_BODY, too_long
from services.broker.control.routes import control_resource

__all__ = ["MAX_HEAD", "control_site"]

MAX_HEAD = HTTPChannel.totalHeadersSize
"""Bytes of the first line and the headers of a request."""

_DISCARDED = 1024 * 1024
"""Bytes of a refused body that are read and dropped.

A connection that is closed with bytes unread is reset, and a reset takes the answer
with it before the client has read it.
"""

_LONG_HEAD = f"path, query and headers of more than {MAX_HEAD} bytes"


class ControlRequest(Request):
    """A request whose body stays small, and in memory.

    The first byte too many, or the header that announces it, is answered at once, and
    the connection closed when the body has passed.
    """

    _refused = False
    _received = 0

    def gotLength(self, length: int | None) -> None:
        """Take note of the length that the headers announce."""
        self.content = BytesIO()
        if length is not None and length > MAX_BODY:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a part of the body."""
        self._received += len(data)
        if not self._refused and self._received > MAX_BODY:
            self._refuse()
        if not self._refused:
            assert self.content is not None
            self.content.write(data)
        elif self._received > _DISCARDED:
            Request.loseConnection(self)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Answer, unless that is done."""
        if self._refused:
            Request.finish(self)
        else:
            Request.requestReceived(self, command, path, version)

    def process(self) -> None:
        """Answer; ``*`` is no path of ours, and so no special one."""
        if self.path == b"*":
            self.path = b"/*"
        Request.process(self)

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer for a failure that no route has handled."""
        send(self, error_for(reason, self))
        Request.finish(self)
        return reason

    def _refuse(self) -> None:
        self._refused = True
        # Whoever asks whether to send the body has the answer.
        self.requestHeaders.removeHeader(b"Expect")
        self.clientproto = b"HTTP/1.1"
        self.channel.persistent = False
        self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        send(self, too_long())


class ControlChannel(HTTPChannel):
    """A connection; what is no HTTP gets an answer in JSON too."""

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

    def _respondToBadRequestAndDisconnect(self) -> None:
        if not any(request.startedWriting for request in self.requests):
            # Whoever has named a thousand engines would not see what is wrong with it.
            is_long = self._receivedHeaderSize > MAX_HEAD
            message = _LONG_HEAD if is_long else "this is no HTTP request"
            body = rendered(refusal(ControlError(400, message)))
            assert self.transport is not None
            self.transport.write(
                b"HTTP/1.1 400 Bad Request\r\n"
                b"Content-Type: application/json\r\n"
                b"Content-Length: %d\r\n"
                b"Connection: close\r\n\r\n%b" % (len(body), body)
            )
        HTTPChannel.loseConnection(self)


class ControlSite(Site):
    """The factory of the connections. It keeps no access log.

    Args:
        resource: The root.
        reactor: Ends connections that are idle.
    """

    noisy = False
    protocol = ControlChannel  # type: ignore[assignment]  # No proxy: it never turns into HTTP/2.
    requestFactory = ControlRequest
    displayTracebacks = False

    def __init__(self, resource: IResource, reactor: IReactorTime) -> None:
        # A form that is none would be refused before anybody asks who sent it.
        Site.__init__(self, resource, reactor=reactor, parsePOSTFormSubmission=False)

    def startFactory(self) -> None:
        """Start nothing: what Twisted starts here is the access log, and its clock."""

    def stopFactory(self) -> None:
        """Stop nothing."""


def control_site(
    broker: Broker,
    reactor: IReactorTime,
    *,
    extra_hosts: Iterable[str] = (),
    is_ready: Callable[[], bool] = lambda: True,
    wall: Callable[[], float] = time.time,
    random: Random | None = None,
) -> Site:
    """Make the factory that serves a broker's control API.

    Args:
        broker: The broker that it serves.
        reactor: Ends what waits, and connections that are idle.
        extra_hosts: Names that it answers for, besides the machine's own.
        is_ready: Whether engines can register.
        wall: What people's clocks show, POSIX seconds.
        random: Draws shares.
    """
    resource = control_resource(
        broker, reactor, extra_hosts=extra_hosts, is_ready=is_ready, wall=wall, random=random
    )
    return ControlSite(resource, reactor)
