"""A broker on a bench, and callers who say whatever the test likes."""

from __future__ import annotations

from brokerproto.broker import Broker
from brokerproto.broker_session import BrokerSession
from brokerproto.commands import Command, Verb
from brokerproto.fleet import Origin
from brokerproto.observer import Observer
from brokerproto.stats import Stats
from brokerproto.terms import Limits
from brokerproto.testing import ManualClock, RecordingCarrier, RecordingObserver

RESUME_KEY = b"a key for tests"


class Caller:
    """One connection to a broker.

    Attributes:
        session: The broker's side of it.
    """

    def __init__(self, broker: Broker, address: str = "peer") -> None:
        self._broker = broker
        self.carrier = RecordingCarrier()
        self.session: BrokerSession = broker.open(self.carrier, Origin(address, "bench://"))
        self.carrier.session = self.session

    def says(self, *frames: str) -> list[str]:
        """Say whole frames in one segment, and return what was answered."""
        return self.sends("".join(f"{frame}\n" for frame in frames).encode())

    def sends(self, data: bytes) -> list[str]:
        """Send bytes, and return what was answered."""
        self._broker.receive_data(self.session, data)
        return self.hears()

    def hears(self) -> list[str]:
        """Return what the broker said since the last time."""
        return self.carrier.take().decode().splitlines()

    def codes(self) -> list[int]:
        """Return the codes of the refusals that the broker said since the last time."""
        said = [frame.split(":") for frame in self.hears()]
        return [int(parts[1]) for parts in said if parts[0] == "FAILED"]

    def goes(self, *, reset: bool = False) -> None:
        """End the connection."""
        self._broker.lose(self.session, reset=reset)


class Bench:
    """A broker, a clock that the test moves, and all that the broker tells.

    Args:
        limits: How the broker is set up.
        observer: Hears what happens, in place of the recording one.

    Attributes:
        failures: What the observer and the carriers raised.
    """

    def __init__(self, limits: Limits | None = None, observer: Observer | None = None) -> None:
        self.clock = ManualClock()
        self.observer = RecordingObserver()
        self.failures: list[Exception] = []
        self.broker = Broker(
            self.clock.seconds,
            "b0",
            limits or Limits(),
            observer or self.observer,
            RESUME_KEY,
            self.failures.append,
        )

    def calls(self, address: str = "peer") -> Caller:
        """Open a connection that says nothing."""
        return Caller(self.broker, address)

    def registers(self, engine_id: str, options: str = ":v=1;ack=1", seq: int = 0) -> Caller:
        """Register an engine; it has heard its SUCCESS."""
        caller = self.calls()
        (success,) = caller.says(f"NewEngine:{engine_id}:{seq}{options}")
        assert success.startswith("SUCCESS:Registered")
        return caller

    def passes(self, seconds: float) -> None:
        """Let time pass, and have the broker tick as it should."""
        tick = self.broker.tick_length
        for _ in range(round(seconds / tick)):
            self.clock.advance(tick)
            self.broker.tick()

    def orders(self, verb: Verb, value: int) -> Command:
        """Send a command to everybody."""
        return self.broker.order(verb, value, list(self.broker.fleet))

    @property
    def stats(self) -> Stats:
        """What the broker counts."""
        return self.broker.stats()

    def hears(self) -> list[tuple[str, str, object]]:
        """Return what the broker told since the last time."""
        events, self.observer.events = self.observer.events, []
        return events
