"""``ipc://`` by the hub."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress, IProtocolFactory

from transports.hub.dialling import HubEndpoint
from transports.hub.port import Port
from transports.ipc import IPCAddress
from transports.socket_file import SocketFile
from transports.tcp import BACKLOG

__all__ = ["UNIXHubEndpoint", "UNIXPort"]


class UNIXPort(Port):
    """A port for UNIX sockets, which removes no file but its own.

    Args:
        reactor: Whose hub it is in.
        factory: Makes the protocols.
        name: As the system knows it.
        mode: Of the file, where it is one.
    """

    def __init__(self, reactor: Any, factory: IProtocolFactory, name: bytes, mode: int) -> None:
        super().__init__(reactor, factory, self._listening_socket)
        self._name, self._mode = name, mode
        self._socket_file = None if name.startswith(b"\0") else SocketFile(name)

    def address_of(self, sock: socket.socket) -> IAddress:
        """See `Port`."""
        return UNIXAddress(sock.getsockname())

    def met(self, sock: socket.socket, address: Any) -> None:
        """See `Port`: the process and the user are a number."""
        peer = IPCAddress.of_peer(sock)
        self.hub.peers.note(sock.fileno(), (peer.pid or 0) << 32 | (peer.uid or 0))

    def peer_of(self, fd: int) -> IAddress:
        """See `Origin`."""
        noted = self.hub.peers.of(fd)
        return IPCAddress(noted >> 32 or None, noted & 0xFFFF_FFFF)

    def host_of(self, fd: int) -> IAddress:
        """See `Origin`."""
        return self.getHost()

    def before_close(self) -> None:
        """See `Port`: a file that is taken for ours could be another's then."""
        if self._socket_file is not None:
            self._socket_file.remove()

    def _listening_socket(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if self._socket_file is None:
                sock.bind(self._name)
                sock.listen(BACKLOG)
            else:
                with self._socket_file.taken():
                    sock.bind(self._name)
                    os.chmod(self._name, self._mode)
                    sock.listen(BACKLOG)
        except BaseException:
            sock.close()
            raise
        return sock


class UNIXHubEndpoint(HubEndpoint):
    """Dials one name.

    Args:
        reactor: Whose hub it is.
        name: As the system knows it.
        seconds: How long it may take.
    """

    def __init__(self, reactor: Any, name: bytes, seconds: float) -> None:
        super().__init__(reactor, seconds)
        self._name = name

    def target(self) -> tuple[int, Any]:
        """See `HubEndpoint`."""
        return socket.AF_UNIX, self._name

    def address_of(self, name: Any) -> IAddress:
        """See `HubEndpoint`."""
        return UNIXAddress(name)

    def own_address(self, sock: socket.socket) -> IAddress:
        """See `HubEndpoint`: what the listener is told."""
        return IPCAddress.own()
