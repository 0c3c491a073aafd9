"""What outlives a connection is kept small, and nothing of it is lost for that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerproto.life import REPORTS_KEPT, Life
from brokerproto.messages import Report

HEX = st.text("0123456789abcdef", min_size=1, max_size=32)


@given(HEX, st.none() | HEX)
def test_names_and_tokens_come_back_as_they_were(instance: str, resume: str | None) -> None:
    life = Life("e", instance, resume=resume)
    assert (life.instance, life.resume) == (instance, resume)
    life.instance, life.resume = "0" + instance, None
    assert (life.instance, life.resume) == ("0" + instance, None)


@pytest.mark.parametrize("instance", ["", "0", "00", "0a", "A", "-1", "1_0", " 1", "0x1", "g", "é"])
def test_what_is_no_plain_number_comes_back_too(instance: str) -> None:
    assert Life("e", instance).instance == instance


def test_life_that_has_done_nothing_has_no_reports_and_nobody_gives_it_any() -> None:
    life, other = Life("e", "a1"), Life("f", "a1")
    life.busy = None
    assert dict(life.reports) == {}
    life.keep(Report("b-1", "received"))
    assert (list(life.reports), dict(other.reports)) == (["b-1"], {})


def test_last_reports_are_kept_the_oldest_first() -> None:
    life = Life("e", "a1", busy="b-0")
    for number in range(REPORTS_KEPT + 3):
        life.keep(Report(f"b-{number}", "received"))
    life.keep(Report("b-5", "done"))
    assert len(life.reports) == REPORTS_KEPT
    assert next(iter(life.reports)) == "b-3"
    assert list(life.reports)[-1] == "b-5"
    assert life.busy == "b-0"
    life.busy = None
    assert life.busy is None
