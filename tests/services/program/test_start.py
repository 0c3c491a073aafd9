from __future__ import annotations

import io
import socket
import sys

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.defer import fail as failed
from twisted.internet.error import CannotListenError

from brokerproto.errors import ListenError
from services.program.start import CONFIGURATION_ERROR, fail, listen_or_exit


def test_mistake_is_one_line_and_status_78(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        fail("broker", "one\ntwo\x1b[31m\ud800")
    assert caught.value.code == CONFIGURATION_ERROR == 78
    assert capfd.readouterr() == ("", "broker: one\\ntwo\\x1b[31m\\ud800\n")


def test_mistake_reaches_the_terminal_when_the_log_has_taken_stderr(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with pytest.raises(SystemExit):
        fail("broker", "a mistake")
    assert capfd.readouterr().err == "broker: a mistake\n"


def test_mistake_without_stderr_is_a_status_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stderr__", None)
    with pytest.raises(SystemExit) as caught:
        fail("broker", "nobody reads this")
    assert caught.value.code == CONFIGURATION_ERROR


def test_port_that_listens_is_given_back() -> None:
    assert listen_or_exit("broker", "tcp://127.0.0.1:0", succeed("port")) == "port"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            CannotListenError("::1", 1337, OSError(98, "Address already in use")),
            "cannot listen on tcp://[::1]:1337: Address already in use",
        ),
        (
            OSError(13, "Permission denied"),
            "cannot listen on tcp://[::1]:1337: Permission denied",
        ),
        (
            CannotListenError("x", 1, socket.gaierror(-2, "Name or service not known")),
            "cannot listen on tcp://[::1]:1337: Name or service not known",
        ),
        (ListenError("tcp://x:1", "no such host"), "cannot listen on tcp://x:1: no such host"),
    ],
)
def test_failure_to_listen_is_one_line(
    capfd: pytest.CaptureFixture[str], error: Exception, line: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        listen_or_exit("broker", "tcp://[::1]:1337", failed(error))
    assert caught.value.code == CONFIGURATION_ERROR
    assert capfd.readouterr() == ("", f"broker: {line}\n")


def test_bug_is_not_taken_for_a_mistake() -> None:
    with pytest.raises(TypeError):
        listen_or_exit("broker", "tcp://x:1", failed(TypeError("a bug")))


def test_listening_that_needs_a_running_reactor_is_one_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        listen_or_exit("broker", "tcp://x:1", Deferred[object]())
    assert caught.value.code == CONFIGURATION_ERROR
    line = "broker: cannot listen on tcp://x:1: it cannot be had before the program runs\n"
    assert capfd.readouterr() == ("", line)
