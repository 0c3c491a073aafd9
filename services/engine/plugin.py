"""``twistd engine``: options in, service out."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.application.service import IService, MultiService

from brokerproto.errors import TransportError
from services.engine.dialler import Dialler
from services.engine.options import Options
from services.engine.runner import Crew, Runner
from services.engine.service import EngineService, reborn_after
from services.engine.sources import problem_of, spread
from services.engine.work import work_for
from services.program.io_choice import carried
from services.program.open_files import raise_open_files
from services.program.service import ProgramService
from services.program.start import fail
from services.program.timing import keep_time
from transports import transport_for

__all__ = ["Options", "makeService"]

_OTHER_FILES = 32


def makeService(options: Options) -> IService:
    """Make the service; ends with one line where the address cannot be dialled."""
    from twisted.internet import reactor

    keep_time(reactor)
    return engine_program(reactor, options)


def engine_program(reactor: Any, options: Options) -> ProgramService:
    """Make the whole program on a given reactor; see `makeService`."""
    blocks = options["work"] == "block"
    program = ProgramService(reactor, options, measured=not blocks, sparing=True)
    _check_room(len(options.ids))
    uri = options["broker"]
    transport = transport_for(uri.scheme)
    for address in options.sources:
        problem = problem_of(address)
        if problem is not None:
            fail(Options.program, f"--source: {problem}")
    try:
        # A mistake is shown in the address that was given.
        transport.client_endpoint(reactor, uri)
        endpoints = [
            transport.client_endpoint(reactor, each)
            for each in spread(carried(uri, options["io"]), options.sources)
        ]
    except TransportError as error:
        fail(Options.program, str(error))
    random = Random()  # noqa: S311 - it spreads heartbeats and retries, no secret
    service = EngineService(reactor, program.exit_status, str(uri))
    crew = Crew(
        Dialler(reactor, endpoints, transport.framing),
        lambda: work_for(options["work"], reactor),
        options.wishes,
        service,
        (lambda deaths: reborn_after(deaths, random)) if options.respawns else None,
        random,
    )
    service.runners.extend(Runner(engine_id, crew) for engine_id in options.ids)
    MultiService.addService(program, service)
    return program


def _check_room(engines: int) -> None:
    """Refuse more engines than there can be open files."""
    _, limit = raise_open_files()
    if limit >= 0 and engines > limit - _OTHER_FILES:
        fail(
            Options.program,
            f"--count: {engines} engines need as many open files, and the limit is {limit}: "
            "raise it (ulimit -n), or start several processes",
        )
