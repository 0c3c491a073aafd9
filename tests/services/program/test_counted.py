"""Numbers that are read with what they count."""

from __future__ import annotations

import json

import pytest
from twisted.logger import LogLevel, formatEvent

from services.program.counted import Counted
from services.program.logs import json_format


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 engines"), (1, "1 engine"), (2, "2 engines"), (15_000, "15000 engines")],
)
def test_one_is_one_and_all_else_is_many(number: int, text: str) -> None:
    assert str(Counted(number, "engine")) == text
    assert f"{Counted(number, 'engine')} left" == f"{text} left"


def test_what_depends_on_the_number_may_be_more_than_a_noun() -> None:
    texts = [str(Counted(number, "engine is", "engines are")) for number in (1, 2)]
    assert texts == ["1 engine is", "2 engines are"]


def test_in_a_log_line_it_is_text_for_people_and_a_number_for_machines() -> None:
    event = {
        "log_format": "{engines} told so",
        "log_level": LogLevel.info,
        "engines": Counted(1, "engine is", "engines are"),
    }
    assert formatEvent(event) == "1 engine is told so"
    line = json.loads(json_format(event))
    assert (line["message"], line["engines"]) == ("1 engine is told so", 1)
