"""What is printed about a transport."""

from __future__ import annotations

import io
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from tests.transports.conformance.harbour import Harbour
from transports import URI
from transports.conformance import Law, Profile, Subject
from transports.conformance.meeting import Meeting
from transports.conformance.report import Report


async def _kept(meeting: Meeting) -> None:
    pass


async def _broken(meeting: Meeting) -> None:
    raise meeting.broken("peace", "war", 1914)


KEPT = Law("kept", "this is so", _kept)
BROKEN = Law("broken", "that is so", _broken)
EXEMPT = Law("exempt", "who knows", _broken)


def printed(*laws: Law, coloured: bool = False) -> tuple[str, int]:
    """What a report prints, and its status."""
    out = io.StringIO()
    report = Report(out, coloured)
    profile = Profile(exempt={"exempt": "of course not"})
    subject = Subject(Clock(), Harbour(), URI.parse("harbour://name:0"), profile)
    outcome: list[Any] = []
    ensureDeferred(report.run(laws, subject, 1)).addBoth(outcome.append)
    assert report.is_done
    if outcome == [None]:
        return out.getvalue(), 0
    assert outcome[0].check(SystemExit)
    return out.getvalue(), outcome[0].value.code


def test_each_law_has_its_line_and_a_broken_one_explains_itself() -> None:
    text, status = printed(KEPT, BROKEN, EXEMPT)
    assert text.splitlines() == [
        "harbour://name:0, framing lines",
        "✓ kept                   this is so",
        "✗ broken                 that is so",
        "    expected  peace",
        "    came      war",
        "    at byte   1914",
        "- exempt                 not tried: of course not",
        "FAIL 1 kept, 1 broken, 1 not tried",
    ]
    assert status == 1


def test_status_is_0_where_every_law_is_kept() -> None:
    text, status = printed(KEPT, KEPT)
    assert text.splitlines()[-1] == "PASS 2 kept, 0 broken"
    assert status == 0


@pytest.mark.parametrize("law", [KEPT, BROKEN, EXEMPT], ids=str)
def test_colours_change_no_word(law: Law) -> None:
    plain, _ = printed(law)
    coloured, _ = printed(law, coloured=True)
    assert "\x1b[" in coloured
    assert "\x1b[" not in plain
    for code in "\x1b[32m", "\x1b[1;31m", "\x1b[1m", "\x1b[2m", "\x1b[0m":
        coloured = coloured.replace(code, "")
    assert coloured == plain
