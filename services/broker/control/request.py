"""A request to the control API, whose body stays small and in memory."""

from __future__ import annotations

from io import BytesIO

from twisted.python.failure import Failure
from twisted.web.server import Request

from services.broker.control.answers import ControlError, error_for, send
from services.broker.control.channel import ControlChannel
from services.broker.control.guard import MAX_BODY, too_long

__all__ = ["ControlRequest"]

_DISCARDED = 1024 * 1024
"""Bytes of a refused body that are read and dropped.

A connection that is closed with bytes unread is reset, and a reset takes the answer
with it before the client has read it.
"""


class ControlRequest(Request):
    """A request whose body stays small, and in memory.

    The first byte too many, or the header that announces it, is answered at once, and
    the connection closed when the body has passed.
    """

    channel: ControlChannel
    _refused = False
    _received = 0

    def gotLength(self, length: int | None) -> None:
        """Take note of the length that the headers announce."""
        self.content = BytesIO()
        if length is not None and length > MAX_BODY:
            self._refuse_body()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a part of the body."""
        self._received += len(data)
        if not self._refused and self._received > MAX_BODY:
            self._refuse_body()
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
        """Answer, where there is time and room for it."""
        error = self.channel.site.refusal(self.channel)
        if error is not None:
            self._close_with(error)
            Request.finish(self)
            return
        if self.path == b"*":
            # It is no path of ours, and so no special one.
            self.path = b"/*"
        Request.process(self)

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer for a failure that no route has handled."""
        send(self, error_for(reason, self))
        Request.finish(self)
        return reason

    def _refuse_body(self) -> None:
        self._refused = True
        # Whoever asks whether to send the body has the answer.
        self.requestHeaders.removeHeader(b"Expect")
        self.clientproto = b"HTTP/1.1"
        self._close_with(too_long())

    def _close_with(self, error: ControlError) -> None:
        # What else comes on this connection is not even looked at.
        self.channel.persistent = False
        self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        send(self, error)
