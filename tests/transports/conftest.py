"""What the tests of transports on real sockets share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet.defer import maybeDeferred

from transports import URI, transport_for


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A name that no file has."""
    return tmp_path / "s"


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def listen() -> AsyncIterator[Any]:
    """Listen where a test says; afterwards stop, and end what was accepted."""
    # Not above: it has a reactor, which is chosen when this file has been read.
    from tests.transports.sockets import Listener, Peers, server

    made: list[Listener] = []

    async def listen(text: str) -> Listener:
        uri, factory = URI.parse(text), Peers()
        port = await server(text).listen(factory)
        address = transport_for(uri.scheme).listen_address(uri, port)
        made.append(Listener(address, port, factory))
        return made[-1]

    yield listen
    for listener in made:
        await maybeDeferred(listener.port.stopListening)
        for peer in listener.factory.made:
            if not peer.lost.called:
                cast(Any, peer.transport).abortConnection()
                await peer.lost
