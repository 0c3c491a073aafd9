"""The page on command lines tells the options, and the statuses that the programs end with."""

from __future__ import annotations

import pytest

from services.broker.options import Options as BrokerOptions
from services.engine.options import Options as EngineOptions
from services.program.options import Option
from services.program.start import CONFIGURATION_ERROR
from tests.docs.page import Page

PAGE = Page.of("docs/reference/command-lines.md")


@pytest.mark.parametrize("options", [BrokerOptions, EngineOptions], ids=["broker", "engine"])
def test_every_option_is_told_with_its_variable_and_its_default(
    options: type[BrokerOptions],
) -> None:
    lines = PAGE.section(f"twistd {options.program}").text.splitlines()
    rows = [line for line in lines if line.startswith("| `--")]
    assert len(rows) == len(options.table)
    for option in options.table:
        [row] = [row for row in rows if row.startswith(f"| `--{told(option)}`")]
        assert option.doc in row
        assert (f"<br>`{option.env}`" in row) is (option.env is not None)
        assert (f"Default: `{option.default}`." in row) is (option.default is not None)


def told(option: Option) -> str:
    return option.usage_name.replace("|", r"\|")


def test_statuses_are_those_of_the_programs() -> None:
    rows = PAGE.section("Exit statuses").table("status", "when")
    assert [row[0] for row in rows] == [
        "0",
        *[str(CONFIGURATION_ERROR)] * 2,
        "the status of the KILL",
    ]
