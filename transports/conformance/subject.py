"""What is examined, and how it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import field, frozen

from transports.interfaces import ITransport
from transports.profile import Profile
from transports.registry import transport_for
from transports.uri import URI

__all__ = ["LawBrokenError", "Subject"]


def _own_profile(subject: Subject) -> Profile:
    profile = getattr(subject.transport, "profile", None)
    return profile if isinstance(profile, Profile) else Profile()


def _itself(listen_address: URI) -> URI:
    return listen_address


@frozen
class Subject:
    """A transport, and where it is tried.

    Attributes:
        reactor: The laws use its clock; the transport, what it needs.
        transport: What is examined.
        address: Where it listens, again and again, one law after the other. With port 0
            the system chooses each time.
        profile: What the author declares; by default the transport's own.
        contact: Gives the address to dial, from what ``listen_address`` gave. It is the same
            unless one listens where nobody can dial, as on ``tcp://*:0``.
    """

    reactor: Any
    transport: ITransport
    address: URI
    profile: Profile = field()
    contact: Callable[[URI], URI] = _itself

    @profile.default
    def _(self) -> Profile:
        return _own_profile(self)

    @classmethod
    def of(cls, reactor: Any, text: str, **others: Any) -> Subject:
        """Make one from an address alone; the registry finds the transport.

        Args:
            reactor: See the attributes.
            text: The address.
            others: ``profile`` and ``contact``; see the attributes.

        Raises:
            InvalidURIError: It cannot be read, or nobody provides its scheme.
        """
        uri = URI.parse(text)
        return cls(reactor, transport_for(uri.scheme), uri, **others)

    @property
    def framing(self) -> str:
        """How frames are told apart at the address; see `ITransport`."""
        return self.address.options.get("framing", self.transport.framing)


class LawBrokenError(Exception):
    """A transport does not keep a law.

    Args:
        law: The law's name.
        sentence: What the law says.
        expected: What the law demands here.
        came: What the transport did.
        offset: At which byte of what was sent, from 0; None where it is not about bytes.
    """

    def __init__(
        self, law: str, sentence: str, expected: str, came: str, offset: int | None = None
    ) -> None:
        self.law, self.sentence = law, sentence
        self.expected, self.came, self.offset = expected, came, offset
        where = "" if offset is None else f"\n  at byte   {offset}"
        super().__init__(f"{law}: {sentence}\n  expected  {expected}\n  came      {came}{where}")
