"""The table of endpoints: what each takes and answers, said once.

From it come the routes, the reading of their parameters, the list of paths, and the
description for machines.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import wraps
from inspect import getdoc, isawaitable
from typing import Any, Union

from attrs import field, frozen
from klein import Klein, KleinRouteHandler
from twisted.web.server import Request

from services.broker.control.answers import Payload, Reply, prepare
from services.broker.control.guard import check_empty, check_method
from services.broker.control.parameters import Parameter, read_headers, read_query

__all__ = ["Answer", "Asked", "Endpoint", "Endpoints"]


@frozen
class Asked:
    """A request that an endpoint has read.

    Attributes:
        uri: As the request names it.
        values: By the names of the endpoint's parameters.
    """

    uri: bytes
    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        """Give a parameter's value."""
        return self.values[name]


Handler = Callable[[Any, Asked], Union[Payload, Reply, Awaitable[Union[Payload, Reply]]]]


@frozen
class Answer:
    """What an endpoint answers.

    Attributes:
        view: The name of the schema in `services.broker.control.views.VIEWS`.
        errors: Statuses besides those that every endpoint has.
        headers: What some answers have, by name, and what it means.
        links: Which endpoint goes on from here: its handler's name, its parameter, and
            where that stands in the answer's body.
    """

    view: str
    errors: tuple[int, ...] = ()
    headers: Mapping[str, str] = field(factory=dict)
    links: tuple[tuple[str, str, str], ...] = ()


@frozen
class Endpoint:
    """One path.

    Attributes:
        path: As Klein writes it: ``/engines/<engine_id>``.
        name: Its handler's.
        summary: What it is for, in one sentence.
        details: More of that, or nothing.
        answer: What it answers.
        parameters: By name.
    """

    path: str
    name: str
    summary: str
    details: str
    answer: Answer
    parameters: Mapping[str, Parameter]

    @property
    def template(self) -> str:
        """The path as URI templates write it: ``/engines/{engine_id}``."""
        return self.path.replace("<", "{").replace(">", "}")


class Endpoints:
    """All endpoints, in the order in which they were added.

    Attributes:
        app: The routes to them.
    """

    def __init__(self) -> None:
        self.app = Klein()
        self._endpoints: list[Endpoint] = []

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._endpoints)

    def add(
        self, path: str, answer: Answer, **parameters: Parameter
    ) -> Callable[[Handler], KleinRouteHandler]:
        """Make an endpoint of a method that gives the answer's object.

        The method takes the request, read and checked; its docstring tells people what
        it is for. Klein knows of no methods: to it HEAD would be as good as GET.
        """

        def decorate(handler: Handler) -> KleinRouteHandler:
            summary, _, details = (getdoc(handler) or "").partition("\n\n")
            name = handler.__name__
            self._endpoints.append(Endpoint(path, name, summary, details, answer, parameters))

            @self.app.route(path)
            @wraps(handler)
            async def handle(api: Any, request: Request, **named: str) -> bytes:
                check_method(request)
                check_empty(request)
                values = {
                    **named,
                    **read_query(request.uri, parameters),
                    **read_headers(request.requestHeaders, parameters),
                }
                reply = handler(api, Asked(request.uri, values))
                reply = await reply if isawaitable(reply) else reply
                if not isinstance(reply, Reply):
                    reply = Reply(reply)
                for header, value in reply.headers.items():
                    request.setHeader(header, value)
                return prepare(request, reply.payload)

            return handle

        return decorate
