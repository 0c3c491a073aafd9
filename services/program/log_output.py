"""Where the log goes, and how it gets there under ``twistd`` and ``twist``."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, TextIO

from attrs import define, field, frozen
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

from .counted import Counted
from .log_limits import LogCounts, LogLimits
from .log_sink import LineSink
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
        counts: Counts the lines that could not be written.
        lost: How many of them there were since the last one that could.
    """

    _format: EventFormat
    _write: Write
    counts: LogCounts = field(factory=LogCounts)
    lost: int = field(init=False, default=0)

    def __call__(self, event: LogEvent) -> None:
        """Write the event's line."""
        try:
            line = self._format(event)
        except Exception as error:
            line = self._own("an event that cannot be written: {error}", error=safe_repr(error))
        try:
            if self.lost:
                lost = Counted(self.lost, "log line")
                self._write(self._own("{lost} could not be written", lost=lost))
                self.lost = 0
            self._write(line)
        except (OSError, ValueError):
            self.lost += 1
            self.counts.lost += 1

    def _own(self, text: str, **fields: object) -> str:
        level, namespace = LogLevel.warn, __name__
        own = {"log_format": text, "log_level": level, "log_namespace": namespace, **fields}
        return self._format(own)


@frozen
class ProgramLog:
    """The log of a program under ``twistd``.

    Attributes:
        observer: Writes it; to be the application's ILogObserver.
        file: Where it is written; None where that is the standard output.
    """

    observer: ILogObserver
    file: OwnLogFile | None


def log_for_twistd(
    program: str,
    log_format: str | None,
    twistd: usage.Options,
    reactor: Any,
    counts: LogCounts,
) -> ProgramLog | None:
    """Open the log that ``twistd`` was told to keep, in the program's format.

    Args:
        program: Its name, which labels its lines.
        log_format: ``text`` or ``json``, or None where none was asked for.
        twistd: The options of ``twistd`` itself.
        reactor: The reactor that the program runs on.
        counts: Counts what becomes of the lines.

    Returns:
        The log, or None where ``twistd`` keeps it itself: ``--syslog`` and ``--logger``.

    Raises:
        SystemExit: After one line: the log cannot be written, or another
            running program writes it.
    """
    if twistd["syslog"] or twistd["logger"]:
        return None
    file = None
    write: Write
    if twistd["logfile"] and twistd["logfile"] != "-":
        file = _open(program, twistd["logfile"])
        write, coloured = file.write, False
    else:
        write, coloured = _writer_to(sys.stdout), _wants_colour(sys.stdout, os.environ)
    writer = LogWriter(_format(program, log_format == "json", coloured), write, counts)
    return ProgramLog(_bounded(writer, reactor), file)


def take_over_twist(
    program: str, log_format: str | None, twist: usage.Options, counts: LogCounts
) -> None:
    """Have ``twist`` write its log in the program's format.

    Where the program is not told a format, the one of ``twist`` itself holds.
    With ``twist --log-level debug`` nothing is left out, however much it is.
    """
    as_json = (log_format or twist["logFormat"]) == "json"

    def observer(stream: TextIO) -> Any:
        coloured = _wants_colour(stream, os.environ)
        event_format = _format(program, as_json, coloured)
        writer = LogWriter(event_format, _writer_to(stream), counts)
        if twist["logLevel"] < LogLevel.info:
            return writer
        return _bounded(writer, twist["reactor"])

    twist["fileLogObserverFactory"] = observer


def _bounded(writer: LogWriter, reactor: Any) -> ILogObserver:
    limits = LogLimits(writer, reactor, writer.counts)
    reactor.addSystemEventTrigger("after", "shutdown", limits.finish)
    return FilteringLogObserver(limits, [without_library_chatter])


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
    encoding, sink = stream.encoding, LineSink(descriptor)
    return lambda text: sink.write(text.encode(encoding, "backslashreplace"))


class OwnLogFile(LogFile):
    """A rotating log that no two programs write at the same time.

    A disk that is full in the middle of a line gets the rest of it first when there is
    room again, and a file that could not be opened is tried again at the next line.
    """

    _sink: LineSink | None = None

    def __init__(self, path: str) -> None:
        LogFile.__init__(self, os.path.basename(path), os.path.dirname(path))

    def _openFile(self) -> None:
        LogFile._openFile(self)
        self.is_ours = _lock(self._file)
        if self._sink is not None:
            self._sink.close()
        self._sink = LineSink(self._file.fileno())

    def write(self, data: str) -> None:
        """Write a line.

        Raises:
            OSError: Nothing of it was written.
        """
        if self._file.closed:
            self._openFile()
        assert self._sink is not None
        if self.size >= self.rotateLength and not self._sink.is_amid_a_line:
            self.rotate()
        line = data.encode("utf-8")
        self._sink.write(line)
        self.size += len(line)

    def rotate(self) -> None:
        """Begin a new file; the old one is kept under a number."""
        LogFile.rotate(self)

    def close(self) -> None:
        """Close the file; nothing can be written any more."""
        if self._sink is not None:
            self._sink.close()
        LogFile.close(self)

    def reopen(self) -> None:
        """Go on in the file that has the log's name now; make it where there is none."""
        self._file.close()
        self._openFile()


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


def _open(program: str, path: str) -> OwnLogFile:
    try:
        file = OwnLogFile(path)
    except OSError as error:
        fail(program, f"--logfile: cannot write {path}: {error.strerror}")
    if not file.is_ours:
        LogFile.close(file)
        fail(program, f"--logfile: {path} is the log of another program that runs")
    return file
