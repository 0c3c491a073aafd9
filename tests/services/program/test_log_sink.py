"""Lines arrive whole, in order, or not at all; and nobody waits for a reader."""

from __future__ import annotations

import fcntl
import os
import pty
import resource
import signal
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.program import log_sink
from services.program.log_sink import LineSink

from .conftest import until

pytestmark = pytest.mark.fault("C038")

PAGE = 4096


def small_pipe() -> tuple[int, int]:
    """Make a pipe that takes a page."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PAGE)
    return read, write


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = small_pipe()
    yield read, write
    os.close(read)
    os.close(write)


@pytest.fixture(params=["opened anew", "asked"])
def pipe_sink(
    request: pytest.FixtureRequest, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> Iterator[LineSink]:
    """A sink that writes to `pipe` in either way."""
    if request.param == "asked":
        monkeypatch.setattr(log_sink, "_opened_anew", lambda _descriptor: None)
    sink = LineSink(pipe[1])
    yield sink
    sink.close()


def fill(sink: LineSink) -> list[bytes]:
    """Write numbered lines until no more is taken; give those that were."""
    taken: list[bytes] = []
    for number in range(10_000):
        line = b"%05d %s\n" % (number, b"x" * 90)
        if not is_written(sink, line):
            return taken
        taken.append(line)
    raise AssertionError("it never blocked")


def is_written(sink: LineSink, line: bytes) -> bool:
    """Try to write a line, and say whether it was taken."""
    try:
        sink.write(line)
    except BlockingIOError:
        return False
    return True


def drained(descriptor: int) -> bytes:
    """Read what is there now."""
    os.set_blocking(descriptor, False)
    read = b""
    try:
        while piece := os.read(descriptor, 65536):
            read += piece
    except BlockingIOError:
        pass
    return read


def test_pipe_that_nobody_reads_takes_whole_lines_and_then_none(
    pipe: tuple[int, int], pipe_sink: LineSink
) -> None:
    taken = fill(pipe_sink)
    read = b""
    for number in (1, 2):
        read += drained(pipe[0])
        pipe_sink.write(b"after %d\n" % number)
    read += drained(pipe[0])
    assert read == b"".join(taken) + b"after 1\nafter 2\n"


def test_flags_of_the_shared_descriptor_stay(pipe: tuple[int, int], pipe_sink: LineSink) -> None:
    before = fcntl.fcntl(pipe[1], fcntl.F_GETFL)
    fill(pipe_sink)
    assert fcntl.fcntl(pipe[1], fcntl.F_GETFL) == before
    assert os.get_blocking(pipe[1])


def test_two_writers_of_one_pipe_do_not_block_each_other(pipe: tuple[int, int]) -> None:
    one, other = LineSink(pipe[1]), LineSink(pipe[1])
    fill(one)
    with pytest.raises(BlockingIOError):
        other.write(b"y" * PAGE + b"\n")
    assert not other.is_amid_a_line
    one.close()
    other.close()


@pytest.mark.parametrize("length", [PAGE + 1, 3 * PAGE, 100_000])
def test_line_longer_than_the_pipe_is_finished_before_the_next(
    pipe: tuple[int, int], pipe_sink: LineSink, length: int
) -> None:
    long = b"z" * length + b"\n"
    pipe_sink.write(long)
    assert pipe_sink.is_amid_a_line
    came, written = b"", False
    for _ in range(2 + length // PAGE):
        came += drained(pipe[0])
        try:
            pipe_sink.write(b"next\n")
        except BlockingIOError:
            continue
        written = True
        break
    came += drained(pipe[0])
    assert (written, came) == (True, long + b"next\n")


@given(
    st.lists(
        st.one_of(st.integers(0, 9000).map(lambda n: b"a" * n + b"\n"), st.integers(1, 6000)),
        max_size=30,
    )
)
def test_whatever_is_read_is_the_lines_that_were_taken_and_in_order(
    script: list[bytes | int],
) -> None:
    read, write = small_pipe()
    sink = LineSink(write)
    os.set_blocking(read, False)
    taken, came = b"", b""
    for step in script:
        if isinstance(step, int):
            with suppress(BlockingIOError):
                came += os.read(read, step)
        else:
            taken += step if is_written(sink, step) else b""
    for _ in range(1 + len(taken) // PAGE):
        came += drained(read)
        if sink.is_amid_a_line and is_written(sink, b"end\n"):
            taken += b"end\n"
    came += drained(read)
    sink.close()
    os.close(read)
    os.close(write)
    assert came == taken


def test_pipe_whose_reader_is_gone_is_an_error_and_not_the_end() -> None:
    read, write = small_pipe()
    sink = LineSink(write)
    os.close(read)
    for _ in range(2):
        with pytest.raises(BrokenPipeError):
            sink.write(b"x\n")
    sink.close()
    os.close(write)


def test_full_device_is_an_error() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        sink = LineSink(full.fileno())
        with pytest.raises(OSError, match="No space left"):
            sink.write(b"x\n")
        assert not sink.is_amid_a_line


def test_disk_that_is_full_amid_a_line_gets_the_rest_of_it_later(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = tmp_path / "log"
    with path.open("wb", buffering=0) as file:
        sink = LineSink(file.fileno())
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (15, before[1]))
            sink.write(b"one line\n")
            sink.write(b"another line\n")
            for _ in range(2):
                with pytest.raises(OSError, match="File too large"):
                    sink.write(b"lost\n")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)
        assert path.read_bytes() == b"one line\nanothe"
        sink.write(b"the last\n")
    assert path.read_bytes() == b"one line\nanother line\nthe last\n"


def test_stopped_terminal_blocks_nobody_and_loses_no_half_line() -> None:
    master, terminal = pty.openpty()
    attributes = termios.tcgetattr(terminal)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)
    sink = LineSink(terminal)
    sink.write(b"before\n")
    os.write(master, b"\x13")  # Ctrl-S
    stopped = fill(sink)
    os.write(master, b"\x11")  # Ctrl-Q
    until(lambda: is_written(sink, b"after\n"))
    read = b""

    def came() -> bool:
        nonlocal read
        read += drained(master)
        return read.endswith(b"after\n")

    until(came)
    sink.close()
    os.close(master)
    os.close(terminal)
    assert read == b"before\n" + b"".join(stopped) + b"after\n"


def test_terminal_that_nobody_reads_blocks_nobody() -> None:
    master, terminal = pty.openpty()
    attributes = termios.tcgetattr(terminal)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)
    sink = LineSink(terminal)
    taken = fill(sink)
    read = b""
    for _ in range(1000):
        piece = drained(master)
        if not piece:
            break
        read += piece
    sink.close()
    os.close(master)
    os.close(terminal)
    assert b"".join(taken).startswith(read)
    assert len(read) > PAGE // 2
