"""What a program's user meets: statuses, lines, files and signals of real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.ports import reserved_port

from .conftest import Host, own_lines, until

pytestmark = pytest.mark.e2e

REACTORS = ["--reactor=default", "--reactor=asyncio"]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"{text!r} was never said")


@pytest.mark.parametrize(
    ("command", "status"),
    [(("twistd", "-n"), 0), (("twistd", "--reactor=asyncio", "-n"), 3), (("twist",), 4)],
)
def test_program_ends_with_exactly_the_status_it_chose(
    host: Host, command: tuple[str, ...], status: int
) -> None:
    ended, out, err = host.run(*command, "sample", "--log-format=text", "--end", str(status))
    assert (ended, err) == (status, "")
    said = [line.partition("] ")[2] for line in own_lines(out)]
    assert said == ["ready", "stopping", "last trigger"]
    assert os.listdir(host.directory) == []


@pytest.mark.parametrize(
    ("command", "number"),
    [
        (("twistd", "-n"), signal.SIGINT),
        (("twistd", "--reactor=asyncio", "-n"), signal.SIGTERM),
        (("twist",), signal.SIGTERM),
    ],
)
def test_signal_ends_the_program_in_order_with_status_0(
    host: Host, command: tuple[str, ...], number: signal.Signals
) -> None:
    process = host.start(*command, "sample")
    wait_for_line(process, "ready")
    process.send_signal(number)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    assert "stopping" in out
    assert "last trigger" in out


@pytest.mark.fault("C069")
def test_doubled_signal_before_the_reactor_runs_is_one_that_takes_effect_then(host: Host) -> None:
    status, out, err = host.run("twistd", "-n", "sample", "--hasty")
    assert (status, err) == (0, "")
    assert "last trigger" in out


@pytest.mark.fault("C069")
def test_second_signal_ends_the_program_at_once(host: Host) -> None:
    process = host.start("twistd", "-n", "--pidfile=x.pid", "sample", "--deaf")
    wait_for_line(process, "ready")
    process.send_signal(signal.SIGTERM)
    wait_for_line(process, "asked to stop")
    assert process.poll() is None

    def signalled() -> bool:
        process.send_signal(signal.SIGTERM)
        return process.poll() is not None

    until(signalled)
    assert (process.returncode, process.communicate()) == (0, ("", ""))
    assert os.listdir(host.directory) == []


def test_service_that_never_stops_does_not_hold_the_end_up(host: Host) -> None:
    status, out, err = host.run("twistd", "-n", "--pidfile=x.pid", "sample", "--stuck", "--end=9")
    assert (status, err) == (9, "")
    assert "stopping" in out
    assert "last trigger" not in out
    assert os.listdir(host.directory) == []


@pytest.mark.parametrize(
    ("command", "arguments", "line"),
    [
        (("twistd",), ["--end", "999"], "--end: '999' is not a whole number from 0 to 255"),
        (("twist",), ["--nosuch\x1b\n"], r"option --nosuch\x1b\n not recognized"),
        (("twistd", "-n"), ["--both", "--end=1"], "--both: not together with --end"),
    ],
)
def test_mistake_on_the_command_line_is_one_line_and_status_78(
    host: Host, command: tuple[str, ...], arguments: list[str], line: str
) -> None:
    expected = f"sample: {line} (try: {command[0]} sample --help)\n"
    assert host.run(*command, "sample", *arguments) == (78, "", expected)
    assert os.listdir(host.directory) == []


@pytest.mark.parametrize("command", [("twistd",), ("twistd", "--reactor=asyncio"), ("twist",)])
def test_port_in_use_is_one_line_and_status_78(
    host: Host, command: tuple[str, ...], taken: int
) -> None:
    expected = f"sample: cannot listen on tcp://127.0.0.1:{taken}: Address already in use\n"
    listen = ("--listen=0", f"--listen={taken}")
    assert host.run(*command, "sample", *listen) == (78, "", expected)
    assert os.listdir(host.directory) == []


@pytest.mark.parametrize("reactor", REACTORS)
def test_background_program_has_files_of_its_own_and_serves(host: Host, reactor: str) -> None:
    with reserved_port() as port:
        assert host.run("twistd", reactor, "sample", f"--listen={port}") == (0, "", "")
    assert sorted(os.listdir(host.directory)) == ["sample.log", "sample.pid"]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(20)
        connection.sendall(b"still there?")
        assert connection.recv(100) == b"still there?"
    os.kill(host.background("sample.pid"), signal.SIGTERM)
    until(lambda: os.listdir(host.directory) == ["sample.log"])
    said = own_lines((host.directory / "sample.log").read_text())
    assert [line.partition(" ")[2] for line in said] == [
        f"[sample] {text}" for text in (f"listening on {port}", "ready", "stopping", "last trigger")
    ]


@pytest.mark.parametrize("redirection", ["<&-", "<&- >&- 2>&-"])
def test_background_program_started_with_closed_descriptors_serves(
    host: Host, redirection: str
) -> None:
    with reserved_port() as port:
        assert host.shell(f"twistd sample --listen={port} {redirection}") == (0, "", "")
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(20)
        connection.sendall(b"still there?")
        assert connection.recv(100) == b"still there?"
    os.kill(host.background("sample.pid"), signal.SIGTERM)
    until(lambda: os.listdir(host.directory) == ["sample.log"])
    assert "critical" not in (host.directory / "sample.log").read_text()


def test_background_program_whose_reactor_is_in_the_way_does_not_start(host: Host) -> None:
    status, out, err = host.shell("twistd --reactor=epoll sample <&-")
    assert (status, out, err.count("\n")) == (78, "", 1)
    assert err.startswith("sample: stdin, stdout or stderr is closed; ")


def test_second_program_does_not_take_the_files_of_the_first(host: Host) -> None:
    assert host.run("twistd", "sample")[0] == 0
    again = host.run("twistd", "sample")
    assert (again[0], again[1]) == (78, "")
    assert again[2].count("\n") == 1
    assert f"process {host.background('sample.pid')} runs already" in again[2]
    other = host.run("twistd", "--pidfile=other.pid", "sample")
    assert (other[0], other[1]) == (78, "")
    assert "sample.log is the log of another program that runs" in other[2]
    assert sorted(os.listdir(host.directory)) == ["sample.log", "sample.pid"]


def test_background_program_stopped_as_soon_as_it_started_removes_its_pid_file(host: Host) -> None:
    for _ in range(2):
        assert host.run("twistd", "sample")[0] == 0
        os.kill(host.background("sample.pid"), signal.SIGTERM)
        until(lambda: os.listdir(host.directory) == ["sample.log"])
    assert (host.directory / "sample.log").read_text().count("last trigger") == 2


def test_programs_in_the_foreground_never_meet_over_a_file(host: Host) -> None:
    processes = [host.start("twistd", "-n", "sample") for _ in range(2)]
    for process in processes:
        wait_for_line(process, "ready")
    assert os.listdir(host.directory) == []
    for process in processes:
        process.terminate()
        assert process.wait(20) == 0


def test_files_that_were_asked_for_are_used(host: Host) -> None:
    options = ("--pidfile=a.pid", "--logfile=b.log", "--rundir=/")
    assert host.run("twistd", *options, "sample") == (0, "", "")
    assert sorted(os.listdir(host.directory)) == ["a.pid", "b.log"]
    os.kill(host.background("a.pid"), signal.SIGUSR1)
    until((host.directory / "b.log.1").exists)
    os.kill(host.background("a.pid"), signal.SIGTERM)
    until(lambda: not (host.directory / "a.pid").exists())
    assert "last trigger" in (host.directory / "b.log").read_text()


def test_program_that_logs_to_syslog_logs_nowhere_else(host: Host) -> None:
    # Twisted's own syslog module is deprecated, and still what --syslog uses.
    environ = {**host.environ, "PYTHONWARNINGS": "ignore"}
    command = ("twistd", "-n", "--syslog", "sample", "--end=0")
    assert host.run(*command, env=environ) == (0, "", "")


def test_log_that_cannot_be_written_is_one_line_and_status_78(host: Host) -> None:
    status, out, err = host.run("twistd", "--logfile=nosuch/x.log", "sample")
    expected = f"sample: --logfile: cannot write {host.directory}/nosuch/x.log: "
    assert (status, out, err) == (78, "", f"{expected}No such file or directory\n")
    assert os.listdir(host.directory) == []


@pytest.mark.parametrize("command", [("twistd", "-n"), ("twist",)])
def test_json_log_is_one_object_per_line(host: Host, command: tuple[str, ...]) -> None:
    status, out, err = host.run(*command, "sample", "--log-format=json", "--nasty", "--end=0")
    assert (status, err) == (0, "")
    events = [json.loads(line) for line in out.splitlines()]
    events = [event for event in events if not event["message"].startswith("held up ")]
    assert [event["message"] for event in events[2:]] == ["ready", "stopping", "last trigger"]
    assert (events[0]["level"], events[0]["number"]) == ("info", 7)
    assert events[0]["text"] == events[0]["message"]
    assert events[1]["level"] == "critical"
    assert "ValueError" in events[1]["traceback"]


def test_text_log_keeps_an_event_on_one_line_and_indents_its_traceback(host: Host) -> None:
    _, out, _ = host.run("twistd", "-n", "sample", "--nasty", "--end=0")
    first, second, *rest = own_lines(out)
    shown = r"line\nforged \x1b[31m\x85\u2028\ud800 {0.__class__} %s {secret}"
    assert first.endswith(f"Z [sample] {shown}")
    assert second.endswith(f"Z [sample#critical] it failed: {shown}")
    assert [line for line in rest if not line.startswith("    ")] == rest[-3:]
    assert out.count("Traceback") == 1


@pytest.mark.parametrize(("command", "status"), [(("twistd", "-n"), 0), (("twist",), 5)])
def test_log_that_nobody_reads_changes_neither_status_nor_stderr(
    host: Host, command: tuple[str, ...], status: int
) -> None:
    read, write = os.pipe()
    os.close(read)
    options = ("--nasty", f"--end={status}")
    try:
        assert host.run(*command, "sample", *options, stdout=write) == (status, "", "")
    finally:
        os.close(write)


def test_colour_is_for_terminals_alone(host: Host) -> None:
    master, terminal = os.openpty()
    try:
        status, _, _ = host.run("twistd", "-n", "sample", "--nasty", "--end=0", stdout=terminal)
        shown = os.read(master, 65536).decode()
    finally:
        os.close(master)
        os.close(terminal)
    assert status == 0
    assert "\x1b[1;31m[sample#critical]\x1b[0m it failed" in shown


def test_help_names_defaults_and_variables(host: Host) -> None:
    status, out, err = host.run("twistd", "sample", "--help")
    assert (status, err) == (0, "")
    assert "--listen=PORT" in out
    assert "[env SAMPLE_LISTEN]" in out
    assert "--log-format=text|json" in out
    commands = host.run("twistd", "--help")[1]
    assert "    broker           Hold a fleet of engines and give them work.\n" in commands
    assert "    engine           Register with a broker and do its work.\n" in commands


def test_shell_completion_knows_the_table(host: Host) -> None:
    status, out, err = host.run("twistd", "sample", "-", "--_shell-completion", "zsh:3")
    assert (status, err) == (0, "")
    assert ":log-format:(text json)'" in out
    assert "'*--listen=[" in out


def test_somebody_elses_services_is_one_sentence_and_status_78(host: Host) -> None:
    foreign = host.directory.parent / "path" / "services"
    foreign.mkdir()
    (foreign / "__init__.py").write_text("raise SystemExit('imported')")
    status, out, err = host.run("twistd", "broker")
    assert (status, out, err.count("\n")) == (78, "", 1)
    assert err.startswith(f"broker: the package 'services' found at '{foreign}' is not ")
