"""Lists of the control API, read from page to page."""

from __future__ import annotations

from typing import Any

from tests.services.broker.controlled import Controlled


def pages(controlled: Controlled, path: str) -> list[list[Any]]:
    """Follow the links from page to page; each but the last is as long as was asked."""
    found = []
    total = None
    following: str | None = path
    while following is not None:
        answer = controlled.get(following)
        name = path[1:].partition("?")[0]
        assert total in (None, answer["total"])
        total, following = answer["total"], answer["next"]
        found.append(answer[name])
        assert following is None or len(answer[name]) == len(found[0]) > 0
        assert answer[name] or len(found) == 1
        assert sum(map(len, found)) <= total, "the pages do not end"
    assert sum(map(len, found)) == total
    return found


def ids(items: list[Any]) -> list[str]:
    return [item["id"] for item in items]


def joined(found: list[list[Any]]) -> list[str]:
    return [engine_id for page in found for engine_id in ids(page)]
