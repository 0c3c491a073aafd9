"""Two recorders with a fault transport between them, on a clock of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

from tests.transports.recording import Recorder, Recorders
from transports import URI, transport_for
from transports.fault import Faults, FaultTransport, Link, Switch

INPROC = transport_for("inproc")
# More turns than any test needs, and so a proof that it comes to rest.
MANY = 100_000


class Bench:
    """The dialling end has the faults, or the listening one, or both.

    Args:
        options: Those of the dialling end's address.
        accepting: Those of the listening end's; None where it is inproc alone.
    """

    def __init__(
        self,
        options: str = "",
        accepting: str | None = None,
        near: Callable[[], Recorder] = Recorder,
        far: Callable[[], Recorder] = Recorder,
        faults: Faults | None = None,
    ) -> None:
        self.clock = Clock()
        self.switch = Switch()
        self.callers, self.listeners = Recorders(near), Recorders(far)
        if accepting is None:
            listening = INPROC.server_endpoint(self.clock, URI.parse("inproc://name"))
        else:
            uri = URI.parse(f"fault+inproc://name{accepting}")
            listening = transport_for(uri.scheme).server_endpoint(self.clock, uri)
        listening.listen(self.listeners)
        transport = FaultTransport(INPROC, faults or Faults(), self.switch)
        uri = URI.parse(f"fault+inproc://name{options}")
        self.endpoint = transport.client_endpoint(self.clock, uri)

    def dial(self) -> list[Any]:
        """Dial; the list holds the outcome once there is one."""
        outcome: list[Any] = []
        self.endpoint.connect(self.callers).addBoth(outcome.append)
        self.clock.advance(0)
        return outcome

    def meet(self) -> Bench:
        self.dial()
        return self

    @property
    def near(self) -> Any:
        return self.callers.made[-1]

    @property
    def far(self) -> Any:
        return self.listeners.made[-1]

    @property
    def link(self) -> Link:
        [link] = self.switch.links
        return link

    def pass_time(self, seconds: float = 0.0) -> None:
        """Let time pass from event to event, and not at once."""
        end = self.clock.seconds() + seconds
        for _ in range(MANY):
            due = min((call.getTime() for call in self.clock.calls), default=end + 1)
            if due > end:
                break
            self.clock.advance(max(0.0, due - self.clock.seconds()))
        else:
            raise AssertionError("it does not come to rest")
        self.clock.advance(max(0.0, end - self.clock.seconds()))


def talk(bench: Bench, lengths: list[int]) -> None:
    for length in lengths:
        bench.near.transport.write(b"n" * length)
        bench.far.transport.write(b"f" * length)
        bench.pass_time(0.01)
