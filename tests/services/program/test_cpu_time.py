"""What the kernel tells of CPU time is found wherever it stands, and missed nowhere."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from attrs import define

from services.program.cpu_time import CPUTime

V1 = "nr_periods 7\nnr_throttled 3\nthrottled_time {}000000\n"
V2 = "usage_usec 9\nnr_throttled 3\nthrottled_usec {}000\n"
UNLIMITED = "usage_usec 9\nuser_usec 5\nsystem_usec 4\n"


@define
class Kernel:
    """The files of a made-up kernel."""

    folder: Path

    def says(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def account(self) -> CPUTime:
        return CPUTime(self.folder / "cgroup", self.folder / "self")

    @property
    def throttled(self) -> float | None:
        account = self.account()
        throttled = account.throttled
        account.close()
        return throttled


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_throttling_is_found_in_version_2(kernel: Kernel) -> None:
    kernel.says("self/cgroup", "0::/system.slice/broker.service\n")
    kernel.says("cgroup/system.slice/broker.service/cpu.stat", V2.format(250))
    kernel.says("cgroup/cpu.stat", UNLIMITED)
    assert kernel.throttled == 0.25


def test_throttling_of_the_groups_around_counts_too(kernel: Kernel) -> None:
    kernel.says("self/cgroup", "0::/pod/container\n")
    kernel.says("cgroup/pod/container/cpu.stat", V2.format(250))
    kernel.says("cgroup/pod/cpu.stat", V2.format(1000))
    kernel.says("cgroup/cpu.stat", UNLIMITED)
    assert kernel.throttled == 1.25


def test_throttling_is_found_in_a_container_of_version_2(kernel: Kernel) -> None:
    kernel.says("self/cgroup", "0::/\n")
    kernel.says("cgroup/cpu.stat", V2.format(500))
    assert kernel.throttled == 0.5


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
def test_throttling_is_found_in_version_1(kernel: Kernel, mount: str) -> None:
    kernel.says("self/cgroup", "9:memory:/a/b\n4:cpu,cpuacct:/a/b\n3:cpuset:/a/b\n0::/a/b\n")
    kernel.says(f"cgroup/{mount}/a/b/cpu.stat", V1.format(250))
    kernel.says(f"cgroup/{mount}/cpu.stat", V1.format(0))
    assert kernel.throttled == 0.25


def test_throttling_is_found_in_a_container_of_version_1_that_sees_the_hosts_path(
    kernel: Kernel,
) -> None:
    kernel.says("self/cgroup", "4:cpu,cpuacct:/kubepods/pod7/c1\n")
    kernel.says("cgroup/cpu,cpuacct/cpu.stat", V1.format(750))
    assert kernel.throttled == 0.75


@pytest.mark.parametrize(
    "memberships", [None, "", "3:cpuset:/\n", "0::/\n", "0::/nosuch\n", "1:cpu:/\n"]
)
def test_where_nothing_is_told_nothing_is_known(kernel: Kernel, memberships: str | None) -> None:
    if memberships is not None:
        kernel.says("self/cgroup", memberships)
    account = kernel.account()
    assert (account.ran, account.waited, account.throttled) == (None, None, None)
    account.close()


def test_path_that_leads_out_of_the_groups_is_not_followed(kernel: Kernel) -> None:
    kernel.says("self/cgroup", "0::/../elsewhere\n")
    kernel.says("elsewhere/cpu.stat", V2.format(250))
    kernel.says("cgroup/cpu.stat", V2.format(500))
    assert kernel.throttled == 0.5


def test_thread_that_waits_for_a_cpu_is_told_from_one_that_runs(kernel: Kernel) -> None:
    kernel.says(f"self/task/{threading.get_native_id()}/schedstat", "1500000000 250000000 9\n")
    account = kernel.account()
    assert (account.ran, account.waited) == (1.5, 0.25)
    account.close()


def test_closed_account_knows_nothing(kernel: Kernel) -> None:
    kernel.says("self/cgroup", "0::/\n")
    kernel.says("cgroup/cpu.stat", V2.format(500))
    kernel.says(f"self/task/{threading.get_native_id()}/schedstat", "1 2 3\n")
    before = len(os.listdir("/proc/self/fd"))
    account = kernel.account()
    assert len(os.listdir("/proc/self/fd")) == before + 2
    account.close()
    account.close()
    assert (account.ran, account.waited, account.throttled) == (None, None, None)
    assert len(os.listdir("/proc/self/fd")) == before


def test_this_kernel_tells_how_long_this_thread_ran() -> None:
    account = CPUTime()
    if account.ran is None:
        pytest.skip("this kernel keeps no schedstat")
    before, ran = account.ran, time.thread_time()
    while time.thread_time() - ran < 0.05:
        pass
    after = account.ran
    account.close()
    assert after is not None
    assert after - before > 0.04
