"""A broker as one would begin to write it with Twisted, to compare with.

It frames by ``LineReceiver``, keeps engines by id, checks numbers, keeps an account and
notes when it heard whom. It has no limits, no detector and no ledger. Run as a program
it says in one line of JSON where it listens.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import define, field
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

_BACKLOG = 65535


@define(eq=False)
class Registry:
    """Who is there, and what was counted."""

    seconds: Any
    engines: dict[bytes, PlainBroker] = field(factory=dict)
    heartbeats: int = 0
    missed: int = 0
    unknown: int = 0

    def stats(self) -> dict[str, int]:
        """Tell the account."""
        return {
            "registered": len(self.engines),
            "heartbeats": self.heartbeats,
            "missed": self.missed,
            "unknown": self.unknown,
        }

    def send_to_all(self, command: bytes) -> int:
        """Send a command; return to how many."""
        for engine in self.engines.values():
            engine.say(command)
        return len(self.engines)


class PlainBroker(LineReceiver):
    """The broker's end of one connection."""

    delimiter = b"\n"

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.engine_id: bytes | None = None
        self.last = 0
        self.seen = 0.0

    def lineReceived(self, line: bytes) -> None:
        """Take one frame."""
        registry = self.registry
        verb, engine_id, number = line.split(b":", 3)[:3]
        if verb == b"HeartBeat" and engine_id == self.engine_id:
            seq = int(number)
            if seq == self.last + 1:
                self.last = seq
                self.seen = registry.seconds()
                registry.heartbeats += 1
            else:
                registry.missed += 1
        elif verb == b"NewEngine" and engine_id not in registry.engines:
            self.engine_id = engine_id
            self.last = int(number)
            self.seen = registry.seconds()
            registry.engines[engine_id] = self
            self.say(b"SUCCESS:Registered")
        else:
            registry.unknown += 1

    def say(self, frame: bytes) -> None:
        """Send a frame."""
        self.sendLine(frame)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget the engine."""
        if self.engine_id is not None:
            del self.registry.engines[self.engine_id]


class PlainBrokers(Factory):
    """Makes them."""

    noisy = False

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def buildProtocol(self, addr: object) -> PlainBroker:
        """Make one."""
        return PlainBroker(self.registry)


class Control(Resource):
    """``/stats`` and ``/dowork?time=MS``."""

    isLeaf = True

    def __init__(self, registry: Registry) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.registry = registry

    def render_GET(self, request: Request) -> bytes:
        """Answer."""
        if request.path == b"/dowork":
            command = b"DOWORK:" + request.args[b"time"][0]
            return json.dumps({"targets": self.registry.send_to_all(command)}).encode()
        return json.dumps(self.registry.stats()).encode()


def main() -> None:
    """Serve until the process is told to end."""
    from twisted.internet import reactor as installed

    from services.program.open_files import raise_open_files

    reactor: Any = installed
    raise_open_files()
    registry = Registry(reactor.seconds)
    engines = reactor.listenTCP(0, PlainBrokers(registry), _BACKLOG, "127.0.0.1")
    http = reactor.listenTCP(0, Site(Control(registry)), interface="127.0.0.1")
    where = {"port": engines.getHost().port, "http_port": http.getHost().port}
    print(json.dumps(where), flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
