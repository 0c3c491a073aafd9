"""Which folders tell of the process's control group."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.program.control_groups import groups
from tests.services.program.cgroups import written


def found(tmp_path: Path, membership: str) -> list[str]:
    process = written(tmp_path / "proc", cgroup=membership)
    folders = groups("memory", "memory.told", tmp_path / "sys", process)
    return [str(folder.relative_to(tmp_path / "sys")) for folder in folders]


def test_version_2_has_one_tree(tmp_path: Path) -> None:
    for path in ("pod/container", "pod", "other"):
        written(tmp_path / "sys" / path, memory__told=1)
    # Its root does not tell.
    assert found(tmp_path, "0::/pod/container") == ["pod/container", "pod"]


def test_version_1_has_a_tree_for_each_controller(tmp_path: Path) -> None:
    for path in ("memory/pod", "memory", "cpu/pod", "pod"):
        written(tmp_path / "sys" / path, memory__told=1)
    assert found(tmp_path, "4:cpu:/pod\n3:memory:/pod\n0::/pod") == ["memory/pod", "memory"]


def test_a_tree_may_be_of_several_controllers(tmp_path: Path) -> None:
    written(tmp_path / "sys/memory,other/pod", memory__told=1)
    assert found(tmp_path, "3:memory,other:/pod") == ["memory,other/pod"]


def test_both_versions_may_be_mounted(tmp_path: Path) -> None:
    written(tmp_path / "sys/unified/pod", memory__told=1)
    assert found(tmp_path, "3:memory:/elsewhere\n0::/pod") == ["unified/pod"]


def test_in_a_container_the_mount_is_the_group(tmp_path: Path) -> None:
    written(tmp_path / "sys/memory", memory__told=1)
    assert found(tmp_path, "3:memory:/kubepods/pod7/c9\n0::/") == ["memory"]


@pytest.mark.parametrize("membership", ["", "3:cpu:/pod", "0::/pod", "0::/../../proc"])
def test_nothing_is_found_where_nothing_is_told(tmp_path: Path, membership: str) -> None:
    written(tmp_path / "sys")
    assert found(tmp_path, membership) == []


def test_there_may_be_no_control_groups_at_all(tmp_path: Path) -> None:
    assert groups("memory", "memory.told", tmp_path, tmp_path / "proc") == []
