"""The programs, run from the image as `k8s/deployment.yaml` runs them, in 64 MiB each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from services.scaletest.programs import wait_until
from tests.image.network import Network, Place
from tests.image.podman import Container, Podman

pytestmark = [pytest.mark.image, pytest.mark.timeout(1800)]

RESTRICTED = (
    *("--read-only", "--read-only-tmpfs=false"),
    *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
    *("--memory", "64m", "--memory-swap", "64m"),
)

PORTS = ("--listen", "tcp://*:1337", "--control", "http://*:8080", "--insecure")

COMPLAINTS = ("error", "critical")

GRACE = 120
"""Seconds after which podman kills what does not stop: as good as for ever."""

SHELLS = """
import json, os
names = ("sh", "ash", "bash", "busybox", "dash", "ksh", "zsh")
folders = ("/bin", "/usr/bin", "/usr/local/bin")
paths = [os.path.join(folder, name) for folder in folders for name in names]
print(json.dumps(sorted({os.path.realpath(path) for path in paths if os.path.exists(path)})))
"""


@define
class Fleet:
    """A broker and its engines, each in a container that has nothing to spare, and no shell."""

    podman: Podman
    image: str
    network: Network
    without_shells: tuple[str, ...]
    place: Place = field(init=False)
    broker: Container = field(init=False)
    containers: list[Container] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.place = self.network.place()
        self.broker = self.start("broker", *PORTS, place=self.place)
        wait_until("the broker to listen", lambda: "control API on" in self.broker.log, 60)

    def start(self, program: str, *arguments: str, place: Place | None = None) -> Container:
        """Start a program in a place of its own, where the broker has a name."""
        options = (*(place or self.network.place()).options, *RESTRICTED, *self.without_shells)
        hosts = ("--add-host", f"broker:{self.place.address}")
        command = ("twistd", "-n", program, "--log-format", "json", *arguments)
        container = self.podman.start(self.image, *command, options=(*options, *hosts))
        self.containers.append(container)
        return container

    def engine(self) -> Container:
        """Start an engine, and wait until it is registered."""
        registered = self.ask("/stats")["registered"]
        engine = self.start("engine", "--host", "broker")
        wait_until(
            "the engine to register", lambda: self.ask("/stats")["registered"] > registered, 60
        )
        return engine

    def ask(self, path: str, **parameters: str | int) -> dict[str, Any]:
        """Ask the broker with curl, by its container's IP address."""
        return self.network.curl(f"http://{self.place.address}:8080{path}", **parameters)

    def check(self) -> None:
        """See that no program complained."""
        for container in self.containers:
            events = [json.loads(line) for line in container.log.splitlines()]
            assert events
            assert [event for event in events if event["level"] in COMPLAINTS] == []


@pytest.fixture(scope="session")
def without_shells(podman: Podman, image: str) -> tuple[str, ...]:
    """Options that leave nothing of an image's shells that could be started."""
    shells = json.loads(podman.output_of(image, "python", "-c", SHELLS))
    return tuple(f"--volume=/dev/null:{shell}:ro" for shell in shells)


@pytest.fixture
def fleet(
    podman: Podman, image: str, network: Network, without_shells: tuple[str, ...]
) -> Iterator[Fleet]:
    """A broker, and no engines yet."""
    try:
        fleet = Fleet(podman, image, network, without_shells)
        yield fleet
        fleet.check()
    finally:
        podman.remove_containers()


def test_engine_registers_by_name_and_curl_sees_it_by_ip(fleet: Fleet) -> None:
    fleet.engine()
    (engine,) = fleet.ask("/engines")["engines"]
    assert engine["state"] == "alive"
    assert not fleet.place.address.startswith("127.")


@pytest.mark.fault("C106")
def test_programs_run_as_nobody_with_no_capability(fleet: Fleet) -> None:
    for container in (fleet.broker, fleet.engine()):
        status = Path(f"/proc/{container.state['Pid']}/status").read_text()
        facts = dict(line.split(":", 1) for line in status.splitlines())
        assert set(facts["Uid"].split()) == set(facts["Gid"].split()) == {"65532"}
        assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0
        assert int(facts["NoNewPrivs"]) == 1


