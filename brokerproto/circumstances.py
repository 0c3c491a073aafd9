"""What a broker's session has to remember that one at rest has not.

Of thousands of sessions nearly all are at rest: their engine is registered, is heard in
time, and says nothing but its next heartbeat. What makes a session another one is kept
apart, so that it costs the others nothing, and that there is none of it is seen at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define

from brokerproto.backlog import Unread
from brokerproto.errors import RemoteProtocolError
from brokerproto.framing import Framer, Framing
from brokerproto.messages import Bye, NewEngine

__all__ = ["Circumstances", "Situated"]


@define(eq=False, weakref_slot=False)
class Circumstances:
    """Where a session stands that is not at rest.

    The attributes are those of `Situated`, with the values that they have at rest; the
    framer holds what is not yet a whole frame.
    """

    framing: Framing = "lines"
    framer: Framer | None = None
    hello: NewEngine | None = None
    failure: RemoteProtocolError | None = None
    bye: Bye | None = None
    pings: int = 0
    busy: str | None = None
    attentive: bool = False
    is_throttled: bool = False
    excused_until: float = 0.0
    unknown_verbs: int = 0
    unread: Unread | None = None

    def are_over(self, now: float) -> bool:
        """Whether a registered engine's session is at rest again.

        Args:
            now: Detector seconds.
        """
        return (
            self.framer is None
            and self.framing == "lines"
            and not (self.pings or self.attentive or self.is_throttled or self.unknown_verbs)
            and self.busy is None
            and self.excused_until <= now
            and self.unread is None
        )


T = TypeVar("T")


class _Occasional:
    def __init__(self, at_rest: object) -> None:
        self._at_rest = at_rest

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name = name.removeprefix("_")

    def __get__(self, session: Any, owner: type[Any]) -> Any:
        if session is None:
            return self
        circumstances = session.circumstances
        return self._at_rest if circumstances is None else getattr(circumstances, self._name)

    def __set__(self, session: Any, value: object) -> None:
        circumstances = session.circumstances
        if circumstances is None:
            if value == self._at_rest:
                return
            circumstances = session.circumstances = Circumstances()
        setattr(circumstances, self._name, value)


def _occasional(at_rest: T) -> T:
    """Make an attribute that is kept in the `Circumstances`, where there are any.

    Args:
        at_rest: Its value where there are none; setting it to this makes none.
    """
    return cast(T, _Occasional(at_rest))


class Situated:
    """Has circumstances, or is at rest.

    Attributes:
        circumstances: What is not as at rest; None where nothing is.
        failure: What ended it, where that was an error of the protocol.
        bye: The engine's Bye, where it left on purpose.
        hello: The pending hello, or the refused one; None before one came, and once it
            was accepted.
        pings: Kept by the detector: 0 alive, 1 or 2 late.
        busy: The command whose work the last heartbeat told of.
        attentive: Whether each heartbeat is handed on as an event.
        framing: ``lines`` on a byte stream, ``message`` where boundaries are kept.
        is_throttled: Whether the engine sends too fast to be read for now; kept by
            `brokerproto.pacing`.
        unread: What waits while the connection takes no more; None while it takes all.
    """

    if not TYPE_CHECKING:  # which takes whatever is not named here for an error
        __slots__ = ("circumstances",)

    circumstances: Circumstances | None

    failure: RemoteProtocolError | None = _occasional(None)
    bye: Bye | None = _occasional(None)
    hello: NewEngine | None = _occasional(None)
    pings: int = _occasional(0)
    busy: str | None = _occasional(None)
    attentive: bool = _occasional(at_rest=False)
    framing: Framing = _occasional("lines")
    is_throttled: bool = _occasional(at_rest=False)
    unread: Unread | None = _occasional(None)
    _excused_until: float = _occasional(0.0)
    _unknown_verbs: int = _occasional(0)
    _framer: Framer | None = _occasional(None)
