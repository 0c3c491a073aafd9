"""What happens to a link once, by the clock or by the bytes that have passed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall

from transports.fault.faults import Plan, Strike

if TYPE_CHECKING:
    from transports.fault.link import Link

__all__ = ["Strikes"]


@define(eq=False)
class Strikes:
    """All that is to happen to one link.

    Args:
        link: To whom.
        reactor: Its clock.
        plan: What, and when.
    """

    _link: Link
    _reactor: Any
    _plan: Plan
    _timers: list[IDelayedCall] = field(init=False, factory=list)
    _done: set[str] = field(init=False, factory=set)

    def begin(self) -> None:
        """Await them all; one that is due at once happens at once."""
        for strike in self._plan.strikes:
            happen = partial(self._happen, strike)
            if strike.after == 0:
                happen()
            elif strike.unit == "s":
                self._call_later(strike.after, happen)
            else:
                for lane in self._link.lanes(self._plan.direction):
                    lane.mark(int(strike.after), happen)

    def stop(self) -> None:
        """Let nothing happen any more."""
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        self._timers.clear()

    def _happen(self, strike: Strike) -> None:
        if strike.kind in self._done:
            return  # the other direction's bytes were first
        self._done.add(strike.kind)
        direction = self._plan.direction
        if strike.kind == "reset":
            self._reset_soon(strike)
        elif strike.kind == "freeze":
            self._link.freeze(direction)
            if strike.lasts is not None:
                self._call_later(strike.lasts, partial(self._link.lift, frozen=True))
        else:
            self._link.cut(direction)
            if strike.lasts is not None:
                self._call_later(strike.lasts, partial(self._link.lift, cut=True))

    def _reset_soon(self, strike: Strike) -> None:
        """Reset, but let the transport below first send the bytes that have passed."""
        if strike.unit == "s" and strike.after > 0:
            self._link.reset()
            return
        # It writes in the turn after this one; nothing else may pass until then.
        self._link.freeze()
        self._call_later(0, lambda: self._call_later(0, self._link.reset))

    def _call_later(self, seconds: float, call: Any) -> None:
        self._timers.append(self._reactor.callLater(seconds, call))
