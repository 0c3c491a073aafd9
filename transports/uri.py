"""The one parser of addresses, in two forms.

``scheme://host:port/path?key=value&key=value`` has parts; ``scheme:rest`` is opaque.
What an address may look like stands here; what a scheme makes of it, in the
scheme's own file. The rules:

* Printable ASCII without spaces. In a path and in the value of an option any
  other character is written as ``%XX``, in UTF-8.
* A scheme of ``a-z 0-9 + . -``; capitals are read as small letters.
* A host is a name, an IPv4 address, an IPv6 address in brackets, or ``*`` for
  every address of both families. Neither a user nor a fragment.
* In a host's place may stand an abstract name, ``@name`` of
  ``A-Z a-z 0-9 _ . -``; it has neither port nor path.
* A port of 0 to 65535; 0 lets the system choose.
* Every option has a value and stands once.
* What is opaque begins with a letter, and is kept as it is written: in it no
  character has a meaning here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import MappingProxyType
from urllib.parse import quote, unquote

from attrs import field, frozen

from brokerproto.errors import InvalidURIError

__all__ = ["URI"]

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_KEY = re.compile(r"[a-z][a-z0-9_-]*")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_ZONE = re.compile(r"[A-Za-z0-9_.-]+")
_LONGEST_NAME = 253
_ABSTRACT = re.compile(r"@[A-Za-z0-9_.-]+")
_OPAQUE = re.compile(r"[A-Za-z][!-~]*")
_LIKE_IPV4 = re.compile(r"[0-9]+(\.[0-9]+)+")
_PORT = re.compile(r"[0-9]{1,5}")
_FORBIDDEN = re.compile(r"[^!-~]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

_PLAIN_IN_PATH = "/:@!$&'()*+,;=\"<>[\\]^`{|}~"
_PLAIN_IN_VALUE = "/:@!$'()*+,;=?\"<>[\\]^`{|}~"


def _immutable(options: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(options))


@frozen
class URI:
    """An address, in parts; whatever exists is well formed.

    ``URI.parse(str(uri)) == uri`` holds for every one, however it was made.

    Attributes:
        scheme: Lower case, such as ``tcp`` or ``zmq+tcp``.
        host: A name, an address without brackets, ``*``, ``@name``, or empty.
        port: 0 to 65535, or None where none was given.
        path: Empty, or from its first ``/`` on, with every ``%XX`` resolved.
        options: What follows the ``?``, in order; it cannot be changed.
        opaque: What follows the colon of ``scheme:rest``; else empty. Whoever
            has it has no other part.

    Raises:
        InvalidURIError: A part is not as the rules above demand.
    """

    scheme: str
    host: str = ""
    port: int | None = None
    path: str = ""
    options: Mapping[str, str] = field(factory=dict, converter=_immutable, hash=False)
    opaque: str = ""

    def __attrs_post_init__(self) -> None:
        problem = (
            _problem_of_scheme(self.scheme)
            or _problem_of_opaque(self.opaque)
            or _problem_of_host(self.host)
            or _problem_of_port(self.port)
            or _problem_of_path(self.path)
            or _problem_of_options(self.options)
            or _problem_of_what_stands_together(self)
        )
        if problem is not None:
            raise self.refusal(problem)

    @classmethod
    def parse(cls, text: str) -> URI:
        """Read an address.

        Raises:
            InvalidURIError: It breaks a rule; no other exception, whatever `text` is.
        """
        try:
            return _parsed(text)
        except InvalidURIError as exc:
            raise InvalidURIError(text, exc.problem) from None

    def __str__(self) -> str:
        if self.opaque:
            return f"{self.scheme}:{self.opaque}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        path = quote(self.path, _PLAIN_IN_PATH, errors="replace")
        options = "&".join(
            f"{key}={quote(value, _PLAIN_IN_VALUE, errors='replace')}"
            for key, value in self.options.items()
        )
        return f"{self.scheme}://{host}{port}{path}" + (f"?{options}" if options else "")

    @property
    def is_loopback(self) -> bool:
        """Tell whether `host` is ``localhost`` or a loopback address.

        Another name is not looked up: it counts as elsewhere.
        """
        try:
            address = ip_address(self.host)
        except ValueError:
            return self.host.lower().removesuffix(".") == "localhost"
        # Python 3.11 does not look into ::ffff:127.0.0.1 by itself.
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback

    @property
    def is_abstract(self) -> bool:
        """Tell whether an abstract name stands in the place of a host."""
        return self.host.startswith("@")

    def refusal(self, problem: str) -> InvalidURIError:
        """Make the error that says `problem` about this address."""
        return InvalidURIError(str(self), problem)

    def check_parts(self, *, port: bool, path: bool) -> None:
        """Refuse an address that lacks a part, or has one too many.

        Args:
            port: True where the scheme needs one, False where it knows none.
            path: Likewise; a mere ``/`` counts as none.

        Raises:
            InvalidURIError: It does not fit, as no opaque address and no abstract
                name does. An empty host fits no scheme with a port.
        """
        if self.opaque:
            raise self.refusal(f"two slashes are missing, as in {self.scheme}://")
        if self.is_abstract:
            raise self.refusal(f"an address of {self.scheme}:// has no abstract name (@)")
        if port and self.port is None:
            raise self.refusal(f"the port is missing, as in {self.scheme}://host:1337")
        if not port and self.port is not None:
            raise self.refusal(f"an address of {self.scheme}:// has no port")
        if path and not self.path:
            raise self.refusal(f"the path is missing, as in {self.scheme}:///path")
        if not path and self.path not in ("", "/"):
            raise self.refusal(f"an address of {self.scheme}:// has no path")
        if not path and not self.host:
            raise self.refusal("the host is missing")

    def check_options(self, allowed: Mapping[str, Collection[str] | None]) -> None:
        """Refuse an option, or a value of one, that the scheme does not know.

        Args:
            allowed: By name the values that may be given; None where any may.

        Raises:
            InvalidURIError: An option is not in `allowed`, or its value is not.
        """
        for key, value in self.options.items():
            if key not in allowed:
                known = ", ".join(allowed) or "none"
                raise self.refusal(f"the option {key!r} is unknown; {self.scheme}:// knows {known}")
            values = allowed[key]
            if values is not None and value not in values:
                raise self.refusal(f"the option {key!r} may be {', '.join(values)}, not {value!r}")


def _parsed(text: str) -> URI:
    if forbidden := _FORBIDDEN.search(text):
        raise InvalidURIError(
            text,
            f"{forbidden.group()!a} may not stand in an address;"
            " only printable ASCII without spaces may",
        )
    scheme, _, rest = text.partition(":")
    if _OPAQUE.fullmatch(rest):
        return URI(scheme.lower(), opaque=rest)
    if not rest.startswith("//"):
        raise InvalidURIError(text, "the scheme is missing, as in tcp://host:1337")
    rest = rest[2:]
    if "#" in rest:
        raise InvalidURIError(text, "a fragment (#) means nothing in an address")
    location, question_mark, query = rest.partition("?")
    authority, slash, path = location.partition("/")
    if "@" in authority[1:]:
        raise InvalidURIError(text, "a user or password (@) has no place in an address")
    if question_mark and not query:
        raise InvalidURIError(text, "no option follows the question mark")
    host, port = _host_and_port(authority)
    return URI(scheme.lower(), host, port, _decoded(slash + path), _options(query))


def _host_and_port(authority: str) -> tuple[str, int | None]:
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket:
            raise InvalidURIError(authority, "the bracket is not closed")
        if ":" not in host:
            raise InvalidURIError(authority, "only an IPv6 address stands in brackets")
        if rest and not rest.startswith(":"):
            raise InvalidURIError(authority, "only a port may follow the bracket")
        colon, digits = rest[:1], rest[1:]
    else:
        if authority.count(":") > 1:
            raise InvalidURIError(authority, "an IPv6 address stands in brackets, as in [::1]")
        host, colon, digits = authority.partition(":")
    if not colon:
        return host, None
    if not digits:
        raise InvalidURIError(authority, "no port follows the colon")
    if not digits.isdecimal():
        raise InvalidURIError(authority, f"the port {digits!r} is not a number")
    if not _PORT.fullmatch(digits):
        raise InvalidURIError(authority, "the port is not within 0 to 65535")
    return host, int(digits)


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise InvalidURIError(query, f"an option is written key=value, not {pair!r}")
        if key in options:
            raise InvalidURIError(query, f"the option {key!r} is given twice")
        options[key] = _decoded(value)
    return options


def _decoded(text: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise InvalidURIError(text, "two hexadecimal digits follow a %; itself it is written %25")
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise InvalidURIError(text, "what is written as %XX is not UTF-8") from None


def _problem_of_scheme(scheme: str) -> str | None:
    if _SCHEME.fullmatch(scheme):
        return None
    return f"{scheme!r} is no scheme; one begins with a letter and has a-z, 0-9, +, . and -"


def _problem_of_opaque(opaque: str) -> str | None:
    if not opaque or _OPAQUE.fullmatch(opaque):
        return None
    return "what follows the colon is not printable ASCII that begins with a letter"


def _problem_of_host(host: str) -> str | None:
    if host in ("", "*"):
        return None
    if host.startswith("@"):
        return None if _ABSTRACT.fullmatch(host) else f"{host!r} is no abstract name"
    if host in (".", ".."):
        return f"{host!r} is no host name; a path begins with /, as in ipc:///run/broker.sock"
    if ":" in host:
        zone = host.partition("%")[2]
        try:
            IPv6Address(host)
        except ValueError:
            return f"{host!r} is no IPv6 address"
        return None if not zone or _ZONE.fullmatch(zone) else f"{zone!r} names no interface"
    if _LIKE_IPV4.fullmatch(host):
        try:
            IPv4Address(host)
        except ValueError:
            return f"{host!r} is no IPv4 address"
        return None
    labels = host.removesuffix(".").split(".")
    if len(host) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, labels)):
        return f"{host!r} is no host name"
    return None


def _problem_of_port(port: int | None) -> str | None:
    if port is None or 0 <= port <= 65535:
        return None
    return "the port is not within 0 to 65535"


def _problem_of_path(path: str) -> str | None:
    if path and not path.startswith("/"):
        return "the path does not begin with /"
    return None if path.isprintable() else "a character of the path cannot be printed"


def _problem_of_options(options: Mapping[str, str]) -> str | None:
    for key, value in options.items():
        if not _KEY.fullmatch(key):
            return f"{key!r} is no name of an option"
        if not value.isprintable():
            return f"a character of the option {key!r} cannot be printed"
    return None


def _problem_of_what_stands_together(uri: URI) -> str | None:
    if uri.opaque:
        alone = not uri.host and uri.port is None and not uri.path and not uri.options
        return None if alone else "an opaque address has no other parts"
    if uri.is_abstract:
        alone = uri.port is None and not uri.path
        return None if alone else "an abstract name (@) has neither port nor path"
    if not uri.host and (uri.port is not None or not uri.path):
        return "the host is missing; * means every address"
    return None
