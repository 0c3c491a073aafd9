"""What the pages have from the code is what the code says now."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.generate import DOCS, generated
from tests.docs.picture import Picture


@pytest.mark.parametrize("path", sorted(generated()), ids=lambda path: path.name)
def test_file_is_what_would_be_generated_now(path: Path) -> None:
    stands, due = path.read_text(encoding="utf-8"), generated()[path]
    assert stands == due, "make generated writes it anew"


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.dot")), ids=lambda path: path.stem)
def test_picture_shows_what_its_text_says(path: Path) -> None:
    told, drawn = Picture.told(path), Picture.drawn(path.with_suffix(".svg"))
    assert told.nodes
    assert told.arrows
    assert drawn == told, "make diagrams draws it anew"


def test_every_picture_is_shown_and_has_a_text() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    for picture in DOCS.rglob("*.svg"):
        assert picture.with_suffix(".dot").exists(), picture
        assert f"/{picture.name})" in pages, picture
