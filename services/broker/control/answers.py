"""What the control API answers: JSON, one shape for all errors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from attrs import field, frozen
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException

__all__ = [
    "COME_AGAIN",
    "ControlError",
    "Payload",
    "Reply",
    "error_for",
    "prepare",
    "refusal",
    "rendered",
    "send",
]

Payload = Mapping[str, Any]

COME_AGAIN = {HTTPStatus.TOO_MANY_REQUESTS: 1, HTTPStatus.SERVICE_UNAVAILABLE: 1}
"""After how many seconds it may be worth while to ask again, by the status."""

log = Logger()

# Without an indent the encoder is the one in C, 20 times as fast.
_encode = json.JSONEncoder(allow_nan=False).encode


@frozen
class Reply:
    """An answer of 200.

    Attributes:
        payload: The object in its body.
        headers: What it has beside those that every answer has.
    """

    payload: Payload
    headers: Mapping[str, str] = field(factory=dict)


class ControlError(Exception):
    """An answer other than 200.

    Args:
        status: The HTTP status, 400 to 599.
        message: One sentence for people, as the end of a line.
        details: More members of the error, as ``parameter``.
    """

    def __init__(self, status: int, message: str, **details: str | int) -> None:
        self.status, self.message, self.details = status, message, details
        super().__init__(f"{status}: {message}")


def refusal(error: ControlError) -> dict[str, Any]:
    """Give the body that tells of an error."""
    return {"error": {"status": error.status, "message": error.message, **error.details}}


def error_for(failure: Failure, request: Request) -> ControlError:
    """Turn whatever went wrong into an answer.

    What nobody foresaw is logged, under an id that the answer has too, and the answer
    tells no more than that.
    """
    error = failure.value
    if isinstance(error, ControlError):
        return error
    if isinstance(error, HTTPException) and error.code is not None:
        if error.code == HTTPStatus.NOT_FOUND:
            return ControlError(404, "there is nothing at this path")
        return ControlError(error.code, HTTPStatus(error.code).phrase.lower())
    error_id = uuid4().hex
    log.failure(
        "request failed, error id {error_id}: {method} {uri}",
        failure=failure,
        error_id=error_id,
        method=request.method.decode("latin-1"),
        uri=request.uri.decode("latin-1"),
    )
    return ControlError(500, "the broker failed to answer; its log knows why", error_id=error_id)


def rendered(payload: Payload) -> bytes:
    """Write an object in JSON: one member a line, and one line for each item in it."""
    members = ",\n".join(f"  {_encode(name)}: {_member(value)}" for name, value in payload.items())
    return f"{{\n{members}\n}}\n".encode("ascii")


def prepare(request: Request, payload: Payload, status: int = HTTPStatus.OK) -> bytes:
    """Set status and headers of an answer, and give its body."""
    body = rendered(payload)
    # A name and version here serve nobody but who looks for a known hole.
    request.responseHeaders.removeHeader(b"Server")
    request.setResponseCode(status, HTTPStatus(status).phrase.encode("ascii"))
    request.setHeader(b"Content-Type", b"application/json")
    request.setHeader(b"Content-Length", b"%d" % len(body))
    request.setHeader(b"Cache-Control", b"no-store")
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        request.setHeader(b"Allow", b"GET, POST")
    if status in COME_AGAIN:
        request.setHeader(b"Retry-After", b"%d" % COME_AGAIN[HTTPStatus(status)])
    return body


def send(request: Request, error: ControlError) -> None:
    """Write an error's whole answer; the request is not finished by it."""
    request.write(prepare(request, refusal(error), error.status))


def _member(value: Any) -> str:
    if isinstance(value, list) and value:
        return _lines("[", map(_encode, value), "]")
    if isinstance(value, dict) and any(isinstance(item, dict) for item in value.values()):
        items = (f"{_encode(name)}: {_encode(item)}" for name, item in value.items())
        return _lines("{", items, "}")
    return _encode(value)


def _lines(opening: str, items: Iterable[str], closing: str) -> str:
    return f"{opening}\n    " + ",\n    ".join(items) + f"\n  {closing}"
