r"""What a Twisted endpoint string says, without what Twisted makes of it.

``kind:value:name=value``: arguments in order, or by name; a backslash takes the
meaning from the character behind it. What each argument means stands in Twisted's
documentation of `twisted.internet.endpoints.serverFromString`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from attrs import frozen

__all__ = ["DIALLED", "LISTENED", "LISTENED_FILE", "PREFIX", "EndpointString"]

PREFIX = "haproxy"
"""The kind that is written before another endpoint's string."""

_SEGMENT = re.compile(r"((?:\\.|[^\\:])*)(:|$)", re.DOTALL)
_NAMED = re.compile(r"((?:\\.|[^\\=])*)=(.*)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

LISTENED: Mapping[str, Sequence[str]] = {
    "ssl": ("port", "privateKey", "certKey", "sslmethod", "interface"),
    "tcp": ("port", "interface"),
    "tcp6": ("port", "backlog", "interface"),
    "tls": ("path", "port", "backlog", "interface"),
}
"""The order of arguments by kind, where one listens on a port."""

LISTENED_FILE: Sequence[str] = ("address", "mode", "backlog", "lockfile")
"""The order of arguments of ``unix``, where one listens."""

DIALLED: Mapping[str, Sequence[str]] = {
    "ssl": ("host", "port"),
    "tcp": ("host", "port"),
    "tls": ("host", "port"),
}
"""The order of arguments by kind, where one dials a port."""


@frozen
class EndpointString:
    """An endpoint string, in its segments.

    Attributes:
        segments: What stands between the colons, as it is written; one at least.
    """

    segments: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> EndpointString:
        """Read an endpoint string.

        Raises:
            ValueError: Its last character is a backslash that escapes nothing.
        """
        segments, end = [], 0
        for match in _SEGMENT.finditer(text):
            if match.start() != end:
                break
            segments.append(match[1])
            end = match.end()
            if not match[2]:
                return cls(tuple(segments))
        raise ValueError("nothing follows the backslash at its end")

    @property
    def kind(self) -> str:
        """The first segment, in small letters: ``tcp``, ``unix``, ``systemd``, ..."""
        return _plain(self.segments[0]).lower()

    @property
    def arguments(self) -> tuple[str, ...]:
        """The other segments."""
        return self.segments[1:]

    @property
    def innermost(self) -> EndpointString:
        """The string itself, or what stands behind its prefixes."""
        if self.kind != PREFIX:
            return self
        return EndpointString(self.arguments or ("",)).innermost

    def get(self, name: str, order: Sequence[str] = ()) -> str | None:
        """Return an argument by its name; None where it is not given.

        Args:
            name: Its name.
            order: What the arguments that are given without a name are called.
        """
        at = self._place(name, order)
        if at is None:
            return None
        named = _NAMED.fullmatch(self.arguments[at])
        return _plain(named[2] if named else self.arguments[at])

    def replaced(self, name: str, order: Sequence[str], value: str) -> str:
        """Write the string with another value for an argument; unchanged if it has none."""
        at = self._place(name, order)
        if at is None:
            return str(self)
        named = _NAMED.fullmatch(self.arguments[at])
        changed = f"{named[1]}={value}" if named else value
        arguments = (*self.arguments[:at], changed, *self.arguments[at + 1 :])
        return str(EndpointString((self.segments[0], *arguments)))

    def __str__(self) -> str:
        return ":".join(self.segments)

    def _place(self, name: str, order: Sequence[str]) -> int | None:
        names = [
            _plain(named[1]) if (named := _NAMED.fullmatch(argument)) else None
            for argument in self.arguments
        ]
        if name in names:
            return len(names) - 1 - names[::-1].index(name)
        unnamed = [at for at, given in enumerate(names) if given is None]
        left = [each for each in order if each not in names]
        return dict(zip(left, unnamed, strict=False)).get(name)


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)
