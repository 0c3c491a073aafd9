"""Programs on the hosts of a network, and what they say of what happens to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field

from services.scaletest.programs import PATIENCE, ControlAPI, Program, wait_until
from tests.e2e.peers import RawEngine
from tests.e2e.scene import BrokerProgram, Stage
from tests.network.routed import Host, RoutedNetwork

__all__ = ["PATIENCE", "DistantBroker", "Engine", "NetworkScene"]

_PORT = 1337


@define
class _DistantAPI(ControlAPI):
    host: Host

    def ask(self, path: str, **parameters: str | int) -> dict[str, Any]:
        """See `ControlAPI`; it is asked on its own host."""
        answer: dict[str, Any] = self.host.place.call(
            ControlAPI(self.address).ask, path, **parameters
        )
        return answer


class DistantBroker(BrokerProgram):
    """A broker on a host of its own."""

    def __init__(self, program: Program, host: Host) -> None:
        super().__init__(program)
        self.host = host
        self.api = _DistantAPI(self.api.address, host)

    def account(self, engine_id: str) -> dict[str, int]:
        """Give the account of an engine's present life; empty while it is not registered."""
        account: dict[str, int] = self.engines().get(engine_id, {}).get("account", {})
        return account

    def ends(self, engine_id: str) -> list[tuple[str, float]]:
        """Give the cause of each end of an engine, and how long it was registered, in order."""
        ends = self.api.ask("/history", match=engine_id)["history"]
        return [(end["cause"], end["duration"]) for end in reversed(ends)]

    def said(self, engine_id: str, *keys: str) -> list[tuple[Any, ...]]:
        """Give these fields of the lines about an engine that have them all, in order."""
        return [
            tuple(event[key] for key in keys)
            for event in self.program.events()
            if event.get("engine") == engine_id and all(key in event for key in keys)
        ]

    def until_epoch(self, engine_id: str, epoch: int, seconds: float = PATIENCE) -> None:
        """Wait until an engine is registered for so many times."""
        wait_until(
            f"epoch {epoch} of {engine_id}",
            lambda: self.engines().get(engine_id, {}).get("epoch") == epoch,
            seconds,
        )

    def until_beaten(self, engine_id: str) -> None:
        """Wait for the next heartbeat of a registered engine."""
        before = self.account(engine_id)["last"]
        wait_until(
            f"a heartbeat of {engine_id}",
            lambda: self.account(engine_id).get("last", before) > before,
            PATIENCE,
        )


@define(eq=False)
class Engine:
    """An engine's process on a host.

    Attributes:
        engine_id: Its id.
        host: Where it is.
        program: Its process.
    """

    engine_id: str
    host: Host
    program: Program

    def setbacks(self) -> list[str]:
        """Say why it was not registered, each time."""
        return [str(event["reason"]) for event in self.program.events() if "reason" in event]

    def pauses(self) -> list[float]:
        """Give the seconds that it chose to wait, each time."""
        return [float(event["seconds"]) for event in self.program.events() if "reason" in event]

    def until_setback(self, number: int = 1) -> list[str]:
        """Wait until it was not registered so many times, and say why."""

        def happened() -> bool:
            return len(self.setbacks()) >= number

        wait_until(f"setback {number} of {self.engine_id}", happened, PATIENCE)
        return self.setbacks()

    def leave(self) -> int:
        """End it, and give how many heartbeats it has sent in all."""
        assert self.program.end() == 0
        sent: int = self.program.logged("heartbeats", "sent ")
        return sent


@define
class NetworkScene:
    """A network, and the programs on its hosts."""

    network: RoutedNetwork
    _stage: Stage
    _hosts: dict[str, Host] = field(factory=dict)

    def host(self, name: str) -> Host:
        """Give the host of this name; made when it is asked for first."""
        if name not in self._hosts:
            self._hosts[name] = self.network.host()
        return self._hosts[name]

    def broker(self, *arguments: str, on: str = "broker") -> DistantBroker:
        """Start a broker whose engines beat once a second, and wait until it listens."""
        host = self.host(on)
        program = self._stage.program(
            *("broker", "--listen", f"tcp://*:{_PORT}", "--control", "http://127.0.0.1:8080"),
            *("--control-rate", "0", "--insecure", "--interval", "1", *arguments),
            within=host.place.prefix,
        )
        return DistantBroker(program, host)

    def engine(
        self, engine_id: str, *arguments: str, on: str | None = None, at: str = ""
    ) -> Engine:
        """Start an engine.

        Args:
            engine_id: Its id, and its host, where no other is named.
            arguments: More of its command line.
            on: Its host.
            at: The broker's address, where it is not that of the host ``broker``.
        """
        host = self.host(on or engine_id)
        program = self._stage.program(
            *("engine", "--broker", at or self.address(), "--id", engine_id, *arguments),
            within=host.place.prefix,
        )
        return Engine(engine_id, host, program)

    def raw_engine(self, engine_id: str, on: str) -> RawEngine:
        """Register an engine that does nothing by itself, not even beat."""
        engine = self.host(on).place.call(RawEngine.to, self.address())
        engine.register(engine_id, options="ack=1")
        return engine

    def address(self, host: str = "broker") -> str:
        """Give a broker's address."""
        return f"tcp://{self.host(host).address}:{_PORT}"

    def until(self, what: str, happened: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """Wait; see `wait_until`."""
        return wait_until(what, happened, seconds)
