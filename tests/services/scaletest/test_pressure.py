"""The cases of too much are tried, small, and tell their figures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from services.scaletest.programs import clean_environment

FIGURES = {
    "C032": ("5,000 in a second", "lag so far, ms", "churn", "memory, MiB", "lag, ms"),
    "C034": (
        *("commands", "read after, ms", "waited at most, bytes", "cut off by 508"),
        *("memory, MiB", "lag, ms"),
    ),
    "C035": (
        *("commands", "read after, ms", "waited at most, bytes", "cut off by 508"),
        *("memory, MiB", "lag, ms"),
    ),
    "C037": ("registered", "lost, refused", "memory, MiB", "lag, ms"),
}


@pytest.mark.e2e
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param("C032", marks=pytest.mark.fault("C032")),
        pytest.param("C034", marks=pytest.mark.fault("C034")),
        pytest.param("C035", marks=pytest.mark.fault("C035")),
        pytest.param("C037", marks=pytest.mark.fault("C037")),
    ],
)
def test_a_case_is_tried_and_its_figures_are_told(
    case: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if request.config.getoption("reactor") != "default":
        pytest.skip("it runs on the default reactor, whichever runs the tests")
    done = subprocess.run(
        [sys.executable, "-m", "services.scaletest.pressure", case, "--scale", "0.01"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, *figures, verdict = done.stdout.splitlines()
    assert first.startswith(f"{case}: ")
    told = [re.split(r"  +", line.strip())[0] for line in figures]
    assert tuple(told) == FIGURES[case]
    assert verdict == "PASS"
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_case_is_told_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.scaletest.pressure", "C999"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert "invalid choice: 'C999'" in done.stderr.splitlines()[-1]
