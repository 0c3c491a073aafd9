"""The options of an address that are about faults."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from attrs import evolve, frozen

from transports.fault.faults import DIRECTIONS, Amount, Faults
from transports.uri import URI

__all__ = ["OPTIONS", "faults_of"]

T = TypeVar("T")

_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_AMOUNT = re.compile(rf"({_NUMBER})(?:-({_NUMBER}))?([a-z]*)")
_SHARE = re.compile(r"[01]|[01]?\.[0-9]{1,9}")
_SEED = re.compile(r"[0-9]{1,20}")

_Unit = tuple[Literal["s", "b"], float]
_MILLISECONDS: Mapping[str, _Unit] = {"": ("s", 0.001), "ms": ("s", 0.001), "s": ("s", 1)}
_TIME: Mapping[str, _Unit] = {"ms": ("s", 0.001), "s": ("s", 1)}
_BYTES: Mapping[str, _Unit] = {"": ("b", 1)}
_TIME_OR_BYTES: Mapping[str, _Unit] = {**_TIME, "b": ("b", 1)}


@frozen
class _Option:
    """How the value of an option is read.

    Attributes:
        read: Gives the value, or None where the text is none.
        wanted: What a value is, for who has written another.
    """

    read: Callable[[str], Any]
    wanted: str


def _amount(units: Mapping[str, _Unit], least: float = 0) -> Callable[[str], Amount | None]:
    def read(text: str) -> Amount | None:
        found = _AMOUNT.fullmatch(text)
        if found is None or found[3] not in units:
            return None
        unit, factor = units[found[3]]
        low, high = float(found[1]), float(found[2] or found[1])
        whole = low.is_integer() and high.is_integer()
        if not least <= low <= high or (unit == "b" and not whole):
            return None
        return Amount(low * factor, high * factor, unit)

    return read


def _matched(pattern: re.Pattern[str], make: Callable[[str], T]) -> Callable[[str], T | None]:
    return lambda text: make(text) if pattern.fullmatch(text) else None


def _share(text: str) -> float | None:
    share = float(text) if _SHARE.fullmatch(text) else 2.0
    return share if share <= 1 else None


_PIECES = _Option(_amount(_BYTES, 1), "a number of bytes, 1 at least, as in 1 or 1-100")
_DELAY = _Option(_amount(_MILLISECONDS), "a number of milliseconds, as in 50 or 30-70, or 2s")
_AFTER = _Option(
    _amount(_TIME_OR_BYTES), "a time or a number of bytes, as in 5s, 500ms, 5-60s or 4096b"
)
_FOR = _Option(_amount(_TIME), "a time, as in 5s, 500ms or 5-60s")
_RATE = _Option(_amount(_BYTES, 1), "a number of bytes per second, 1 at least, as in 1000")
_PART = _Option(_share, "a share within 0 to 1, as in 0.25")

OPTIONS: Mapping[str, _Option] = {
    "slice": _PIECES,
    "delay": _DELAY,
    "jitter": _DELAY,
    "limit": _RATE,
    "freeze-after": _AFTER,
    "freeze-for": _FOR,
    "half-open-after": _AFTER,
    "half-open-for": _FOR,
    "reset-after": _AFTER,
    "refuse": _PART,
    "share": _PART,
    "direction": _Option(
        lambda text: text if text in DIRECTIONS else None, f"one of {', '.join(DIRECTIONS)}"
    ),
    "seed": _Option(_matched(_SEED, int), "a whole number, as in 7"),
}
"""Every option, by its name."""

_NEEDED = {"freeze-for": "freeze-after", "half-open-for": "half-open-after"}


def faults_of(uri: URI, options: Mapping[str, str], others: Faults) -> Faults:
    """Read the options about faults.

    Args:
        uri: The address, for what is refused.
        options: Those of `OPTIONS` that are given.
        others: What holds where no option is given.

    Raises:
        InvalidURIError: A value is none, or two do not fit together.
    """
    found: dict[str, Any] = {}
    for key, text in options.items():
        option = OPTIONS[key]
        value = option.read(text)
        if value is None:
            raise uri.refusal(f"the option {key!r} is {option.wanted}, not {text!r}")
        found[key.replace("-", "_")] = value
    for key, needed in _NEEDED.items():
        if key in options and needed not in options:
            raise uri.refusal(f"the option {key!r} means nothing without {needed!r}")
    jitter: Amount | None = found.pop("jitter", None)
    if jitter is not None:
        found["delay"] = _with_jitter(uri, found.get("delay", Amount.seconds(0)), jitter)
    return evolve(others, **found)


def _with_jitter(uri: URI, delay: Amount, jitter: Amount) -> Amount:
    if jitter.low != jitter.high:
        raise uri.refusal("the option 'jitter' is one number: it is a range by itself")
    if jitter.high > delay.low:
        raise uri.refusal("the option 'jitter' is more than 'delay': nothing arrives too early")
    return Amount.seconds(delay.low - jitter.high, delay.high + jitter.high)
