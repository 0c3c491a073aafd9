"""Networks that are made for a test, and go with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.peers import Peer
from tests.e2e.scene import Stage
from tests.network.namespaces import forgotten
from tests.network.routed import RoutedNetwork
from tests.network.scene import NetworkScene
from tests.network.tools import TOOLS


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run what needs a network of its own only where ``-m network`` asks for it."""
    if "network" not in config.getoption("markexpr"):
        costly = [item for item in items if item.get_closest_marker("network")]
        config.hook.pytest_deselected(items=costly)
        items[:] = [item for item in items if item not in costly]


@pytest.fixture(scope="session")
def tools() -> None:
    """Have what networks need, and nothing left of a run that was killed."""
    if reason := TOOLS.reason_against():
        if TOOLS.expected:
            pytest.fail(reason)
        pytest.skip(reason)
    for namespace in forgotten():
        namespace.delete()


@pytest.fixture
def network(tools: None) -> Iterator[RoutedNetwork]:
    """A network without a host."""
    network = RoutedNetwork()
    try:
        network.open()
        yield network
    finally:
        network.clear()


@pytest.fixture
def scene(
    network: RoutedNetwork, tmp_path: Path, reactor_options: list[str]
) -> Iterator[NetworkScene]:
    """Programs on the hosts of a network; each must end well and complain of nothing."""
    stage = Stage(tmp_path, reactor_options)
    before = set(Peer.made)
    try:
        yield NetworkScene(network, stage)
        stage.check()
    finally:
        stage.clear()
        for peer in Peer.made - before:
            peer.socket.close()
        Peer.made.intersection_update(before)
