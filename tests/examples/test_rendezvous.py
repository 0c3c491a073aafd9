"""The example package: built, installed beside our wheel, held to the laws, and used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.docs.page import Page
from tests.examples.installed import ROOT, installed, run
from transports.conformance import LAWS

PAGE = Page.of("docs/how-to/transport-of-your-own.md")
EXAMPLE = ROOT / "examples" / "brokerproto-rendezvous"
# All laws but that of ports, which its addresses do not have.
KEPT = len(LAWS) - 1
SMOKE = Path(__file__).with_name("rendezvous_smoke.py")

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(tmp_path_factory.mktemp("installed"), ROOT, EXAMPLE)


def test_nothing_comes_from_the_source_tree(python: Path, tmp_path: Path) -> None:
    source = (
        "import brokerproto, transports, services, brokerproto_rendezvous as example\n"
        "for module in brokerproto, transports, services, example: print(module.__file__)\n"
    )
    done = run(python, "-I", "-c", source, cwd=tmp_path)
    assert done.stderr == ""
    for line in done.stdout.splitlines():
        assert Path(line).is_relative_to(python.parent.parent)


def test_command_finds_the_scheme_and_every_law_kept(python: Path, tmp_path: Path) -> None:
    address = f"rendezvous://{tmp_path}/broker"
    done = run(python, "-I", "-m", "transports.conformance", address, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    said = done.stdout.replace(f"{tmp_path}/", "/tmp/")
    command = "$ python -m transports.conformance rendezvous:///tmp/broker\n"
    assert any(block.text.endswith(command + said) for block in PAGE.blocks)


@pytest.mark.parametrize("reactor", ["default", "asyncio"])
def test_its_own_tests_pass_under_pytest(python: Path, tmp_path: Path, reactor: str) -> None:
    options = ("-q", "-p", "no:cacheprovider", "--basetemp", tmp_path, "--reactor", reactor)
    done = run(python, "-IB", "-m", "pytest", *options, cwd=EXAMPLE)
    assert done.returncode == 0, done.stdout
    assert f"{KEPT} passed, 1 skipped" in done.stdout


def test_its_own_tests_pass_under_trial(python: Path, tmp_path: Path) -> None:
    tests = EXAMPLE / "tests" / "trial_laws.py"
    done = run(python, "-IB", "-m", "twisted.trial", tests, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert f"PASSED (skips=1, successes={KEPT})" in done.stdout


def test_engines_find_their_broker_through_the_file(python: Path, tmp_path: Path) -> None:
    done = run(python, "-I", SMOKE, tmp_path, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["listening"] == f"rendezvous://{tmp_path}/broker"
    refused = "cannot listen on {}: somebody listens who has written this file\n"
    assert told["second"] == [78, f"broker: {refused.format(told['listening'])}"]
    assert refused.format("rendezvous:///tmp/broker") in PAGE.text
    assert told["written"].startswith("tcp://127.0.0.1:")
    assert told["done"] == 3
    assert told["statuses"] == [0, 0]
    assert told["left"] == ""
