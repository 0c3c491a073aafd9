"""The service that every program's other services hang from."""

from __future__ import annotations

from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import ILogObserver

from .exit_status import ExitStatus
from .hangup import take_signals
from .health import ProcessHealth
from .log_output import log_for_twistd
from .options import Options
from .watchdog import TICK, Watchdog


class ProgramService(MultiService):
    """The root of a program: its log, its exit status, its health, its other services.

    ``makeService`` makes it, adds the others as its children and returns it.
    Only when ``twistd`` or ``twist`` then makes it part of the application
    does it touch the process: it opens the log and takes the signals over.

    Attributes:
        exit_status: Ends the process; without a say in it, SIGTERM and SIGINT
            end it with status 0.
        health: Measures the process, and tells what holds it up.

    Args:
        reactor: The reactor that the program runs on.
        options: The program's options, parsed.
        measured: Whether its health is measured while it runs. Not that of a program which
            blocks its reactor on purpose.
        sparing: Whether it is measured less often, because many such processes share a machine,
            and may use their limits of CPU time up.
    """

    def __init__(
        self, reactor: Any, options: Options, *, measured: bool = True, sparing: bool = False
    ) -> None:
        MultiService.__init__(self)
        self._reactor = reactor
        self._options = options
        pid_file = options.twistd["pidfile"] if options.twistd is not None else None
        self.exit_status = ExitStatus(reactor, pid_file=pid_file or None)
        period, tick = (1.0, 2 * TICK) if sparing else (0.1, TICK)
        watchdog = Watchdog(reactor, tick=tick)
        self.health = ProcessHealth(
            reactor, options.log_counts, period, watchdog=watchdog, tells_throttling=not sparing
        )
        self._measured = measured

    def startService(self) -> None:
        """Start everything; ``twistd`` has forked by now."""
        if self._measured:
            self.health.start()
        MultiService.startService(self)

    def stopService(self) -> Deferred[None]:
        """Stop everything, and watch over it until the end."""
        stopped: Deferred[Any] = maybeDeferred(MultiService.stopService, self)
        return stopped.addBoth(self._stopped)

    def _stopped(self, result: Any) -> Any:
        if self._measured:
            self.health.stop()
        return result

    def setServiceParent(self, parent: Any) -> None:
        """Become part of the application, and have it log as we were told.

        Raises:
            SystemExit: After one line: the log cannot be opened.
        """
        file = None
        twistd = self._options.twistd
        if twistd is not None:
            # Only now, when all else that can fail at the start has not.
            program_log = log_for_twistd(
                self._options.program,
                self._options["log-format"],
                twistd,
                self._reactor,
                self._options.log_counts,
            )
            if program_log is not None:
                file = program_log.file
                parent.setComponent(ILogObserver, program_log.observer)
        MultiService.setServiceParent(self, parent)
        self.exit_status.install()
        foreground = twistd is None or bool(twistd["nodaemon"] or twistd["debug"])
        take_signals(self._reactor, self.exit_status, file, foreground=foreground)
