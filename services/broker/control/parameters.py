"""The parameters of a request: query and headers, read strictly."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from attrs import frozen
from twisted.web.http_headers import Headers

from services.broker.control.answers import ControlError
from services.program.values import OneOf, WholeNumber, quoted

__all__ = ["Matching", "Parameter", "following", "read_headers", "read_query"]

# What globs, labels and addresses consist of. Escaped, a long question would grow to one
# that is too long to be asked.
_PLAIN = "*?:/,@"


@frozen
class Matching:
    """Read a text that a pattern matches from its first character to its last.

    Args:
        pattern: In the words that Python and ECMAScript share.
        what: What such a text is, as the end of a sentence.
        convert: Makes the value of it.
    """

    pattern: str
    what: str
    convert: Callable[[str], Any] = str

    def __call__(self, text: str) -> Any:
        """Give the value, or raise ValueError."""
        if re.fullmatch(self.pattern, text) is None:
            raise ValueError(f"{quoted(text)} is not {self.what}")
        return self.convert(text)


@frozen
class Parameter:
    """What an endpoint takes under one name.

    Attributes:
        doc: What it means, in a sentence or two.
        parse: Reads the text; raises ValueError with a sentence.
        default: The value where none is given. Unused where it may be given more than
            once.
        most: How often it may be given; None for any number. Where that is more than
            once, the value is a list.
        example: A value that can be given.
        place: Where it stands.
    """

    doc: str
    parse: Callable[[str], Any] = str
    default: Any = None
    most: int | None = 1
    example: Any = None
    place: Literal["query", "path", "header"] = "query"

    @property
    def is_list(self) -> bool:
        """Whether it may be given more than once."""
        return self.most != 1

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of its value, or of all its values."""
        one = _schema_of(self.parse)
        if not self.is_list:
            return one if self.default is None else {**one, "default": self.default}
        return {"type": "array", "items": one, **({"maxItems": self.most} if self.most else {})}


def _schema_of(parse: Callable[[str], Any]) -> dict[str, Any]:
    """Say in JSON schema what a parser takes."""
    match parse:
        case WholeNumber():
            return {"type": "integer", "minimum": parse.low, "maximum": parse.high}
        case OneOf():
            return {"type": "string", "enum": list(parse.words)}
        case Matching():
            return {"type": "string", "pattern": f"^{parse.pattern}$"}
    return {"type": "string"}


def read_query(uri: bytes, accepted: Mapping[str, Parameter]) -> dict[str, Any]:
    """Read the query of a request's URI.

    Args:
        uri: As the request names it.
        accepted: By name; those that stand elsewhere are passed over.

    Returns:
        A value for each of `accepted`.

    Raises:
        ControlError: 400, which names the parameter: unknown, given too often, no UTF-8,
            or with a value that cannot be.
    """
    accepted = _standing("query", accepted)
    found: dict[str, list[str]] = {name: [] for name in accepted}
    for raw_name, raw_value in _pairs(uri):
        name = _decoded(raw_name) or ""
        if name not in accepted:
            takes = ", ".join(accepted) or "none"
            raise _bad(name, f"unknown parameter {quoted(name)}; this path takes {takes}")
        value = _decoded(raw_value)
        if value is None:
            raise _bad(name, f"{name}: no UTF-8")
        found[name].append(value)
    return _values(found, accepted)


def read_headers(headers: Headers, accepted: Mapping[str, Parameter]) -> dict[str, Any]:
    """Read those of `accepted` that are headers, as `read_query` does."""
    accepted = _standing("header", accepted)
    found = {
        name: [value.decode("latin-1") for value in headers.getRawHeaders(name.encode(), [])]
        for name in accepted
    }
    return _values(found, accepted)


def following(uri: bytes, after: object) -> str:
    """Ask the same question again, for the page that begins behind `after`.

    Args:
        uri: As the request names it; its query has been read.
        after: The place in the list.

    Returns:
        Path and query, in ASCII.
    """
    path = uri.partition(b"?")[0].decode("ascii")
    pairs = [pair for pair in _pairs(uri) if pair[0] != "after"]
    pairs.append(("after", str(after).encode("utf-8").decode("latin-1")))
    return f"{path}?{urlencode(pairs, encoding='latin-1', safe=_PLAIN)}"


def _standing(place: str, accepted: Mapping[str, Parameter]) -> dict[str, Parameter]:
    return {name: each for name, each in accepted.items() if each.place == place}


def _values(found: Mapping[str, list[str]], accepted: Mapping[str, Parameter]) -> dict[str, Any]:
    """Parse what was found under each name."""
    values: dict[str, Any] = {}
    for name, texts in found.items():
        parameter = accepted[name]
        if parameter.most is not None and len(texts) > parameter.most:
            often = "more than once" if parameter.most == 1 else f"over {parameter.most} times"
            raise _bad(name, f"{name}: given {often}")
        try:
            parsed = [parameter.parse(text) for text in texts]
        except ValueError as error:
            raise _bad(name, f"{name}: {error}") from None
        values[name] = parsed if parameter.is_list else next(iter(parsed), parameter.default)
    return values


def _pairs(uri: bytes) -> list[tuple[str, str]]:
    """Split a query at ``&`` and ``=``, each byte a character still."""
    query = uri.partition(b"?")[2].decode("latin-1")
    return parse_qsl(query, keep_blank_values=True, encoding="latin-1")


def _decoded(raw: str) -> str | None:
    try:
        return raw.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return None


def _bad(name: str, message: str) -> ControlError:
    return ControlError(400, message, parameter=name)
