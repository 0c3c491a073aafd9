"""Frames to messages and back. Knows layout, not order.

One table says how each message is laid out; reading and writing both come from it.
Rules: protocol reference, section "Frames".
"""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen

from brokerproto import grammar, messages
from brokerproto.errors import (
    BadFrameError,
    BadIdError,
    LocalProtocolError,
    RemoteProtocolError,
    UnknownVerbError,
    VersionError,
)
from brokerproto.grammar import Kind
from brokerproto.labels import LABEL_PREFIX, label_options, read_labels

__all__ = [
    "Sender",
    "check_beginning",
    "decode",
    "encode",
    "foreign_protocol",
    "verb_of",
]

Sender = Literal["engine", "broker"]
"""Who sent a frame; the two sides have verbs of their own."""


@frozen
class _Field:
    """A part of a frame: which attribute it fills, of which kind, and its error."""

    attribute: str
    kind: Kind
    error: type[RemoteProtocolError] = BadFrameError


@frozen
class _Layout:
    """How one message is laid out: ``verb:field:...:key=value;key=value``.

    Where `labels` names an attribute, every ``label-<name>=<value>`` goes there.
    """

    message: type[Any]
    verb: str
    sender: Sender
    fields: tuple[_Field, ...] = ()
    options: dict[str, _Field] = field(factory=dict)
    labels: str | None = None

    def knows(self, key: str) -> bool:
        """Whether an option of this key is understood."""
        return key in self.options or (self.labels is not None and key.startswith(LABEL_PREFIX))


def _options(**kinds: Kind) -> dict[str, _Field]:
    """Lay out options whose key is the attribute's name without its unit."""
    return {name.removesuffix("_us"): _Field(name, kind) for name, kind in kinds.items()}


_COMMAND = _options(command=grammar.COMMAND)
_REASON = _options(reason=grammar.WORD)

_LAYOUTS = (
    _Layout(
        messages.NewEngine,
        "NewEngine",
        "engine",
        (_Field("engine_id", grammar.ID, BadIdError), _Field("seq", grammar.NUMBER)),
        _options(
            v=grammar.NUMBER,
            instance=grammar.HEX,
            interval=grammar.NUMBER,
            ack=grammar.NUMBER,
            resume=grammar.HEX,
        ),
        "labels",
    ),
    _Layout(
        messages.Proof,
        "Proof",
        "engine",
        (_Field("mac", grammar.TOKEN), _Field("nonce", grammar.TOKEN)),
    ),
    _Layout(
        messages.Heartbeat,
        "HeartBeat",
        "engine",
        (_Field("engine_id", grammar.ID), _Field("seq", grammar.NUMBER)),
        _options(busy=grammar.COMMAND, rtt_us=grammar.NUMBER),
    ),
    _Layout(
        messages.Report,
        "Report",
        "engine",
        (_Field("command", grammar.COMMAND), _Field("state", grammar.REPORT_STATE)),
        _options(ms=grammar.NUMBER, error=grammar.WORD),
    ),
    _Layout(messages.Bye, "Bye", "engine", (), _REASON),
    _Layout(messages.Challenge, "CHALLENGE", "broker", (_Field("nonce", grammar.TOKEN),)),
    _Layout(
        messages.Success,
        "SUCCESS",
        "broker",
        (_Field("", grammar.literal("Registered")),),
        _options(
            v=grammar.NUMBER,
            epoch=grammar.NUMBER,
            interval=grammar.NUMBER,
            timeout=grammar.NUMBER,
            ack=grammar.NUMBER,
            herd=grammar.NUMBER,
            resume=grammar.HEX,
            boot=grammar.HEX,
            proof=grammar.TOKEN,
        ),
    ),
    _Layout(messages.Ack, "ACK", "broker", (_Field("seq", grammar.NUMBER),)),
    _Layout(messages.Ping, "PING", "broker"),
    _Layout(messages.DoWork, "DOWORK", "broker", (_Field("ms", grammar.WORK_MS),), _COMMAND),
    _Layout(messages.Kill, "KILL", "broker", (_Field("code", grammar.CODE),), _COMMAND),
    _Layout(messages.GoAway, "GOAWAY", "broker", (_Field("delay_ms", grammar.NUMBER),), _REASON),
    _Layout(
        messages.Failed,
        "FAILED",
        "broker",
        (
            _Field("code", grammar.NUMBER),
            _Field("name", grammar.NAME),
            _Field("retry", grammar.RETRY),
            _Field("text", grammar.TEXT),
        ),
    ),
)

