"""What engines have not read yet: counted, and bounded: pure.

Rules: protocol reference, section "Limits". While a connection takes no more, the frames
for it wait in an `Unread`; the `Backlog` knows all of these, and says who must go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

from attrs import define, field

__all__ = ["Backlog", "Unread", "end_of_piece"]


def end_of_piece(frames: bytes | bytearray, most: int) -> int:
    """Return where to cut frames to get about `most` bytes of them.

    Args:
        frames: Whole frames, each with its LF.
        most: Bytes; the piece has fewer, but at least one frame.
    """
    if len(frames) <= most:
        return len(frames)
    return (frames.rfind(b"\n", 0, most) + 1) or (frames.find(b"\n") + 1) or len(frames)


@define(eq=False)
class Unread:
    """Frames for one engine that wait until its connection takes more.

    Attributes:
        since: Detector seconds of the last progress.
        is_stuck: Whether the connection takes nothing now.
    """

    since: float
    _backlog: Backlog[Any] | None = field(repr=False)
    is_stuck: bool = field(init=False, default=True)
    _frames: bytearray = field(init=False, factory=bytearray)

    def __len__(self) -> int:
        """How many bytes wait."""
        return len(self._frames)

    def add(self, frames: bytes) -> None:
        """Have more frames wait."""
        self._frames += frames
        if self._backlog is not None:
            self._backlog.grown(self, len(frames))

    def take(self, most: int | None = None) -> bytes:
        """Take frames; nothing while the connection is stuck.

        Args:
            most: See `end_of_piece`; None for all.
        """
        if self.is_stuck:
            return b""
        end = len(self) if most is None else end_of_piece(self._frames, most)
        taken = bytes(self._frames[:end])
        del self._frames[:end]
        if self._backlog is not None:
            self._backlog.size -= end
        return taken

    def let_go(self) -> None:
        """Be counted no more, and hold nothing back."""
        if self._backlog is not None:
            self._backlog.size -= len(self)
        self._backlog, self.is_stuck = None, False


class Reader(Protocol):
    """What the backlog needs of a session.

    Attributes:
        unread: What waits for its peer; None while the connection takes all.
    """

    unread: Unread | None

    def hold_back(self, unread: Unread) -> None:
        """Have all that is owed, now and later, wait in `unread`."""


R = TypeVar("R", bound=Reader)


@define(eq=False)
class Backlog(Generic[R]):
    """Knows what waits for all whose connections take no more.

    Args:
        most: Bytes that may wait for one.
        most_in_all: Bytes that may wait for all together.
        patience: Detector seconds for which one may take nothing.

    Attributes:
        size: Bytes that wait for all together.
        is_exceeded: Whether somebody has to go, as `excess` says.
    """

    most: int
    most_in_all: int
    patience: float
    size: int = field(init=False, default=0)
    is_exceeded: bool = field(init=False, default=False)
    # Who has waited longest for progress comes first.
    _stuck: dict[R, Unread] = field(init=False, factory=dict, repr=False)

    def hold(self, reader: R, now: float) -> None:
        """Take note that a connection takes no more; from now on its frames wait.

        Args:
            reader: Whose.
            now: Detector seconds.
        """
        if reader.unread is None:
            reader.hold_back(Unread(now, self))
        if reader not in self._stuck and reader.unread is not None:
            reader.unread.since, reader.unread.is_stuck = now, True
            self._stuck[reader] = reader.unread

    def release(self, reader: R) -> None:
        """Take note that a connection takes more."""
        unread = self._stuck.pop(reader, None)
        if unread is not None:
            unread.is_stuck = False

    def forget(self, reader: R) -> None:
        """Count one no more; what waits for it is held back no longer."""
        self._stuck.pop(reader, None)
        if reader.unread is not None:
            reader.unread.let_go()

    def grown(self, unread: Unread, by: int) -> None:
        """Take note that more waits.

        Args:
            unread: For whom.
            by: Bytes.
        """
        self.size += by
        self.is_exceeded = self.is_exceeded or self._is_too_much(unread)

    def excess(self) -> Iterator[R]:
        """Give those who must go, so that no more waits than may: the largest first.

        Each is to be forgotten before the next one is asked for.
        """
        self.is_exceeded = False
        for reader, unread in sorted(self._stuck.items(), key=_size, reverse=True):
            if not self._is_too_much(unread):
                return
            yield reader

    def overdue(self, now: float) -> Iterator[R]:
        """Give those who have made no progress for too long.

        Args:
            now: Detector seconds.
        """
        for reader, unread in list(self._stuck.items()):
            if now < unread.since + self.patience:
                return
            yield reader

    def _is_too_much(self, unread: Unread) -> bool:
        return len(unread) > self.most or self.size > self.most_in_all


def _size(item: tuple[object, Unread]) -> int:
    return len(item[1])
