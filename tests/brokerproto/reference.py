"""The grammar of the protocol reference, read off once more, in plain Python.

What the library says with regular expressions and one table of layouts is said here
without either, so that a slip in one of the two shows as a difference.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator

LOWER, UPPER = string.ascii_lowercase, string.ascii_uppercase
LETTERS, DIGITS = string.ascii_letters, string.digits
ALNUM = LETTERS + DIGITS
HEX_DIGITS = DIGITS + "abcdef"
PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))

LARGEST = 2**53 - 1
ONE_DAY_MS = 24 * 60 * 60 * 1000

Fits = Callable[[str], bool]


def made_of(characters: str, least: int, most: int) -> Fits:
    return lambda text: least <= len(text) <= most and set(text) <= set(characters)


def is_number(most: int) -> Fits:
    def fits(text: str) -> bool:
        plain = made_of(DIGITS, 1, 16)(text) and str(int(text)) == text
        return plain and int(text) <= most

    return fits


def is_id(text: str) -> bool:
    inside = made_of(ALNUM + "._-", 1, 253)(text)
    return inside and text[0] in ALNUM and text[-1] in ALNUM


KINDS: dict[str, Fits] = {
    "id": is_id,
    "number": is_number(LARGEST),
    "work": is_number(ONE_DAY_MS),
    "status": is_number(255),
    "command": made_of(ALNUM + "-", 1, 64),
    "word": made_of(ALNUM + "_-", 1, 32),
    "hex": made_of(HEX_DIGITS, 1, 32),
    "token": made_of(HEX_DIGITS, 64, 64),
    "name": made_of(UPPER + DIGITS + "_", 1, 32),
    "state": lambda text: text in {"received", "started", "done", "failed"},
    "retry": lambda text: text in {"never", "now"} or is_number(LARGEST)(text),
    "label": made_of(LOWER + DIGITS + "-", 1, 26),
    "value": made_of(ALNUM + "._-", 0, 256),
    "registered": lambda text: text == "Registered",
    "text": lambda text: set(text) <= set(PRINTABLE),
}
IS_VERB = made_of(LETTERS, 1, 16)
IS_KEY = made_of(LOWER + DIGITS + "-", 1, 32)
IS_VALUE = KINDS["value"]
LABEL = "label-<label>"

Layout = tuple[list[str], dict[str, str]]

ENGINE: dict[str, Layout] = {
    "NewEngine": (
        ["id", "number"],
        {
            "v": "number",
            "instance": "hex",
            "interval": "number",
            "ack": "number",
            "resume": "hex",
            LABEL: "value",
        },
    ),
    "Proof": (["token", "token"], {}),
    "HeartBeat": (["id", "number"], {"busy": "command", "rtt": "number"}),
    "Report": (["command", "state"], {"ms": "number", "error": "word"}),
    "Bye": ([], {"reason": "word"}),
}
BROKER: dict[str, Layout] = {
    "CHALLENGE": (["token"], {}),
    "SUCCESS": (
        ["registered"],
        {
            **dict.fromkeys(("v", "epoch", "interval", "timeout", "ack", "herd"), "number"),
            "resume": "hex",
            "boot": "hex",
            "proof": "token",
        },
    ),
    "ACK": (["number"], {}),
    "PING": ([], {}),
    "DOWORK": (["work"], {"command": "command"}),
    "KILL": (["status"], {"command": "command"}),
    "GOAWAY": (["number"], {"reason": "word"}),
    "FAILED": (["number", "name", "retry", "text"], {}),
}
VERBS: dict[str, dict[str, Layout]] = {"engine": ENGINE, "broker": BROKER}


def _read_pair(text: str) -> tuple[bool, str, str] | None:
    key, equals, value = text.removeprefix("!").partition("=")
    return (text[:1] == "!", key, value) if equals and IS_KEY(key) and IS_VALUE(value) else None


def judge(frame: bytes, sender: str) -> int | str:
    """Say the code that a whole frame is refused with, or the verb it is read as."""
    verb, *rest = frame.decode("latin-1").split(":")
    if not IS_VERB(verb):
        return 400
    if verb not in VERBS[sender]:
        if sender == "broker" and not set(":".join(rest)) <= set(PRINTABLE):
            return 400
        # The original's own spelling of its only refusal.
        return verb if sender == "broker" and verb == "FAILLED" else "unknown"
    kinds, options = VERBS[sender][verb]
    if verb == "FAILED":
        rest = [*rest[:3], ":".join(rest[3:])] if len(rest) > 3 else rest
    if verb == "NewEngine" and rest and not is_id(rest[0]):
        return 415
    if len(rest) < len(kinds):
        return 400
    fields, tail = rest[: len(kinds)], rest[len(kinds) :]
    wrong = [kind for kind, text in zip(kinds, fields, strict=True) if not KINDS[kind](text)]
    pairs = [_read_pair(text) for text in ":".join(tail).split(";")] if tail else []
    seen: dict[str, str] = {}
    unknown_demand = False
    labels = 0
    for pair in pairs:
        if pair is None or pair[1] in seen:
            return 400
        demanded, key, value = pair
        seen[key] = value
        if LABEL in options and key.startswith("label-"):
            labels += 1
            if labels > 16 or not KINDS["label"](key.removeprefix("label-")):
                return 400
        elif key not in options:
            unknown_demand = unknown_demand or demanded
        elif not KINDS[options[key]](value):
            return 400
    if wrong and not (verb in {"DOWORK", "KILL"} and "command" in seen):
        return 400
    if unknown_demand:
        return 426
    return "unusable" if wrong else verb


def _endings(kind: str, begun: str) -> Iterator[str]:
    """Try the values that begin with `begun`, if there are any at all."""
    yield from (begun, begun + "a", begun + "0", begun + "A", begun.ljust(64, "0"))
    for word in ("received", "started", "done", "failed", "never", "now", "Registered"):
        if word.startswith(begun):
            yield word


def may_begin_value(kind: str, begun: str) -> bool:
    return any(KINDS[kind](value) for value in _endings(kind, begun))


def judge_beginning(beginning: bytes, sender: str) -> int | None:
    """Say the code of the first byte that no frame has at its place.

    Options are judged as pairs here: whether a known option's value fits, and whether
    a pair that is not yet complete repeats a key, shows at the end of it.
    """
    verb, *rest = beginning.decode("latin-1").split(":")
    if not (IS_VERB(verb) or (verb == "" and not rest)):
        return 400
    if not rest:
        return None
    if verb not in VERBS[sender]:
        return 405
    kinds = VERBS[sender][verb][0]
    for place, kind in enumerate(kinds):
        code = 415 if verb == "NewEngine" and kind == "id" else 400
        if kind == "text":
            return None if KINDS[kind](":".join(rest[place:])) else code
        if len(rest) == place + 1:
            return None if may_begin_value(kind, rest[place]) else code
        if not KINDS[kind](rest[place]):
            return code
    *whole, last = ":".join(rest[len(kinds) :]).split(";")
    pairs = [_read_pair(text) for text in whole]
    keys = [pair[1] for pair in pairs if pair is not None]
    if len(keys) < len(pairs) or len(set(keys)) < len(keys):
        return 400
    may_follow = any(_read_pair(last + ending) for ending in ("", "=", "a="))
    return None if may_follow else 400
