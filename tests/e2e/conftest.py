"""Brokers and engines as real processes, on ports that the system chose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.peers import Peer, RawBroker
from tests.e2e.scene import BrokerProgram, Scene, Stage
from tests.e2e.terminal import Terminal
from tests.ports import reserved_port


@pytest.fixture(autouse=True)
def _no_peer_outlives_its_test() -> Iterator[None]:
    before = set(Peer.made)
    yield
    for peer in Peer.made - before:
        peer.socket.close()
    Peer.made.intersection_update(before)


@pytest.fixture
def stage(tmp_path: Path, reactor_options: list[str]) -> Iterator[Stage]:
    """Programs of one test."""
    stage = Stage(tmp_path, reactor_options)
    try:
        yield stage
        stage.check()
    finally:
        stage.clear()


@pytest.fixture(scope="package")
def _common_stage(
    tmp_path_factory: pytest.TempPathFactory, reactor_options: list[str]
) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("scene"), reactor_options)
    try:
        yield stage
        stage.check()
    finally:
        stage.clear()


@pytest.fixture(scope="module")
def scene(_common_stage: Stage) -> Iterator[Scene]:
    """One broker for many tests: each must leave it and its account as it was.

    A handshake has 2 s, and frames no rate, so that waiting for either costs no more.
    """
    scene = Scene(_common_stage.broker("--handshake-timeout", "2", "--frame-rate", "0"))
    yield scene
    scene.close()


@pytest.fixture(scope="package")
def _beating_broker(_common_stage: Stage) -> BrokerProgram:
    return _common_stage.broker()


@pytest.fixture
def broker(_beating_broker: BrokerProgram) -> Iterator[BrokerProgram]:
    """A broker whose engines beat once a second; nobody is there, nothing was counted."""
    _beating_broker.count_anew()
    yield _beating_broker
    _beating_broker.until(connections=0)


@pytest.fixture
def terminal(tmp_path: Path, reactor_options: list[str]) -> Iterator[Terminal]:
    """A directory to run commands in."""
    terminal = Terminal(tmp_path, reactor_options)
    try:
        yield terminal
    finally:
        terminal.close()


@pytest.fixture
def port() -> Iterator[int]:
    """A port for a program of this test, to which another may come when it has gone."""
    with reserved_port() as port:
        yield port


@pytest.fixture
def raw_broker() -> Iterator[RawBroker]:
    """A socket that an engine takes for its broker."""
    broker = RawBroker()
    yield broker
    broker.close()
