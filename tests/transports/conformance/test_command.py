"""``python -m transports.conformance``, in a process of its own and in this one."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from tests.transports.conformance.harbour import ADDRESS, Harbour
from transports import URI
from transports.conformance import LAWS, Subject, __main__

COMMAND = [sys.executable, "-m", "transports.conformance"]
PROGRAM = "python -m transports.conformance"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.e2e
def test_every_law_has_a_tick(reactor_name: str) -> None:
    done = run("tcp://127.0.0.1:0", "--reactor", reactor_name)
    lines = done.stdout.splitlines()
    assert lines[0] == "tcp://127.0.0.1:0, framing lines"
    assert lines[1:-1] == [f"✓ {law.name:<22} {law.sentence}" for law in LAWS]
    assert lines[-1] == f"PASS {len(LAWS)} kept, 0 broken"
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.e2e
def test_address_that_cannot_be_dialled_breaks_a_law_and_a_contact_mends_it() -> None:
    law = ("--law", "order", "--law", "flush")
    alone = run("tcp://*:0", *law)
    assert alone.returncode == 1
    assert "InvalidURIError" in alone.stdout
    assert alone.stdout.splitlines()[-1] == "FAIL 0 kept, 2 broken"
    mended = run("tcp://*:0", "--contact", "tcp://127.0.0.1:0", *law)
    assert (mended.returncode, mended.stderr) == (0, "")
    assert mended.stdout.splitlines()[-1] == "PASS 2 kept, 0 broken"


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_are_for_a_terminal(environment: dict[str, str], coloured: bool) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            [*COMMAND, "inproc://name", "--law", "order"],
            stdout=theirs,
            env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **environment},
        )
        os.close(theirs)
        text = b""
        while b"PASS" not in text:
            text += terminal.read(1024)
        assert process.wait(300) == 0
    assert (b"\x1b[32m" in text) is coloured


@pytest.mark.e2e
def test_terminal_without_ticks_is_told_as_much_as_it_can_show() -> None:
    done = run("inproc://name", "--law", "order", PYTHONIOENCODING="ascii")
    assert done.stdout.splitlines()[1].startswith("? order")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.e2e
def test_nobody_who_reads_is_told_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as out:
        done = subprocess.run(
            [*COMMAND, "inproc://name"],
            stdout=out,
            stderr=subprocess.PIPE,
            timeout=300,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.e2e
def test_interruption_is_no_pass(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        # Whoever runs the tests in the background has them, and all below, ignore it.
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import transports.conformance as kit\n"
        "async def wait(meeting):\n"
        "    print('waiting', flush=True)\n"
        "    await meeting.until('nothing', lambda: False)\n"
        "kit.LAWS = (kit.Law('wait', 'it waits', wait),)\n"
    )
    process = subprocess.Popen(
        [*COMMAND, "inproc://name"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}"},
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout as out:
        while "waiting" not in out.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(300) == 130


@pytest.mark.parametrize(
    ("contact", "dialled"), [("tcp://name:0", "tcp://name:7"), ("tcp://name:8", "tcp://name:8")]
)
def test_port_0_of_a_contact_becomes_the_one_listened_on(contact: str, dialled: str) -> None:
    told = __main__._contact(URI.parse(contact))
    assert str(told["contact"](URI.parse("tcp://*:7"))) == dialled


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        __main__.main(arguments)
    captured = capsys.readouterr()
    assert (caught.value.code, captured.out) == (2, "")
    assert captured.err.startswith(f"{PROGRAM}: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "an address is missing"),
        (("tcp:/127.0.0.1",), "'tcp:/127.0.0.1': the scheme is missing"),
        (("pigeon://loft",), "'pigeon://': no transport has this scheme"),
        (("inproc://name", "--law", "gravity"), "'gravity' is no law; --list shows them"),
        (("inproc://name", "--timeout", "0"), "'0' is no number of seconds above 0"),
        (("inproc://name", "--timeout", "soon"), "'soon' is no number of seconds above 0"),
        (("inproc://name", "--timeout", "inf"), "'inf' is no number of seconds above 0"),
        (("inproc://name", "--contact", "nowhere"), "'nowhere': the scheme is missing"),
        (("inproc://name", "stray"), "stray"),
        (("tcp://127.0.0.1",), "'tcp://127.0.0.1': the port is missing"),
        (("tcp://*:0", "--contact", "inproc://name"), "no address of the scheme 'tcp'"),
    ],
)
def test_mistake_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setattr(__main__, "installReactor", lambda name: None)
    assert said in refused(capsys, *arguments)


def test_transport_that_raises_what_it_likes_is_left_to_the_laws() -> None:
    class Raises(Harbour):
        def server_endpoint(self, reactor: Any, uri: URI) -> Any:
            raise ValueError("not the user's mistake")

    assert __main__._mistake(Subject(Clock(), Raises(), URI.parse(ADDRESS)), None) is None


def test_unknown_reactor_is_told_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "inproc://name", "--reactor", "nuclear")
    assert re.search("'nuclear' is no reactor; known are asyncio, .*epoll", said)


def test_reactor_that_does_not_work_here_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def install(name: str) -> Any:
        raise ImportError("no wings")

    monkeypatch.setattr(__main__, "installReactor", install)
    said = refused(capsys, "inproc://name", "--reactor", "kqueue")
    assert "the reactor 'kqueue' cannot be had: no wings" in said


def test_laws_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        __main__.main(["--list"])
    assert caught.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [law.name for law in LAWS]


@pytest.mark.parametrize(("runs", "code"), [(True, 0), (False, 130)])
def test_what_ended_before_its_summary_was_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], runs: bool, code: int
) -> None:
    def react(main: Any, _reactor: Clock) -> None:
        if runs:
            ensureDeferred(main(_reactor))
            _reactor.advance(0)
        raise SystemExit(0)

    monkeypatch.setattr(__main__, "installReactor", lambda name: Clock())
    monkeypatch.setattr(__main__, "react", react)
    with pytest.raises(SystemExit) as caught:
        __main__.main(["inproc://name"])
    assert caught.value.code == code
    assert ("PASS" in capsys.readouterr().out) is runs
