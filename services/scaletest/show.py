"""What the person in front of a run sees: a live line, and what is done above it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field
from rich.console import Console
from rich.live import Live

__all__ = ["Show"]

_PLAIN_LINE_SECONDS = 2.0


@define(eq=False)
class Show:
    """A live line on a terminal; elsewhere a plain one every two seconds."""

    console: Console
    _live: Live = field(init=False)
    _began: float = field(init=False, factory=time.monotonic)
    _plain_at: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self._live = Live("", console=self.console, refresh_per_second=8, transient=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keep the live line on the terminal, where there is one."""
        if self.console.is_terminal:
            with self._live:
                yield
        else:
            yield

    def done(self, what: str, detail: str) -> None:
        """Say that a step is done."""
        self.console.print(
            f"[dim]{self._seconds():5.1f} s[/]  [green]✓[/] [bold]{what:<9}[/] {detail}",
            highlight=False,
        )

    def now(self, line: str) -> None:
        """Show how things stand."""
        if self.console.is_terminal:
            self._live.update(f"[dim]{self._seconds():5.1f} s[/]  [cyan]…[/] {line}")
        elif time.monotonic() - self._plain_at >= _PLAIN_LINE_SECONDS:
            self._plain_at = time.monotonic()
            self.console.print(f"{self._seconds():5.1f} s    {line}", highlight=False)

    def _seconds(self) -> float:
        return time.monotonic() - self._began
