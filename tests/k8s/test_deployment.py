"""deployment.yaml agrees with itself, and with what is said in it."""

from __future__ import annotations

import ipaddress
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.k8s.manifests import DEPLOYMENT, Manifests, container, deployed, quantity

SERVICES = ("brokers", "brokers-instruct")
LINES = DEPLOYMENT.read_text(encoding="utf-8").splitlines()
PROJECT = DEPLOYMENT.parents[1] / "pyproject.toml"

STANDSTILL = 60
"""Seconds for which a broker may stand still without being restarted."""


def comment_above(line: str) -> str:
    """Return the comment that stands right above the one line that begins so."""
    (index,) = [n for n, text in enumerate(LINES) if text.strip().startswith(line)]
    comment: list[str] = []
    while LINES[index := index - 1].strip().startswith("#"):
        comment.insert(0, LINES[index].strip("# "))
    return " ".join(comment)


def test_names_are_those_that_everybody_knows() -> None:
    assert deployed().names == {
        *("Service/brokers", "Service/brokers-instruct", "Pod/broker", "Deployment/engine")
    }


@pytest.mark.parametrize("name", SERVICES)
def test_service_leads_to_the_broker_ready_or_not(name: str) -> None:
    service = deployed().one("Service", name)["spec"]
    labels = deployed().one("Pod", "broker")["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert service["publishNotReadyAddresses"] is True
    ports = {port["name"]: port["containerPort"] for port in container(deployed().broker)["ports"]}
    for port in service["ports"]:
        assert port["port"] == ports[port["targetPort"]]
        assert port["name"] == port["targetPort"]


def test_services_lead_where_they_should() -> None:
    ports = {
        name: [port["port"] for port in deployed().one("Service", name)["spec"]["ports"]]
        for name in SERVICES
    }
    assert ports == {"brokers": [1337], "brokers-instruct": [8080, 1337]}
    assert deployed().one("Service", "brokers-instruct")["spec"]["type"] == "LoadBalancer"


def test_no_service_leads_to_an_engine() -> None:
    engine = deployed().one("Deployment", "engine")["spec"]
    labels = engine["template"]["metadata"]["labels"]
    assert engine["selector"]["matchLabels"].items() <= labels.items()
    for name in SERVICES:
        assert not deployed().one("Service", name)["spec"]["selector"].items() <= labels.items()


def test_only_private_networks_reach_the_load_balancer() -> None:
    ranges = deployed().one("Service", "brokers-instruct")["spec"]["loadBalancerSourceRanges"]
    assert ranges
    assert all(ipaddress.ip_network(each).is_private for each in ranges)


def test_line_of_the_ranges_says_how_it_is_changed() -> None:
    example = re.search(r'\["[0-9./]+"\]', comment_above("loadBalancerSourceRanges:"))
    assert example is not None
    changed = [
        f"{line.partition(':')[0]}: {example[0]}" if "loadBalancerSourceRanges:" in line else line
        for line in LINES
    ]
    service = Manifests("\n".join(changed)).one("Service", "brokers-instruct")
    assert service["spec"]["loadBalancerSourceRanges"] == yaml.safe_load(example[0])


def test_insecure_says_so_above_its_line() -> None:
    assert comment_above("- --insecure").startswith("--insecure:")


def probe(name: str) -> Any:
    return container(deployed().broker)[name]


def test_broker_may_stand_still_for_a_minute() -> None:
    alive = probe("livenessProbe")
    # Where each is refused at once: the first at the worst moment, and one a period.
    assert (alive["failureThreshold"] - 1) * alive["periodSeconds"] >= STANDSTILL
    # Where each runs into its timeout, which the next one then waits for.
    assert alive["failureThreshold"] * alive["timeoutSeconds"] >= STANDSTILL
    assert alive["timeoutSeconds"] <= alive["periodSeconds"]
    assert "initialDelaySeconds" not in alive
    assert "terminationGracePeriodSeconds" not in alive


def test_broker_is_unready_before_it_is_restarted() -> None:
    ready, alive = probe("readinessProbe"), probe("livenessProbe")
    assert ready["periodSeconds"] * ready.get("failureThreshold", 3) < STANDSTILL
    assert ready["httpGet"]["path"] != alive["httpGet"]["path"]


def test_broker_is_started_again_whatever_ended_it() -> None:
    assert deployed().broker["restartPolicy"] == "Always"


def test_resources_are_told_and_enough() -> None:
    engine = container(deployed().engine)["resources"]
    broker = container(deployed().broker)["resources"]
    for resources in (engine, broker):
        for name in ("cpu", "memory"):
            assert quantity(resources["requests"][name]) <= quantity(resources["limits"][name])
    assert quantity(engine["limits"]["memory"]) == 64 * 2**20
    assert quantity(broker["requests"]["memory"]) >= 64 * 2**20
    assert quantity(broker["limits"]["memory"]) >= 256 * 2**20


def test_image_is_the_same_in_both_and_of_this_version() -> None:
    version = tomllib.loads(PROJECT.read_text())["project"]["version"]
    images = {container(pod)["image"] for pod in deployed().pods.values()}
    assert images == {f"broker-engine:{version}"}


def test_pods_are_what_the_image_is_made_for() -> None:
    lines = (PROJECT.parent / "Dockerfile").read_text(encoding="utf-8").splitlines()
    told = {word: rest for word, _, rest in (line.partition(" ") for line in lines)}
    for pod in deployed().pods.values():
        context = pod["securityContext"]
        assert told["USER"] == f"{context['runAsUser']}:{context['runAsGroup']}"
    ports = [str(port["containerPort"]) for port in container(deployed().broker)["ports"]]
    assert told["EXPOSE"].split() == ports
    # With one, the arguments would be no whole command.
    assert "ENTRYPOINT" not in told


def test_line_in_the_header_changes_the_images_and_nothing_else(tmp_path: Path) -> None:
    if shutil.which("sed") is None:
        pytest.skip("sed is not installed")
    (line,) = [text.strip("# ") for text in LINES if text.startswith("#   sed")]
    copied = tmp_path / "k8s" / "deployment.yaml"
    copied.parent.mkdir()
    shutil.copy(DEPLOYMENT, copied)
    image = "registry.example:5000/team/broker-engine:1.2.3-rc.1"
    line = line.replace("<registry>/broker-engine:<version>", image)
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True, timeout=300)
    before, after = LINES, copied.read_text(encoding="utf-8").splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [new.strip() for _, new in changed] == [f"image: {image}"] * 2
    assert all(old.partition("image:")[0] == new.partition("image:")[0] for old, new in changed)
    assert (tmp_path / "k8s" / "deployment.yaml.bak").read_text() == DEPLOYMENT.read_text()
