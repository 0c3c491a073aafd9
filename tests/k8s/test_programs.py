"""The programs take what the manifests give them."""

from __future__ import annotations

from typing import Any

import pytest

from brokerproto.carrying import FLUSH_DEADLINE
from services.broker.options import Options as BrokerOptions
from services.engine.options import Options as EngineOptions
from services.program.exit_status import ExitStatus
from services.program.options import Options
from tests.k8s.manifests import (
    DEPLOYMENT,
    POD,
    arguments,
    container,
    deployed,
    environment,
    references,
)
from tests.services.broker.controlled import Controlled, request

PROGRAMS: dict[str, type[Options]] = {"broker": BrokerOptions, "engine": EngineOptions}


def parsed(program: str) -> Any:
    """Read a container's command line and environment as its program does."""
    pod = deployed().pods[program]
    twistd, foreground, name, *rest = arguments(pod)
    assert (twistd, foreground, name) == ("twistd", "-n", program)
    options = PROGRAMS[program](environment(pod))
    options.parseOptions(rest)
    return options


@pytest.mark.parametrize("program", PROGRAMS)
def test_arguments_are_what_the_program_takes(program: str) -> None:
    parsed(program)
    pod = deployed().pods[program]
    # A command would replace the image's way of starting.
    assert "command" not in container(pod)
    assert references(pod) <= environment(pod).keys()


@pytest.mark.parametrize("program", PROGRAMS)
def test_variables_are_known_to_the_program(program: str) -> None:
    pod = deployed().pods[program]
    known = {option.env for option in PROGRAMS[program].table}
    assert environment(pod).keys() - references(pod) <= known


def test_broker_listens_on_its_ports_and_everywhere() -> None:
    options = parsed("broker")
    listens = {
        "engines": [uri.port for uri in options["listen"]],
        "control": [options["control"].port],
    }
    ports = container(deployed().broker)["ports"]
    assert {port["name"]: [port["containerPort"]] for port in ports} == listens
    assert {options["control"].host, *(uri.host for uri in options["listen"])} == {"*"}
    assert options["insecure"] is True


def test_engine_is_called_as_its_pod_and_says_where_it_runs() -> None:
    options = parsed("engine")
    assert options.ids == [POD["metadata.name"]]
    assert dict(options["label"]) == {"node": POD["spec.nodeName"]}
    assert options["work"] == "child"


def test_engine_finds_the_broker_by_its_headless_name() -> None:
    manifests, uri = deployed(), parsed("engine")["broker"]
    service = manifests.one("Service", "brokers")
    assert service["spec"]["clusterIP"] == "None"
    assert manifests.broker["subdomain"] == service["metadata"]["name"]
    assert uri.host == f"{manifests.broker['hostname']}.{manifests.broker['subdomain']}"
    assert [uri.port] == [port["port"] for port in service["spec"]["ports"]]


def test_engine_in_the_cluster_finds_the_broker_by_its_service() -> None:
    options = EngineOptions({})
    options.parseOptions(["--host", "brokers-instruct"])
    ports = deployed().one("Service", "brokers-instruct")["spec"]["ports"]
    assert options["broker"].port in [port["port"] for port in ports]


@pytest.mark.parametrize("probe", ["livenessProbe", "readinessProbe"])
def test_probe_is_answered(probe: str) -> None:
    broker, get = Controlled(), container(deployed().broker)[probe]["httpGet"]
    # The kubelet asks the pod's address.
    assert {*get} == {"path", "port"}
    wire = broker.wire()
    wire.send(request(get["path"], host="10.244.3.17:8080"))
    (answer,) = wire.answers
    assert answer.status == 200
    wire.lose()


def test_only_readiness_ends_when_the_broker_takes_no_engines() -> None:
    broker = Controlled()
    broker.ready = False
    status = {
        probe: broker.answer_to(container(deployed().broker)[probe]["httpGet"]["path"]).status
        for probe in ("livenessProbe", "readinessProbe")
    }
    assert status == {"livenessProbe": 200, "readinessProbe": 503}


class Reactor:
    def callWhenRunning(self, function: object, /) -> None: ...
    def callFromThread(self, function: object, /) -> None: ...
    def stop(self) -> None: ...


def test_broker_has_time_to_drain() -> None:
    options = parsed("broker")
    longest = options["drain-timeout"] + FLUSH_DEADLINE
    assert deployed().broker["terminationGracePeriodSeconds"] >= longest + 3
    limits = options.limits(options["max-connections"])
    assert limits.spread(6600) == limits.spread(1) == 5
    assert limits.spread(6700) > 5
    told = " ".join(DEPLOYMENT.read_text(encoding="utf-8").replace("#", "").split())
    assert "within 5 s where there are no more than 6,600, and never longer" in told
    assert f"--drain-timeout, {options['drain-timeout']} s." in told


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_ends_by_itself_before_it_is_killed(program: str) -> None:
    assert deployed().pods[program]["terminationGracePeriodSeconds"] > ExitStatus(Reactor()).grace
