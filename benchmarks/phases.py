"""What the load generator can be told to do, as text and in parts."""

from __future__ import annotations

import re

from attrs import frozen

__all__ = ["MEMORY", "Phase", "parse_phases"]

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_FORMS = {
    "reg": rf"herd|{_NUMBER}",
    "hb": rf"{_NUMBER}:{_NUMBER}",
    "stop": r"[1-9][0-9]*",
    "lad": rf"{_NUMBER}:{_NUMBER}(?::{_NUMBER})?",
    "fan": "",
    "idle": _NUMBER,
    "mix": r"[0-9]+",
    "close": "",
    "memory": "",
}

MEMORY = "memory"
"""The one phase that the harness does by itself: it does the sum of what was reported."""


@frozen
class Phase:
    """One phase.

    Attributes:
        text: As the generator is told.
        kind: What stands before the first colon.
        arguments: What stands between the others.
    """

    text: str
    kind: str
    arguments: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Phase:
        """Take a phase apart.

        Raises:
            ValueError: There is no such phase; the message says so.
        """
        kind, _, rest = text.partition(":")
        form = _FORMS.get(kind)
        if form is None or (text != kind) != bool(form) or not re.fullmatch(form, rest):
            raise ValueError(
                f"{text!r} is no phase: reg:herd, reg:WINDOW, hb:RATE:SECONDS, stop:ROUNDS,"
                " lad:START:FACTOR[:SECONDS], fan, idle:SECONDS, mix:K, memory, close"
            )
        return cls(text, kind, tuple(rest.split(":")) if rest else ())

    @property
    def work(self) -> str:
        """What is measured, however long: ``hb:20000`` of ``hb:20000:1.5``."""
        return f"hb:{float(self.arguments[0]):g}" if self.kind == "hb" else self.kind


def parse_phases(text: str) -> tuple[Phase, ...]:
    """Take a list apart, with commas between the phases.

    Raises:
        ValueError: One of them is no phase.
    """
    return tuple(Phase.parse(part.strip()) for part in text.split(","))
