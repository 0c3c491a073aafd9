"""The catalogue of faults names each case that a test is marked with, and no others."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from attrs import frozen

from tests.docs.page import ROOT, Page

PATH = ROOT / "docs/explanation/reliability.md"
PAGE = Page.of("docs/explanation/reliability.md")

# Where tests of a kind stand; what else starts processes is named by its file.
FOLDERS = {
    "memory": ("brokerproto", "services", "simulation", "fuzz"),
    "process": ("e2e", "services"),
    "network": ("network",),
    "container": ("image",),
}
PROCESSES = (
    "e2e/",
    "services/program/test_processes.py",
    "services/program/test_signals.py",
    "services/scaletest/test_pressure.py",
    "services/scaletest/test_soak.py",
)

_CASE = re.compile(r"C\d{3}")
_SHOWN = re.compile(r"\[(\w+)\]\[([\w/]+)\]")
_TARGET = re.compile(r"^\[([\w/]+)\]: (\S+)$", re.MULTILINE)


@frozen
class Case:
    """A row: its number, and where it is shown, as kinds and labels."""

    number: str
    shown: list[tuple[str, str]]


def marked(source: str) -> set[str]:
    """Find the cases that a module of tests is marked with, also by a function of its own."""
    tree = ast.parse(source)
    functions = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and "mark.fault(" in ast.unparse(node)
    }
    found: set[object] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name == "pytest.mark.fault" or name in functions:
                found.update(each.value for each in node.args if isinstance(each, ast.Constant))
    return {value for value in found if isinstance(value, str) and _CASE.fullmatch(value)}


@cache
def markers() -> dict[str, set[str]]:
    """Map each case to the files, below tests, with a test that is marked with it."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in (ROOT / "tests").rglob("test_*.py"):
        for number in marked(path.read_text(encoding="utf-8")):
            found[number].add(str(path.relative_to(ROOT / "tests")))
    return found


def groups() -> list[list[Case]]:
    """List the rows of each table of cases."""
    found = []
    for table in re.findall(r"(?:^\|.*\|\n)+", PAGE.prose, re.MULTILINE):
        if table.startswith("| case |"):
            rows = [line.split("|")[1:-1] for line in table.splitlines()[2:]]
            assert {len(row) for row in rows} == {5}
            found.append([Case(row[0].strip(), _SHOWN.findall(row[3])) for row in rows])
    return found


CASES = [case for group in groups() for case in group]
TARGETS = dict(_TARGET.findall(PAGE.text))


def test_cases_stand_in_order_and_once() -> None:
    for group in groups():
        assert all(first.number < second.number for first, second in pairwise(group))
    assert len({case.number for case in CASES}) == len(CASES) > 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.number)
def test_case_is_shown_where_the_page_says(case: Case) -> None:
    assert case.shown
    for kind, label in case.shown:
        file = (PATH.parent / TARGETS[label]).resolve().relative_to(ROOT / "tests").as_posix()
        assert file in markers()[case.number]
        assert file.partition("/")[0] == label.partition("/")[0]
        assert file.partition("/")[0] in FOLDERS[kind]
        assert Path(file).stem == f"test_{label.partition('/')[2]}"
        assert file.startswith(PROCESSES) is (kind == "process")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.number)
def test_no_kind_of_test_is_forgotten(case: Case) -> None:
    files = markers()[case.number]
    assert any(each.startswith(PROCESSES) for each in files) is ("process" in dict(case.shown))
    assert any(each.startswith("network/") for each in files) is ("network" in dict(case.shown))


def test_every_case_that_a_test_is_marked_with_is_on_the_page() -> None:
    assert set(markers()) == {case.number for case in CASES}


def test_what_is_not_shown_is_marked_nowhere() -> None:
    rows = PAGE.section("What is not shown").table("what", "why")
    named = {number for row in rows for number in _CASE.findall(row[0])}
    assert named
    assert named & set(markers()) == set()


def test_kinds_are_those_of_the_page() -> None:
    assert [row[0] for row in PAGE.table("shown in", "what runs")] == list(FOLDERS)


def test_every_file_that_is_named_is_linked_from_a_row() -> None:
    assert {label for case in CASES for _, label in case.shown} == set(TARGETS)


def test_markers_are_found_where_they_stand() -> None:
    source = (
        "pytestmark = [pytest.mark.fault('C901')]\n"
        "def case(number):\n    return pytest.param(1, marks=pytest.mark.fault(number))\n"
        "@pytest.mark.fault('C902')\n"
        "@pytest.mark.parametrize('n', [case('C903')])\n"
        "def test_it(n): print('C904')\n"
    )
    assert marked(source) == {"C901", "C902", "C903"}