@pytest.mark.fault("C106")
def test_programs_run_as_any_user_without_a_home(podman: Podman, image: str) -> None:
    """A broker, an engine that works in a child, and its Bye, in one container of a stranger."""
    script = (
        "import subprocess, sys, time\n"
        "broker = subprocess.Popen(['twistd', '-n', 'broker', '--interval', '1'])\n"
        "time.sleep(3)\n"
        "engine = subprocess.Popen(['twistd', '-n', 'engine', '--id', 'stranger'])\n"
        "import urllib.request\n"
        "for _ in range(600):\n"
        "    time.sleep(0.1)\n"
        "    url = 'http://127.0.0.1:8080/dowork?time=300&wait=60&engine=stranger'\n"
        "    try:\n"
        "        print(urllib.request.urlopen(url).read().decode())\n"
        "    except OSError:\n"
        "        continue\n"
        "    break\n"
        "for program in (engine, broker):\n"
        "    program.terminate()\n"
        "    print('ended with', program.wait())\n"
    )
    options = ("--network", "none", "--user", "123456:654321", *RESTRICTED[:-4])
    container = podman.start(image, "python", "-c", script, options=options)
    assert container.wait() == 0
    assert '"done": 1' in container.log
    assert container.log.count("ended with 0") == 2


def test_work_burns_in_a_child_in_the_same_memory(fleet: Fleet) -> None:
    engine = fleet.engine()
    command = fleet.ask("/dowork", time=3000)
    wait_until("the child", engine.children, 60)

    def done() -> int:
        return int(fleet.ask(f"/commands/{command['command']}")["states"]["done"])

    wait_until("the work to be done", done, 60)
    wait_until("the child to end", lambda: not engine.children(), 60)
    assert engine.state["Status"] == "running"


def test_killed_engine_ends_its_container_with_the_code(fleet: Fleet) -> None:
    engine = fleet.engine()
    fleet.ask("/kill", code=3)
    assert engine.wait() == 3
    assert fleet.broker.state["Status"] == "running"


def test_stopped_engine_says_bye_and_ends_with_0(fleet: Fleet) -> None:
    engine = fleet.engine()
    fleet.ask("/dowork", time=3_600_000)
    wait_until("the child", engine.children, 60)
    assert engine.stop(GRACE) == 0
    wait_until("the broker to see it go", lambda: fleet.ask("/stats")["left"] == 1, 60)


def test_stopped_broker_ends_with_0(fleet: Fleet) -> None:
    fleet.engine()
    assert fleet.broker.stop(GRACE) == 0


def test_broker_without_options_is_for_its_own_container_alone(podman: Podman, image: str) -> None:
    broker = podman.start(image, options=("--network", "none", *RESTRICTED))
    wait_until("the broker to listen", lambda: "control API on" in broker.log, 60)
    assert "accepting engines on tcp://127.0.0.1:1337" in broker.log
    assert "control API on http://127.0.0.1:8080" in broker.log
    assert broker.stop(GRACE) == 0


def test_whoever_takes_more_than_64_mib_is_killed(podman: Podman, image: str) -> None:
    greedy = podman.start(
        *(image, "python", "-c", "print(len(bytearray(b'x') * 2**27))"),
        options=("--network", "none", *RESTRICTED),
    )
    assert greedy.wait() == 137
    assert greedy.log == ""


def test_no_shell_can_be_started_in_the_fleet(
    podman: Podman, image: str, without_shells: tuple[str, ...]
) -> None:
    options = ("--network", "none", *RESTRICTED)
    command = (image, "sh", "-c", "true")
    assert podman.start(*command, options=options).wait() == 0
    with pytest.raises(AssertionError, match=r"ended with 12[67]"):
        podman.start(*command, options=(*options, *without_shells))