_BY_MESSAGE: dict[type[Any], _Layout] = {layout.message: layout for layout in _LAYOUTS}
_BY_VERB: dict[Sender, dict[bytes, _Layout]] = {
    sender: {layout.verb.encode(): layout for layout in _LAYOUTS if layout.sender == sender}
    for sender in ("engine", "broker")
}
_OPTION_ONLY_AFTER_V = (messages.NewEngine, messages.Success)
_WORK = (messages.DoWork, messages.Kill)
_Pairs = dict[str, tuple[bool, bytes]]
_NOT_A_PAIR = "an option is not key=value"


def verb_of(message: messages.Message) -> str:
    """Return the verb that a message has on the wire, for people."""
    layout = _BY_MESSAGE.get(type(message))
    return layout.verb if layout is not None else "such a frame"


def encode(message: messages.Message) -> bytes:
    """Return the frame of `message`, with its LF.

    Raises:
        LocalProtocolError: A value does not fit the grammar, or `message` is one that
            only a peer's fault produces (`Unknown`, `Unusable`).
    """
    layout = _BY_MESSAGE.get(type(message))
    if layout is None:
        raise LocalProtocolError(f"{type(message).__name__} is never sent")
    parts = [layout.verb]
    for part in layout.fields:
        value = getattr(message, part.attribute) if part.attribute else "Registered"
        parts.append(_format(part, value))
    pairs = []
    for key, option in layout.options.items():
        value = getattr(message, option.attribute)
        if value is not None:
            pairs.append(f"{key}={_format(option, value)}")
    if layout.labels is not None:
        pairs.extend(label_options(getattr(message, layout.labels)))
    if pairs:
        if layout.message in _OPTION_ONLY_AFTER_V and getattr(message, "v", 1) is None:
            raise LocalProtocolError(f"{layout.verb} has options but no version")
        parts.append(";".join(pairs))
    return ":".join(parts).encode("ascii") + b"\n"


def _format(part: _Field, value: Any) -> str:
    if not part.kind.accepts(value):
        kind = type(value).__name__
        raise LocalProtocolError(f"{part.attribute}: this {kind} is not {part.kind.name}")
    return part.kind.format(value)


def decode(frame: bytes, sender: Sender) -> Any:
    """Return the message of one whole frame, without its line end.

    A verb that `sender` does not have gives `Unknown`; a DOWORK or KILL with a bad
    number and a legible command gives `Unusable`.

    Args:
        frame: One frame, no LF and no CR before it.
        sender: Whose verbs to look for.

    Raises:
        RemoteProtocolError: The frame breaks the grammar (400; 415 in a hello's id), or
            an option marked ``!`` is not understood (426).
    """
    verb, colon, rest = frame.partition(b":")
    if grammar.VERB.fullmatch(verb) is None:
        raise BadFrameError("not a verb")
    layout = _BY_VERB[sender].get(verb)
    if layout is None:
        return _decode_unknown(verb, rest, sender)
    raw_fields, raw_options = _split(layout, rest if colon else None)
    values: dict[str, Any] = {}
    unusable: BadFrameError | None = None
    for part, raw in zip(layout.fields, raw_fields, strict=True):
        try:
            value = part.kind.read(raw, part.error)
        except BadFrameError as error:
            if layout.message not in _WORK:
                raise
            unusable = error
        else:
            if part.attribute:
                values[part.attribute] = value
    if raw_options is not None:
        pairs = _read_pairs(raw_options.split(b";"))
        values.update(_read_options(layout, pairs))
        if layout.message in _OPTION_ONLY_AFTER_V:
            values.setdefault("v", 1)
        # What breaks the grammar is told so, whatever else it demands.
        if unusable is None or "command" in values:
            _check_demands(layout, pairs)
    if unusable is not None:
        if "command" not in values:
            raise unusable
        return messages.Unusable(values["command"])
    return layout.message(**values)


