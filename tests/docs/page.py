"""Reads a page of Markdown: its sections, tables, fenced blocks and images."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(.+?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_IMAGE = re.compile(r"!\[[^\]]+\]\(([^)]+)\)")
_CELL = re.compile(r"(?<=\|)[^|]*(?=\|)")


@frozen
class Block:
    """A fenced block.

    Attributes:
        info: What stands behind the opening fence.
        line: Where it opens, from 1.
        text: What is in it, each line with its end.
    """

    info: str
    line: int
    text: str


@frozen
class Page:
    """One page."""

    text: str

    @classmethod
    def of(cls, path: str) -> Page:
        """Read a page by its path below the repository's root."""
        return cls((ROOT / path).read_text(encoding="utf-8"))

    @property
    def blocks(self) -> list[Block]:
        """All fenced blocks, in their order."""
        return [
            Block(match[1], self.text.count("\n", 0, match.start()) + 1, match[2])
            for match in _FENCE.finditer(self.text)
        ]

    @property
    def headings(self) -> list[str]:
        """The titles of all sections."""
        return [match[2] for match in _HEADING.finditer(self.prose)]

    @property
    def prose(self) -> str:
        """The page with blanks in the place of its fenced blocks."""
        # As long as the page, so that places in one are places in the other.
        return _FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), self.text)

    def section(self, title: str) -> Page:
        """Return a section with the sections below it, but not its heading."""
        headings = list(_HEADING.finditer(self.prose))
        begin = next(match for match in headings if match[2] == title)
        end = next(
            (
                match.start()
                for match in headings
                if match.start() > begin.start() and len(match[1]) <= len(begin[1])
            ),
            len(self.text),
        )
        return Page(self.text[begin.end() : end])

    def table(self, *header: str) -> list[list[str]]:
        """Return the rows of the one table with this header, less their backquotes."""
        tables = re.findall(r"(?:^\|.*\|\n)+", self.prose, re.MULTILINE)
        rows = [[_cells(line) for line in table.splitlines()] for table in tables]
        (found,) = [table for table in rows if table[0] == list(header)]
        return found[2:]

    @property
    def images(self) -> list[str]:
        """Where the pictures of the page stand, as it says."""
        return _IMAGE.findall(self.prose)


def _cells(line: str) -> list[str]:
    return [cell.strip().strip("`") for cell in _CELL.findall(line)]
