"""A fault, the law that finds it, and what it then says."""

from __future__ import annotations

from collections.abc import Collection

from attrs import frozen

from tests.transports.conformance.harbour import Harbour, Line


@frozen
class Fault:
    """What is wrong, and what is said of it.

    Attributes:
        law: The law that finds it.
        kind: What is wrong: a harbour, or a line of one that is sound.
        expected: Of the error.
        came: Likewise; three dots stand for anything.
        offset: Likewise.
        others: Laws that find it too, where it cannot be otherwise.
    """

    law: str
    kind: type[Harbour | Line]
    expected: str
    came: str
    offset: int | None = None
    others: Collection[str] = ()

    def __str__(self) -> str:
        return f"{self.law}:{self.kind.__name__}"

    def harbour(self) -> Harbour:
        if issubclass(self.kind, Harbour):
            return self.kind()
        harbour = Harbour()
        harbour.line = self.kind
        return harbour
