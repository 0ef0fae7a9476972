"""The files of unix sockets: which addresses have one, and when it is removed.

Invariant: before binding, only a socket is removed, whatever else is in the way stays; after closing, only the very
file that was there when the socket was bound.
"""

from __future__ import annotations

import os
import socket
import stat
from asyncio.log import logger
from typing import Any


def has_file(path: str | bytes) -> bool:
    """Return whether an address is the path of a file: neither abstract nor none."""
    return bool(path) and path[0] not in (0, "\0")


def remove_stale(path: str | bytes) -> None:
    """Remove the socket file that a former owner of `path` has left, if there is one."""
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.remove(path)
    except FileNotFoundError:
        pass
    except OSError as exc:
        # Making a socket may be all that the folder's permissions allow.
        logger.error("Unable to check or remove stale UNIX socket %r: %r", path, exc)


class SocketFile:
    """The file of a listening socket, remembered by its inode."""

    __slots__ = ("_identity", "_path")

    def __init__(self, path: str) -> None:
        self._identity = _identity(path)
        # The working directory may change until the file is removed.
        self._path = os.path.abspath(path)

    def remove(self) -> None:
        """Remove the file, unless it is gone or another has taken its place."""
        try:
            if _identity(self._path) == self._identity:
                os.unlink(self._path)
        except FileNotFoundError:
            pass
        except OSError as exc:
            logger.error("Unable to clean up listening UNIX socket %r: %r", self._path, exc)


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def file_of(sock: socket.socket) -> SocketFile | None:
    """Return the file that a bound socket has, None if it has none."""
    name: Any = sock.getsockname()
    if isinstance(name, str) and has_file(name):
        try:
            return SocketFile(name)
        except FileNotFoundError:
            pass
    return None
