"""What a broker's log says: each engine late or lost, and how the fleet stands."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger
from twisted.python.failure import Failure

from brokerproto.account import Gap
from brokerproto.broker import Broker
from brokerproto.commands import Command, Step
from brokerproto.errors import DrainingError, RemoteProtocolError, SupersededError
from brokerproto.fleet import End, Manner, Member, Origin
from brokerproto.observer import Observer
from brokerproto.ownership import Ground
from services.program.counted import Counted

_UNFINISHED_TOLD = 10

log = Logger()

_TOLD = (str(DrainingError.code), str(SupersededError.code))


class LoggingObserver(Observer):
    """Writes into the log what calls for attention; who comes and goes is debug.

    While the brake is on it says nothing of each engine that is late or recovers, but how
    many it were when it is off: for 15,000 at once a line each takes four times as long as
    to find and ping them, and most of the lines would be left out.
    """

    _brake_is_on = False
    # Since it went on last.
    _late = _recovered = 0

    def engine_registered(self, member: Member) -> None:
        """See `Observer`."""
        log.debug(
            "{engine} registered from {address} by {transport}, epoch {epoch}",
            engine=member.engine_id,
            address=member.origin.address,
            transport=member.origin.transport,
            epoch=member.epoch,
        )

    def engine_missed(self, member: Member, gap: Gap) -> None:
        """See `Observer`."""
        log.warn(
            "{engine} missed {missed}, {first} to {last}",
            engine=member.engine_id,
            missed=Counted(gap.missed, "heartbeat"),
            first=gap.first,
            last=gap.last,
        )

    def engine_late(self, member: Member, silence: float) -> None:
        """See `Observer`."""
        if self._brake_is_on:
            self._late += 1
            return
        log.warn(
            "{engine} is late: silent for {silence} s",
            engine=member.engine_id,
            silence=round(silence, 1),
        )

    def engine_recovered(self, member: Member) -> None:
        """See `Observer`."""
        if self._brake_is_on:
            self._recovered += 1
        else:
            log.info("{engine} is back in time", engine=member.engine_id)

    def engine_paused(self, member: Member, rate: int, seconds: float) -> None:
        """See `Observer`."""
        log.warn(
            "{engine} sends more than {rate} frames a second: it is not read for {seconds} s",
            engine=member.engine_id,
            rate=rate,
            seconds=round(seconds, 1),
        )

    def engine_taken_over(self, member: Member, origin: Origin, ground: Ground) -> None:
        """See `Observer`."""
        # An engine that comes back by itself is as it should be.
        write = log.info if ground is Ground.RESUMED else log.warn
        write(
            "{engine} taken over from {address} by {newcomer}: {ground}",
            engine=member.engine_id,
            address=member.origin.address,
            newcomer=origin.address,
            ground=ground.value,
            epoch=member.epoch,
        )

    def engine_ended(self, end: End) -> None:
        """See `Observer`."""
        # A broker that stops has told everybody, and says so once; a takeover is told too.
        expected = end.manner is Manner.LEFT or end.cause in _TOLD
        write = log.debug if expected else log.warn
        write(
            "{engine} {manner}: {cause}, after {duration} s and {heartbeats}",
            engine=end.engine_id,
            manner=end.manner.value,
            cause=end.cause,
            duration=round(end.duration, 1),
            heartbeats=Counted(end.totals.counted, "heartbeat"),
            missed=end.totals.missed,
            address=end.origin.address,
        )

    def brake_applied(self, late: int, registered: int) -> None:
        """See `Observer`."""
        self._brake_is_on = True
        self._late = self._recovered = 0
        log.warn(
            "the brake is on: {late} of {registered} engines are late, and the broker suspects"
            " itself; few are declared lost",
            late=late,
            registered=registered,
        )

    def brake_released(self, seconds: float, evicted: int) -> None:
        """See `Observer`."""
        self._brake_is_on = False
        log.warn(
            "the brake is off after {seconds} s; {evicted} declared lost meanwhile, {late} late,"
            " {recovered} back in time",
            seconds=round(seconds, 1),
            evicted=Counted(evicted, "engine was", "engines were"),
            late=self._late,
            recovered=self._recovered,
        )

    def peer_refused(
        self, origin: Origin, engine_id: str | None, error: RemoteProtocolError
    ) -> None:
        """See `Observer`."""
        # While the broker stops a whole fleet may call.
        write = log.debug if isinstance(error, DrainingError) else log.info
        write(
            # Not ``engine``: nobody knows yet whether it is that engine.
            "refused {address} ({id}): {code} {name}, {reason}",
            address=origin.address,
            id=engine_id or "no id",
            code=error.code,
            name=error.name,
            reason=error.text,
        )

    def command_issued(self, command: Command) -> None:
        """See `Observer`."""
        log.info(
            "{verb} {value}{unit} to {targets}: {command}",
            verb=command.verb,
            value=command.value,
            unit=" ms" if command.verb == "DOWORK" else "",
            targets=Counted(len(command.entries), "engine"),
            command=command.command,
        )


def report_failure(error: Exception) -> None:
    """Log what the observer or a carrier raised, which concerned nobody else."""
    log.failure("the broker goes on after an error", failure=Failure(error))


def report(broker: Broker) -> None:
    """Log in one line how the fleet stands."""
    stats = broker.stats()
    log.info(
        "{connections}, {registered} registered, {late} late;"
        " {heartbeats}, {missed} missed; {left} left, {lost} lost",
        connections=Counted(stats.connections, "connection"),
        registered=Counted(stats.registered, "engine"),
        late=stats.late,
        heartbeats=Counted(stats.heartbeats, "heartbeat"),
        missed=stats.missed,
        left=stats.left,
        lost=stats.lost,
    )


def report_unfinished(commands: Sequence[Command]) -> None:
    """Log what became of the last commands that were under way when the end began.

    Whoever comes after the broker knows nothing of them.
    """
    for command in commands[-_UNFINISHED_TOLD:]:
        log.info(
            "command {command}, {verb} {value} to {targets}: {done} done, {failed} failed,"
            " {lost} left before their end",
            command=command.command,
            verb=command.verb,
            value=command.value,
            targets=Counted(len(command.entries), "engine"),
            done=command.states[Step.DONE],
            failed=command.states[Step.FAILED],
            lost=command.states[Step.LOST],
        )
    if len(commands) > _UNFINISHED_TOLD:
        more = len(commands) - _UNFINISHED_TOLD
        log.info(
            "{more} under way", more=Counted(more, "earlier command was", "earlier commands were")
        )
