"""Write lines to where a log goes, and never wait for whoever reads there."""

from __future__ import annotations

import errno
import os
import select
import stat

__all__ = ["LineSink"]

# What a pipe that is ready takes at once, and whole: pipe(7).
_PIECE = select.PIPE_BUF


class LineSink:
    """Lines to a descriptor: each whole, or not at all.

    A pipe that nobody reads, or a terminal stopped with Ctrl-S, takes no more at some
    point. What it did not take of a line waits here, and goes before the next line. The
    descriptor's flags are not touched: other programs may share them.

    Args:
        descriptor: Open for writing; stays the caller's to close.
    """

    def __init__(self, descriptor: int) -> None:
        self._own = _opened_anew(descriptor)
        self._descriptor = descriptor if self._own is None else self._own
        self._ready = select.poll()
        self._ready.register(descriptor, select.POLLOUT)
        self._rest = b""

    def close(self) -> None:
        """Give up what it has opened itself; what waits is lost."""
        if self._own is not None:
            os.close(self._own)
            self._own = None

    @property
    def is_amid_a_line(self) -> bool:
        """Whether the end of a line waits to be written."""
        return bool(self._rest)

    def write(self, line: bytes) -> None:
        """Write a line, or as much of it as is taken now; the rest goes first next time.

        Raises:
            OSError: Nothing of it was written, and nothing of it will be. It is a
                BlockingIOError where nobody reads.
        """
        self._finish()
        self._rest = line
        try:
            self._finish()
        except OSError:
            if len(self._rest) == len(line):
                self._rest = b""
                raise

    def _finish(self) -> None:
        while self._rest:
            # A broken pipe is ready too: the write says what is wrong with it.
            if self._own is None and not self._ready.poll(0):
                raise BlockingIOError(errno.EAGAIN, "nobody reads the log")
            self._rest = self._rest[os.write(self._descriptor, self._rest[:_PIECE]) :]


def _opened_anew(descriptor: int) -> int | None:
    """Open the pipe or terminal behind `descriptor` once more, so that no write ever waits.

    Elsewhere, and where that cannot be, asking before each write must do. It is enough for a
    pipe that has no other writer, but a terminal may take less than it seems.
    """
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISFIFO(mode) or os.isatty(descriptor)):
        return None
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
    try:
        # Linux alone gives another description; and none of a stranger's file.
        return os.open(f"/proc/self/fd/{descriptor}", flags)
    except OSError:
        return None
