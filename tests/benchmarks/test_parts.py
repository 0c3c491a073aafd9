"""What is measured beside the fleet is what it is said to be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

import pytest

from benchmarks.imports import cost_of_families, imported, imports_of_programs
from benchmarks.inproc import measure_inproc
from benchmarks.start_up import measure_start_up
from benchmarks.sweep import measure_sweeps

_HEAVY = ("klein", "werkzeug", "OpenSSL", "cryptography", "ssl", "twisted.web")


def test_import_times_are_read_out_of_other_lines() -> None:
    lines = [
        "import time: self [us] | cumulative | imported package",
        "import time:       150 |        150 |   twisted.web",
        "import time:      1200 |       1350 | twisted.web.http",
        "twistd said something",
        "import time:        30 |         30 |     attr._make",
        "import time:         7 |          7 | brokerproto.wire",
        "import time:         5 |          5 | json.decoder",
        "import time:         4 |          4 | twisted.webbing",
    ]
    modules = imported(lines)
    assert modules["twisted.web.http"] == 1200
    assert cost_of_families(modules) == {
        "twisted.web": (2, 1350),
        "attr": (1, 30),
        "this project": (1, 7),
        "standard library": (1, 5),
        "twisted": (1, 4),
    }


@pytest.mark.e2e
def test_engine_imports_neither_tls_nor_a_web_server_until_it_beats() -> None:
    programs = imports_of_programs()
    assert {"twisted.internet.reactor", "brokerproto.engine"} <= set(programs["engine"])
    # Twisted's own sockets import pyOpenSSL wherever it is installed.
    bare = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "from twisted.internet import reactor"],
        check=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert _heavy(programs["engine"]) <= _heavy(imported(bare.stderr.splitlines()))
    assert not _heavy(programs["engine"]) & {"klein", "werkzeug", "twisted.web"}
    assert {"klein", "twisted.web"} <= _heavy(programs["broker"])


def _heavy(modules: Iterable[str]) -> set[str]:
    return {name for name in _HEAVY for each in modules if f"{each}.".startswith(f"{name}.")}


def test_sweeps_find_those_who_fell_silent_all_at_once() -> None:
    samples = {sample.case: sample for sample in measure_sweeps(1_000, 0)}
    assert set(samples) == {"nobody", "100 late", "100 lost"}
    assert all(sample.figures["us"] for sample in samples.values())


@pytest.mark.e2e
def test_both_ends_of_inproc_count_every_heartbeat() -> None:
    sample = measure_inproc(50, 3)
    assert sample.inexact == []
    assert sample.round == 3
    assert "heartbeats" not in sample.figures


@pytest.mark.e2e
def test_programs_are_looked_at_while_they_idle() -> None:
    samples = {sample.case: sample.figures for sample in measure_start_up(0)}
    assert list(samples) == [
        "bare Python",
        "Twisted's reactor",
        "twistd broker",
        "twistd engine",
    ]
    for figures in samples.values():
        assert set(figures) == {"cpu_ms", "resident_mib", "anonymous_mib"}
