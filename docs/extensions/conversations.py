"""Colours for the conversations between engine and broker."""

from __future__ import annotations

from typing import ClassVar

from pygments.lexer import RegexLexer
from pygments.token import Comment, Keyword, Name, Text
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata


class ConversationLexer(RegexLexer):  # type: ignore[misc]  # Pygments has no types
    """Lines of the engine (``E:``), of the broker (``B:``), and what happens (``--``)."""

    name = "conversation"
    aliases: ClassVar[list[str]] = ["conversation"]
    tokens: ClassVar[dict[str, list[tuple[object, ...]]]] = {
        "root": [
            (r"^E:", Keyword),
            (r"^B:", Name.Function),
            (r"^--.*", Comment),
            (r".|\n", Text),
        ]
    }


def setup(app: Sphinx) -> ExtensionMetadata:
    """Let Sphinx know it."""
    app.add_lexer("conversation", ConversationLexer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
