"""The description of the control API for machines: OpenAPI 3.1, made from the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from brokerproto.errors import UnexpectedReachError
from services.broker.control.answers import COME_AGAIN, ControlError, refusal
from services.broker.control.endpoints import Answer, Endpoint
from services.broker.control.guard import MAX_BODY
from services.broker.control.parameters import Parameter
from services.broker.control.schemas import count, example_of, record, ref, text
from services.broker.control.views import VIEWS

__all__ = ["REFUSALS", "openapi_document"]

_METHODS = ("get", "post")
_ALWAYS = (400, 403, 408, 413, 421, 429, 500, 503)

_ERROR = record(
    "Why a request was refused.",
    {
        "error": record(
            "In one shape for all.",
            {
                "status": count("The HTTP status.", 400, least=400),
                "message": text("One sentence for people.", "code: given more than once"),
                "parameter": text("The parameter or header that is to blame.", "code"),
                "error_id": text("What the broker's log calls it; 500 only.", "9f86d081884c7d65"),
                "expected": count("How many engines were expected; 409 only.", 3),
                "targets": count("How many it would have reached; 409 only.", 4),
            },
            optional=("parameter", "error_id", "expected", "targets"),
        )
    },
)

REFUSALS: Mapping[int, tuple[str, ControlError]] = {
    error.status: (because, error)
    for because, error in (
        (
            "A parameter, a header or a body that cannot be.",
            ControlError(400, "limit: 'x' is not a whole number from 1 to 1000", parameter="limit"),
        ),
        (
            "A browser asks on behalf of another site.",
            ControlError(403, "a browser asks on behalf of another site"),
        ),
        (
            "The engine is not registered, or the command not kept.",
            ControlError(404, "no engine 'nobody' is registered"),
        ),
        (
            "The request took too long to come; the connection is closed.",
            ControlError(408, "the request was not complete after 10 s"),
        ),
        (
            "The command would reach another number of engines than expected.",
            ControlError(409, str(UnexpectedReachError(4, 3)), expected=4, targets=3),
        ),
        (
            "The body is too long.",
            ControlError(413, f"a body of more than {MAX_BODY} bytes, where none has a meaning"),
        ),
        (
            "The broker does not answer for this host.",
            ControlError(
                421,
                "this broker does not answer for the name 'evil.example'; use its address, or"
                " start it with --control-host",
            ),
        ),
        (
            "The key belongs to another request.",
            ControlError(
                422,
                "Idempotency-Key: 'key-1' belongs to command 2ace9095-1, which was another request",
                parameter="Idempotency-Key",
            ),
        ),
        (
            "This address asks too often; the connection is closed.",
            ControlError(429, "more than 20 requests a second"),
        ),
        (
            "The broker failed; whether it did anything is not certain.",
            ControlError(
                500,
                "the broker failed to answer; its log knows why",
                error_id="c0ffee00c0ffee00c0ffee00c0ffee00",
            ),
        ),
        (
            "Engines cannot register (/readyz) or be commanded, or too much is asked at a time.",
            ControlError(503, "the broker takes no engines now"),
        ),
    )
}
"""Why there is each status, and an example of it."""


def openapi_document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Describe endpoints.

    Returns:
        A document of OpenAPI 3.1, as an object of JSON.
    """
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "The control API of a broker",
            "version": "1",
            "summary": "Commands for a broker's engines, and questions about them.",
            "description": "Every path takes GET and POST alike, and what would be sent in a"
            " form stands in the query. Members may be added to answers; a client should"
            " ignore what it does not know.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "The broker that gives this document."}],
        # Nobody has to say who they are: this says so, where leaving it out says nothing.
        "security": [],
        "paths": {
            each.template: {
                "parameters": [
                    _parameter(name, parameter) for name, parameter in each.parameters.items()
                ],
                **{method: _operation(method, each) for method in _METHODS},
            }
            for each in endpoints
        },
        "components": {
            "schemas": {**VIEWS, "Error": _ERROR},
            "responses": {str(status): _refusal(status) for status in REFUSALS},
        },
    }


def _parameter(name: str, parameter: Parameter) -> dict[str, Any]:
    described = {
        "name": name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.doc,
        "schema": parameter.schema,
    }
    if parameter.example is not None:
        described["example"] = [parameter.example] if parameter.is_list else parameter.example
    return described


def _operation(method: str, endpoint: Endpoint) -> dict[str, Any]:
    answer = endpoint.answer
    errors = sorted((*_ALWAYS, *answer.errors))
    return {
        "operationId": f"{method}_{endpoint.name}",
        "summary": endpoint.summary,
        **({"description": endpoint.details} if endpoint.details else {}),
        "responses": {
            "200": _response(method, answer),
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in errors},
        },
    }


def _response(method: str, answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": VIEWS[answer.view]["description"],
        "content": {
            "application/json": {
                "schema": ref(answer.view),
                "example": example_of(VIEWS[answer.view], VIEWS),
            }
        },
    }
    if answer.headers:
        described["headers"] = {
            name: {"description": doc, "schema": {"type": "string"}}
            for name, doc in answer.headers.items()
        }
    if answer.links:
        described["links"] = {
            name: {
                "operationId": f"{method}_{name}",
                "parameters": {parameter: f"$response.body#{pointer}"},
            }
            for name, parameter, pointer in answer.links
        }
    return described


def _refusal(status: int) -> dict[str, Any]:
    because, error = REFUSALS[status]
    described: dict[str, Any] = {
        "description": because,
        "content": {"application/json": {"schema": ref("Error"), "example": refusal(error)}},
    }
    if status in COME_AGAIN:
        described["headers"] = {
            "Retry-After": {
                "description": "After how many seconds to ask again.",
                "schema": {"type": "integer", "minimum": 1},
            }
        }
    return described
