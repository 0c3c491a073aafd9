"""The benchmark itself is right: it measures what it says, and the account closes."""

from __future__ import annotations

import pytest

from benchmarks import in_memory


def test_every_case_is_measured() -> None:
    assert set(in_memory.measure(engines=10, beats=3)) == {
        "floor",
        "registration",
        "heartbeat, plain",
        "heartbeat, aged",
        "heartbeat, acked",
        "command",
    }


def test_a_herd_that_loses_a_heartbeat_is_found_out() -> None:
    herd = in_memory.Herd(3)
    herd.register()
    herd.beat()
    with pytest.raises(AssertionError):
        herd.check()
