"""What several endpoints take, and how much of it."""

from __future__ import annotations

from brokerproto.commands import KEY_PATTERN
from brokerproto.grammar import LABEL_NAME, LABEL_VALUE
from services.broker.control.parameters import Matching, Parameter
from services.program.values import WholeNumber

__all__ = [
    "AFTER",
    "DEFAULT_LIMIT",
    "DEFAULT_WORK_MS",
    "KEY_HEADER",
    "MAX_EXPECTED",
    "MAX_GLOBS",
    "MAX_LIMIT",
    "MAX_WAIT",
    "ORDER",
    "PAGE",
]

KEY_HEADER = "Idempotency-Key"
"""The header that names a command, so that asking again does not send it again."""

DEFAULT_WORK_MS = 50_000

MAX_WAIT = 600
"""Longest wait for a command's end, in seconds."""

MAX_GLOBS = 100
"""How many globs, or labels, one request may have: each is tried on every engine."""

MAX_EXPECTED = 1_000_000
"""The greatest number of engines that can be expected; far more than a broker holds."""

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
"""How many items a page has."""

_LABEL = Matching(
    f"{LABEL_NAME.whole.pattern.decode()}:{LABEL_VALUE.whole.pattern.decode()}",
    "a label's name, a colon and its value",
    lambda text: tuple(text.split(":")),
)
_KEY = Matching(KEY_PATTERN, "1 to 255 visible ASCII characters without blanks")

_MATCH = Parameter(
    "A glob for ids, case-sensitive; any of several.", most=MAX_GLOBS, example="engine-*"
)
_WITH_LABEL = Parameter(
    "Only engines with this label, or with all of several.",
    _LABEL,
    most=MAX_GLOBS,
    example="node:aks-1",
)
ORDER: dict[str, Parameter] = {
    "engine": Parameter(
        "The id of a registered engine; also several.", most=None, example="engine-1"
    ),
    "match": _MATCH,
    "label": _WITH_LABEL,
    "share": Parameter(
        "Only so many percent of these, drawn at random; rounded half up, at least one.",
        WholeNumber(1, 100),
        100,
        example=10,
    ),
    "expect": Parameter(
        "How many engines the command must reach; else nothing is sent.",
        WholeNumber(0, MAX_EXPECTED),
        example=3,
    ),
    "wait": Parameter(
        "Seconds to wait for the end of it all.", WholeNumber(0, MAX_WAIT), 0, example=10
    ),
    KEY_HEADER: Parameter(
        "Names the command: asked again under the same key, it is not sent again.",
        _KEY,
        example="8e03978e-40d5-43dd-bc93-6894a57f9324",
        place="header",
    ),
}
"""What a command takes besides its number."""

PAGE: dict[str, Parameter] = {
    "match": _MATCH,
    "label": _WITH_LABEL,
    "transport": Parameter(
        "Only engines that came by this address of the broker; any of several.",
        most=None,
        example="tcp://127.0.0.1:1337",
    ),
    "limit": Parameter("How many to show.", WholeNumber(1, MAX_LIMIT), DEFAULT_LIMIT, example=50),
}
"""What chooses a page, of engines as of ends."""

AFTER = "Behind which place to begin: take it from `next`, with the rest of the query."
"""What `after` means, wherever it stands."""
