"""The manifests are what Kubernetes takes, and nothing that it would drop."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest

from tests.k8s.manifests import Manifests, built, deployed

# An old one that clusters still run, and the newest that is known.
VERSIONS = ("1.29", kubernetes_validate.latest_version())


def check(document: dict[str, Any], version: str) -> None:
    """Do what ``kubernetes-validate --strict`` does with each document of a file."""
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifests", [deployed, built])
def test_manifests_are_valid(manifests: Callable[[], Manifests], version: str) -> None:
    documents = manifests().documents
    assert len(documents) == 4
    for document in documents:
        check(document, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_misspelt_field_is_noticed(version: str) -> None:
    pod = copy.deepcopy(deployed().one("Pod", "broker"))
    pod["spec"]["terminationGracePeriod"] = pod["spec"].pop("terminationGracePeriodSeconds")
    with pytest.raises(kubernetes_validate.ValidationError):
        check(pod, version)
