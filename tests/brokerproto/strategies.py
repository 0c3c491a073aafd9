"""What travels, drawn at random: values, messages, frames, and frames gone wrong."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import strategies as st

from brokerproto import grammar, messages, wire
from brokerproto.grammar import Kind
from brokerproto.messages import EngineMessage, Message
from tests.brokerproto import reference as ref


def _words(characters: str, least: int, most: int) -> st.SearchStrategy[str]:
    """Mostly short, and now and then as long as it may be."""
    short = st.text(characters, min_size=least, max_size=min(most, max(least, 6)))
    return short | st.text(characters, min_size=most, max_size=most)


def _with_good_ends(text: str) -> str:
    if text[0] not in ref.ALNUM:
        text = "a" + text[1:]
    return text if text[-1] in ref.ALNUM else text[:-1] + "z"


def _numbers(most: int) -> st.SearchStrategy[int]:
    return st.integers(0, 3) | st.integers(0, most) | st.sampled_from([most - 1, most])


ids = _words(ref.ALNUM + "._-", 1, 253).map(_with_good_ends)
numbers = _numbers(ref.LARGEST)
commands = _words(ref.ALNUM + "-", 1, 64)
instances = _words(ref.HEX_DIGITS, 1, 32)

VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    grammar.ID: ids,
    grammar.NUMBER: numbers,
    grammar.COMMAND: commands,
    grammar.WORD: _words(ref.ALNUM + "_-", 1, 32),
    grammar.NAME: _words(ref.UPPER + ref.DIGITS + "_", 1, 32),
    grammar.HEX: instances,
    grammar.TOKEN: _words(ref.HEX_DIGITS, 64, 64),
    grammar.TEXT: st.text(ref.PRINTABLE, max_size=20),
    grammar.LABEL_NAME: _words(ref.LOWER + ref.DIGITS + "-", 1, 26),
    grammar.LABEL_VALUE: _words(ref.ALNUM + "._-", 0, 256),
    grammar.REPORT_STATE: st.sampled_from(["received", "started", "done", "failed"]),
    grammar.RETRY: st.sampled_from(["never", "now"]) | numbers,
    grammar.WORK_MS: _numbers(ref.ONE_DAY_MS),
    grammar.CODE: st.integers(0, 255),
}
"""For each kind of the grammar the values that fit it."""

labels = st.just(messages.NO_LABELS) | st.dictionaries(
    VALUES[grammar.LABEL_NAME], VALUES[grammar.LABEL_VALUE], max_size=16
)


def _messages_of(layout: wire._Layout) -> st.SearchStrategy[Any]:
    fields = {part.attribute: VALUES[part.kind] for part in layout.fields if part.attribute}
    options = {part.attribute: st.none() | VALUES[part.kind] for part in layout.options.values()}
    drawn: st.SearchStrategy[Any]
    labelled = {layout.labels: labels} if layout.labels else {}
    drawn = st.builds(layout.message, **fields, **options, **labelled)
    return drawn.map(_with_version)


def _with_version(message: Any) -> Any:
    """Options of a hello, or of its answer, mean that a version was named."""
    plain: messages.NewEngine | messages.Success
    if isinstance(message, messages.NewEngine):
        plain = messages.NewEngine(message.engine_id, message.seq)
    elif isinstance(message, messages.Success):
        plain = messages.Success()
    else:
        return message
    return evolve(message, v=1) if message.v is None and message != plain else message


MESSAGES: dict[type[Any], st.SearchStrategy[Any]] = {
    layout.message: _messages_of(layout) for layout in wire._LAYOUTS
}
"""For each message class that is ever sent its messages."""

SENDERS: dict[type[Any], wire.Sender] = {layout.message: layout.sender for layout in wire._LAYOUTS}


def messages_of(sender: wire.Sender) -> st.SearchStrategy[Any]:
    return st.one_of([MESSAGES[cls] for cls, each in SENDERS.items() if each == sender])


engine_messages: st.SearchStrategy[EngineMessage] = messages_of("engine")
all_messages: st.SearchStrategy[Message] = st.one_of(list(MESSAGES.values()))
senders: st.SearchStrategy[wire.Sender] = st.sampled_from(["engine", "broker"])

PAIRS = (
    *(b"x=1", b"!x=1", b"!v=1", b"v=x", b"v=1", b"x", b"", b"=1"),
    *(b"label-a=1", b"!label-a=", b"label-=1", b"label-" + b"a" * 26 + b"=", b"labels=1"),
)
"""Options, and what looks like some."""

UNFIT_NUMBERS = (
    b"NaN",
    b"Infinity",
    b"1e3",
    b"0x1",
    b"-1",
    b"+1",
    b"01",
    b"1.0",
    b"",
    b" 1",
    b"1 ",
    b"1_0",
    b"%d" % 2**53,
    b"1" + b"0" * 400,
    "\uff15".encode(),
    b"\xb2",
)
"""What is no number on the wire, though some language would take it for one."""

AWKWARD = (b"\0", b"\x1b[31m", b"\xff", b"\xc0\xaf", b" ", b":", b";", b"=", b"!", b".", b"-")


def frame_of(message: Message) -> bytes:
    """The frame of `message`, without its line end."""
    return wire.encode(message).removesuffix(b"\n")


@st.composite
def spoilt(draw: st.DrawFn, frames: st.SearchStrategy[bytes]) -> bytes:
    """A frame with one thing changed; now and then it stays valid."""
    frame = draw(frames)
    here = draw(st.integers(0, len(frame)))
    there = draw(st.integers(here, min(len(frame), here + 8)))
    piece = frame[here:there]
    parts = frame.split(b":")
    which = draw(st.integers(0, len(parts) - 1))
    awkward = st.sampled_from(AWKWARD) | st.binary(min_size=1, max_size=2)
    how = draw(st.integers(0, 8))
    if how == 0:
        return frame[:here] + draw(awkward) + frame[here:]
    if how == 1:
        return frame[:here] + draw(awkward) + frame[here + 1 :]
    if how == 2:
        return frame[:here] + frame[there:]
    if how == 3:
        return frame[:there] + piece + frame[there:]
    if how == 4:
        return frame[:here]
    if how == 5:
        parts[which] = draw(st.sampled_from(UNFIT_NUMBERS) | awkward)
        return b":".join(parts)
    if how == 6:
        del parts[which]
        return b":".join(parts)
    if how == 7:
        pair = draw(st.sampled_from(PAIRS))
        return frame + draw(st.sampled_from([b":", b";"])) + pair
    parts.insert(which, draw(st.sampled_from([b"", b"a", b"0", b"NewEngine", b"a.b", b"x=1"])))
    return b":".join(parts)


def frames_of(sender: wire.Sender) -> st.SearchStrategy[bytes]:
    return messages_of(sender).map(frame_of)


@st.composite
def segments(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    """`stream`, cut at random places."""
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    ends = [*cuts, len(stream)]
    return [stream[start:end] for start, end in zip([0, *cuts], ends, strict=True)]
