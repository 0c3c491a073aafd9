"""What outlives an engine's connections, and what it asks for at each of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attrs import define, field, frozen

from brokerproto.errors import LocalProtocolError
from brokerproto.framing import LIMIT_UNREGISTERED
from brokerproto.grammar import MAX_NUMBER
from brokerproto.messages import NO_LABELS, NewEngine, Report
from brokerproto.wire import encode

__all__ = ["REPORTS_KEPT", "Life", "Wishes"]

REPORTS_KEPT = 32
"""Of how many commands an engine remembers its last report."""

_NO_REPORTS: Mapping[str, Report] = MappingProxyType({})


@frozen
class Wishes:
    """What an engine asks for in its hello.

    Attributes:
        interval: Seconds between heartbeats, 1 to 300; None to leave it to the broker.
        ack: Have each multiple of this acknowledged; 0 for none.
        labels: What it says of itself, by name; see protocol reference, section
            "Labels".
    """

    interval: int | None = None
    ack: int = 1
    labels: Mapping[str, str] = field(default=NO_LABELS, hash=False)

    def hello(self, life: Life) -> NewEngine:
        """Make the hello with which `life` asks for this."""
        return NewEngine(
            life.engine_id,
            life.seq,
            v=1,
            instance=life.instance,
            interval=self.interval,
            ack=self.ack or None,
            resume=life.resume,
            labels=self.labels,
        )

    def check(self, engine_id: str) -> None:
        """Make sure that every hello of this engine will be one that brokers read.

        Raises:
            LocalProtocolError: The id or a label breaks the grammar, or together they
                are too long; the text is for the one who chose them.
        """
        longest = self.hello(Life(engine_id, "f" * 32, MAX_NUMBER, resume="f" * 32))
        excess = len(encode(longest).rstrip(b"\n")) - LIMIT_UNREGISTERED
        if excess > 0:
            raise LocalProtocolError(
                f"id and labels are {excess} bytes too long together: a broker reads "
                f"{LIMIT_UNREGISTERED} bytes of a hello"
            )


@define(eq=False, weakref_slot=False)
class _Deeds:
    """What a life has done for its brokers; most lives do nothing but beat."""

    busy: str | None = None
    reports: dict[str, Report] = field(factory=dict)


class Life:
    """One start of an engine: what outlives its connections.

    Args:
        engine_id: Its id.
        instance: 1 to 32 lower-case hex digits, drawn at random once per start.
        seq: The number of the last heartbeat sent.
        settled: The highest number that a broker has acknowledged.
        busy: The command whose work runs.
        resume: What the last SUCCESS said gives the id back to this life.

    Attributes:
        engine_id: As given.
        seq: As given, and kept up to date.
        settled: As given, and kept up to date.
    """

    __slots__ = ("_deeds", "_instance", "_resume", "engine_id", "seq", "settled")

    def __init__(
        self,
        engine_id: str,
        instance: str,
        seq: int = 0,
        settled: int = 0,
        busy: str | None = None,
        resume: str | None = None,
    ) -> None:
        self.engine_id = engine_id
        self.instance = instance
        self.seq = seq
        self.settled = settled
        self._deeds = None if busy is None else _Deeds(busy)
        self.resume = resume

    @property
    def instance(self) -> str:
        """Its name at the broker."""
        return _unpacked(self._instance)

    @instance.setter
    def instance(self, name: str) -> None:
        self._instance = _packed(name)

    @property
    def resume(self) -> str | None:
        """What gives the id back to this life; None where nothing does."""
        return None if self._resume is None else _unpacked(self._resume)

    @resume.setter
    def resume(self, token: str | None) -> None:
        self._resume = None if token is None else _packed(token)

    @property
    def busy(self) -> str | None:
        """The command whose work runs; None while none does."""
        return None if self._deeds is None else self._deeds.busy

    @busy.setter
    def busy(self, command: str | None) -> None:
        if self._deeds is not None:
            self._deeds.busy = command
        elif command is not None:
            self._deeds = _Deeds(command)

    @property
    def reports(self) -> Mapping[str, Report]:
        """The last report of each of the last commands taken, the oldest first."""
        return _NO_REPORTS if self._deeds is None else self._deeds.reports

    def keep(self, report: Report) -> None:
        """Remember a report, to be repeated after each registration."""
        if self._deeds is None:
            self._deeds = _Deeds()
        reports = self._deeds.reports
        reports.pop(report.command, None)
        reports[report.command] = report
        while len(reports) > REPORTS_KEPT:
            del reports[next(iter(reports))]


def _packed(token: str) -> str | int:
    """Give hex digits as a number, which takes half of the memory, where nothing is lost."""
    try:
        number = int(token, 16)
    except ValueError:
        return token
    return number if f"{number:x}" == token else token


def _unpacked(token: str | int) -> str:
    return token if isinstance(token, str) else f"{token:x}"
