"""Each law finds the fault that is against it, no other law does, and it says so."""

from __future__ import annotations

import re

import pytest

from tests.transports.conformance import harbour_faults, line_faults
from tests.transports.conformance.fault import Fault
from tests.transports.conformance.harbour import Harbour, examine
from transports.conformance import LAWS, Law, LawBrokenError

BY_NAME = {law.name: law for law in LAWS}
FAULTS = [*harbour_faults.FAULTS, *line_faults.FAULTS]


def broken_laws(fault: Fault) -> dict[str, LawBrokenError]:
    found = {}
    for law in LAWS:
        try:
            examine(law, fault.harbour())
        except LawBrokenError as exc:
            found[law.name] = exc
    return found


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_sound_transport_keeps_the_law_in_no_time(law: Law) -> None:
    harbour = Harbour()
    assert examine(law, harbour) is None
    assert harbour.clock.seconds() == 0
    assert harbour.clock.calls == []


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_fault_is_found_by_its_law_alone_which_says_what_it_is(fault: Fault) -> None:
    found = broken_laws(fault)
    assert set(found) == {fault.law, *fault.others}
    error = found[fault.law]
    assert (error.law, error.sentence) == (fault.law, BY_NAME[fault.law].sentence)
    assert (error.expected, error.offset) == (fault.expected, fault.offset)
    came = re.escape(fault.came).replace(re.escape("..."), ".*")
    assert re.fullmatch(came, error.came), error.came
    for fact in fault.law, error.sentence, error.expected, error.came:
        assert fact in str(error)
    assert ("at byte" in str(error)) is (fault.offset is not None)


def test_every_law_is_the_only_one_to_find_some_fault() -> None:
    assert {fault.law for fault in FAULTS if not fault.others} == set(BY_NAME)
