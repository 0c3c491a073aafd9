"""Phases are read as the load generator reads them."""

from __future__ import annotations

import pytest

from benchmarks.contenders import CONTENDERS
from benchmarks.phases import Phase, parse_phases
from benchmarks.plans import FULL, SMOKE, Plan, sizes_up_to


@pytest.mark.parametrize(
    ("text", "kind", "arguments", "work"),
    [
        ("reg:herd", "reg", ("herd",), "reg"),
        ("reg:64", "reg", ("64",), "reg"),
        ("hb:20000:1.5", "hb", ("20000", "1.5"), "hb:20000"),
        ("hb:1500.0:3", "hb", ("1500.0", "3"), "hb:1500"),
        ("stop:6", "stop", ("6",), "stop"),
        ("lad:20000:1.1", "lad", ("20000", "1.1"), "lad"),
        ("lad:20000:1.1:0.5", "lad", ("20000", "1.1", "0.5"), "lad"),
        ("fan", "fan", (), "fan"),
        ("idle:5", "idle", ("5",), "idle"),
        ("mix:6", "mix", ("6",), "mix"),
        ("memory", "memory", (), "memory"),
        ("close", "close", (), "close"),
    ],
)
def test_phase_has_its_parts(text: str, kind: str, arguments: tuple[str, ...], work: str) -> None:
    phase = Phase.parse(text)
    assert (phase.text, phase.kind, phase.arguments, phase.work) == (text, kind, arguments, work)


@pytest.mark.parametrize(
    "text",
    ["", "reg", "reg:", "reg:all", "hb:20000", "hb:x:1", "hb:1:2:3", "stop:0", "stop:1.5", "lad:1",
     "fan:", "fan:1", "close:now", "mix", "idle", "idle:-1", "sat:1", "hb:20000:1\nclose"],
)  # fmt: skip
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no phase"):
        Phase.parse(text)


def test_list_has_commas_between() -> None:
    assert [each.text for each in parse_phases("reg:herd, fan,close")] == [
        "reg:herd",
        "fan",
        "close",
    ]


@pytest.mark.parametrize("plan", [FULL, SMOKE], ids=["full", "smoke"])
@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda each: each.name)
@pytest.mark.parametrize("is_largest", [True, False])
def test_every_session_registers_first_and_closes_last(
    plan: Plan, contender: object, is_largest: bool
) -> None:
    from benchmarks.contenders import Contender

    assert isinstance(contender, Contender)
    for session in plan.sessions(contender, 1_000, is_largest=is_largest):
        kinds = [phase.kind for phase in session.phases]
        assert kinds[0] == "reg"
        assert kinds[-1] == "close"
        assert kinds.count("reg") == kinds.count("close") == 1


def test_smoke_does_every_kind_of_phase() -> None:
    full = next(each for each in CONTENDERS if each.is_full)
    kinds = {
        phase.kind
        for session in SMOKE.sessions(full, 200, is_largest=True)
        for phase in session.phases
    }
    assert kinds == {"reg", "hb", "stop", "lad", "fan", "idle", "mix", "memory", "close"}


def test_sizes_end_with_what_was_asked_for() -> None:
    assert sizes_up_to(15_000) == [1_000, 5_000, 15_000]
    assert sizes_up_to(5_000) == [1_000, 5_000]
    assert sizes_up_to(300) == [300]
