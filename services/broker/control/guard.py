"""What a request must be before it is even looked at: the rules that hold for all.

They are checked in this order, so that a stranger learns nothing from a later one, and
a refused request has done nothing:

1. the size of the body: 413;
2. the header Host: 400 where there is not exactly one that can be read, 421 for a name
   that is not this broker's;
3. whether a browser sent it for another site: 403;
4. the path: 404 (here its form, by the routes whether there is such a one);
5. the method: 405;
6. the body, which must be empty: 400;
7. the parameters: 400; then 422 for a key that is another request's, 404 for an engine or
   a command that does not exist, 409 for a number of engines that was not expected.

The routes know the path, and so take the last four steps.
"""

from __future__ import annotations

import os
from urllib.parse import unquote_to_bytes, urlsplit

from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from services.broker.control.answers import ControlError, error_for, send
from services.broker.control.hosts import Authority, Hosts
from services.program.values import quoted

__all__ = ["MAX_BODY", "Guard", "check_empty", "check_method", "too_long"]

MAX_BODY = 16 * 1024
"""Bytes of body that are received at all, if only to be refused."""

_METHODS = (b"GET", b"POST")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SAME_SITE = ("same-origin", "none")


@implementer(IResource)
class Guard:
    """Lets no request pass to a resource that it may not see.

    Args:
        resource: The one that answers.
        hosts: What the header Host may be.
    """

    isLeaf = True

    def __init__(self, resource: IResource, hosts: Hosts) -> None:
        self._resource = resource
        self._hosts = hosts

    def render(self, request: Request) -> bytes | int:
        """Refuse the request, or hand it on."""
        try:
            check_size(request)
            authority = check_host(request, self._hosts)
            check_same_site(request, authority)
            check_path(request)
        except Exception:
            send(request, error_for(Failure(), request))
            request.finish()
            return NOT_DONE_YET
        answer: bytes | int = self._resource.render(request)
        return answer

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        """Never called: a leaf has no children."""
        raise NotImplementedError

    def putChild(self, path: bytes, child: IResource) -> None:
        """Never called: a leaf has no children."""
        raise NotImplementedError


def check_size(request: Request) -> None:
    """Refuse a body that is too long, where nobody did before it was received."""
    if body_length(request) > MAX_BODY:
        raise too_long()


def too_long() -> ControlError:
    """Give the answer to a body that is too long."""
    return ControlError(413, f"a body of more than {MAX_BODY} bytes, where none has a meaning")


def check_host(request: Request, hosts: Hosts) -> Authority:
    """Give the one authority that the request names, if it is ours."""
    values = _values(request, b"Host")
    if len(values) != 1:
        raise ControlError(400, f"{len(values)} Host headers; exactly one is needed")
    (text,) = values
    try:
        authority = Authority.parse(text)
    except ValueError as error:
        raise ControlError(400, f"the Host header is {quoted(text)}: {error}") from None
    if authority not in hosts:
        raise ControlError(
            421,
            f"this broker does not answer for the name {quoted(authority.host)};"
            " use its address, or start it with --control-host",
        )
    return authority


def check_same_site(request: Request, authority: Authority) -> None:
    """Refuse what a browser sends on behalf of a page that is not this broker's."""
    if any(site not in _SAME_SITE for site in _values(request, b"Sec-Fetch-Site")) or not all(
        _is_same(origin, authority) for origin in _values(request, b"Origin")
    ):
        raise ControlError(403, "a browser asks on behalf of another site")


def check_path(request: Request) -> None:
    """Refuse a path that the routes would take for another one."""
    if request.path == b"/":
        return
    first, *segments = request.path.split(b"/")
    for segment in segments:
        try:
            text = unquote_to_bytes(segment).decode("utf-8")
        except UnicodeDecodeError:
            break
        if not text or "/" in text:
            break
    else:
        if not first and segments:
            return
    raise ControlError(404, "there is nothing at this path")


def check_method(request: Request) -> None:
    """Refuse all methods but GET and POST."""
    if request.method not in _METHODS:
        raise ControlError(405, "only GET and POST are understood here")


def check_empty(request: Request) -> None:
    """Refuse a body: whoever sends one believes that it has a meaning."""
    if body_length(request):
        raise ControlError(400, "a body has no meaning here: parameters stand in the query")


def body_length(request: Request) -> int:
    """Return how many bytes of body were kept."""
    assert request.content is not None
    length: int = request.content.seek(0, os.SEEK_END)
    return length


def _values(request: Request, header: bytes) -> list[str]:
    return [value.decode("latin-1") for value in request.requestHeaders.getRawHeaders(header, [])]


def _is_same(origin: str, authority: Authority) -> bool:
    try:
        scheme, rest = urlsplit(origin).scheme, origin.partition("://")[2]
        default = _DEFAULT_PORTS[scheme]
        named = Authority.parse(rest)
    except (KeyError, ValueError):
        return False
    # TLS may end before this broker: the default port is that of the browser's scheme.
    return named.host == authority.host and (named.port or default) == (authority.port or default)
