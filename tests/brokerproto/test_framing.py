"""Where frames begin and end: the cuts of the network never show."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brokerproto.errors import BadFrameError, FrameTooLongError, RemoteProtocolError
from brokerproto.framing import (
    FRAMINGS,
    LIMIT_REGISTERED,
    LIMIT_UNREGISTERED,
    Framer,
    LineFramer,
    MessageFramer,
)
from tests.brokerproto.strategies import segments

SHORT = 6
streams = st.lists(
    st.sampled_from([b"a", b"b", b"\r", b"\n", b"\r\n", b"abcdef", b"\n\n\n\n\n", b"\0"]),
    max_size=40,
).map(b"".join)


def take(framer: Framer, limit: int) -> tuple[list[bytes], RemoteProtocolError | None]:
    """Take the whole frames up to the first error."""
    frames = []
    try:
        while (frame := framer.next_frame(limit)) is not None:
            frames.append(frame)
    except RemoteProtocolError as error:
        return frames, error
    return frames, None


def lines_of(stream: bytes, limit: int) -> tuple[list[bytes], type[RemoteProtocolError] | None]:
    """Say what a stream amounts to, looking at all of it at once."""
    frames: list[bytes] = []
    *lines, rest = stream.split(b"\n")
    empty = 0
    for line in lines:
        frame = line.removesuffix(b"\r")
        if len(frame) > limit:
            return frames, FrameTooLongError
        empty = 0 if frame else empty + 1
        if empty == 16:
            return frames, BadFrameError
        if frame:
            frames.append(frame)
    too_long = len(rest.removesuffix(b"\r")) > limit or len(rest) > limit + 1
    return frames, FrameTooLongError if too_long else None


@given(streams)
@example(b"abcdef\r\r\n")
@example(b"abcdef\rX")
@example(b"abcdef\r")
@example(b"abcdefg\n")
@example(b"abcdefg")
def test_lines_are_what_stands_between_line_ends(stream: bytes) -> None:
    framer = LineFramer()
    framer.feed(stream)
    frames, error = take(framer, SHORT)
    assert (frames, type(error) if error else None) == lines_of(stream, SHORT)


@given(streams.flatmap(lambda stream: st.tuples(st.just(stream), segments(stream))))
def test_frames_do_not_depend_on_the_cuts(case: tuple[bytes, list[bytes]]) -> None:
    stream, pieces = case
    for cut in (pieces, [stream[place : place + 1] for place in range(len(stream))]):
        whole, framer = LineFramer(), LineFramer()
        whole.feed(stream)
        expected, offence = take(whole, SHORT)
        frames: list[bytes] = []
        error = None
        dropped = 0
        for piece in cut:
            framer.feed(piece)
            if error is None:
                more, error = take(framer, SHORT)
                frames += more
            if error is not None:
                dropped += framer.discard()
        assert frames == expected
        assert error == offence
        if error is None:
            assert framer.waiting == whole.waiting
            assert framer.beginning(SHORT) == whole.beginning(SHORT)
            assert framer.idle is whole.idle
        else:
            assert dropped == whole.discard()
            assert framer.waiting == whole.waiting == 0


@pytest.mark.parametrize("limit", [LIMIT_UNREGISTERED, LIMIT_REGISTERED])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_is_too_long_one_byte_beyond_its_limit(limit: int, end: bytes) -> None:
    longest = b"x" * limit
    framer = LineFramer()
    framer.feed(longest + end)
    assert framer.next_frame(limit) == longest
    framer.feed(longest + b"x" + end)
    with pytest.raises(FrameTooLongError):
        framer.next_frame(limit)


@pytest.mark.parametrize("limit", [LIMIT_UNREGISTERED, LIMIT_REGISTERED])
def test_a_line_is_too_long_before_its_end_has_come(limit: int) -> None:
    framer = LineFramer()
    framer.feed(b"x" * limit)
    assert framer.next_frame(limit) is None
    framer.feed(b"\r")
    assert framer.next_frame(limit) is None
    framer.feed(b"x")
    with pytest.raises(FrameTooLongError):
        framer.next_frame(limit)
    framer = LineFramer()
    framer.feed(b"x" * (limit + 1))
    with pytest.raises(FrameTooLongError):
        framer.next_frame(limit)


def test_the_limits_are_those_of_the_reference() -> None:
    assert (LIMIT_UNREGISTERED, LIMIT_REGISTERED) == (1024, 4096)
    assert FRAMINGS["lines"] is LineFramer
    assert FRAMINGS["message"] is MessageFramer


@pytest.mark.parametrize("empty", [b"\n", b"\r\n"])
def test_fifteen_empty_lines_are_ignored_and_the_sixteenth_is_not(empty: bytes) -> None:
    framer = LineFramer()
    framer.feed(empty * 15 + b"a\n" + empty * 15 + b"b\n" + empty * 15)
    assert take(framer, SHORT) == ([b"a", b"b"], None)
    framer.feed(empty)
    with pytest.raises(BadFrameError):
        framer.next_frame(SHORT)


def test_one_carriage_return_before_the_line_end_is_tolerated() -> None:
    framer = LineFramer()
    framer.feed(b"a\r\nb\r\r\n\rc\n")
    assert take(framer, SHORT) == ([b"a", b"b\r", b"\rc"], None)


def test_the_limit_may_change_from_frame_to_frame() -> None:
    framer = LineFramer()
    framer.feed(b"abc\nabcdef\n")
    assert framer.next_frame(3) == b"abc"
    assert framer.next_frame(6) == b"abcdef"


def test_a_beginning_is_shown_up_to_the_limit_and_without_a_last_carriage_return() -> None:
    framer = LineFramer()
    framer.feed(b"a\nbcd\r")
    assert framer.next_frame(SHORT) == b"a"
    assert framer.waiting == 4
    assert framer.beginning(SHORT) == b"bcd"
    assert framer.beginning(2) == b"bc"
    framer.feed(b"e")
    assert framer.beginning(SHORT) == b"bcd\re"


@pytest.mark.parametrize(
    ("fed", "idle"),
    [(b"", True), (b"a\n", True), (b"a", False), (b"\n", False), (b"\na\n", True)],
)
def test_a_framer_is_idle_where_a_new_one_would_do_the_same(fed: bytes, idle: bool) -> None:
    framer = LineFramer()
    assert framer.idle
    framer.feed(fed)
    take(framer, SHORT)
    assert framer.idle is idle


def test_the_rest_of_a_frame_that_was_cut_short_is_no_frame() -> None:
    framer = LineFramer()
    framer.feed(b"abc")
    framer.cut_short()
    steps = [(b"", 0, False), (b"def", 0, False), (b"ghi\njkl\nm", 1, True), (b"no\n", 1, True)]
    for fed, frames, idle in steps:
        framer.feed(fed)
        assert framer.discard() == frames
        assert framer.idle is idle


def test_an_overlong_line_is_no_frame_when_its_end_comes() -> None:
    framer = LineFramer()
    framer.feed(b"abcdefgh")
    with pytest.raises(FrameTooLongError):
        framer.next_frame(SHORT)
    assert framer.discard() == 0
    framer.feed(b"ij\nk\n")
    assert framer.discard() == 1


@pytest.mark.fault("C010")
def test_a_mebibyte_without_a_line_end_is_refused_by_its_first_bytes() -> None:
    framer = LineFramer()
    framer.feed(b"x" * 1025)
    with pytest.raises(FrameTooLongError):
        framer.next_frame(LIMIT_UNREGISTERED)
    for _ in range(1024):
        framer.discard()
        assert framer.waiting == 0
        framer.feed(b"x" * 1024)


def message_framer(*fed: bytes) -> MessageFramer:
    framer = MessageFramer()
    for message in fed:
        framer.feed(message)
    return framer


def test_a_message_is_a_frame() -> None:
    framer = message_framer(b"a", b"", b"bc")
    assert framer.waiting == 3
    assert take(framer, SHORT) == ([b"a", b"bc"], None)
    assert framer.waiting == 0
    assert framer.idle


@pytest.mark.parametrize("message", [b"a\n", b"\r", b"a\rb", b"\n", b"a\r\n", b"a\nb"])
def test_a_line_end_inside_a_message_is_refused(message: bytes) -> None:
    framer = message_framer(b"ok", message)
    frames, error = take(framer, SHORT)
    assert (frames, type(error)) == ([b"ok"], BadFrameError)
    assert framer.idle


@pytest.mark.parametrize("limit", [LIMIT_UNREGISTERED, LIMIT_REGISTERED])
def test_a_message_is_too_long_one_byte_beyond_its_limit(limit: int) -> None:
    framer = message_framer(b"x" * limit, b"x" * (limit + 1), b"after")
    assert framer.next_frame(limit) == b"x" * limit
    with pytest.raises(FrameTooLongError):
        framer.next_frame(limit)
    assert framer.next_frame(limit) == b"after"


def test_fifteen_empty_messages_are_ignored_and_the_sixteenth_is_not() -> None:
    framer = message_framer(*[b""] * 15, b"a", *[b""] * 15)
    assert take(framer, SHORT) == ([b"a"], None)
    assert not framer.idle
    framer.feed(b"")
    assert type(take(framer, SHORT)[1]) is BadFrameError


def test_dropped_messages_are_counted() -> None:
    framer = message_framer(b"a", b"bc")
    assert not framer.idle
    assert framer.beginning(SHORT) == b""
    framer.cut_short()
    assert framer.discard() == 2
    assert (framer.waiting, framer.idle) == (0, True)
    assert framer.discard() == 0


@given(st.lists(st.sampled_from([b"a", b"bc", b"abcdef", b"abcdefg", b""]), max_size=30))
def test_frames_are_the_same_in_lines_and_in_messages(frames: list[bytes]) -> None:
    as_lines = LineFramer()
    as_lines.feed(b"".join(frame + b"\n" for frame in frames))
    results: list[Any] = []
    for framer in (as_lines, message_framer(*frames)):
        taken, error = take(framer, SHORT)
        results.append((taken, type(error), framer.discard() if error else 0))
    assert results[0] == results[1]
