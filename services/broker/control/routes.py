"""The endpoints of the control API."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from fnmatch import translate
from functools import wraps
from inspect import isawaitable
from typing import Any, Union, cast

from attrs import define, field
from klein import Klein, KleinRouteHandler
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import Request

from brokerproto.broker import Broker
from brokerproto.commands import Command, Verb
from brokerproto.fleet import Member
from brokerproto.grammar import MAX_CODE, MAX_WORK_MS
from services.broker.control.answers import ControlError, Payload, error_for, prepare, refusal
from services.broker.control.guard import Guard, check_empty, check_method
from services.broker.control.hosts import Hosts, own_names
from services.broker.control.parameters import Parameter, read_parameters
from services.broker.control.views import VALUE_NAMES, command_view, engine_view, stats_view
from services.program.values import WholeNumber, quoted

__all__ = ["MAX_GLOBS", "MAX_WAIT", "control_resource"]

DEFAULT_WORK_MS = 50_000

MAX_WAIT = 600
"""Longest wait for a command's end, in seconds."""

MAX_GLOBS = 100
"""How many globs one request may have: each is tried on every engine."""

_ANY_NUMBER = 1_000_000

_TARGETS: dict[str, Parameter] = {
    "engine": Parameter(most=_ANY_NUMBER),
    "match": Parameter(most=MAX_GLOBS),
    "wait": Parameter(WholeNumber(0, MAX_WAIT), 0),
}

Handler = Callable[..., Union[Payload, Awaitable[Payload]]]


def _endpoint(**accepted: Parameter) -> Callable[[Handler], KleinRouteHandler]:
    """Make a route's handler of a method that gives the answer's object.

    The method takes the parameters, read and checked, and what its path names. Klein
    knows of no methods: to it HEAD would be as good as GET.
    """

    def decorate(handler: Handler) -> KleinRouteHandler:
        @wraps(handler)
        async def handle(api: ControlAPI, request: Request, **named: str) -> bytes:
            check_method(request)
            check_empty(request)
            payload = handler(api, read_parameters(request.uri, accepted), **named)
            return prepare(request, await payload if isawaitable(payload) else payload)

        return handle

    return decorate


@define(eq=False, slots=False)
class ControlAPI:
    """What the endpoints do.

    Args:
        broker: Whom they command and ask.
        clock: Ends what waits.
        is_ready: Whether engines can register.
    """

    broker: Broker
    _clock: IReactorTime
    _is_ready: Callable[[], bool]
    _started: float = field(init=False)

    app = Klein()

    def __attrs_post_init__(self) -> None:
        self._started = self.broker.seconds()

    @app.route("/dowork")
    @_endpoint(time=Parameter(WholeNumber(0, MAX_WORK_MS), DEFAULT_WORK_MS), **_TARGETS)
    def dowork(self, parameters: Mapping[str, Any]) -> Awaitable[Payload]:
        """Keep a CPU of each target busy."""
        return self._command("DOWORK", parameters)

    @app.route("/kill")
    @_endpoint(code=Parameter(WholeNumber(0, MAX_CODE), 0), **_TARGETS)
    def kill(self, parameters: Mapping[str, Any]) -> Awaitable[Payload]:
        """Have each target exit."""
        return self._command("KILL", parameters)

    @app.route("/commands/<command_id>")
    @_endpoint()
    def command(self, _: Mapping[str, Any], command_id: str) -> Payload:
        """Tell how far a command has come."""
        command = self.broker.ledger.get(command_id)
        if command is None:
            raise ControlError(404, f"no command {quoted(command_id)} is kept")
        return command_view(command)

    @app.route("/engines")
    @_endpoint()
    def engines(self, _: Mapping[str, Any]) -> Payload:
        """List the registered engines, in the order of their registration."""
        engines = [engine_view(member, self.broker) for member in self.broker.fleet]
        return {"total": len(engines), "engines": engines}

    @app.route("/engines/<engine_id>")
    @_endpoint()
    def engine(self, _: Mapping[str, Any], engine_id: str) -> Payload:
        """Tell of one registered engine."""
        return engine_view(self._registered(engine_id), self.broker)

    @app.route("/stats")
    @_endpoint()
    def stats(self, _: Mapping[str, Any]) -> Payload:
        """Tell what was counted."""
        return stats_view(self.broker, self._started)

    @app.route("/healthz")
    @_endpoint()
    def healthz(self, _: Mapping[str, Any]) -> Payload:
        """Tell that the process answers."""
        return {"status": "ok"}

    @app.route("/readyz")
    @_endpoint()
    def readyz(self, _: Mapping[str, Any]) -> Payload:
        """Tell whether engines can register."""
        if not self._is_ready():
            raise ControlError(503, "the broker takes no engines now")
        return {"status": "ready"}

    @app.handle_errors(Exception)
    def refused(self, request: IRequest, failure: Failure) -> bytes:
        """Answer what a route, or the lack of one, has raised."""
        asked = cast(Request, request)
        error = error_for(failure, asked)
        return prepare(asked, refusal(error), error.status)

    async def _command(self, verb: Verb, parameters: Mapping[str, Any]) -> Payload:
        members = self._selected(parameters["engine"], parameters["match"])
        command = self.broker.order(verb, parameters[VALUE_NAMES[verb]], members)
        if parameters["wait"] and not command.is_settled:
            await self._settled(command, parameters["wait"])
        return command_view(command)

    async def _settled(self, command: Command, seconds: int) -> None:
        """Wait for a command to be settled, and no longer than that.

        The ledger calls from within its own work, so the answer is made in a turn of
        its own. A client that goes away cancels this.
        """
        done: Deferred[None] = Deferred()
        timer = self._clock.callLater(seconds, done.callback, None)

        def hurry(_: Command) -> None:
            timer.reset(0)

        command.when_settled(hurry)
        try:
            await done
        finally:
            command.forget(hurry)
            if timer.active():
                timer.cancel()

    def _registered(self, engine_id: str) -> Member:
        member = self.broker.fleet.get(engine_id)
        if member is None:
            raise ControlError(404, f"no engine {quoted(engine_id)} is registered")
        return member

    def _selected(self, engine_ids: list[str], globs: list[str]) -> Iterable[Member]:
        """Choose the engines named or matched; all where neither is asked for."""
        fleet = self.broker.fleet
        if not engine_ids and not globs:
            return fleet
        selected = {engine_id: self._registered(engine_id) for engine_id in engine_ids}
        if globs:
            matches = re.compile("|".join(map(translate, globs))).match
            selected.update(
                (member.engine_id, member) for member in fleet if matches(member.engine_id)
            )
        return selected.values()


def control_resource(
    broker: Broker,
    clock: IReactorTime,
    *,
    extra_hosts: Iterable[str] = (),
    is_ready: Callable[[], bool] = lambda: True,
) -> IResource:
    """Make the root of the control API.

    Args:
        broker: The broker that it serves.
        clock: Ends what waits.
        extra_hosts: Names that it answers for, besides the machine's own.
        is_ready: Whether engines can register.
    """
    api = ControlAPI(broker, clock, is_ready)
    hosts = Hosts.of((*own_names(), *extra_hosts))
    return cast(IResource, Guard(api.app.resource(), hosts))
