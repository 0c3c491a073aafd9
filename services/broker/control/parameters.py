"""The parameters of a request: the query, read strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from attrs import frozen

from services.broker.control.answers import ControlError
from services.program.values import quoted

__all__ = ["Parameter", "read_parameters"]


@frozen
class Parameter:
    """What an endpoint takes under one name.

    Attributes:
        parse: Reads the text; raises ValueError with a sentence.
        default: The value where the query has none. Unused where `most` is above 1.
        most: How often it may be given; above 1 the value is a list.
    """

    parse: Callable[[str], Any] = str
    default: Any = None
    most: int = 1


def read_parameters(uri: bytes, accepted: Mapping[str, Parameter]) -> dict[str, Any]:
    """Read the query of a request's URI.

    Args:
        uri: As the request names it.
        accepted: By name.

    Returns:
        A value for each of `accepted`.

    Raises:
        ControlError: 400, which names the parameter: unknown, given too often, no UTF-8,
            or with a value that cannot be.
    """
    found: dict[str, list[Any]] = {name: [] for name in accepted}
    for raw_name, raw_value in _pairs(uri):
        name = _decoded(raw_name) or ""
        if name not in accepted:
            takes = ", ".join(accepted) or "none"
            raise _bad(name, f"unknown parameter {quoted(name)}; this path takes {takes}")
        parameter = accepted[name]
        value = _decoded(raw_value)
        if value is None:
            raise _bad(name, f"{name}: no UTF-8")
        if len(found[name]) == parameter.most:
            often = "more than once" if parameter.most == 1 else f"over {parameter.most} times"
            raise _bad(name, f"{name}: given {often}")
        try:
            found[name].append(parameter.parse(value))
        except ValueError as error:
            raise _bad(name, f"{name}: {error}") from None
    return {
        name: found[name] if parameter.most > 1 else next(iter(found[name]), parameter.default)
        for name, parameter in accepted.items()
    }


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
