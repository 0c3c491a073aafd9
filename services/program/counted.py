"""Numbers that are read with what they count: ``1 engine``, ``2 engines``."""

from __future__ import annotations

from typing import Self

__all__ = ["Counted"]


class Counted(int):
    """A number whose text has a noun; among a log line's fields it is a number.

    Args:
        number: How many.
        one: What one of them is called, and more of the sentence if it depends on that.
        many: The same for any other number; `one` with an ``s`` where it is not given.
    """

    _one: str
    _many: str

    def __new__(cls, number: int, one: str, many: str | None = None) -> Self:
        """Make it."""
        self = super().__new__(cls, number)
        self._one, self._many = one, f"{one}s" if many is None else many
        return self

    def __str__(self) -> str:
        return f"{int(self)} {self._one if self == 1 else self._many}"
