"""Every transport of ours keeps every law, on the reactor under test."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen
from twisted.internet import reactor

from transports import URI
from transports.conformance import LAWS, Law, Subject, check
from transports.registry import BUILT_IN, PREFIXES

# Less than a test has, so that a law which is stuck says itself what it waited for.
TIMEOUT = 300


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@frozen
class Row:
    """An address to listen on, and how many laws do not concern it.

    ``{folder}`` stands for a folder of the test.
    """

    address: str
    not_tried: int
    contact: Callable[[URI], str] = str
    reason_to_skip: str = field(default="")

    def __str__(self) -> str:
        # The same in every process of a run.
        return self.address.replace(str(os.getpid()), "<pid>")

    def subject(self, folder: Path) -> Subject:
        address = self.address.format(folder=folder)
        return Subject.of(reactor, address, contact=lambda uri: URI.parse(self.contact(uri)))


def loopback(uri: URI) -> str:
    return f"tcp://127.0.0.1:{uri.port}"


def loopback_by_hub(uri: URI) -> str:
    return f"{loopback(uri)}?io=hub"


def loopback_of_twisted(uri: URI) -> str:
    """Dial as one of Twisted's client strings, which are not those of its servers."""
    port = uri.opaque.split(":")[1]
    return f"{uri.scheme}:tcp:127.0.0.1:{port}"


ON_LINUX = "" if sys.platform == "linux" else "only Linux has abstract names, and the hub"
ROWS = [
    Row("tcp://127.0.0.1:0", 0),
    Row("tcp://[::1]:0", 0, reason_to_skip="" if has_ipv6() else "no IPv6 loopback here"),
    Row("tcp://*:0", 0, loopback),
    Row("tcp://127.0.0.1:0?io=hub", 0, reason_to_skip=ON_LINUX),
    Row("tcp://*:0?io=hub", 0, loopback_by_hub, reason_to_skip=ON_LINUX),
    Row("inproc://name", 3),
    Row("ipc://{folder}/s", 2),
    Row("ipc://{folder}/s?io=hub", 2, reason_to_skip=ON_LINUX),
    Row(f"ipc://@brokerproto-{os.getpid()}", 3, reason_to_skip=ON_LINUX),
    Row("twisted:tcp:0:interface=127.0.0.1", 3, loopback_of_twisted),
    Row("fault+tcp://127.0.0.1:0", 0),
    Row("fault+tcp://127.0.0.1:0?slice=1-64", 0),
    Row("fault+tcp://127.0.0.1:0?delay=5", 0),
    Row("fault+tcp://127.0.0.1:0?io=hub&slice=1-1000&delay=5", 0, reason_to_skip=ON_LINUX),
    Row("fault+inproc://name", 3),
    Row("fault+inproc://name?slice=1-1000&delay=5&jitter=5", 3),
    Row("fault+ipc://{folder}/s", 2),
    Row("fault+ipc://{folder}/s?delay=5&limit=4000000", 2),
    Row("fault+twisted:tcp:0:interface=127.0.0.1", 3, loopback_of_twisted),
]


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_built_in_transport_keeps_the_law(row: Row, law: Law, tmp_path: Path) -> None:
    if row.reason_to_skip:
        pytest.skip(row.reason_to_skip)
    reason = await check(law, row.subject(tmp_path), TIMEOUT)
    if reason is not None:
        pytest.skip(reason)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_no_more_laws_are_left_out_than_concern_the_address(row: Row, tmp_path: Path) -> None:
    subject: Any = row.subject(tmp_path)
    left_out = [law.name for law in LAWS if law.exemption(subject) is not None]
    assert len(left_out) == row.not_tried, left_out


def test_every_transport_of_ours_is_examined() -> None:
    schemes = {URI.parse(row.address.format(folder="/f")).scheme for row in ROWS}
    assert schemes == {*BUILT_IN, *(prefix + each for prefix in PREFIXES for each in BUILT_IN)}
