"""The cluster of the template has room for the engines, and the overlay brings them there."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml

from tests.k8s.manifests import K8S, Manifests, built, container, deployed, quantity

AKS = K8S / "aks"

# Of Azure's sizes: CPUs and GiB of memory. AKS reserves CPU by their number.
SIZES = {"Standard_D4s_v5": (4, 16)}
RESERVED_CPU = {4: 0.140}
# What AKS reserves of memory is at most this share, and the kubelet evicts pods before
# the last 100 MiB are gone.
RESERVED_SHARE, EVICTION = 0.25, 100 * 2**20
# AKS gives every node a /24 of the pods' addresses.
NODE_PREFIX = 24
MOST_PODS = 250
# The network that AKS makes for the nodes where none is named.
NODES_NETWORK = ipaddress.ip_network("10.224.0.0/12")
SPOT = "kubernetes.azure.com/scalesetpriority=spot:NoSchedule"

_CALL = re.compile(r"\[(parameters|variables)\('(\w+)'\)\]")
_REFERENCE = re.compile(r"(parameters|variables)\('(\w+)'\)")


@cache
def template() -> dict[str, Any]:
    """Read the template as Azure does that knows no comments."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        assert len({*names}) == len(names), names
        return dict(pairs)

    read: dict[str, Any] = json.loads(
        (AKS / "cluster.json").read_text(encoding="utf-8"), object_pairs_hook=unique
    )
    return read


def settled(value: Any) -> Any:
    """Put the parameters' defaults and the variables where they are referred to."""
    if isinstance(value, dict):
        return {name: settled(each) for name, each in value.items()}
    if isinstance(value, list):
        return [settled(each) for each in value]
    if isinstance(value, str) and (call := _CALL.fullmatch(value)):
        kind, name = call.groups()
        found = template()[kind][name]
        return found["defaultValue"] if kind == "parameters" else found
    return value


def resource(kind: str) -> dict[str, Any]:
    """Return the properties of the one resource of this type."""
    (found,) = [each for each in template()["resources"] if each["type"].endswith(f"/{kind}")]
    properties: dict[str, Any] = settled(found["properties"])
    return properties


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        value = [*value.values()]
    if isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


def overlaid() -> dict[str, Any]:
    """Return what the overlay adds to an engine's pod, without kustomize."""
    patch = Manifests((AKS / "engine.yaml").read_text(encoding="utf-8"))
    assert patch.names == {"Deployment/engine"}
    return patch.engine


def tolerated(pod: dict[str, Any]) -> set[str]:
    """Return the taints that a pod tolerates."""
    assert {each["operator"] for each in pod["tolerations"]} == {"Equal"}
    return {f"{each['key']}={each['value']}:{each['effect']}" for each in pod["tolerations"]}


def test_template_uses_what_it_declares() -> None:
    used = {pair for text in texts(template()) for pair in _REFERENCE.findall(text)}
    declared = {(kind, name) for kind in ("parameters", "variables") for name in template()[kind]}
    assert used == declared
    assert {*template()} == {
        *("$schema", "contentVersion", "metadata"),
        *("parameters", "variables", "resources", "outputs"),
    }


def test_expressions_are_closed() -> None:
    for text in texts(template()):
        if text.startswith("["):
            assert text.endswith("]"), text
            assert text.count("(") == text.count(")"), text
            assert text.count("'") % 2 == 0, text


def test_every_parameter_has_a_default_within_its_bounds() -> None:
    kinds = {"string": str, "int": int}
    for name, parameter in template()["parameters"].items():
        default = parameter["defaultValue"]
        assert isinstance(default, kinds[parameter["type"]]), name
        assert default in parameter.get("allowedValues", [default]), name
        if isinstance(default, int):
            assert parameter["minValue"] <= default <= parameter["maxValue"], name
        assert parameter["metadata"]["description"].endswith("."), name


def test_no_secret_is_asked_for() -> None:
    kinds = {parameter["type"].lower() for parameter in template()["parameters"].values()}
    assert not any("secure" in kind for kind in kinds)
    assert not re.search("secret|password|key", json.dumps(template()), re.IGNORECASE)


def test_resources_are_of_one_released_version_of_the_api() -> None:
    versions = {each["apiVersion"] for each in template()["resources"]}
    (version,) = versions
    assert re.fullmatch(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}", version)
    reference = template()["outputs"]["nodeResourceGroup"]["value"]
    assert f"'{version}'" in reference


def test_low_priority_pool_scales_between_four_and_eight() -> None:
    pool = resource("agentPools")
    assert pool["enableAutoScaling"] is True
    assert (pool["minCount"], pool["maxCount"]) == (4, 8)
    assert pool["minCount"] <= pool["count"] <= pool["maxCount"]


