"""Long lists in pages: which engines, or ends, come next.

A page begins behind a place. In the list of engines a place is what the list is sorted
by, a colon and an id, or an id alone: any text is behind some engines and before the
others. So nobody who stays is left out or told twice because another one came or went.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from heapq import nlargest, nsmallest
from typing import Any, Generic, TypeVar

from attrs import frozen

from brokerproto.broker import Broker
from brokerproto.fleet import End, Fleet, Member
from brokerproto.selection import has_labels, matches
from services.broker.control.views import state_of

__all__ = ["SORTS", "Page", "page_of_engines", "page_of_history"]

T = TypeVar("T", Member, End)

# More microseconds than any clock has counted, so that who was heard last sorts first.
_FOREVER = 10**16


@frozen
class Page(Generic[T]):
    """A part of a list.

    Attributes:
        items: What it shows.
        total: How many items all pages show.
        after: The place behind which the next one begins; None on the last one.
    """

    items: list[T]
    total: int
    after: str | None


def _heard(member: Member) -> str:
    assert member.session is not None
    # Not the age, which would go on between two pages.
    return f"{_FOREVER - round(member.session.seen * 1_000_000):017}"


def _rtt(member: Member) -> str:
    assert member.session is not None
    rtt_us = member.session.rtt_us
    return "" if rtt_us is None else f"{rtt_us:016}"


_KEYS: dict[str, Callable[[Member, Broker], str]] = {
    "id": lambda _member, _broker: "",
    "state": state_of,
    "age": lambda member, _: _heard(member),
    "epoch": lambda member, _: f"{member.epoch:016}",
    "rtt": lambda member, _: _rtt(member),
    "missed": lambda member, _: f"{member.account.missed:016}",
    "address": lambda member, _: member.origin.address,
    "transport": lambda member, _: member.origin.transport,
}

SORTS = (*_KEYS, *(f"-{name}" for name in _KEYS))
"""What engines can be sorted by: texts by their characters, ties by id.

With a hyphen it is the other way round. Who told no rtt is before all who did.
"""


def page_of_engines(broker: Broker, asked: Mapping[str, Any]) -> Page[Member]:
    """Give a page of the registered engines.

    Args:
        broker: Whose.
        asked: ``limit``, ``after``, ``sort``, one of `SORTS`, ``state``; and what
            `_filtered` looks at.
    """
    name = asked["sort"].removeprefix("-")
    key, state = _KEYS[name], asked["state"]
    members = _filtered(broker.fleet, asked)
    if state is not None:
        members = (member for member in members if state_of(member, broker) == state)
    placed = [(key(member, broker), member.engine_id, member) for member in members]
    total, backwards = len(placed), name != asked["sort"]
    if asked["after"] is not None:
        before, _, engine_id = asked["after"].rpartition(":")
        place = before, engine_id
        if backwards:
            placed = [each for each in placed if each[:2] < place]
        else:
            placed = [each for each in placed if each[:2] > place]
    limit = asked["limit"]
    page = (nlargest if backwards else nsmallest)(limit, placed)
    after = None
    if len(placed) > limit:
        before, engine_id, _ = page[-1]
        after = f"{before}:{engine_id}" if before else engine_id
    return Page([member for _, _, member in page], total, after)


def page_of_history(fleet: Fleet, asked: Mapping[str, Any]) -> Page[End]:
    """Give a page of the ends that are kept, the last one first.

    Args:
        fleet: Whose.
        asked: ``limit``, ``after``, the number of an end, ``manner``, ``cause``; and what
            `_filtered` looks at.
    """
    manner, causes = asked["manner"], frozenset(asked["cause"])
    ends = [
        end
        for end in _filtered(reversed(fleet.ends), asked)
        if (manner is None or end.manner.value == manner) and (not causes or end.cause in causes)
    ]
    after, limit = asked["after"], asked["limit"]
    rest = ends if after is None else [end for end in ends if end.number < after]
    page = rest[:limit]
    return Page(page, len(ends), str(page[-1].number) if len(rest) > limit else None)


def _filtered(items: Iterable[T], asked: Mapping[str, Any]) -> Iterable[T]:
    """Give those whose id is matched, who have all labels, and came by these transports."""
    if asked["match"]:
        is_matched = matches(asked["match"])
        items = (item for item in items if is_matched(item.engine_id))
    if asked["label"]:
        have_all = has_labels(asked["label"])
        items = (item for item in items if have_all(item.labels))
    if asked["transport"]:
        transports = frozenset(asked["transport"])
        items = (item for item in items if item.origin.transport in transports)
    return items
