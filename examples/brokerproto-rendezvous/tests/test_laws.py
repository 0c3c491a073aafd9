"""The transport keeps the laws of transports. Run it with pytest."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet import reactor

from transports.conformance import LAWS, Law, Subject, check


@pytest.mark.parametrize("law", LAWS, ids=str)
async def test_transport_keeps_the_law(law: Law, tmp_path: Path) -> None:
    """Hold it to one law, in a folder of its own."""
    subject = Subject.of(reactor, f"rendezvous://{tmp_path}/broker")
    if reason := await check(law, subject):
        pytest.skip(reason)
