"""A small program on `services.program`, run by the tests under the real commands."""

from __future__ import annotations

import signal
import time
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python import usage

from services.program import options as program_options
from services.program.options import Option
from services.program.service import ProgramService
from services.program.start import listen_or_exit
from services.program.values import WholeNumber

log = Logger("services.sample")

NASTY = "line\nforged \x1b[31m\x85\u2028\ud800 {0.__class__} %s {secret}"


class Options(program_options.Options):
    program = "sample"
    longdesc = "Listen, say something, and end as told."
    table = (
        Option(
            name="listen",
            doc="Listen on this port of 127.0.0.1.",
            metavar="PORT",
            parse=WholeNumber(0, 65535),
            env="SAMPLE_LISTEN",
            repeatable=True,
        ),
        Option(name="end", doc="End with this status.", parse=WholeNumber(0, 255)),
        Option(name="both", doc="Contradicts --end.", flag=True, env="SAMPLE_BOTH"),
        Option(name="deaf", doc="Go on after the first signal.", flag=True),
        Option(name="hasty", doc="Get a signal before the reactor runs, doubled.", flag=True),
        Option(name="stuck", doc="Never finish stopping.", flag=True),
        Option(
            name="block", doc="Block the reactor for so many seconds.", parse=WholeNumber(0, 60)
        ),
        Option(name="nasty", doc="Log what logs do not like.", flag=True),
    )

    def postOptions(self) -> None:
        super().postOptions()
        if self["both"] and self["end"] is not None:
            raise usage.UsageError("--both: not together with --end")


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class Told(Service):
    """Does what the options say, once the reactor runs."""

    def __init__(self, reactor: Any, options: Options, program: ProgramService) -> None:
        self.reactor, self.options, self.program = reactor, options, program

    def startService(self) -> None:
        self.reactor.callWhenRunning(self._act)
        if self.options["hasty"]:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
        self.reactor.addSystemEventTrigger("after", "shutdown", log.info, "last trigger")

    def stopService(self) -> Deferred[None] | None:
        log.info("stopping")
        return Deferred() if self.options["stuck"] else None

    def _act(self) -> None:
        if self.options["nasty"]:
            log.info("{text}", text=NASTY, number=7)
            try:
                raise ValueError(NASTY)
            except ValueError:
                log.failure("it failed: {text}", text=NASTY)
        log.info("ready")
        if self.options["block"]:
            self.reactor.callLater(0.5, self._block)
        if self.options["end"] is not None:
            self.program.exit_status.end(self.options["end"])

    def _block(self) -> None:
        time.sleep(self.options["block"])
        log.info("blocks no more")


def makeService(options: Options) -> IService:
    from twisted.internet import reactor
    from twisted.internet.endpoints import TCP4ServerEndpoint

    program = ProgramService(reactor, options)
    if options["stuck"]:
        program.exit_status.grace = 0.3
    if options["deaf"]:
        program.exit_status.on_signal(lambda: log.info("asked to stop"))
    told: Any = Told(reactor, options, program)
    told.setServiceParent(program)
    factory = Factory.forProtocol(Echo)
    for number in options["listen"]:
        endpoint = TCP4ServerEndpoint(reactor, number, interface="127.0.0.1")
        port = listen_or_exit("sample", f"tcp://127.0.0.1:{number}", endpoint.listen(factory))
        log.info("listening on {port}", port=port.getHost().port)
    return program
