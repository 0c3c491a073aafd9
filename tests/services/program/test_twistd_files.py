from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.python import usage

from services.program.start import CONFIGURATION_ERROR
from services.program.twistd_files import settle

DEFAULT = "twistd.pid"


class Twistd(usage.Options):
    """What `settle` reads of the real ones."""

    optFlags = [["nodaemon", "n", ""], ["syslog", "", ""], ["debug", "", ""]]  # noqa: RUF012
    optParameters = [["pidfile", "", DEFAULT, ""], ["logfile", "", None, ""]]  # noqa: RUF012


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settled(*arguments: str) -> tuple[Any, Any]:
    twistd: Any = cast(Any, Twistd)()
    twistd.parseOptions(arguments)
    settle("broker", twistd)
    return twistd["pidfile"], twistd["logfile"]


def mistake(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        settled(*arguments)
    assert caught.value.code == CONFIGURATION_ERROR
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


def test_background_program_has_a_pid_file_and_a_log_of_its_name(here: Path) -> None:
    assert settled() == ("broker.pid", str(here / "broker.log"))


@pytest.mark.parametrize("argument", ["-n", "--debug"])
def test_foreground_program_has_no_files(argument: str) -> None:
    assert settled(argument) == ("", None)


def test_files_that_were_given_stay(here: Path) -> None:
    expected = "x.pid", str(here / "x.log")
    assert settled("--pidfile=x.pid", "--logfile=x.log") == expected
    assert settled("-n", "--pidfile=x.pid", "--logfile=x.log") == expected
    assert settled("-n", "--logfile=-") == ("", "-")


def test_pid_file_of_twistds_own_name_stays_when_asked_for() -> None:
    assert settled("--pidfile", "twistd" + os.extsep + "pid")[0] == DEFAULT
    assert settled("-n", "--pidfile=" + DEFAULT)[0] == DEFAULT


def test_program_that_logs_to_syslog_has_no_log_file() -> None:
    assert settled("--syslog") == ("broker.pid", None)


def test_background_program_cannot_log_to_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    assert "add -n" in mistake(capfd, "--logfile=-")


def test_pid_file_of_a_live_process_is_respected(
    capfd: pytest.CaptureFixture[str], here: Path
) -> None:
    for process in (1, os.getppid()):
        (here / "broker.pid").write_text(str(process))
        assert f"process {process} runs already" in mistake(capfd)
        assert (here / "broker.pid").exists()
        assert settled("-n") == ("", None)


def test_process_of_another_user_lives_too(
    capfd: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_yours(process: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "kill", not_yours)
    (here / "broker.pid").write_text("4321")
    assert "process 4321 runs already" in mistake(capfd)


def test_stale_pid_file_is_removed(here: Path) -> None:
    gone = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(gone, 0)
    for process in (gone, 2**31 - 1, 9_999_999_999, os.getpid()):
        (here / "broker.pid").write_text(f"{process}\n")
        settled()
        assert not (here / "broker.pid").exists()


@pytest.mark.parametrize("content", ["", "0", "-1", "x", "1 2", "\u0661", "9" * 100])
def test_pid_file_without_a_process_number_is_a_mistake(
    capfd: pytest.CaptureFixture[str], here: Path, content: str
) -> None:
    (here / "broker.pid").write_text(content)
    assert "holds no process number" in mistake(capfd)
    assert (here / "broker.pid").exists()


def test_pid_file_that_cannot_be_is_a_mistake(
    capfd: pytest.CaptureFixture[str], here: Path
) -> None:
    assert "cannot write" in mistake(capfd, "--pidfile=nosuch/x.pid")
    (here / "directory").mkdir()
    assert "cannot read" in mistake(capfd, "--pidfile=directory")
