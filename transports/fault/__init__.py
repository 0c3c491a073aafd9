"""``fault+SCHEME://...``: any transport, with faults on purpose.

::

    uri = URI.parse("fault+tcp://127.0.0.1:1337?slice=1&delay=50&jitter=20&seed=7")
    endpoint = transport_for(uri.scheme).client_endpoint(reactor, uri)

What the options mean stands in the reference of addresses. Without an address the
same is had from `Faults` and `FaultTransport`, and by hand, while connections live,
from a `Switch`::

    switch = Switch()
    transport = FaultTransport(transport_for("inproc"), switch=switch)
    ...
    switch.cut()        # all that was and will be made by this transport
    switch.links[0].heal()
"""

from transports.fault.faults import Amount, Faults
from transports.fault.link import Link
from transports.fault.outgoing import HIGH_WATER
from transports.fault.switch import Switch
from transports.fault.transport import FaultTransport

__all__ = ["HIGH_WATER", "Amount", "FaultTransport", "Faults", "Link", "Switch"]
