"""Laws of when a protocol is called: never from within its own calls."""

from __future__ import annotations

from functools import partial

from transports.conformance.ends import End
from transports.conformance.law import Law
from transports.conformance.meeting import Meeting

__all__ = ["LAWS"]

_ANSWERS = 20


def _expect_none_within(meeting: Meeting, callback: str) -> None:
    found = [each for each in meeting.diary.reentered if each.startswith(callback)]
    meeting.expect(not found, f"{callback} in a later turn", found[0] if found else "nothing")


async def _data_in_a_later_turn(meeting: Meeting) -> None:
    near, far = await meeting.connect()
    answers: list[int] = []

    def answer(end: End) -> None:
        answers.append(len(answers))
        if len(answers) < _ANSWERS:
            end.write(b"?")

    near.on_data, far.on_data = lambda _: answer(near), lambda _: answer(far)
    near.write(b"?")
    await meeting.until(
        f"{_ANSWERS} answers", lambda: len(answers) >= _ANSWERS, lambda: f"{len(answers)} answers"
    )
    far.call("pauseProducing")
    near.write(b"?")
    await meeting.turns()
    far.call("resumeProducing")
    await meeting.until("what was held back by a pause", lambda: len(answers) > _ANSWERS)
    _expect_none_within(meeting, "dataReceived")


def _close(end: End, method: str, _data: bytes) -> None:
    end.call(method)


async def _end_in_a_later_turn(meeting: Meeting) -> None:
    """TCP itself breaks it in one case, which is left out.

    When the outgoing half was ended before, its loseConnection tells
    connectionLost at once.
    """
    listener = await meeting.listen()
    for method in "loseConnection", "abortConnection":
        near, far = await meeting.connect(listener=listener)
        near.write(b"last words")
        near.call(method)
        await meeting.lost(near, far)
        near, far = await meeting.connect(listener=listener)
        far.on_data = partial(_close, far, method)
        near.write(b"go")
        await meeting.lost(near, far)
    _expect_none_within(meeting, "connectionLost")


LAWS = (
    Law(
        "data-in-a-later-turn",
        "dataReceived is never called from within write, resumeProducing or another dataReceived",
        _data_in_a_later_turn,
    ),
    Law(
        "end-in-a-later-turn",
        "connectionLost is never called from within loseConnection or abortConnection",
        _end_in_a_later_turn,
    ),
)