def _decode_unknown(verb: bytes, rest: bytes, sender: Sender) -> messages.Message:
    if sender == "broker":
        if verb == b"FAILLED":
            # The original's own spelling, and its only refusal: the id is in use.
            text = grammar.TEXT.read(rest).strip()
            return messages.Failed(409, "DUPLICATE_ID", "now", text)
        grammar.TEXT.read(rest)
    return messages.Unknown(verb.decode("ascii"))


def _split(layout: _Layout, rest: bytes | None) -> tuple[list[bytes], bytes | None]:
    """Cut what follows the verb into fields and, where there are any, options."""
    count = len(layout.fields)
    if rest is None:
        parts = []
    elif count and layout.fields[-1].kind.to_the_end:
        parts = rest.split(b":", count - 1)
    else:
        parts = rest.split(b":", count)
    # The id of a hello is judged before a field behind it is missed.
    if layout.fields and parts:
        first = layout.fields[0]
        if first.error is not BadFrameError:
            first.kind.read(parts[0], first.error)
    if len(parts) < count:
        raise BadFrameError(f"{layout.verb} needs {count} fields")
    return parts[:count], (parts[count] if len(parts) > count else None)


def _read_options(layout: _Layout, pairs: _Pairs) -> dict[str, Any]:
    values = {
        option.attribute: option.kind.read(pairs[key][1])
        for key, option in layout.options.items()
        if key in pairs
    }
    if layout.labels is not None:
        labels = {key: raw for key, (_, raw) in pairs.items() if key.startswith(LABEL_PREFIX)}
        values[layout.labels] = read_labels(labels)
    return values


def _check_demands(layout: _Layout, pairs: _Pairs) -> None:
    for key, (demanded, _) in pairs.items():
        if demanded and not layout.knows(key):
            raise VersionError("an option that is demanded is not understood")


def _read_pairs(raw_pairs: list[bytes]) -> _Pairs:
    """Map each key to whether it is demanded, and to its value."""
    pairs: _Pairs = {}
    for pair in raw_pairs:
        match = grammar.PAIR.fullmatch(pair)
        if match is None:
            raise BadFrameError(_NOT_A_PAIR)
        key = match[2].decode("ascii")
        if key in pairs:
            raise BadFrameError("an option is repeated")
        pairs[key] = bool(match[1]), match[3]
    return pairs


def check_beginning(beginning: bytes, sender: Sender) -> None:
    """Refuse bytes that no frame of `sender` can begin with.

    The offence named is the leftmost one, so that the outcome is the same however the
    network cuts the stream.

    Args:
        beginning: A frame's bytes so far, or a whole frame, without its line end.
        sender: Whose verbs to look for.

    Raises:
        RemoteProtocolError: 405 for an unknown verb that is complete, 415 in a hello's
            id, else 400.
    """
    verb, colon, rest = beginning.partition(b":")
    if grammar.VERB_BEGINNING.fullmatch(verb) is None or (colon and not verb):
        raise BadFrameError("not a verb")
    if not colon:
        return
    layout = _BY_VERB[sender].get(verb)
    if layout is None:
        raise UnknownVerbError
    for part in layout.fields:
        if part.kind.to_the_end:
            part.kind.check_beginning(rest, part.error)
            return
        value, colon, rest = rest.partition(b":")
        if not colon:
            part.kind.check_beginning(value, part.error)
            return
        part.kind.read(value, part.error)
    *pairs, last = rest.split(b";")
    _read_pairs(pairs)
    if grammar.PAIR_BEGINNING.fullmatch(last) is None:
        raise BadFrameError(_NOT_A_PAIR)


_FOREIGN = {
    b"\x16": "tls",
    b"\xff": "zmtp",
    b"SSH-": "ssh",
    b"GET ": "http",
    b"PUT ": "http",
    b"HEAD ": "http",
    b"POST ": "http",
    b"PATCH ": "http",
    b"DELETE ": "http",
    b"OPTIONS ": "http",
    b"CONNECT ": "http",
    b"PRI ": "http",
}


def foreign_protocol(beginning: bytes) -> str | None:
    """Name the well-known other protocol that begins with `beginning`.

    Each signature ends at the first byte that our grammar forbids, so that the answer
    is the same however the bytes were cut.

    Returns:
        ``tls``, ``http``, ``ssh``, ``zmtp``, or None.
    """
    for signature, name in _FOREIGN.items():
        if beginning.startswith(signature):
            return name
    return None
