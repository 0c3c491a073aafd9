"""Reads a diagram: as Graphviz was told to draw it, and as it was drawn."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

from attrs import frozen

_SVG = "{http://www.w3.org/2000/svg}"
_ATTRIBUTES = re.compile(r"\[(.*)\]")
_LABEL = re.compile(r'label=("([^"]*)"|\w+)')
_SETTING = re.compile(r"(digraph|graph|node|edge)\b")


@frozen
class Picture:
    """What a diagram shows.

    Attributes:
        nodes: What stands there, by the words on it.
        arrows: From where to where, by the words on it; of two that are alike, both.
    """

    nodes: dict[str, str]
    arrows: Counter[tuple[str, str, str]]

    @classmethod
    def told(cls, path: Path) -> Picture:
        """Read what Graphviz is told."""
        nodes: dict[str, str] = {}
        arrows: Counter[tuple[str, str, str]] = Counter()
        for line in path.read_text(encoding="utf-8").splitlines():
            statement = line.strip().removeprefix("{ rank=same; ").removesuffix(" }").strip("{}")
            if not statement or _SETTING.match(statement):
                continue
            attributes = _ATTRIBUTES.search(statement)
            label = _LABEL.search(attributes[1]) if attributes else None
            words = "" if label is None else label[2] or label[1]
            names = _ATTRIBUTES.sub("", statement).strip().split(" -> ")
            for name in names:
                nodes.setdefault(name, name)
            if len(names) == 1:
                nodes[names[0]] = words or names[0]
            if attributes is None or "style=invis" not in attributes[1]:
                arrows.update((*pair, words) for pair in pairwise(names))
        return cls(nodes, arrows)

    @classmethod
    def drawn(cls, path: Path) -> Picture:
        """Read what stands in an SVG of Graphviz."""
        nodes: dict[str, str] = {}
        arrows: Counter[tuple[str, str, str]] = Counter()
        for group in ET.parse(path).iter(f"{_SVG}g"):
            title = group.findtext(f"{_SVG}title", "")
            words = " ".join(text.text or "" for text in group.findall(f"{_SVG}text"))
            if group.get("class") == "node":
                nodes[title] = words or title
            elif group.get("class") == "edge":
                source, _, target = title.partition("->")
                arrows[source, target, words] += 1
        return cls(nodes, arrows)
