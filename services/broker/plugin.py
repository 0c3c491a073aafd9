"""``twistd broker``: options in, service out."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any, NoReturn

from attrs import evolve
from twisted.application.service import IService, MultiService
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from brokerproto.broker import Broker
from brokerproto.errors import ListenError, TransportError
from services.broker.accepting import Gate, GatedFactory
from services.broker.doors import slowed
from services.broker.options import Options
from services.broker.reporting import LoggingObserver, report_failure
from services.broker.resources import Capacity, ResourceWatch
from services.broker.service import BrokerService
from services.program.io_choice import carried
from services.program.open_files import raise_open_files
from services.program.service import ProgramService
from services.program.start import fail, listen_or_exit
from services.program.timing import keep_time
from transports import URI, transport_for
from transports.send_buffers import keep_send_buffers_small

__all__ = ["Options", "makeService"]

# Of who comes to the control API: heartbeats must not wait for a crowd there.
_CONTROL_BATCH = 8

log = Logger()


def makeService(options: Options) -> IService:
    """Listen, and make the service; ends with one line where that is not possible."""
    from twisted.internet import reactor

    keep_time(reactor)
    return broker_program(reactor, options)


def broker_program(reactor: Any, options: Options) -> ProgramService:
    """Make the whole program on a given reactor; see `makeService`."""
    # Here, because klein takes as long to import as all the rest.
    from services.broker.control import control_site

    program = ProgramService(reactor, options)
    capacity = _capacity(options["max-connections"])
    limits = options.limits(capacity.engines)
    broker = Broker(
        reactor.seconds,
        secrets.token_hex(4),
        limits,
        LoggingObserver(),
        failed=report_failure,
        later=partial(reactor.callLater, 0),
    )
    gate = Gate(broker, reactor)
    ports: list[IListeningPort] = []
    for uri in options["listen"]:
        factory = GatedFactory(broker, reactor, str(uri), transport_for(uri.scheme).framing)
        factory.address, port = _listen(reactor, uri, factory, options["io"])
        keep_send_buffers_small(port)
        ports.append(gate.guard(port, factory))
        log.info("accepting engines on {address}", address=factory.address)
    service = BrokerService(broker, reactor, ports)
    program.exit_status.on_signal(lambda: service.leave(program.exit_status))
    site = control_site(
        broker,
        reactor,
        # Whoever named the address to listen on may use that name.
        extra_hosts=(*options["control-host"], options["control"].host),
        is_ready=lambda: service.is_ready,
        connections=capacity.control,
        rate=options["control-rate"],
        health=program.health,
    )
    address, port = _listen(reactor, options["control"], site)
    service.control_port = slowed(port, reactor, _CONTROL_BATCH)
    log.info("control API on {address}", address=address)
    log.info(
        "a heartbeat is due each {interval} s; lost after {timeout} s of silence,"
        " noticed within {worst} s",
        interval=limits.interval,
        timeout=limits.timeout_of(limits.interval),
        worst=broker.worst_detection,
    )
    for each in (ResourceWatch(broker, reactor, options["max-connections"]), service):
        MultiService.addService(program, each)
    return program


def _listen(
    reactor: Any, uri: URI, factory: Any, io: str = "reactor"
) -> tuple[str, IListeningPort]:
    """Listen, and give the address with the port that the system chose."""
    plain = evolve(uri, scheme="tcp") if uri.scheme == "http" else uri
    transport = transport_for(plain.scheme)
    try:
        # A mistake is shown in the address that was given.
        transport.server_endpoint(reactor, plain)
        endpoint = transport.server_endpoint(reactor, carried(plain, io))
    except TransportError as error:
        fail(Options.program, str(error))
    listening = endpoint.listen(factory).addErrback(_as_given, uri)
    port = listen_or_exit(Options.program, str(uri), listening)
    heard = transport.listen_address(plain, port)
    return str(evolve(heard, scheme=uri.scheme)), port


def _as_given(failure: Failure, uri: URI) -> NoReturn:
    """Name the address as the user did, not as the transport that carries HTTP does."""
    failure.trap(ListenError)
    error: Any = failure.value
    raise ListenError(str(uri), error.reason)


def _capacity(wanted: int) -> Capacity:
    """Raise the limit of open files, and give how many connections it leaves room for."""
    before, now = raise_open_files()
    capacity = Capacity.within(now, wanted)
    if now < 0:
        log.info("open files: no limit; at most {connections} connections", connections=wanted)
    else:
        log.info(
            "open files: {now} (was {before}); at most {connections} connections",
            now=now,
            before=before,
            connections=capacity.engines,
        )
    return capacity
