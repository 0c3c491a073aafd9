"""How near the process is to its memory limit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from services.program.memory import Memory, MemoryLimits
from tests.services.program.cgroups import MIB, real_memory_group, written


def limits(tmp_path: Path, membership: str) -> MemoryLimits:
    return MemoryLimits(tmp_path / "sys", written(tmp_path / "proc", cgroup=membership))


def test_version_2_is_read(tmp_path: Path) -> None:
    group = written(
        tmp_path / "sys/pod",
        memory__max=100 * MIB,
        memory__current=70 * MIB,
        memory__stat=f"anon 5\ninactive_file {10 * MIB}\nactive_file 7",
    )
    known = limits(tmp_path, "0::/pod")
    assert known.tightest() == Memory(60 * MIB, 100 * MIB)
    written(group, memory__current=95 * MIB)
    memory = known.tightest()
    assert memory is not None
    assert memory.share == 0.85


def test_version_1_is_read(tmp_path: Path) -> None:
    written(
        tmp_path / "sys/memory/pod",
        memory__limit_in_bytes=100 * MIB,
        memory__usage_in_bytes=70 * MIB,
        memory__stat=f"inactive_file 1\ntotal_inactive_file {10 * MIB}",
    )
    assert limits(tmp_path, "3:memory:/pod").tightest() == Memory(60 * MIB, 100 * MIB)


@pytest.mark.parametrize("none", ["max", str(2**63 - 4096), "0", "many"])
def test_no_limit_is_none(tmp_path: Path, none: str) -> None:
    written(tmp_path / "sys/pod", memory__max=none, memory__current=5, memory__stat="")
    assert limits(tmp_path, "0::/pod").tightest() is None


def test_the_tightest_of_several_groups_counts(tmp_path: Path) -> None:
    written(tmp_path / "sys/a/b", memory__max=100, memory__current=50, memory__stat="")
    written(tmp_path / "sys/a", memory__max=1000, memory__current=900, memory__stat="")
    assert limits(tmp_path, "0::/a/b").tightest() == Memory(900, 1000)


@pytest.mark.parametrize("missing", ["memory.max", "memory.stat", "memory.current"])
def test_what_cannot_be_read_is_no_limit(tmp_path: Path, missing: str) -> None:
    group = written(tmp_path / "sys/pod", memory__max=100, memory__current=5, memory__stat="")
    known = limits(tmp_path, "0::/pod")
    assert known.tightest() is not None
    (group / missing).unlink()
    assert known.tightest() is None


def test_files_that_could_be_given_back_are_never_more_than_is_used(tmp_path: Path) -> None:
    written(tmp_path / "sys/p", memory__max=100, memory__current=5, memory__stat="inactive_file 9")
    assert limits(tmp_path, "0::/p").tightest() == Memory(0, 100)


def test_a_real_group_is_found_and_read() -> None:
    with real_memory_group(200 * MIB) as group:
        script = (
            f"open('{group}/cgroup.procs', 'w').write('0')\n"
            "from services.program.memory import MemoryLimits\n"
            "limits = MemoryLimits()\n"
            "before = limits.tightest().used\n"
            f"held = bytearray(50 * {MIB})\n"
            "after = limits.tightest()\n"
            "print(after.limit, after.used - before)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        limit, grown = map(int, done.stdout.split())
        assert limit == 200 * MIB
        assert 40 * MIB < grown < 60 * MIB
