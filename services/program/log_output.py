"""Where the log goes, and how it gets there under ``twistd`` and ``twist``."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import sys
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, TextIO

from attrs import define
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
)
from twisted.python import usage
from twisted.python.logfile import LogFile
from twisted.python.reflect import safe_repr
from zope.interface import implementer

from .logs import EventFormat, TextFormat, json_format, without_library_chatter
from .start import fail

Write = Callable[[str], object]


@implementer(ILogObserver)
@define(eq=False)
class LogWriter:
    """Write each event's line, and live on when that fails.

    A full disk, or a pipe that nobody reads any more, costs the line and no
    more: an observer that raised would be reported as an error for each event.

    Attributes:
        lost: Lines that could not be written since the last one that could.
    """

    _format: EventFormat
    _write: Write
    lost: int = 0

    def __call__(self, event: LogEvent) -> None:
        """Write the event's line."""
        try:
            line = self._format(event)
        except Exception as error:
            line = self._own("an event that cannot be written: {error}", error=safe_repr(error))
        try:
            if self.lost:
                self._write(self._own("{lost} log lines could not be written", lost=self.lost))
                self.lost = 0
            self._write(line)
        except (OSError, ValueError):
            self.lost += 1

    def _own(self, text: str, **fields: object) -> str:
        level, namespace = LogLevel.warn, __name__
        own = {"log_format": text, "log_level": level, "log_namespace": namespace, **fields}
        return self._format(own)


def observer_for_twistd(
    program: str,
    log_format: str | None,
    twistd: usage.Options,
    rotate_soon: Callable[..., object],
) -> ILogObserver | None:
    """Open the log that ``twistd`` was told to keep, in the program's format.

    Args:
        program: Its name, which labels its lines.
        log_format: ``text`` or ``json``, or None where none was asked for.
        twistd: The options of ``twistd`` itself.
        rotate_soon: Called in a signal handler with the function that rotates
            the log: the reactor's ``callFromThread``.

    Returns:
        What is to be the application's ILogObserver, or None where ``twistd``
        keeps the log itself: ``--syslog`` and ``--logger``.

    Raises:
        SystemExit: After one line: the log cannot be written, or another
            running program writes it.
    """
    if twistd["syslog"] or twistd["logger"]:
        return None
    if twistd["logfile"] and twistd["logfile"] != "-":
        file = _open(program, twistd["logfile"])
        if signal.getsignal(signal.SIGUSR1) in (None, signal.SIG_DFL):
            signal.signal(signal.SIGUSR1, lambda _number, _frame: rotate_soon(file.rotate))
        write, coloured = file.write, False
    else:
        write, coloured = _writer_to(sys.stdout), _wants_colour(sys.stdout, os.environ)
    event_format = _format(program, log_format == "json", coloured)
    return FilteringLogObserver(LogWriter(event_format, write), [without_library_chatter])


def take_over_twist(program: str, log_format: str | None, twist: usage.Options) -> None:
    """Have ``twist`` write its log in the program's format.

    Where the program is not told a format, the one of ``twist`` itself holds.
    With ``twist --log-level debug`` nothing is left out.
    """
    as_json = (log_format or twist["logFormat"]) == "json"

    def observer(stream: TextIO) -> Any:
        coloured = _wants_colour(stream, os.environ)
        writer = LogWriter(_format(program, as_json, coloured), _writer_to(stream))
        if twist["logLevel"] < LogLevel.info:
            return writer
        return FilteringLogObserver(writer, [without_library_chatter])

    twist["fileLogObserverFactory"] = observer


def _format(program: str, as_json: bool, coloured: bool) -> EventFormat:
    return json_format if as_json else TextFormat(program, coloured)


def _wants_colour(stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return False
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def _writer_to(stream: TextIO | None) -> Write:
    """Write past the stream's buffer, which would keep what a pipe refused."""
    if stream is None:
        return lambda _text: None
    try:
        descriptor = stream.fileno()
        stream.flush()
    except (OSError, ValueError):
        return stream.write
    encoding = stream.encoding

    def write(text: str) -> None:
        rest = text.encode(encoding, "backslashreplace")
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    return write


class _OwnLogFile(LogFile):
    """A rotating log that no two programs write at the same time."""

    def __init__(self, path: str) -> None:
        LogFile.__init__(self, os.path.basename(path), os.path.dirname(path))

    def _openFile(self) -> None:
        LogFile._openFile(self)
        self.is_ours = _lock(self._file)


def _lock(file: BinaryIO) -> bool:
    """Say whether no other program holds the file.

    The lock is the open file's: it is inherited when ``twistd`` forks, and
    gone with the last process that holds the file open.
    """
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Some network file systems have no locks: better a log than none.
        return error.errno != errno.EWOULDBLOCK
    return True


def _open(program: str, path: str) -> LogFile:
    try:
        file = _OwnLogFile(path)
    except OSError as error:
        fail(program, f"--logfile: cannot write {path}: {error.strerror}")
    if not file.is_ours:
        LogFile.close(file)
        fail(program, f"--logfile: {path} is the log of another program that runs")
    return file
