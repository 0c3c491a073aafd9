"""Laws held, one after the other, and told to the person in front of the terminal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO

from attrs import define, field

from transports.conformance.law import Law, check
from transports.conformance.subject import LawBrokenError, Subject

__all__ = ["Report"]

_GREEN, _RED, _DIM, _BOLD, _PLAIN = "\x1b[32m", "\x1b[1;31m", "\x1b[2m", "\x1b[1m", "\x1b[0m"
_WIDTH = 22


@define(eq=False)
class Report:
    """What is printed about one transport.

    Args:
        out: Where to.
        coloured: Whether it shows colours.

    Attributes:
        is_done: Whether it came to its end.
    """

    out: TextIO
    coloured: bool
    kept: int = field(init=False, default=0)
    broken: int = field(init=False, default=0)
    exempt: int = field(init=False, default=0)
    is_done: bool = field(init=False, default=False)

    async def run(self, laws: Sequence[Law], subject: Subject, timeout: float) -> None:
        """Hold a subject to laws.

        Raises:
            SystemExit: At the end, with status 1, where a law is broken, or as soon as
                nobody reads what is printed.
        """
        try:
            self._print(f"{subject.address}, framing {subject.framing}")
            for law in laws:
                await self._try(law, subject, timeout)
            self._summary()
        except BrokenPipeError:
            # What is left in the buffer would raise once more when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.out.fileno())
            self.broken += 1
        self.is_done = True
        if self.broken:
            raise SystemExit(1)

    async def _try(self, law: Law, subject: Subject, timeout: float) -> None:
        name = f"{law.name:<{_WIDTH}}"
        try:
            reason = await check(law, subject, timeout)
        except LawBrokenError as exc:
            self.broken += 1
            self._print(f"{self._in(_RED, '✗')} {self._in(_BOLD, name)} {law.sentence}")
            for line in str(exc).splitlines()[1:]:
                self._print(f"  {line}")
            return
        if reason is None:
            self.kept += 1
            self._print(f"{self._in(_GREEN, '✓')} {name} {law.sentence}")
        else:
            self.exempt += 1
            self._print(self._in(_DIM, f"- {name} not tried: {reason}"))

    def _summary(self) -> None:
        verdict = self._in(_RED, "FAIL") if self.broken else self._in(_GREEN, "PASS")
        counts = f"{self.kept} kept, {self.broken} broken"
        if self.exempt:
            counts += f", {self.exempt} not tried"
        self._print(f"{verdict} {counts}")

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self.coloured else text

    def _print(self, line: str) -> None:
        self.out.write(f"{line}\n")
        self.out.flush()
