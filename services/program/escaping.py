"""Make any text safe to show on one line of a terminal or a log."""

from __future__ import annotations


def escaped(text: str) -> str:
    r"""Write what does not print as a backslash escape.

    Line ends, terminal controls, the C1 set, U+2028 and U+2029, characters
    that turn the direction of writing, lone surrogates: each becomes ``\n``,
    ``\x1b``, ``\u2028`` and so on. So the result is one line, whatever came.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else _escape(character) for character in text
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
