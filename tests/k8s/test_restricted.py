"""Both pods keep the restricted pod security standard.

Rules: https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.k8s.manifests import container, deployed

VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("persistentVolumeClaim", "projected", "secret"),
}
PROFILES = ("RuntimeDefault", "Localhost")
UNIX = ("linux", None)
HOOKS = ("livenessProbe", "readinessProbe", "startupProbe")


def offences(pod: dict[str, Any]) -> list[str]:
    """List what the standard, baseline and restricted, has against a pod."""
    return [*_of_pod(pod), *(each for one in _containers(pod) for each in _of_container(one, pod))]


def _containers(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("initContainers", "containers", "ephemeralContainers"):
        yield from pod.get(name, [])


def _of_pod(pod: dict[str, Any]) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            yield name
    for volume in pod.get("volumes", []):
        if not {*volume} - {"name"} <= VOLUMES:
            yield f"volume {volume['name']}"
    context = pod.get("securityContext", {})
    for name in ("sysctls", "seLinuxOptions", "windowsOptions"):
        if context.get(name):
            yield name
    if pod.get("os", {}).get("name") not in UNIX:
        yield "os"


def _of_container(one: dict[str, Any], pod: dict[str, Any]) -> Iterator[str]:
    own = one.get("securityContext", {})
    context = {**pod.get("securityContext", {}), **own}
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    capabilities = own.get("capabilities", {})
    if capabilities.get("drop") != ["ALL"]:
        yield "capabilities are not dropped"
    if not {*capabilities.get("add", [])} <= {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
        yield "root"
    if context.get("seccompProfile", {}).get("type") not in PROFILES:
        yield "seccompProfile"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    if context.get("appArmorProfile", {"type": "RuntimeDefault"})["type"] not in PROFILES:
        yield "appArmorProfile"
    if any(port.get("hostPort") for port in one.get("ports", [])):
        yield "hostPort"
    hooks = [one.get(name, {}) for name in HOOKS] + [*one.get("lifecycle", {}).values()]
    if any(hook.get(kind, {}).get("host") for hook in hooks for kind in ("httpGet", "tcpSocket")):
        yield "a probe of another host"


@pytest.mark.parametrize("program", ["broker", "engine"])
def test_pod_keeps_the_restricted_standard(program: str) -> None:
    assert offences(deployed().pods[program]) == []


@pytest.mark.parametrize("program", ["broker", "engine"])
def test_pod_has_no_more_than_it_needs(program: str) -> None:
    pod = deployed().pods[program]
    own = container(pod)["securityContext"]
    assert own["readOnlyRootFilesystem"] is True
    assert pod["automountServiceAccountToken"] is False
    # Nothing that Kubernetes says of other Services is taken for an option.
    assert pod["enableServiceLinks"] is False
    # The image's own user, which needs no name in it.
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == (
        65532,
        65532,
    )


def _without(*path: str) -> Callable[[dict[str, Any]], None]:
    def spoil(pod: dict[str, Any]) -> None:
        *way, last = path
        where: Any = container(pod) if way and way[0] == "container" else pod
        for step in way:
            where = where if step == "container" else where[step]
        del where[last]

    return spoil


def _with(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda pod: pod.update(fields)


def _with_context(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda pod: container(pod)["securityContext"].update(fields)


@pytest.mark.parametrize(
    ("spoil", "offence"),
    [
        (_without("securityContext", "runAsNonRoot"), "root"),
        (_with_context(runAsNonRoot=False), "root"),
        (_with_context(runAsUser=0), "root"),
        (_without("securityContext", "seccompProfile"), "seccompProfile"),
        (_with_context(seccompProfile={"type": "Unconfined"}), "seccompProfile"),
        (
            _without("container", "securityContext", "allowPrivilegeEscalation"),
            "allowPrivilegeEscalation",
        ),
        (_without("container", "securityContext", "capabilities"), "capabilities are not dropped"),
        (
            _with_context(capabilities={"drop": ["ALL"], "add": ["SYS_PTRACE"]}),
            "capabilities are added",
        ),
        (_with_context(privileged=True), "privileged"),
        (_with(hostNetwork=True), "hostNetwork"),
        (_with(volumes=[{"name": "host", "hostPath": {"path": "/"}}]), "volume host"),
    ],
)
def test_offence_is_noticed(spoil: Callable[[dict[str, Any]], None], offence: str) -> None:
    pod = copy.deepcopy(deployed().broker)
    spoil(pod)
    assert offences(pod) == [offence]
