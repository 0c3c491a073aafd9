from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.program.values import OneOf, WholeNumber, quoted, yes_or_no


@given(st.integers(0, 10**17))
def test_whole_number_inverts_str(number: int) -> None:
    assert WholeNumber(0, 10**17)(str(number)) == number


@pytest.mark.parametrize("text", ["1", "300"])
def test_both_ends_of_a_range_belong_to_it(text: str) -> None:
    assert WholeNumber(1, 300)(text) == int(text)


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "301",
        "",
        " 5",
        "5 ",
        "+5",
        "-5",
        "05",
        "5.0",
        "5e1",
        "0x5",
        "1_0",
        "\uff15",
        "9" * 5000,
    ],
)
def test_what_is_no_plain_number_in_range_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a whole number from 1 to 300$") as caught:
        WholeNumber(1, 300)(text)
    assert str(caught.value).startswith(quoted(text))
    assert len(str(caught.value)) < 200


def test_word_is_taken_only_as_it_is_spelt() -> None:
    choice = OneOf(("text", "json"))
    assert choice("json") == "json"
    for text in ("JSON", "", "tex", "text,json"):
        with pytest.raises(ValueError, match=r"^'.*' is none of text, json$"):
            choice(text)


@pytest.mark.parametrize("text", ["1", "true", "YES"])
def test_yes_is_yes(text: str) -> None:
    assert yes_or_no(text) is True


@pytest.mark.parametrize("text", ["0", "False", "no"])
def test_no_is_no(text: str) -> None:
    assert yes_or_no(text) is False


@pytest.mark.parametrize("text", ["", "2", "on", "tcp://10.0.0.1:1337"])
def test_what_is_neither_yes_nor_no_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is none of 1, 0, true, false, yes, no$"):
        yes_or_no(text)
