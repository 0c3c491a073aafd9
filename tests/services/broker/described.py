"""What the control API says of its answers, and whether they are so."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import jsonschema_rs

from services.broker.control.openapi import openapi_document
from services.broker.control.routes import ENDPOINTS

DOCUMENT: Any = json.loads(json.dumps(openapi_document(ENDPOINTS)))

# They may come from any path, and from none; no GET or POST is told that it is neither.
_ANYWHERE = {"404", "405"}


def check(path: str, status: int, headers: dict[str, str], body: bytes) -> None:
    """See that an answer is one that its path is said to give, and has no member more."""
    answer = json.loads(body)
    if str(status) in _ANYWHERE:
        assert valid("Error", answer)
        return
    (described,) = [
        item
        for template, item in DOCUMENT["paths"].items()
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path.partition("?")[0])
    ]
    response = resolved(described["get"]["responses"][str(status)])
    (content_type,) = response["content"]
    assert headers["Content-Type"] == content_type
    schema = response["content"][content_type]["schema"]["$ref"].rpartition("/")[2]
    assert valid(schema, answer)
    told = {name for name in headers if name.startswith(("Idem", "Retry"))}
    assert told <= set(response.get("headers", []))


def resolved(item: Any) -> Any:
    """Give what a part of the document is, or refers to."""
    if "$ref" not in item:
        return item
    found = DOCUMENT
    for name in item["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return found


def valid(name: str, value: Any) -> bool:
    """Whether a value is what a schema says, and nothing besides; explains where not."""
    _validator(name).validate(value)
    return True


@cache
def _validator(name: str) -> Any:
    schemas = {
        each: schema if each == "OpenAPI" else _closed(schema)
        for each, schema in DOCUMENT["components"]["schemas"].items()
    }
    return jsonschema_rs.Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}},
        validate_formats=True,
    )


def _closed(schema: Any) -> Any:
    """Let no object have members that are not described."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(item) for name, item in schema.items()}
    return {**closed, "additionalProperties": False} if "properties" in schema else closed
