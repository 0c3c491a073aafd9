"""Requests to the control API: their parameters are as declared, or refused with 400.

The input's first line is the request's target, each further line a header.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from twisted.web.http_headers import Headers

from services.broker.control.answers import ControlError
from services.broker.control.parameters import (
    Matching,
    Parameter,
    following,
    read_headers,
    read_query,
)
from services.broker.control.routes import ENDPOINTS
from services.program.values import OneOf, WholeNumber

__all__ = ["check"]

_BY_PATH: dict[bytes, Mapping[str, Parameter]] = {
    endpoint.path.encode(): endpoint.parameters for endpoint in ENDPOINTS
}


def check(data: bytes) -> None:
    """See that what is read fits what is declared, and that a page leads to the next."""
    target, *lines = data.split(b"\n")
    parameters = _BY_PATH.get(target.partition(b"?")[0])
    if parameters is None:
        target, parameters = b"/kill?" + target.partition(b"?")[2], _BY_PATH[b"/kill"]
    headers = Headers()
    for line in lines[:20]:
        name, _, value = line.partition(b":")
        if name and name.replace(b"-", b"").isalnum():
            headers.addRawHeader(name, value.strip())
    values = _read(read_query, target, parameters)
    given = _read(read_headers, headers, parameters)
    if values is None:
        return
    _check_counts(target, parameters)
    _check_following(target, parameters, values)
    assert not set(values) & set(given or {})


def _read(read: Any, raw: Any, parameters: Mapping[str, Parameter]) -> dict[str, Any] | None:
    try:
        values: dict[str, Any] = read(raw, parameters)
    except ControlError as error:
        assert error.status == 400
        assert len(str(error)) < 1000
        return None
    for name, value in values.items():
        parameter = parameters[name]
        if parameter.is_list:
            assert parameter.most is None or len(value) <= parameter.most
            assert all(_fits(each, parameter) for each in value)
        else:
            assert value == parameter.default or _fits(value, parameter)
    return values


def _fits(value: Any, parameter: Parameter) -> bool:
    match parameter.parse:
        case WholeNumber() as number:
            return type(value) is int and number.low <= value <= number.high
        case OneOf() as words:
            return value in words.words
        case Matching():
            return bool(value)
    return type(value) is str


def _check_counts(target: bytes, parameters: Mapping[str, Parameter]) -> None:
    query = target.partition(b"?")[2].decode("latin-1")
    names = Counter(name for name, _ in parse_qsl(query, keep_blank_values=True))
    for name, times in names.items():
        parameter = parameters[name]
        assert parameter.place == "query"
        assert parameter.most is None or times <= parameter.most


def _check_following(
    target: bytes, parameters: Mapping[str, Parameter], values: dict[str, Any]
) -> None:
    after = parameters.get("after")
    if after is None:
        return
    place = 7 if isinstance(after.parse, WholeNumber) else "behind \xe9&=?#%\0"
    following_target = following(target, place)
    assert all("!" <= character <= "~" for character in following_target)
    assert read_query(following_target.encode(), parameters) == {**values, "after": place}
