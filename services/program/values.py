"""What an option's value may be, and how its text is read.

A parser is any callable that takes the text and gives the value, or raises
ValueError with one sentence that says what is wrong.
"""

from __future__ import annotations

import re

from attrs import frozen

_SHOWN = 80
_DIGITS = re.compile(r"0|[1-9][0-9]{0,17}")


def quoted(text: str) -> str:
    """Quote a value for an error's line, and no more of it than one can read."""
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}..."


@frozen
class WholeNumber:
    """Read a whole number in plain ASCII digits, without sign or leading zero.

    Args:
        low: The least that is accepted, 0 or more.
        high: The greatest that is accepted, below 10**18.
    """

    low: int
    high: int

    def __call__(self, text: str) -> int:
        """Give the number, or raise ValueError."""
        if _DIGITS.fullmatch(text) and self.low <= int(text) <= self.high:
            return int(text)
        raise ValueError(f"{quoted(text)} is not a whole number from {self.low} to {self.high}")


@frozen
class OneOf:
    """Read one of some words, spelt exactly so."""

    words: tuple[str, ...]

    def __call__(self, text: str) -> str:
        """Give the word, or raise ValueError."""
        if text in self.words:
            return text
        raise ValueError(f"{quoted(text)} is none of {', '.join(self.words)}")


def yes_or_no(text: str) -> bool:
    """Read what an environment variable says of a flag, in any case."""
    word = text.lower()
    if word in ("1", "true", "yes"):
        return True
    if word in ("0", "false", "no"):
        return False
    raise ValueError(f"{quoted(text)} is none of 1, 0, true, false, yes, no")
