"""The image, built once, and what its containers run in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.base_image import base_image
from tests.image.network import Network
from tests.image.package_index import volumes_for_pip
from tests.image.podman import Podman
from tests.image.tools import TOOLS

ROOT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run what needs the image only where ``-m image`` asks for it."""
    if "image" not in config.getoption("markexpr"):
        costly = [item for item in items if item.get_closest_marker("image")]
        config.hook.pytest_deselected(items=costly)
        items[:] = [item for item in items if item not in costly]


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """Podman, with nothing in its storage."""
    if reason := TOOLS.reason_against():
        if TOOLS.expected:
            pytest.fail(reason)
        pytest.skip(reason)
    podman = Podman(tmp_path_factory.mktemp("podman"))
    try:
        yield podman
    finally:
        podman.clear()


@pytest.fixture(scope="session")
def base(podman: Podman) -> str:
    """An image with Python."""
    return base_image(podman)


@pytest.fixture(scope="session")
def image(podman: Podman, base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image, built from what is here."""
    volumes = volumes_for_pip(tmp_path_factory.mktemp("pip"))
    name = "localhost/broker-engine:test"
    podman(
        *("build", "--network", "host", *(f"--volume={volume}" for volume in volumes)),
        *("--build-arg", f"PYTHON_IMAGE={base}", "--tag", name, ROOT),
    )
    return name


@pytest.fixture
def network(podman: Podman) -> Iterator[Network]:
    """A network for one test."""
    network = Network()
    try:
        network.open()
        yield network
    finally:
        network.clear()
