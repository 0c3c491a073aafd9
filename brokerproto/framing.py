"""Where frames begin and end in what a transport delivers.

A framer is fed bytes and asked for whole frames one at a time, so that the session
decides how far it reads and under which limit. How the bytes were cut never shows in
the frames. Rules: protocol reference, section "Frames".
"""

from __future__ import annotations

from collections import deque
from typing import Literal, Protocol

from brokerproto.errors import BadFrameError, FrameTooLongError

__all__ = [
    "FRAMINGS",
    "LIMIT_REGISTERED",
    "LIMIT_UNREGISTERED",
    "Framer",
    "Framing",
    "LineFramer",
    "MessageFramer",
]

LIMIT_UNREGISTERED = 1024
"""Longest frame before registration, in bytes without the line end."""

LIMIT_REGISTERED = 4096
"""Longest frame after it; also the most bytes that wait for a decision."""

_MAX_EMPTY_LINES = 15

Framing = Literal["lines", "message"]
"""How a transport delivers frames, as a byte stream, or one message each."""


class Framer(Protocol):
    """What a session needs of a framing."""

    def feed(self, data: bytes) -> None:
        """Take what the transport delivered."""

    def next_frame(self, limit: int) -> bytes | None:
        """Take the next whole frame, without its line end; None when there is none.

        Args:
            limit: Longest frame allowed now, in bytes without the line end.

        Raises:
            RemoteProtocolError: 413 beyond `limit`, 400 for a breach of the framing.
        """

    def beginning(self, limit: int) -> bytes:
        """Show at most `limit` bytes of the frame that is not yet whole."""

    def cut_short(self) -> None:
        """Say that the frame that is not yet whole has been judged."""

    def discard(self) -> int:
        """Drop all that waits; return the whole frames in it.

        The rest of a frame that was cut short by an error is no frame of its own: it
        is passed over when it comes, however much later.
        """

    @property
    def waiting(self) -> int:
        """Bytes fed and not yet taken."""

    @property
    def idle(self) -> bool:
        """Whether nothing is remembered, so that a new framer would do the same."""


class LineFramer:
    """Frames on a byte stream: each ends with LF, one CR before it is tolerated."""

    __slots__ = ("_data", "_empty_lines", "_inside", "_start")

    def __init__(self) -> None:
        self._data = b""
        self._start = 0
        self._empty_lines = 0
        self._inside = False

    def feed(self, data: bytes) -> None:
        """Take a slice of the stream."""
        self._data = self._data[self._start :] + data
        self._start = 0

    def next_frame(self, limit: int) -> bytes | None:
        """Take the next whole frame; see `Framer`."""
        while True:
            # Two bytes more than the limit hold the longest frame and its CR LF.
            end = self._data.find(b"\n", self._start, self._start + limit + 2)
            stop = end if end >= 0 else len(self._data)
            length = stop - self._start
            if length > limit and not (
                length == limit + 1 and self._data[stop - 1 : stop] == b"\r"
            ):
                self._inside = True
                raise FrameTooLongError(f"frame longer than {limit} bytes")
            if end < 0:
                return None
            frame = self._data[self._start : end]
            self._start = end + 1
            if frame.endswith(b"\r"):
                frame = frame[:-1]
            if frame:
                self._empty_lines = 0
                return frame
            self._empty_lines += 1
            if self._empty_lines > _MAX_EMPTY_LINES:
                raise BadFrameError("too many empty lines")

    def beginning(self, limit: int) -> bytes:
        """Show the frame that is not yet whole, less a CR that may belong to its end."""
        return self._data[self._start : self._start + limit].removesuffix(b"\r")

    def discard(self) -> int:
        """Drop all that waits; see `Framer`."""
        ends = self._data.count(b"\n", self._start)
        if ends and self._inside:
            self._inside = False
            ends -= 1
        self._data, self._start = b"", 0
        return ends

    def cut_short(self) -> None:
        """Say that the frame that is not yet whole has been judged."""
        self._inside = True

    @property
    def waiting(self) -> int:
        """Bytes fed and not yet taken."""
        return len(self._data) - self._start

    @property
    def idle(self) -> bool:
        """Whether a new framer would do the same."""
        return not (self.waiting or self._empty_lines or self._inside)


class MessageFramer:
    """Frames on a transport that keeps message boundaries: one message, one frame."""

    __slots__ = ("_empty_lines", "_messages", "_waiting")

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._waiting = 0
        self._empty_lines = 0

    def feed(self, data: bytes) -> None:
        """Take one message."""
        self._messages.append(data)
        self._waiting += len(data)

    def next_frame(self, limit: int) -> bytes | None:
        """Take the next message; see `Framer`."""
        while self._messages:
            frame = self._messages.popleft()
            self._waiting -= len(frame)
            if len(frame) > limit:
                raise FrameTooLongError(f"frame longer than {limit} bytes")
            if b"\n" in frame or b"\r" in frame:
                raise BadFrameError("a line end inside a message")
            if frame:
                self._empty_lines = 0
                return frame
            self._empty_lines += 1
            if self._empty_lines > _MAX_EMPTY_LINES:
                raise BadFrameError("too many empty messages")
        return None

    def beginning(self, limit: int) -> bytes:
        """Nothing: a message is always whole."""
        return b""

    def discard(self) -> int:
        """Drop all that waits; see `Framer`."""
        dropped = len(self._messages)
        self._messages.clear()
        self._waiting = 0
        return dropped

    def cut_short(self) -> None:
        """Nothing: a message is always whole."""

    @property
    def waiting(self) -> int:
        """Bytes fed and not yet taken."""
        return self._waiting

    @property
    def idle(self) -> bool:
        """Whether a new framer would do the same."""
        return not (self._messages or self._empty_lines)


FRAMINGS: dict[str, type[LineFramer | MessageFramer]] = {
    "lines": LineFramer,
    "message": MessageFramer,
}
"""Framing's name, as an address or a transport says it, to its framer."""
