"""The tutorials are gone through at terminals, as a reader does, and it happens as printed.

A console block names the terminal that it belongs to. What it shows is typed where it
begins with ``$`` or is a key such as ``^C``, and awaited elsewhere: whole lines, in this
order, with others between them where a machine or its load has more to say.
"""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from brokerproto import protocol
from services.scaletest.programs import clean_environment
from tests.docs.page import Block, Page
from tests.docs.shell import Shell
from tests.ports import reserved_port

FIRST = Page.of("docs/tutorial/first-broker.md")
OWN = Page.of("docs/tutorial/own-broker.md")

# What differs from run to run, and what a busy machine changes.
VOLATILE = [
    (re.compile(pattern), name)
    for pattern, name in [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
        (r"\b[0-9a-f]{8}(-\d+)?\b", "<boot>"),
        (r"127\.0\.0\.1:\d{5}\b", "<peer>"),
        (r"\d+\.\d+", "<decimal>"),
        (r"\b\d+ heartbeats?\b", "<n> heartbeats"),
        (r"\b\d+ missed\b", "<n> missed"),
        (r"work is over; .*", "work is over; <how>"),
        (r"open files: .*", "open files: <n>"),
        (r'("(age|rtt|last|counted|missed)": )[^,}]+', r"\1<n>"),
        (r'("(heartbeats|gaps|stale|reports)": )[^,}]+', r"\1<n>"),
        (r'("(degraded|held_up|held_up_for)": )[^,]+', r"\1<load>"),
        (r'("(lag|garbage|cpu)": )\{.*\}', r"\1<load>"),
        (r'("(written|received|started|done)": )\{"n".*\}', r"\1<sums>"),
    ]
]


def stable(line: str) -> str:
    """Keep of a line what every run prints."""
    for volatile, name in VOLATILE:
        line = volatile.sub(name, line)
    return line.rstrip()


class Reader:
    """Goes through a page's console blocks, with a shell for each terminal.

    Attributes:
        said: All that was printed, by terminal.
    """

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self._ports = {port: stack.enter_context(reserved_port()) for port in ("1337", "8080")}
        self._shells: dict[str, Shell] = {}
        self._environment = {
            **clean_environment(),
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "BROKER_LISTEN": f"tcp://127.0.0.1:{self._ports['1337']}",
            "BROKER_CONTROL": f"http://127.0.0.1:{self._ports['8080']}",
            "BROKER_URI": f"tcp://127.0.0.1:{self._ports['1337']}",
        }
        self.said: dict[str, list[str]] = {}

    def save(self, name: str, text: str) -> None:
        """Save a file of the page."""
        (self._directory / name).write_text(self._with_free_ports(text))

    def follow(self, block: Block) -> None:
        """Do and see what a block shows."""
        terminal = block.info.split()[1]
        for line in block.text.splitlines():
            if line.startswith("$ ") or re.fullmatch(r"\^[A-Z]", line):
                self._shell(terminal).type(self._with_free_ports(line.removeprefix("$ ")))
            else:
                self._await(terminal, line)

    def _await(self, terminal: str, line: str) -> None:
        shell, said = self._shell(terminal), self.said[terminal]
        wanted = stable(line)
        while True:
            try:
                came = re.sub(r"^(\$ )?(\^[A-Z])?", "", shell.line())
            except AssertionError as error:
                raise AssertionError(f"{line!r} was not printed; {said} was") from error
            for port, free in self._ports.items():
                came = came.replace(f":{free}", f":{port}")
            said.append(came)
            if stable(came) == wanted:
                return

    def _shell(self, terminal: str) -> Shell:
        if terminal not in self._shells:
            shell = Shell(self._directory, self._environment)
            self._shells[terminal] = self._stack.enter_context(shell)
            self.said[terminal] = []
        return self._shells[terminal]

    def _with_free_ports(self, text: str) -> str:
        for port, free in self._ports.items():
            text = text.replace(f":{port}", f":{free}")
        return text


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    for program in ("bash", "curl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    with ExitStack() as stack:
        yield Reader(tmp_path, stack)


@pytest.mark.e2e
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [FIRST, OWN], ids=["first-broker", "own-broker"])
def test_tutorial_goes_as_printed(page: Page, reader: Reader) -> None:
    for block in page.blocks:
        kind, _, name = block.info.partition(" ")
        if kind == "python":
            reader.save(name, block.text)
        elif kind == "console" and name != "once":
            reader.follow(block)
    if page is FIRST:
        _check_account(reader.said)


def _check_account(said: dict[str, list[str]]) -> None:
    """The account closes, whatever its sums are in this run."""
    counted, missed = _numbers(said["broker"][-1], r"(\d+) heartbeats, (\d+) missed")
    [sent] = _numbers(" ".join(said["engine"]), r"sent (\d+) heartbeats? in all")
    assert sent == counted + missed


def _numbers(text: str, pattern: str) -> list[int]:
    found = re.search(pattern, text)
    assert found is not None, text
    return list(map(int, found.groups()))


def test_account_of_the_page_closes() -> None:
    printed = {
        terminal: [
            line
            for block in FIRST.blocks
            if block.info == f"console {terminal}"
            for line in block.text.splitlines()
        ]
        for terminal in ("broker", "engine")
    }
    _check_account(printed)
    counted, missed = _numbers(printed["broker"][-1], r"(\d+) heartbeats, (\d+) missed")
    told = " ".join(FIRST.prose.split())
    assert f"had sent {counted + missed} heartbeats. " in told
    assert f"counted {counted} and missed {missed}: together, {counted + missed}." in told


def test_own_broker_is_that_of_the_docstring() -> None:
    doc = inspect.getdoc(protocol)
    assert doc is not None
    example = textwrap.dedent(doc.partition("::\n\n")[2])
    [block] = [block for block in OWN.blocks if block.info == "python own_broker.py"]
    assert block.text.strip() == example.strip()


@pytest.mark.parametrize("name", ["own_broker.py", "own_engine.py", "own_fleet.py"])
def test_own_programs_have_some_thirty_lines(name: str) -> None:
    [block] = [block for block in OWN.blocks if block.info == f"python {name}"]
    assert block.text.count("\n") <= 35
    ast.parse(block.text)


@pytest.mark.parametrize("page", [FIRST, OWN], ids=["first-broker", "own-broker"])
def test_every_block_is_run_or_said_to_be_for_once(page: Page) -> None:
    assert {block.info.split()[0] for block in page.blocks} <= {"console", "python"}
    for block in page.blocks:
        assert block.info.split()[1:], f"line {block.line}: whose terminal, or which file?"
