"""Addresses: any text is one, or is refused in one way; what is read is written back."""

from __future__ import annotations

from brokerproto.errors import InvalidURIError
from transports.uri import URI

__all__ = ["check"]


def check(data: bytes) -> None:
    """See that a text is an address or an invalid one, and that str undoes parse."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        uri = URI.parse(text)
    except InvalidURIError as error:
        assert error.text == text
        assert error.problem
        assert str(error).isprintable()
        return
    written = str(uri)
    assert all("!" <= character <= "~" for character in written)
    again = URI.parse(written)
    assert again == uri
    assert list(again.options.items()) == list(uri.options.items())
    assert hash(again) == hash(uri)
    assert str(again) == written
    assert isinstance(uri.is_loopback, bool)
    for port in (True, False):
        for path in (True, False):
            try:
                uri.check_parts(port=port, path=path)
                uri.check_options({"framing": ("lines", "message"), "mode": None})
            except InvalidURIError as error:
                assert error.text == written
            else:
                assert (uri.port is not None) == port
