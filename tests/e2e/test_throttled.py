"""A broker that gets a twentieth of a CPU says so, and loses nobody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.scaletest.programs import wait_until
from tests.e2e.scene import Stage

pytestmark = pytest.mark.e2e

SHARE, PERIOD = 5_000, 100_000
ENGINES = 100

ROOT = Path("/sys/fs/cgroup")
ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


def limits() -> Iterator[tuple[Path, dict[str, str]]]:
    """Give what a group would be made and limited by, in both versions of control groups."""
    for mount in (ROOT / "cpu,cpuacct", ROOT / "cpu"):
        if (mount / "cpu.cfs_quota_us").exists():
            yield mount, {"cpu.cfs_period_us": str(PERIOD), "cpu.cfs_quota_us": str(SHARE)}
    subtree = ROOT / "cgroup.subtree_control"
    if subtree.exists() and "cpu" in subtree.read_text().split():
        yield ROOT, {"cpu.max": f"{SHARE} {PERIOD}"}


def made(group: Path, settings: dict[str, str]) -> bool:
    """Make a group, and say whether that was possible."""
    try:
        group.mkdir()
    except OSError:
        return False
    for name, value in settings.items():
        (group / name).write_text(value)
    return True


@pytest.fixture
def throttled_group() -> Iterator[Path]:
    """A control group of this kernel with a twentieth of a CPU; asked for before its programs."""
    name = f"brokerproto-test-{os.getpid()}"
    groups = (mount / name for mount, settings in limits() if made(mount / name, settings))
    if (group := next(groups, None)) is None:
        pytest.skip("no control group with a limit of CPU time can be made here; root can on Linux")
    yield group
    members = group / "cgroup.procs"
    wait_until("the group to be empty", lambda: not members.read_text(), 60)
    group.rmdir()


@pytest.mark.fault("C052")
def test_throttled_broker_is_degraded_and_ready_and_loses_nobody(
    throttled_group: Path, stage: Stage
) -> None:
    broker = stage.broker(within=("sh", "-c", ENTER, str(throttled_group)))
    engines = stage.engines(broker.address, "patient", "--count", str(ENGINES))
    broker.until(registered=ENGINES, seconds=120)

    def degraded() -> bool:
        # Nothing costs it as much, and it is not much.
        broker.api.ask("/openapi.json")
        process = broker.api.ask("/stats")["process"]
        return bool(process["degraded"] and process["cpu"]["throttled"] > 6)

    wait_until("the broker to find itself degraded", degraded, 120)
    assert broker.api.ask("/readyz") == {"status": "ready"}
    stats = broker.stats()
    assert (stats["lost"], stats["left"], stats["registered"]) == (0, 0, ENGINES)
    assert engines.end() == 0
    broker.until(registered=0, left=ENGINES, lost=0, missed=0, seconds=120)
    assert broker.program.end() == 0
    assert not any("the reactor" in event["message"] for event in broker.program.events())
