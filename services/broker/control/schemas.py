"""JSON schemas, in few words: what each member of an answer means, with an example."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = [
    "Schema",
    "array",
    "count",
    "counts",
    "example_of",
    "flag",
    "nullable",
    "number",
    "record",
    "ref",
    "text",
    "word",
]

Schema = Mapping[str, Any]


def text(description: str, example: str, **more: Any) -> Schema:
    """Describe a text."""
    return {"type": "string", "description": description, "examples": [example], **more}


def word(description: str, words: Iterable[str]) -> Schema:
    """Describe one of some words."""
    return {"type": "string", "enum": list(words), "description": description}


def number(description: str, example: float) -> Schema:
    """Describe a number that need not be whole."""
    return {"type": "number", "description": description, "examples": [example]}


def count(description: str, example: int, least: int = 0) -> Schema:
    """Describe a whole number, `least` or more."""
    return {
        "type": "integer",
        "minimum": least,
        "description": description,
        "examples": [example],
    }


def flag(description: str, example: bool = False) -> Schema:
    """Describe what is true or false."""
    return {"type": "boolean", "description": description, "examples": [example]}


def nullable(schema: Schema) -> Schema:
    """Describe what may also be null."""
    if "type" in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def array(items: Schema, description: str, **more: Any) -> Schema:
    """Describe a list."""
    return {"type": "array", "items": items, "description": description, **more}


def counts(description: str, example: Mapping[str, int]) -> Schema:
    """Describe numbers by names that nobody can list."""
    return {
        "type": "object",
        "additionalProperties": {"type": "integer", "minimum": 1},
        "description": description,
        "examples": [dict(example)],
    }


def record(description: str, members: Mapping[str, Schema], optional: Iterable[str] = ()) -> Schema:
    """Describe an object; it has all of `members` but, perhaps, those that are optional."""
    left_out = set(optional)
    return {
        "type": "object",
        "description": description,
        "properties": dict(members),
        "required": [name for name in members if name not in left_out],
    }


def ref(name: str) -> Schema:
    """Refer to one of the document's schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def example_of(schema: Schema, named: Mapping[str, Schema]) -> Any:
    """Make an example of a schema from the examples of its parts.

    Args:
        schema: As the functions here make it.
        named: What `ref` refers to.
    """
    if "$ref" in schema:
        return example_of(named[schema["$ref"].rpartition("/")[2]], named)
    if "examples" in schema:
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], named)
    if schema["type"] == "array":
        return [example_of(schema["items"], named)]
    wanted = {*schema["required"], *schema.get("oneOf", [{}])[0].get("required", ())}
    return {
        name: example_of(member, named)
        for name, member in schema["properties"].items()
        if name in wanted
    }
