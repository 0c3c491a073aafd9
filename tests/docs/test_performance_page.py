"""The page of costs has the goals that the benchmark judges by."""

from __future__ import annotations

from benchmarks.report import goals_table
from benchmarks.results import Results
from tests.docs.page import Page

PAGE = Page.of("docs/explanation/performance.md")


def test_goals_are_those_of_the_benchmark() -> None:
    rows = PAGE.section("The goals").table("what", "goal")
    assert [tuple(row) for row in rows] == [row[:2] for row in goals_table(Results()).rows]
