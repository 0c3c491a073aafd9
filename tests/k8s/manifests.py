"""Reads the manifests: their documents, the containers in them, and kustomize's output."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

K8S = Path(__file__).resolve().parents[2] / "k8s"
DEPLOYMENT = K8S / "deployment.yaml"

POD = {
    "metadata.name": "engine-5d8f9c7b6d-x2x4q",
    "spec.nodeName": "aks-agentpool-14693408-vmss00000a",
}
"""What the downward API gives a container, as on AKS."""

_OLDEST_MINOR = 21
_REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
_UNITS = {"": 1, "m": 0.001, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


class Manifests:
    """The documents of one file, or of kustomize's output."""

    def __init__(self, text: str) -> None:
        self.documents: list[dict[str, Any]] = [*yaml.safe_load_all(text)]

    def one(self, kind: str, name: str) -> dict[str, Any]:
        """Return the one document of this kind and name."""
        (found,) = [
            document
            for document in self.documents
            if (document["kind"], document["metadata"]["name"]) == (kind, name)
        ]
        return found

    @property
    def names(self) -> set[str]:
        """All documents, as ``Kind/name``."""
        return {f"{each['kind']}/{each['metadata']['name']}" for each in self.documents}

    @property
    def broker(self) -> dict[str, Any]:
        """What is specified of the broker's pod."""
        spec: dict[str, Any] = self.one("Pod", "broker")["spec"]
        return spec

    @property
    def engine(self) -> dict[str, Any]:
        """What is specified of an engine's pod."""
        spec: dict[str, Any] = self.one("Deployment", "engine")["spec"]["template"]["spec"]
        return spec

    @property
    def pods(self) -> dict[str, dict[str, Any]]:
        """Both, by the program that runs in them."""
        return {"broker": self.broker, "engine": self.engine}


def container(pod: dict[str, Any]) -> dict[str, Any]:
    """Return a pod's one container."""
    (only,) = pod["containers"]
    found: dict[str, Any] = only
    return found


def environment(pod: dict[str, Any]) -> dict[str, str]:
    """Return a container's variables, with what the downward API would say."""
    return {
        variable["name"]: variable["value"]
        if "value" in variable
        else POD[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        for variable in container(pod).get("env", [])
    }


def references(pod: dict[str, Any]) -> set[str]:
    """Return the names of the variables that a container's arguments refer to."""
    return {name for argument in container(pod)["args"] for name in _REFERENCE.findall(argument)}


def arguments(pod: dict[str, Any]) -> list[str]:
    """Return a container's arguments as its process gets them.

    A reference to an unknown variable stays as it is, as with the kubelet.
    """
    known = environment(pod)
    return [
        _REFERENCE.sub(lambda found: known.get(found[1], found[0]), argument)
        for argument in container(pod)["args"]
    ]


def quantity(text: str) -> float:
    """Read a quantity of Kubernetes: ``100m``, ``64Mi``, ``1``."""
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text)).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS[unit]


@cache
def deployed() -> Manifests:
    """Read ``k8s/deployment.yaml``."""
    return Manifests(DEPLOYMENT.read_text(encoding="utf-8"))


@cache
def built() -> Manifests:
    """Let ``kubectl kustomize`` build ``k8s``; skip where there is none that can."""
    return Manifests(kustomized(K8S))


def kustomized(folder: Path) -> str:
    """Let ``kubectl kustomize`` build a folder; skip where there is none that can."""
    return _run([kubectl_that_builds(), "kustomize", str(folder)])


def kubectl() -> str:
    """Return where kubectl is; skip where it is not."""
    path = shutil.which("kubectl")
    if path is None:
        pytest.skip("kubectl is not installed")
    return path


def kubectl_that_builds() -> str:
    """Return where a kubectl is whose kustomize is new enough for k8s; skip where it is not."""
    path = kubectl()
    version = json.loads(_run([path, "version", "--client", "-o", "json"]))["clientVersion"]
    minor = int(re.match(r"\d+", version["minor"])[0])  # type: ignore[index]
    if minor < _OLDEST_MINOR:
        pytest.skip(f"kubectl 1.{minor} knows no components; 1.{_OLDEST_MINOR} is the first to")
    return path


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    # A deprecated field is told here.
    assert done.stderr == ""
    return done.stdout
