from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from twisted.logger import LogLevel
from twisted.python import usage

from services.program.log_output import LogWriter, _open, _wants_colour, _writer_to
from services.program.logs import TextFormat
from services.program.options import Options
from services.program.start import CONFIGURATION_ERROR


class Sample(Options):
    program = "sample"


@define
class Disk:
    """A file whose disk may be full."""

    lines: list[str] = field(factory=list)
    full: bool = False

    def write(self, text: str) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.lines.append(text)


def event(text: str) -> dict[str, Any]:
    return {"log_format": "{text}", "text": text, "log_namespace": "services.x"}


def test_log_goes_on_after_a_full_disk_and_tells_what_was_lost() -> None:
    disk = Disk()
    writer = LogWriter(TextFormat("broker"), disk.write)
    writer(event("one"))
    disk.full = True
    writer(event("two"))
    writer(event("three"))
    assert writer.lost == 2
    disk.full = False
    writer(event("four"))
    writer(event("five"))
    said = [line.partition("] ")[2] for line in disk.lines]
    assert said == ["one\n", "2 log lines could not be written\n", "four\n", "five\n"]
    assert "[broker#warn]" in disk.lines[1]
    assert writer.lost == 0


def test_event_that_breaks_the_format_costs_one_line_that_says_so() -> None:
    disk = Disk()
    text_format = TextFormat("broker")

    def breaking(event: dict[str, Any]) -> str:
        if event.get("text") == "break":
            raise RuntimeError("broken")
        return text_format(event)

    writer = LogWriter(breaking, disk.write)
    writer(event("break"))
    writer(event("fine"))
    assert "cannot be written: RuntimeError('broken')" in disk.lines[0]
    assert disk.lines[1].endswith("fine\n")


def test_pipe_gets_each_line_at_once_and_whole() -> None:
    read, write = os.pipe()
    with open(read, "rb", buffering=0) as reader, open(write, "w", encoding="ascii") as stream:
        stream.write("before\n")
        _writer_to(stream)("\u00e9\n")
        assert reader.read(100) == b"before\n\\xe9\n"


def test_line_that_the_system_takes_in_pieces_is_written_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, write = os.pipe()
    whole_write = os.write
    monkeypatch.setattr(os, "write", lambda number, data: whole_write(number, data[:2]))
    with open(read, "rb", buffering=0) as reader, open(write, "w", encoding="ascii") as stream:
        _writer_to(stream)("in pieces\n")
        assert reader.read(100) == b"in pieces\n"


def test_broken_pipe_leaves_nothing_behind_in_the_stream() -> None:
    read, write = os.pipe()
    with open(write, "w", encoding="ascii") as stream:
        os.close(read)
        writer = LogWriter(TextFormat("broker"), _writer_to(stream))
        writer(event("nobody hears this"))
        assert writer.lost == 1
        stream.flush()


def test_stream_without_descriptor_is_written_as_it_is() -> None:
    stream = io.StringIO()
    _writer_to(stream)("text\n")
    assert stream.getvalue() == "text\n"


def test_program_without_stdout_lives() -> None:
    LogWriter(TextFormat("broker"), _writer_to(None))(event("x"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "coloured"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
        (None, {}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    stream: io.StringIO | None, environ: dict[str, str], coloured: bool
) -> None:
    assert _wants_colour(stream, environ) is coloured


@pytest.mark.parametrize(
    ("arguments", "of_twist", "as_json"),
    [
        ([], "json", True),
        ([], "text", False),
        (["--log-format=text"], "json", False),
        (["--log-format=json"], "text", True),
    ],
)
def test_twist_writes_in_its_own_format_unless_the_program_is_told_one(
    arguments: list[str], of_twist: str, as_json: bool
) -> None:
    lines = said_under_twist(arguments, {"logFormat": of_twist, "logLevel": LogLevel.info})
    assert [line.startswith("{") for line in lines] == [as_json]


def test_twist_that_logs_debug_leaves_nothing_out() -> None:
    lines = said_under_twist([], {"logFormat": "text", "logLevel": LogLevel.debug})
    assert len(lines) == 2


class Triggers:
    """A reactor that is told what to do at its end."""

    def addSystemEventTrigger(self, *_trigger: object) -> None:
        pass


def said_under_twist(arguments: list[str], of_twist: dict[str, Any]) -> list[str]:
    """Log an event of ours and one of Twisted's chatter; give the lines."""
    parent = usage.Options()
    parent.update({"logFile": None, **of_twist})
    options = Sample({})
    options.parent = parent
    options.parseOptions(arguments)
    stream = io.StringIO()
    parent["reactor"] = Triggers()
    observer = parent["fileLogObserverFactory"](stream)
    observer(event("ours"))
    observer({"log_format": "chatter", "log_namespace": "twisted.internet.base"})
    return stream.getvalue().splitlines()


def test_log_file_has_one_program_that_writes_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "x.log")
    file = _open("broker", path)
    with pytest.raises(SystemExit) as caught:
        _open("broker", path)
    assert caught.value.code == CONFIGURATION_ERROR
    line = f"broker: --logfile: {path} is the log of another program that runs\n"
    assert capfd.readouterr().err == line
    file.rotate()
    with pytest.raises(SystemExit):
        _open("broker", path)
    file.close()
    _open("broker", path).close()


def test_any_number_of_programs_may_log_to_a_device() -> None:
    files = [_open("broker", os.devnull) for _ in range(2)]
    for file in files:
        file.write(f"{LogLevel.info}\n")
        file.close()


def test_log_file_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    file = _open("broker", str(path))
    file.write("one\n")
    path.rename(tmp_path / "moved")
    file.write("two\n")
    file.reopen()
    file.write("three\n")
    file.close()
    assert (tmp_path / "moved").read_text() == "one\ntwo\n"
    assert path.read_text() == "three\n"


@pytest.mark.fault("C038")
def test_log_file_that_cannot_be_opened_is_tried_again_at_each_line(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    path = folder / "x.log"
    writer_file = _open("broker", str(path))
    writer = LogWriter(TextFormat("broker"), writer_file.write)
    writer(event("one"))
    folder.rename(tmp_path / "moved")
    with pytest.raises(OSError, match="No such file"):
        writer_file.reopen()
    for text in ("two", "three"):
        writer(event(text))
    assert (writer.lost, writer.counts.lost) == (2, 2)
    folder.mkdir()
    writer(event("four"))
    writer_file.close()
    said = [line.partition("] ")[2] for line in path.read_text().splitlines()]
    assert said == ["2 log lines could not be written", "four"]
    assert (writer.lost, writer.counts.lost) == (0, 2)


def test_log_file_rotates_by_itself_and_on_demand(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    file = _open("broker", str(path))
    file.rotateLength = 100
    for number in range(21):
        file.write(f"line {number:04}\n")
    file.rotate()
    file.write("last\n")
    file.close()
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "x.log",
        "x.log.1",
        "x.log.2",
        "x.log.3",
    ]
    assert path.read_text() == "last\n"
    assert [len((tmp_path / f"x.log.{n}").read_text().splitlines()) for n in (1, 2, 3)] == [
        1,
        10,
        10,
    ]