def test_low_priority_pool_is_of_spot_nodes_that_go_when_evicted() -> None:
    pool = resource("agentPools")
    assert (pool["mode"], pool["scaleSetPriority"]) == ("User", "Spot")
    assert pool["scaleSetEvictionPolicy"] == "Delete"
    assert pool["spotMaxPrice"] == -1
    assert pool["nodeTaints"] == [SPOT, "pooltype=lowpri:NoSchedule"]


def test_low_priority_pool_belongs_to_the_cluster() -> None:
    cluster, pool = template()["resources"]
    name = cluster["name"].strip("[]")
    assert pool["name"] == f"[format('{{0}}/{{1}}', {name}, variables('lowPriorityPool'))]"
    assert pool["dependsOn"] == [f"[resourceId('{cluster['type']}', {name})]"]
    assert pool["type"] == f"{cluster['type']}/agentPools"


def test_system_pool_takes_the_broker() -> None:
    (pool,) = resource("managedClusters")["agentPoolProfiles"]
    assert (pool["mode"], pool["count"]) == ("System", 2)
    assert "nodeTaints" not in pool
    assert pool["name"] != template()["variables"]["lowPriorityPool"]
    for name in (pool["name"], template()["variables"]["lowPriorityPool"]):
        assert re.fullmatch(r"[a-z][a-z0-9]{0,11}", name)


def test_every_node_has_addresses_for_its_pods() -> None:
    (system,) = resource("managedClusters")["agentPoolProfiles"]
    pools = [system, resource("agentPools")]
    assert [pool["maxPods"] for pool in pools] == [MOST_PODS] * 2
    # A node of 256 addresses needs a few for itself.
    assert MOST_PODS <= 2 ** (32 - NODE_PREFIX) - 4
    network = resource("managedClusters")["networkProfile"]
    assert (network["networkPlugin"], network["networkPluginMode"]) == ("azure", "overlay")
    blocks = 2 ** (NODE_PREFIX - ipaddress.ip_network(network["podCidr"]).prefixlen)
    # Twice, for an upgrade that brings every node anew before the old one goes.
    assert 2 * sum(pool.get("maxCount", pool["count"]) for pool in pools) <= blocks
    # As far as the parameters reach, too.
    bounds = template()["parameters"]
    most = bounds["systemNodes"]["maxValue"] + bounds["lowPriorityMaximum"]["maxValue"]
    assert most <= blocks


def test_networks_do_not_overlap() -> None:
    network = resource("managedClusters")["networkProfile"]
    pods, services = (ipaddress.ip_network(network[name]) for name in ("podCidr", "serviceCidr"))
    assert not pods.overlaps(services)
    assert not pods.overlaps(NODES_NETWORK)
    assert not services.overlaps(NODES_NETWORK)
    assert services.prefixlen > 12
    dns = ipaddress.ip_address(network["dnsServiceIP"])
    assert dns in services
    assert dns != services[1]
    assert pods.is_private
    assert services.is_private


def test_node_has_room_for_as_many_engines_as_pods() -> None:
    cpus, memory = SIZES[resource("agentPools")["vmSize"]]
    requests = container(deployed().engine)["resources"]["requests"]
    allocatable = memory * 2**30 * (1 - RESERVED_SHARE) - EVICTION
    # A tenth is for what AKS runs on every node.
    assert MOST_PODS * quantity(requests["memory"]) <= 0.9 * allocatable
    assert MOST_PODS * quantity(requests["cpu"]) <= 0.9 * (cpus - RESERVED_CPU[cpus])


def test_overlay_leads_engines_to_the_low_priority_pool() -> None:
    engine = overlaid()
    assert {*engine} == {"nodeSelector", "tolerations"}
    assert engine["nodeSelector"] == {
        "kubernetes.azure.com/agentpool": template()["variables"]["lowPriorityPool"]
    }
    assert tolerated(engine) == {*resource("agentPools")["nodeTaints"]}


def test_overlay_is_a_component_below_what_it_patches() -> None:
    outer, inner = (
        yaml.safe_load((folder / "kustomization.yaml").read_text()) for folder in (K8S, AKS)
    )
    assert (outer["kind"], inner["kind"]) == ("Kustomization", "Component")
    assert outer["resources"] == ["deployment.yaml"]
    assert [K8S / each for each in outer["components"]] == [AKS]
    assert inner["patches"] == [{"path": "engine.yaml"}]


def test_kustomize_changes_nothing_but_where_engines_run() -> None:
    before, after = deployed(), built()
    assert after.names == before.names
    for document in before.documents:
        kind, name = document["kind"], document["metadata"]["name"]
        if kind != "Deployment":
            assert after.one(kind, name) == document
    assert {name: after.engine[name] for name in overlaid()} == overlaid()
    assert {name: value for name, value in after.engine.items() if name not in overlaid()} == (
        before.engine
    )
