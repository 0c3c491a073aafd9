"""How bytes travel: one transport per URI scheme, found by `transport_for`.

::

    uri = URI.parse("tcp://127.0.0.1:1337")
    endpoint = transport_for(uri.scheme).server_endpoint(reactor, uri)
    port = await endpoint.listen(factory)

A transport gives a Twisted endpoint and steps out of the way. It knows nothing
of what is said over it.
"""

from brokerproto.errors import DialError, InvalidURIError, ListenError
from transports.interfaces import ITransport
from transports.registry import transport_for
from transports.uri import URI

__all__ = ["URI", "DialError", "ITransport", "InvalidURIError", "ListenError", "transport_for"]
