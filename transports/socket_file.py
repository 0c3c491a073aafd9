"""The file of a UNIX socket: taken where nobody listens, removed by its owner alone.

There is no lock file beside it. Programs listen before they go to the background, so
that the process named in one would be gone; whether somebody listens is asked of the
socket itself.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field
from twisted.logger import Logger

__all__ = ["SocketFile"]

_LOCK_TRIES = 50
_LOCK_PAUSE = 0.02

_log = Logger()


@define(eq=False)
class SocketFile:
    """One path, and which file there is ours.

    Args:
        path: Absolute.
    """

    path: bytes
    _identity: tuple[int, int] | None = field(init=False, default=None)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Have the path free within, for a socket to be bound to it.

        A socket file on which nobody listens any more is removed. What is there at
        the end is ours from then on.

        Raises:
            OSError: Somebody listens there, or another file has the name, or the
                system does not let us look.
        """
        with _alone_in(os.path.dirname(self.path)):
            _remove_stale(self.path)
            yield
            self._identity = _identity_of(self.path)

    def remove(self) -> None:
        """Remove the file if it is still ours; the socket must not be closed yet."""
        identity, self._identity = self._identity, None
        if identity is None or identity != _identity_of(self.path):
            return
        try:
            os.unlink(self.path)
        except OSError as exc:
            path = os.fsdecode(self.path)
            _log.warn("the socket file {path} stays: {reason}", path=path, reason=exc.strerror)


def _identity_of(path: bytes) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _remove_stale(path: bytes) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError("a file that is no socket has this name")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        answer = probe.connect_ex(path)
    if answer == errno.ECONNREFUSED:
        os.unlink(path)
    elif answer in (errno.EACCES, errno.EPERM):
        raise OSError(answer, os.strerror(answer))
    elif answer != errno.ENOENT:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


@contextmanager
def _alone_in(directory: bytes) -> Iterator[None]:
    """Keep other brokers from doing the same here at the same time.

    Two that start at once could otherwise each take the other's new socket, bound but
    not yet listening, for a stale one. Whoever may read the directory can hold its
    lock, so that it is not waited for without end.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(_LOCK_PAUSE)
        yield
    finally:
        os.close(descriptor)
