"""What both kinds of in-memory sockets have in common.

Invariant: at most one task waits to read and one to write; closing wakes both.  Nothing here has a descriptor:
`fileno()` is a number that the system would refuse.
"""

from __future__ import annotations

import errno
import socket as stdlib_socket
import struct
import sys
from collections.abc import Callable, Iterable
from operator import index
from socket import AF_INET6, AddressFamily, SocketKind
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, cast, overload

from ...kernel.current import current_task
from ...kernel.errors import BusyResourceError, ClosedResourceError
from ...kernel.traps import Abort, RaiseCancel, checkpoint, park
from ...network.address import resolve_address
from ...network.socket_type import AddressFormat, Ancillary, SocketType
from .host import LAST_PORT, WILDCARDS, Host, failure
from .names import sockaddr

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from ...kernel.task import Task

NO_DESCRIPTOR: Final = -2
CLOSED: Final = -1

# The protocols of the two kinds, where none was asked for.
PROTOCOLS: Final = {SocketKind.SOCK_STREAM: stdlib_socket.IPPROTO_TCP, SocketKind.SOCK_DGRAM: stdlib_socket.IPPROTO_UDP}

# Flags of receiving and sending that change nothing here: nothing blocks, and nobody is sent a signal.
FLAGS_WITHOUT_EFFECT: Final[int] = (
    stdlib_socket.MSG_DONTWAIT | stdlib_socket.MSG_WAITALL | getattr(stdlib_socket, "MSG_NOSIGNAL", 0)
)


