"""Every relative link of every page leads to a file, and to a section of it.

Sphinx sees to the pages that it builds; what a forge shows beside them, and the links
that lead out of the built pages, are held here.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.page import ROOT, Page

TOP = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
PAGES = [*TOP, *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))]

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`[^`\n]*`")


def slug(title: str) -> str:
    """Make the anchor of a heading, as GitHub does."""
    title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
    return re.sub(r"[^\w\- ]", "", title).replace(" ", "-")


def links(path: str) -> list[str]:
    """List the targets of a page's links, less those that lead elsewhere."""
    found = _LINK.findall(_CODE.sub("", Page.of(path).prose))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def broken(path: str) -> list[str]:
    """List the links of a page that lead nowhere."""
    lost = []
    for target in links(path):
        name, _, anchor = target.partition("#")
        file = (ROOT / path).parent.joinpath(name).resolve() if name else ROOT / path
        if not file.exists() or not file.is_relative_to(ROOT):
            lost.append(target)
        elif anchor:
            titles = Page.of(str(file.relative_to(ROOT))).headings
            if anchor not in map(slug, titles):
                lost.append(target)
    return lost


@pytest.mark.parametrize("path", PAGES)
def test_links_lead_to_pages_and_sections(path: str) -> None:
    assert broken(path) == []


def test_a_broken_link_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.docs.test_links.ROOT", tmp_path)
    monkeypatch.setattr("tests.docs.page.ROOT", tmp_path)
    (tmp_path / "a.md").write_text(
        "# One thing\n\n[x](b.md) [y](#one-thing) [z](c.md) [w](b.md#no)\n"
    )
    (tmp_path / "b.md").write_text("# B\n")
    assert broken("a.md") == ["c.md", "b.md#no"]


def test_every_page_is_in_the_map() -> None:
    """Who reads on a forge finds each page from the folder's README."""
    folder = ROOT / "docs"
    reached: set[Path] = set()
    waiting = [folder / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached or path.suffix != ".md" or not path.is_relative_to(folder):
            continue
        reached.add(path)
        waiting += [
            (path.parent / target.partition("#")[0]).resolve()
            for target in links(str(path.relative_to(ROOT)))
        ]
    built = {ROOT / path for path in PAGES if path not in TOP and path != "docs/index.md"}
    assert {str(path.relative_to(ROOT)) for path in built - reached} == set()


def test_readme_is_short_and_points_into_the_documentation() -> None:
    text = Page.of("README.md").text
    assert text.count("\n") < 90
    pointed = {target.partition("#")[0] for target in links("README.md")}
    assert "docs/README.md" in pointed
    assert "docs/tutorial/first-broker.md" in pointed
