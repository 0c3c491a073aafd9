"""How many engines a machine holds: the run, and what it reads of the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scaletest import capacity, machine
from services.scaletest.capacity import Settings
from services.scaletest.machine import CPUMeter, Share
from services.scaletest.programs import clean_environment

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
@pytest.mark.e2e
def test_sixty_engines_at_three_brokers_are_held_and_accounted_for(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if request.config.getoption("reactor") != "default":
        pytest.skip("it runs on the default reactor, whichever runs the tests")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "services.scaletest.capacity", "--json", "found.json"),
            *("--engines", "60", "--brokers", "3", "--interval", "1", "--minutes", "0.05"),
        ],
        cwd=tmp_path,
        env={**clean_environment(), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["registered"] == 60
    assert found["sent"] == found["counted"] + found["missed"] > 0
    assert found["missed"] == found["lost"] == 0
    assert {share["what"] for share in found["shares"]} >= {"CPU", "memory", "ports of one address"}
    assert done.stdout.splitlines()[0] == "60 engines at 3 brokers, T = 1 s"
    assert done.stdout.splitlines()[-1] == "PASS 60 engines"
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


@given(engines=st.integers(1, 10**6), brokers=st.integers(1, 100))
def test_brokers_share_the_engines_evenly_and_completely(engines: int, brokers: int) -> None:
    settings = Settings(engines, brokers, 60, 1.0, 0)
    parts = [settings.part(number) for number in range(brokers)]
    assert sum(parts) == engines
    assert max(parts) - min(parts) <= 1


@given(engines=st.integers(1, 10**6), files=st.integers(1024, 10**6))
def test_as_few_brokers_as_open_files_allow(engines: int, files: int) -> None:
    brokers = capacity._brokers_for(engines, files)
    room = files - 600
    assert (brokers - 1) * room < engines <= brokers * room


def test_without_a_limit_of_open_files_one_broker_holds_all() -> None:
    assert capacity._brokers_for(10**6, -1) == 1


@linux
def test_whatever_is_nearest_to_its_end_comes_first() -> None:
    pid = os.getpid()
    found = machine.shares([pid], {pid: 0.5}, 100)
    assert [share.part for share in found] == sorted((share.part for share in found), reverse=True)
    assert all(share.used >= 0 < share.most for share in found)


@linux
def test_memory_of_the_kernel_is_less_than_all() -> None:
    assert 0 < machine.kernel_memory() < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")


@linux
def test_a_process_that_works_is_seen_to() -> None:
    meter = CPUMeter((os.getpid(),))
    before = machine.cpu_seconds(os.getpid())
    while machine.cpu_seconds(os.getpid()) < before + 0.05:
        pass
    assert meter.look()[os.getpid()] > 0


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (Share("memory", 6, 24, "GiB"), "memory: 25 % of 24 GiB"),
        (Share("memory", 6, 23.44, "GiB"), "memory: 26 % of 23.4 GiB"),
        (
            Share("open files of one process", 19000, 20000),
            "open files of one process: 95 % of 20000",
        ),
    ],
)
def test_share_reads_as_a_sentence(share: Share, text: str) -> None:
    assert str(share) == text


@pytest.mark.parametrize("option", ["--engines", "--brokers", "--interval"])
@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_what_makes_no_sense_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["capacity", option, value])
    with pytest.raises(SystemExit) as ended:
        capacity.main()
    assert ended.value.code == 2
    assert option in capsys.readouterr().err
