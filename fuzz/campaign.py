"""Fuzzing one target: how atheris is started, and what became of it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from attrs import field, frozen

from fuzz.targets import CORPUS, WORDS, Target

__all__ = ["ROOT", "Campaign", "FuzzingError", "unavailable"]

ROOT = Path(__file__).resolve().parent.parent

# A machine may stand still for a minute; this is for what never ends.
_TIMEOUT = 600
_MOST_BYTES_KEPT = 400
_LINES_SHOWN = 40
_BAD = ("crash", "timeout", "oom", "leak")


class FuzzingError(Exception):
    """Something was found, or the fuzzer could not do its work."""


def unavailable() -> str | None:
    """Say why nothing can be fuzzed here, if that is so."""
    if find_spec("atheris") is not None:
        return None
    return (
        "atheris is not installed; it has wheels for Linux on x86-64, where make fuzz"
        " installs it. The tests in tests/fuzz run the same targets without it"
    )


@frozen
class Campaign:
    """Fuzzing of one target, in a process of its own.

    Attributes:
        name: The target's, for people.
        target: What is fuzzed.
        work: Where the fuzzer's log is, and each input that broke the target.
        kept: Where the inputs are that are committed.
        found: Where new ones are that reached something.
    """

    name: str
    target: Target
    work: Path
    kept: Path = field()
    found: Path = field()

    @kept.default
    def _kept_by_name(self) -> Path:
        return CORPUS / self.name

    @found.default
    def _found_in_work(self) -> Path:
        return self.work / "found"

    def run(self, *, seconds: int | None = None, runs: int | None = None, seed: int = 0) -> str:
        """Fuzz for so long or so often, and say in one line what came of it.

        Args:
            seconds: About how long; None for no such end.
            runs: How many inputs; None for no such end.
            seed: What mutations depend on; 0 to draw it.

        Raises:
            FuzzingError: An input broke the target; the text says which, and how.
        """
        ends = {"max_total_time": seconds, "runs": runs}
        limits = [f"-{name}={value}" for name, value in ends.items() if value is not None]
        before = set(self._broke_it())
        began = time.monotonic()
        log = self._fuzzer(
            f"-seed={seed}",
            f"-max_len={self.target.longest}",
            *limits,
            "-print_final_stats=1",
            self.found,
            self.kept,
        )
        took = time.monotonic() - began
        bad = [path for path in self._broke_it() if path not in before]
        if bad or not re.search(r"^Done \d+ runs", log, re.MULTILINE):
            raise FuzzingError(self._verdict(bad, log))
        inputs = _last(r"stat::number_of_executed_units: (\d+)", log)
        branches = _last(r"cov: (\d+)", log)
        return f"{self.name}: {inputs} inputs in {took:.0f} s, {branches} branches reached"

    def keep(self) -> str:
        """Put what reaches most with least into the kept corpus, and say how much that is.

        Inputs that people have named stay.

        Raises:
            FuzzingError: The fuzzer did not do it; nothing was changed.
        """
        merged = self.work / "merged"
        shutil.rmtree(merged, ignore_errors=True)
        merged.mkdir(parents=True)
        for path in self.kept.iterdir():
            if not re.fullmatch(r"[0-9a-f]{40}", path.name):
                shutil.copy(path, merged)
        log = self._fuzzer(
            "-merge=1", f"-max_len={_MOST_BYTES_KEPT}", merged, self.kept, self.found
        )
        if "MERGE-OUTER: " not in log:
            raise FuzzingError(self._verdict([], log))
        for path in self.kept.iterdir():
            path.unlink()
        for path in merged.iterdir():
            shutil.copy(path, self.kept)
        sizes = [path.stat().st_size for path in self.kept.iterdir()]
        return f"{self.name}: {len(sizes)} inputs kept, {sum(sizes)} bytes"

    def _fuzzer(self, *arguments: str | Path) -> str:
        """Run atheris, and return what it said."""
        self.found.mkdir(parents=True, exist_ok=True)
        again, log = self.work / "again", self.work / "log"
        start = [sys.executable, "-m", "fuzz.under_atheris", self.target.module]
        command = [*start, ",".join(self.target.watched), str(again)]
        again.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
        again.chmod(0o755)
        settings = (f"-dict={WORDS}", f"-artifact_prefix={self.work}/", f"-timeout={_TIMEOUT}")
        with log.open("wb") as output:
            subprocess.run(
                [*command, *settings, *map(str, arguments)],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        return log.read_text(encoding="utf-8", errors="backslashreplace")

    def _broke_it(self) -> Iterator[Path]:
        for kind in _BAD:
            yield from self.work.glob(f"{kind}-*")

    def _verdict(self, bad: list[Path], log: str) -> str:
        lines = [line for line in log.splitlines() if not line.startswith(("#", "INFO:"))]
        said = "\n".join(f"  {line}" for line in lines[-_LINES_SHOWN:])
        verdict = f"{self.name}: the fuzzer ended early, and said:\n{said}"
        for path in bad:
            verdict += (
                f"\n{self.name}: broken by {path}"
                f"\n  again: python -m fuzz {self.name} {path}"
                f"\n  when it is mended: mv {path} {self.kept}/<what it was>"
            )
        return verdict


def _last(pattern: str, text: str) -> str:
    found: list[str] = re.findall(pattern, text)
    return found[-1]
