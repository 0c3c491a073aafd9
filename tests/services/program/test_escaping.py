from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.program.escaping import escaped

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates too


@given(any_text)
@example("\ud800")
def test_what_is_shown_prints_and_is_one_line(text: str) -> None:
    shown = escaped(text)
    assert shown.isprintable()
    assert shown.encode("utf-8").decode("utf-8").splitlines() in ([], [shown])


@given(any_text.filter(str.isprintable))
def test_text_that_prints_is_left_alone(text: str) -> None:
    assert escaped(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nb", r"a\r\nb"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\x85\x9b", r"\x85\x9b"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\u202e", r"\u202e"),
        ("\ud800", r"\ud800"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_each_kind_of_control_is_escaped(text: str, shown: str) -> None:
    assert escaped(text) == shown