class Endpoint(SocketType):
    """A socket in memory; what may wait is for the two kinds to say."""

    def __init__(self, host: Host, family: AddressFamily, kind: SocketKind, proto: int) -> None:
        super().__init__()
        if not (family in WILDCARDS and host.supports(family)):
            raise failure(errno.EAFNOSUPPORT, f"{host!r} has no address of {family.name}")
        self.host = host
        self.network = host.network
        # Where it is bound to, and whom it is connected to: numeric address and port.
        self.local: tuple[str, int] | None = None
        self.remote: tuple[str, int] | None = None
        self._family = family
        self._kind = kind
        self._proto = proto
        self._options: dict[tuple[int, int], int | bytes] = {}
        self._open = True
        self._shut_down_sending = False
        # What went wrong, as the system's number, until somebody was told: it is told once.
        self._error = 0
        self._reader: Task | None = None
        self._writer: Task | None = None

    def __repr__(self) -> str:
        state = "" if self._open else ", closed"
        return f"<in-memory {self._kind.name} socket on {self.host.name}, {self.local} -> {self.remote}{state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # Looking at it and setting it up

    @property
    def family(self) -> AddressFamily:
        return self._family

    @property
    def type(self) -> SocketKind:
        return self._kind

    @property
    def proto(self) -> int:
        return self._proto

    @property
    def did_shutdown_SHUT_WR(self) -> bool:
        return self._shut_down_sending

    def fileno(self) -> int:
        return NO_DESCRIPTOR if self._open else CLOSED

    def getsockname(self) -> AddressFormat:
        self.check_open()
        return sockaddr(*(self.local or (WILDCARDS[self._family], 0)))

    def getpeername(self) -> AddressFormat:
        self.check_open()
        if self.remote is None:
            raise failure(errno.ENOTCONN)
        return sockaddr(*self.remote)

    @overload
    def getsockopt(self, level: int, optname: int) -> int: ...

    @overload
    def getsockopt(self, level: int, optname: int, buflen: int) -> bytes: ...

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> int | bytes:
        self.check_open()
        value = self._option(level, optname)
        if buflen is None:
            return value if isinstance(value, int) else int.from_bytes(value, "little")
        return (struct.pack("i", value) if isinstance(value, int) else value)[:buflen]

    def _option(self, level: int, optname: int) -> int | bytes:
        if level == stdlib_socket.SOL_SOCKET:
            if optname == stdlib_socket.SO_TYPE:
                return int(self._kind)
            if optname == stdlib_socket.SO_ACCEPTCONN:
                return int(self.is_listening())
            if optname == stdlib_socket.SO_ERROR:
                return self.take_error()
            if sys.platform == "linux":
                if optname == stdlib_socket.SO_DOMAIN:
                    return int(self._family)
                if optname == stdlib_socket.SO_PROTOCOL:
                    return self._proto or PROTOCOLS[self._kind]
        elif (level, optname) == (stdlib_socket.IPPROTO_IPV6, stdlib_socket.IPV6_V6ONLY):
            # Always: no socket here speaks both.
            return 1
        return self._options.get((level, optname), 0)

    @overload
    def setsockopt(self, level: int, optname: int, value: int | ReadableBuffer) -> None: ...

    @overload
    def setsockopt(self, level: int, optname: int, value: None, optlen: int) -> None: ...

    def setsockopt(
        self, level: int, optname: int, value: int | ReadableBuffer | None, optlen: int | None = None
    ) -> None:
        self.check_open()
        if value is None:
            self._options[level, optname] = bytes(optlen or 0)
        else:
            # Kept, and without effect.
            self._options[level, optname] = value if isinstance(value, int) else bytes(memoryview(value))

    def get_inheritable(self) -> bool:
        return False

    def set_inheritable(self, inheritable: bool) -> None:
        pass

    def is_listening(self) -> bool:
        """Return whether connections are accepted."""
        return False

    def dup(self) -> SocketType:
        self._no_descriptor()

    def detach(self) -> int:
        self._no_descriptor()

    def _no_descriptor(self) -> NoReturn:
        raise failure(errno.EOPNOTSUPP, "a socket of the in-memory network has no descriptor to give away")

    def take_error(self) -> int:
        """Return what went wrong, as the system's number, 0 for nothing; it is told once."""
        number, self._error = self._error, 0
        return number

    def raise_error(self) -> None:
        """Raise what went wrong, once."""
        number = self.take_error()
        if number:
            raise failure(number)

    # Its life

    def check_open(self) -> None:
        """Raise OSError (EBADF) if the socket is closed, as the system would."""
        if not self._open:
            raise failure(errno.EBADF)

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        self.host.release(self)
        for task in (self._reader, self._writer):
            if task is not None:
                task.wake_with_error(ClosedResourceError("this socket was closed meanwhile"))
        self._reader = self._writer = None
        self.hang_up()

    def hang_up(self) -> None:
        """Tell whoever is connected, after closing."""

    def shutdown(self, flag: int) -> None:
        self.check_open()
        if flag not in (stdlib_socket.SHUT_RD, stdlib_socket.SHUT_WR, stdlib_socket.SHUT_RDWR):
            raise failure(errno.EINVAL)
        if self.remote is None:
            raise failure(errno.ENOTCONN)
        if flag in (stdlib_socket.SHUT_RD, stdlib_socket.SHUT_RDWR):
            self.shut_down_receiving()
        if flag in (stdlib_socket.SHUT_WR, stdlib_socket.SHUT_RDWR) and not self._shut_down_sending:
            self._shut_down_sending = True
            self.shut_down_sending()

    def shut_down_receiving(self) -> None:
        """Receive nothing any more."""

    def shut_down_sending(self) -> None:
        """Send nothing any more."""

    # Addresses

    async def resolve(self, address: AddressFormat, *, local: bool) -> tuple[str, int]:
        """Return a numeric address and port; names are looked up in the network."""
        # It is asked for its family, kind, protocol and options, and for nothing that only real sockets have.
        resolved = await resolve_address(cast(Any, self), address, local=local)
        host, port = resolved[0], resolved[1]
        if not 0 <= port <= LAST_PORT:
            raise OverflowError(f"port must be 0-{LAST_PORT}, not {port}")
        if not local and host == WILDCARDS[self._family]:
            # To "any address" means to this machine.
            host = "::1" if self._family is AF_INET6 else "127.0.0.1"
        return host, port

    async def bind(self, address: AddressFormat) -> None:
        self.check_open()
        host, port = await self.resolve(address, local=True)
        await checkpoint()
        self.check_open()
        if self.local is not None:
            raise failure(errno.EINVAL, "the socket is bound already")
        self.local = (host, self.host.bind(self, host, port))

    # Waiting

    async def until_readable(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready()` is true, as the one task that reads; a checkpoint in any case."""
        await checkpoint()
        self.check_open()
        while not ready():
            if self._reader is not None:
                raise BusyResourceError("another task is already waiting to read from this socket")
            self._reader = task = current_task()
            await park(task, self._abort_read)

    async def until_writable(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready()` is true, as the one task that writes; a checkpoint in any case."""
        await checkpoint()
        self.check_open()
        while not ready():
            if self._writer is not None:
                raise BusyResourceError("another task is already waiting to write to this socket")
            self._writer = task = current_task()
            await park(task, self._abort_write)

    def _abort_read(self, task: Task, raise_cancel: RaiseCancel) -> Abort:
        self._reader = None
        return Abort.SUCCEEDED

    def _abort_write(self, task: Task, raise_cancel: RaiseCancel) -> Abort:
        self._writer = None
        return Abort.SUCCEEDED

    def wake_reader(self) -> None:
        """Let the task that waits to read look again."""
        task, self._reader = self._reader, None
        if task is not None:
            task.wake()

    def wake_writer(self) -> None:
        """Let the task that waits to write look again."""
        task, self._writer = self._writer, None
        if task is not None:
            task.wake()

    # The many ways to read and write, on two

    async def receive(self, most: int, flags: int) -> tuple[bytes, int, AddressFormat]:
        """Wait for data, and return up to `most` bytes of it with its flags and the sender's address."""
        raise NotImplementedError

    async def transmit(self, data: bytes, address: AddressFormat | None) -> int:
        """Wait until data can be sent, and return how many bytes of it were."""
        raise NotImplementedError

    async def recv(self, buflen: int, flags: int = 0, /) -> bytes:
        return (await self.recvfrom(buflen, flags))[0]

    async def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, AddressFormat]:
        data, _, address = await self.receive(_size(bufsize), flags)
        return data, address

    async def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        return (await self.recvfrom_into(buffer, nbytes, flags))[0]

    async def recvfrom_into(
        self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0
    ) -> tuple[int, AddressFormat]:
        with memoryview(buffer).cast("B") as view:
            if _size(nbytes) > len(view):
                raise ValueError("buffer too small for requested bytes")
            data, _, address = await self.receive(nbytes or len(view), flags)
            view[: len(data)] = data
        return len(data), address

    async def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, Ancillary, int, AddressFormat]:
        data, its_flags, address = await self.receive(_size(bufsize), flags)
        return data, [], its_flags, address

    async def recvmsg_into(
        self, buffers: Iterable[WriteableBuffer], ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, Ancillary, int, AddressFormat]:
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        data, its_flags, address = await self.receive(sum(map(len, views)), flags)
        rest = data
        for view in views:
            piece, rest = rest[: len(view)], rest[len(view) :]
            view[: len(piece)] = piece
        return len(data), [], its_flags, address

    async def send(self, bytes: ReadableBuffer, flags: int = 0, /) -> int:
        return await self.transmit(_copied(bytes), None)

    async def sendto(self, *args: Any) -> int:
        if len(args) not in (2, 3):
            raise TypeError(f"sendto() takes (data, address) or (data, flags, address), not {len(args)} arguments")
        return await self.transmit(_copied(args[0]), args[-1])

    async def sendmsg(
        self,
        buffers: Iterable[ReadableBuffer],
        ancdata: Iterable[tuple[int, int, ReadableBuffer]] = (),
        flags: int = 0,
        address: AddressFormat | None = None,
        /,
    ) -> int:
        if list(ancdata):
            raise failure(errno.EOPNOTSUPP, "the in-memory network carries no ancillary data")
        return await self.transmit(b"".join(map(_copied, buffers)), address)


def _size(number: int) -> int:
    number = index(number)
    if number < 0:
        raise ValueError(f"negative buffersize in a call that receives: {number}")
    return number


def _copied(data: ReadableBuffer) -> bytes:
    return bytes(memoryview(data))
