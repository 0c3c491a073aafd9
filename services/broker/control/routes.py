"""The endpoints of the control API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import cast

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import Request

from brokerproto.broker import Broker
from brokerproto.commands import COMMANDS_KEPT, Verb
from brokerproto.fleet import Manner
from brokerproto.grammar import MAX_CODE, MAX_NUMBER, MAX_WORK_MS
from services.broker.control.accepted import AFTER, DEFAULT_WORK_MS, ORDER, PAGE
from services.broker.control.answers import (
    ControlError,
    Payload,
    Reply,
    error_for,
    prepare,
    refusal,
)
from services.broker.control.commanding import place, settled, unknown_engine, views_of
from services.broker.control.endpoints import Answer, Asked, Endpoints
from services.broker.control.guard import Guard
from services.broker.control.hosts import Hosts, own_names
from services.broker.control.openapi import openapi_document
from services.broker.control.pages import SORTS, page_of_engines, page_of_history
from services.broker.control.parameters import Parameter, following
from services.broker.control.views import STATES, command_view, end_view, engine_view, stats_view
from services.broker.control.wall_clock import WallClock
from services.program.health import ProcessHealth
from services.program.values import OneOf, WholeNumber, quoted

__all__ = ["ENDPOINTS", "REPLAYED_HEADER", "control_resource"]

REPLAYED_HEADER = "Idempotent-Replayed"
"""The header that says that nothing was sent now."""

_COMMAND = Answer(
    "Command",
    errors=(404, 409, 422),
    headers={REPLAYED_HEADER: "`true` where the command of this key had been sent before."},
    links=(("command", "command_id", "/command"),),
)

ENDPOINTS = Endpoints()


@define(eq=False, slots=False)
class ControlAPI:
    """What the endpoints do.

    Args:
        broker: Whom they command and ask.
        clock: Ends what waits.
        is_ready: Whether engines can register.
        dates: Dates what happened.
        random: Draws shares.
        health: How the process runs.
        refused: How many requests were refused, by status; others count as well.
    """

    broker: Broker
    _clock: IReactorTime
    _is_ready: Callable[[], bool]
    _dates: WallClock
    _random: Random
    _health: ProcessHealth
    _refused: Mapping[int, int]
    _started: float = field(init=False)

    app = ENDPOINTS.app

    def __attrs_post_init__(self) -> None:
        self._started = self.broker.seconds()

    @ENDPOINTS.add(
        "/dowork",
        _COMMAND,
        time=Parameter(
            "Milliseconds of work.", WholeNumber(0, MAX_WORK_MS), DEFAULT_WORK_MS, example=2000
        ),
        **ORDER,
    )
    async def dowork(self, asked: Asked) -> Reply:
        """Keep a CPU of each target busy.

        Without `engine` and `match` every registered engine is a target.
        """
        return await self._command("DOWORK", asked)

    @ENDPOINTS.add(
        "/kill",
        _COMMAND,
        code=Parameter("Exit status.", WholeNumber(0, MAX_CODE), 0, example=3),
        **ORDER,
    )
    async def kill(self, asked: Asked) -> Reply:
        """Have each target exit.

        Without `engine` and `match` every registered engine is a target.
        """
        return await self._command("KILL", asked)

    @ENDPOINTS.add(
        "/commands",
        Answer("Commands"),
        limit=Parameter(
            "How many to show.", WholeNumber(1, COMMANDS_KEPT), COMMANDS_KEPT, example=10
        ),
    )
    async def commands(self, asked: Asked) -> Payload:
        """Tell how far the last commands have come, the last one first."""
        ledger = self.broker.ledger
        views = await views_of(ledger, asked["limit"], self._dates, self._clock)
        return {"total": len(ledger), "commands": views}

    @ENDPOINTS.add(
        "/commands/<command_id>",
        Answer("Command", errors=(404,)),
        command_id=Parameter("The command's id.", example="2ace9095-1", place="path"),
    )
    def command(self, asked: Asked) -> Payload:
        """Tell how far a command has come."""
        command = self.broker.ledger.get(asked["command_id"])
        if command is None:
            raise ControlError(404, f"no command {quoted(asked['command_id'])} is kept")
        return command_view(command, self._dates)

    @ENDPOINTS.add(
        "/engines",
        Answer("Engines"),
        state=Parameter("Only engines in this state.", OneOf(STATES), example="late"),
        **PAGE,
        sort=Parameter(
            "What to sort by; with a hyphen the other way round.",
            OneOf(SORTS),
            "id",
            example="-age",
        ),
        after=Parameter(AFTER, example="engine-2"),
    )
    def engines(self, asked: Asked) -> Payload:
        """List the registered engines."""
        page = page_of_engines(self.broker, asked.values)
        return {
            "total": page.total,
            "next": None if page.after is None else following(asked.uri, page.after),
            "engines": [engine_view(member, self.broker) for member in page.items],
        }

    @ENDPOINTS.add(
        "/engines/<engine_id>",
        Answer("Engine", errors=(404,)),
        engine_id=Parameter("The engine's id.", example="engine-2", place="path"),
    )
    def engine(self, asked: Asked) -> Payload:
        """Tell of one registered engine."""
        member = self.broker.fleet.get(asked["engine_id"])
        if member is None:
            raise unknown_engine(asked["engine_id"])
        return engine_view(member, self.broker)

    @ENDPOINTS.add(
        "/history",
        Answer("History"),
        manner=Parameter(
            "Only engines that went in this manner.",
            OneOf(tuple(manner.value for manner in Manner)),
            example="lost",
        ),
        cause=Parameter(
            "Only engines that went for this cause; any of several.", most=None, example="timeout"
        ),
        **PAGE,
        after=Parameter(AFTER, WholeNumber(0, MAX_NUMBER), example=7),
    )
    def history(self, asked: Asked) -> Payload:
        """List the engines that left or were lost, the last one first."""
        page = page_of_history(self.broker.fleet, asked.values)
        return {
            "total": page.total,
            "next": None if page.after is None else following(asked.uri, page.after),
            "history": [end_view(end, self._dates) for end in page.items],
        }

    @ENDPOINTS.add("/stats", Answer("Stats"))
    def stats(self, _: Asked) -> Payload:
        """Tell what was counted."""
        return stats_view(
            self.broker, self._started, self._dates, self._refused, self._health.figures
        )

    @ENDPOINTS.add("/healthz", Answer("Status"))
    def healthz(self, _: Asked) -> Payload:
        """Tell that the process answers."""
        return {"status": "ok"}

    @ENDPOINTS.add("/readyz", Answer("Status"))
    def readyz(self, _: Asked) -> Payload:
        """Tell whether engines can register."""
        if not self._is_ready():
            raise ControlError(503, "the broker takes no engines now")
        return {"status": "ready"}

    @ENDPOINTS.add("/openapi.json", Answer("OpenAPI"))
    def openapi(self, _: Asked) -> Payload:
        """Describe all this for machines, in OpenAPI 3.1."""
        return openapi_document(ENDPOINTS)

    @ENDPOINTS.add("/", Answer("Index"))
    def index(self, _: Asked) -> Payload:
        """List the paths."""
        return {
            "openapi": "/openapi.json",
            "paths": [{"path": each.template, "summary": each.summary} for each in ENDPOINTS],
        }

    @app.handle_errors(Exception)
    def refused(self, request: IRequest, failure: Failure) -> bytes:
        """Answer what a route, or the lack of one, has raised."""
        asked = cast(Request, request)
        error = error_for(failure, asked)
        return prepare(asked, refusal(error), error.status)

    async def _command(self, verb: Verb, asked: Asked) -> Reply:
        placed = place(verb, asked.values, self.broker, self._random)
        await settled(placed.command, asked["wait"], self._clock)
        headers = {REPLAYED_HEADER: "true"} if placed.replayed else {}
        return Reply(command_view(placed.command, self._dates), headers)


def control_resource(
    broker: Broker,
    clock: IReactorTime,
    *,
    extra_hosts: Iterable[str] = (),
    is_ready: Callable[[], bool] = lambda: True,
    wall: Callable[[], float] = time.time,
    random: Random | None = None,
    health: ProcessHealth | None = None,
    refused: Mapping[int, int] | None = None,
) -> IResource:
    """Make the root of the control API.

    Args:
        broker: The broker that it serves.
        clock: Ends what waits.
        extra_hosts: Names that it answers for, besides the machine's own.
        is_ready: Whether engines can register.
        wall: What people's clocks show, POSIX seconds.
        random: Draws shares.
        health: How the process runs; None where nobody measures it.
        refused: How many requests were refused, by status; None where nobody counts.
    """
    dates = WallClock(broker.seconds, wall)
    draws = random or Random()  # noqa: S311 - it chooses engines, no secret
    health = health or ProcessHealth(clock)
    api = ControlAPI(
        broker, clock, is_ready, dates, draws, health, {} if refused is None else refused
    )
    hosts = Hosts.of((*own_names(), *extra_hosts))
    return cast(IResource, Guard(api.app.resource(), hosts))
