"""The demonstration: it runs, shows, and judges."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from services.scaletest import demo
from services.scaletest.programs import ProgramError, clean_environment

STEPS = ["joined", "beating", "worked", "killed", "came back", "beating"]


@pytest.mark.e2e
def test_demo_of_twenty_engines_closes_its_account(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.scaletest.demo", "--engines", "20"],
        cwd=tmp_path,
        env={**clean_environment(), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].startswith("broker on tcp://127.0.0.1:")
    steps = [match[1] for line in lines if (match := re.match(r" *\d+\.\d s  ✓ (.{9})", line))]
    assert [step.strip() for step in steps] == STEPS
    table = {line.strip().partition("  ")[2]: int(line.split()[0]) for line in lines if row(line)}
    sent, counted = table["heartbeats sent by the engines"], table["counted by the broker"]
    assert sent == counted > 8 * 20
    assert table["registrations of 20 engines"] == table["left, with a Bye"] == 22
    assert sum(line.startswith("  ✓ ") for line in lines) == 7
    assert lines[-1] == "PASS the account closes"
    assert list(tmp_path.iterdir()) == []


def row(line: str) -> bool:
    """Whether a line is one of the account's."""
    return re.match(r" *\d+  [a-z]", line) is not None


@pytest.mark.parametrize("engines", ["0", "5", "12"])
def test_demo_that_cannot_go_on_says_why_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], engines: str
) -> None:
    counts: list[int] = []

    def fails(console: Any, folder: Path, count: int) -> bool:
        counts.append(count)
        (folder / "broker.jsonl").write_text("one\ntwo\n")
        raise ProgramError("nobody came")

    monkeypatch.setattr(demo, "_demonstrate", fails)
    monkeypatch.setattr(sys, "argv", ["demo", "--engines", engines])
    assert demo.main() == 1
    assert capsys.readouterr().out.splitlines() == [
        "FAIL nobody came",
        "the last lines of broker.jsonl:",
        "one",
        "two",
    ]
    # Fewer would leave nobody to kill.
    assert counts == [max(10, int(engines))]


@pytest.mark.parametrize(("holds", "status"), [(True, 0), (False, 1)])
def test_status_is_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    holds: bool,
    status: int,
) -> None:
    monkeypatch.setattr(demo, "_demonstrate", lambda *_: holds)
    monkeypatch.setattr(sys, "argv", ["demo"])
    assert demo.main() == status
    assert capsys.readouterr().out.startswith("PASS" if holds else "FAIL")
