"""The service that every program's other services hang from."""

from __future__ import annotations

from typing import Any

from twisted.application.service import MultiService
from twisted.logger import ILogObserver

from .exit_status import ExitStatus
from .log_output import observer_for_twistd
from .options import Options


class ProgramService(MultiService):
    """The root of a program: its log, its exit status, its other services.

    ``makeService`` makes it, adds the others as its children and returns it.
    Only when ``twistd`` or ``twist`` then makes it part of the application
    does it touch the process: it opens the log and takes the signals over.

    Attributes:
        exit_status: Ends the process; without a say in it, SIGTERM and SIGINT
            end it with status 0.

    Args:
        reactor: The reactor that the program runs on.
        options: The program's options, parsed.
    """

    def __init__(self, reactor: Any, options: Options) -> None:
        MultiService.__init__(self)
        self._reactor = reactor
        self._options = options
        pid_file = options.twistd["pidfile"] if options.twistd is not None else None
        self.exit_status = ExitStatus(reactor, pid_file=pid_file or None)

    def setServiceParent(self, parent: Any) -> None:
        """Become part of the application, and have it log as we were told.

        Raises:
            SystemExit: After one line: the log cannot be opened.
        """
        if (twistd := self._options.twistd) is not None:
            # Only now, when all else that can fail at the start has not.
            rotate_soon = self._reactor.callFromThread
            observer = observer_for_twistd(
                self._options.program, self._options["log-format"], twistd, rotate_soon
            )
            if observer is not None:
                parent.setComponent(ILogObserver, observer)
        MultiService.setServiceParent(self, parent)
        self.exit_status.install()
