"""What is wrong with each of the broken harbours, in the words of the laws."""

from __future__ import annotations

from tests.transports.conformance import broken_addresses as addresses
from tests.transports.conformance import broken_harbours as harbours
from tests.transports.conformance.fault import Fault

STRANGE_OPTION = "harbour://name:1337?option-that-nobody-knows=1"
FAULTS = [
    Fault("interfaces", addresses.OfNoFraming, "a framing of lines or message", "'lines '"),
    Fault("interfaces", addresses.OfAnotherScheme, "the scheme 'harbour'", "'haven'"),
    Fault("interfaces", addresses.OfStrangeProfile, "a Profile, if anything", "str"),
    Fault("interfaces", addresses.LocalSomehow, "True or False of is_local", "'yes'"),
    *(
        Fault(
            "interfaces",
            kind,
            f"an object that provides {name}",
            "...Does not declaratively implement...",
        )
        for kind, name in (
            (addresses.IsNoTransport, "ITransport"),
            (addresses.GivesNoEndpointToDial, "IStreamClientEndpoint"),
            (addresses.GivesNoPort, "IListeningPort"),
        )
    ),
    Fault(
        "interfaces",
        addresses.GivesNoEndpoint,
        "an object that provides IStreamServerEndpoint",
        "...Does not declaratively implement...",
    ),
    Fault(
        "listen-address",
        addresses.Capitals,
        "harbour://name:0, with nothing replaced but port 0",
        "harbour://NAME:1",
    ),
    Fault(
        "port-0", addresses.SharesItsPort, "two ports of two listeners", "harbour://name:1 twice"
    ),
    Fault(
        "port-0",
        addresses.KeepsPort0,
        "the port that the system chose",
        "harbour://name:0",
        others=["in-use"],
    ),
    Fault(
        "whereabouts",
        addresses.IsNowhere,
        "an IAddress of getHost() of the listening port",
        "('name', 1)",
    ),
    Fault(
        "whereabouts",
        addresses.IsSomewhere,
        "printable text of getHost() of the listening port",
        "'inproc://na\\nme'",
    ),
    Fault(
        "unknown-option",
        addresses.TakesAnyOption,
        f"InvalidURIError of client_endpoint for {STRANGE_OPTION}",
        "an endpoint",
    ),
    Fault(
        "unknown-option",
        addresses.RaisesAtOptions,
        f"InvalidURIError of client_endpoint for {STRANGE_OPTION}",
        "KeyError: 'option-that-nobody-knows'",
    ),
    Fault(
        "unknown-part",
        addresses.TakesAnyPath,
        "InvalidURIError of client_endpoint for harbour://name:1337/path",
        "an endpoint",
    ),
    Fault(
        "unknown-option",
        addresses.TakesAnyOptionToListen,
        f"InvalidURIError of server_endpoint for {STRANGE_OPTION}",
        "an endpoint",
    ),
    Fault(
        "unknown-part",
        addresses.RefusesInTwoLines,
        "one printable line that says it",
        "\"'harbour://name:1337/path': it has\\na path\"",
    ),
    Fault(
        "unknown-part",
        addresses.RefusesUnderAnotherName,
        "InvalidURIError of client_endpoint that names harbour://name:1337/path",
        "inner://name:1337/path",
    ),
    Fault("lazy-endpoint", harbours.DialsUnasked, "no connection before connect() is called", "1"),
    Fault(
        "lazy-endpoint",
        harbours.ListensUnasked,
        "a failure to dial an address where listen() was not called",
        "a connection",
    ),
    Fault(
        "refused",
        harbours.FailsToDial,
        "DialError for an address where nobody listens",
        "ConnectionRefusedError: [Errno 111] Connection refused",
    ),
    Fault(
        "refused",
        harbours.NamesAnotherAddress,
        "DialError that names harbour://name:1",
        "inproc://name-1",
    ),
    Fault(
        "refused",
        harbours.FailsInTwoLines,
        "DialError in one printable line",
        "'cannot connect to harbour://name:1: nobody\\nis there'",
    ),
    Fault("refused", harbours.MayBeRetriable, "True or False of retriable", "'maybe'"),
    Fault(
        "refused",
        harbours.ConnectsInVain,
        "a failure to dial an address where nobody listens",
        "a connection",
        others=["lazy-endpoint", "stopped-listening"],
    ),
    Fault(
        "unreachable",
        harbours.CannotReach,
        "DialError for an address that nobody can reach",
        "TimeoutError: timed out",
    ),
    Fault(
        "unreachable",
        harbours.ReachesNowhere,
        "a failure to dial an address that nobody can reach",
        "a connection",
    ),
    Fault(
        "in-use",
        harbours.UntypedInUse,
        "ListenError for an address that somebody listens on",
        "OSError: [Errno 98] Address already in use",
    ),
    Fault(
        "in-use", harbours.Usurps, "ListenError for an address that somebody listens on", "success"
    ),
    Fault(
        "in-use",
        harbours.Disturbs,
        "the accepting end to receive 4 bytes",
        "0 bytes, then connectionLost",
        0,
    ),
    Fault(
        "in-use",
        harbours.GivesWay,
        "to connect to harbour://name:1",
        "DialError: cannot connect to harbour://name:1: nobody is there",
    ),
    Fault(
        "unlistenable",
        harbours.UntypedUnlistenable,
        "ListenError for an address that nobody can listen on",
        "OSError: [Errno 99] Cannot assign requested address",
    ),
    Fault(
        "unlistenable",
        harbours.RaisesToListen,
        "the outcome of listening on harbour://nowhere:0",
        "ListenError: ...nobody can listen there, raised at once",
    ),
    Fault("cancelled-dial", harbours.DialsOn, "no connection of a dial that was cancelled", "one"),
    Fault(
        "cancelled-dial",
        harbours.ForgetsWhomItCalled,
        "what the listener made of a cancelled dial to be told connectionLost",
        "nothing within 30 s",
    ),
    Fault(
        "cancelled-dial",
        harbours.CancelledSomehow,
        "CancelledError or ConnectingCancelledError",
        "DialError('cannot connect to harbour://name:1: cancelled')",
    ),
    Fault(
        "stopped-listening",
        harbours.StopsConnections,
        "the accepting end to receive 8 bytes",
        "4 bytes, then connectionLost",
        4,
    ),
    Fault(
        "stopped-listening",
        harbours.StaysInUse,
        "to listen on harbour://name:1",
        "ListenError: cannot listen on harbour://name:1: in use",
    ),
    Fault(
        "stopped-listening",
        harbours.NeverStops,
        "stopListening to be done",
        "nothing within 30 s",
        others=["refused", "lazy-endpoint"],
    ),
]
