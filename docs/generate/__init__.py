"""What of the pages is made from the code; ``python -m docs.generate`` makes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from docs.generate.command_lines import tables
from docs.generate.sequence_diagrams import sequence_diagram
from docs.generate.state_diagrams import diagrams

__all__ = ["DOCS", "generated"]

DOCS = Path(__file__).resolve().parents[1]
_REFERENCE = DOCS / "reference"
_IMAGES = _REFERENCE / "diagrams"

_CONVERSATION = re.compile(
    r"^## Commands$.*?^```conversation broker engine$\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


def generated() -> dict[Path, str]:
    """Give every generated file with its text as it should be now."""
    protocol = (_REFERENCE / "protocol.md").read_text(encoding="utf-8")
    commands = _CONVERSATION.search(protocol)
    assert commands is not None, "the protocol's reference shows how commands go"
    command_lines = _REFERENCE / "command-lines.md"
    return {
        **{_IMAGES / name: text for name, text in diagrams().items()},
        _IMAGES / "commands.dot": sequence_diagram(commands[1]),
        command_lines: _filled(command_lines.read_text(encoding="utf-8"), tables()),
    }


def _filled(page: str, parts: Mapping[str, str]) -> str:
    """Put each part between the two comments of a page that name it."""
    for name, text in parts.items():
        begin, end = f"<!-- generated: {name} -->\n", "<!-- end -->\n"
        head, found, rest = page.partition(begin)
        assert found, f"nothing says where {name} belongs"
        page = f"{head}{begin}\n{text}\n{end}{rest.partition(end)[2]}"
    return page
