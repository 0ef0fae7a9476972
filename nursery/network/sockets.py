"""Sockets whose waiting is the kernel's.

Invariant: a socket has at most one registration at a time, made in the run that uses it: `interest` belongs to
`runner`, and counts only while `runner` is the run that asks.  Closing ends it before the descriptor goes, so that
waiters are told and the number can be used again.

The system call comes first; a task sleeps only after the system, or the interest's memory of it, has said "not
now".  Ctrl-C must not come between a task's entry in its interest and its sleep, so what waits here is protected from
it.  Some calls do not look at that memory and do not change it: those with flags, since MSG_OOB, MSG_ERRQUEUE and
their kin ask for something other than the plain data that it is about; those that ask for nothing, which the system
gives at once; and those with arguments that it will not take, which is told at once.
"""

from __future__ import annotations

import errno
import os
import select
import socket as stdlib_socket
from collections.abc import Callable, Iterable
from operator import index
from socket import AddressFamily, SocketKind
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, SupportsIndex, TypeVar, overload

from ..kernel.current import current, current_task
from ..kernel.errors import BusyResourceError, Cancelled, ClosedResourceError
from ..kernel.interrupts import enable_ki_protection
from ..kernel.io.interest import Interest, abort_read, abort_write, wait_readable, wait_writable
from ..kernel.runner import Runner
from ..kernel.runvar import RunVar
from ..kernel.traps import BUDGET, cancel_shielded_checkpoint, checkpoint, park
from ..threads.worker import run_in_thread
from .address import INTERNET, is_numeric, resolve_address
from .socket_type import DEFAULT_BACKLOG, AddressFormat, Ancillary, SocketFactory, SocketType

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from _typeshed import ReadableBuffer, WriteableBuffer

T = TypeVar("T")

_AF_UNIX: Final = getattr(stdlib_socket, "AF_UNIX", None)


class Socket(SocketType):
    """The socket object that `nursery.socket.socket()` makes."""

    __slots__ = ("_did_shutdown_SHUT_WR", "_family", "_sock", "interest", "plain_recv", "plain_send", "runner")

    # Meaningful while `runner` is set.
    interest: Interest

    def __init__(self, sock: stdlib_socket.socket) -> None:
        if type(sock) is not stdlib_socket.socket:
            # An SSLSocket is a subclass: it would be wrong to talk past its TLS.
            raise TypeError(f"expected object of type 'socket.socket', not {type(sock).__name__!r}")
        self._sock = sock
        sock.setblocking(False)
        self._did_shutdown_SHUT_WR = False
        self._family = int(sock.family)
        self.runner: Runner | None = None
        # Bound once: these two are called for every message.
        self.plain_recv = sock.recv
        self.plain_send = sock.send

    def join(self, runner: Runner) -> Interest:
        """Register with a run, if it has not been done; ClosedResourceError if the socket is closed."""
        if self.runner is runner and not self.interest.closed:
            return self.interest
        fd = self._sock.fileno()
        if fd == -1:
            raise ClosedResourceError("this socket was already closed")
        # `level`, not `open`: somebody may already be waiting for the bare descriptor.
        self.interest = interest = runner.io.level(fd)
        self.runner = runner
        if not self._reads_drain():
            interest.hangup = True
        return interest

    def _reads_drain(self) -> bool:
        """Return whether a short read means that nothing is left.

        On a Unix socket a read also ends where a descriptor was passed (tests/network/test_socket_stream.py).
        """
        return self._family in INTERNET and self._sock.proto in (0, stdlib_socket.IPPROTO_TCP)

    # Before `type`, which hides the builtin from the rest of the class.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # What needs no waiting

    @property
    def family(self) -> AddressFamily:
        return self._sock.family

    @property
    def type(self) -> SocketKind:
        return self._sock.type

    @property
    def proto(self) -> int:
        return self._sock.proto

    @property
    def did_shutdown_SHUT_WR(self) -> bool:
        return self._did_shutdown_SHUT_WR

    def fileno(self) -> int:
        return self._sock.fileno()

    def getpeername(self) -> AddressFormat:
        return self._sock.getpeername()

    def getsockname(self) -> AddressFormat:
        return self._sock.getsockname()

    @overload
    def getsockopt(self, level: int, optname: int) -> int: ...

    @overload
    def getsockopt(self, level: int, optname: int, buflen: int) -> bytes: ...

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> int | bytes:
        if buflen is None:
            return self._sock.getsockopt(level, optname)
        return self._sock.getsockopt(level, optname, buflen)

    @overload
    def setsockopt(self, level: int, optname: int, value: int | ReadableBuffer) -> None: ...

    @overload
    def setsockopt(self, level: int, optname: int, value: None, optlen: int) -> None: ...

    def setsockopt(
        self, level: int, optname: int, value: int | ReadableBuffer | None, optlen: int | None = None
    ) -> None:
        if optlen is None:
            if value is None:
                raise TypeError("invalid value for argument 'value': it may be None only if optlen is given")
            self._sock.setsockopt(level, optname, value)
        elif value is not None:
            raise TypeError(f"invalid value for argument 'value': {value!r}, it must be None if optlen is given")
        else:
            self._sock.setsockopt(level, optname, value, optlen)

    def get_inheritable(self) -> bool:
        return self._sock.get_inheritable()

    def set_inheritable(self, inheritable: bool) -> None:
        self._sock.set_inheritable(inheritable)

    def listen(self, backlog: int = DEFAULT_BACKLOG) -> None:
        self._sock.listen(backlog)

    def is_readable(self) -> bool:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    def __repr__(self) -> str:
        return repr(self._sock).replace("socket.socket", "nursery.socket.socket")

    # Its life

    def dup(self) -> SocketType:
        return Socket(self._sock.dup())

    @enable_ki_protection
    def detach(self) -> int:
        self._leave()
        return self._sock.detach()

    def shutdown(self, flag: int) -> None:
        self._sock.shutdown(flag)
        if flag in (stdlib_socket.SHUT_WR, stdlib_socket.SHUT_RDWR):
            self._did_shutdown_SHUT_WR = True

    @enable_ki_protection
    def close(self) -> None:
        self._leave()
        self._sock.close()

    def _leave(self) -> None:
        """End the registration, while the number is still ours.  RuntimeError where the waiters cannot be told."""
        own, runner = self.runner, current.runner
        if own is not None and own is not runner:
            interest = self.interest
            if interest.reader is not None or interest.writer is not None:
                # Between two pieces of the run this is fine; in another thread nobody would wake them.
                own.check_thread("closing a socket that a task waits for")
                own.io.forget(interest)
        self.runner = None
        if runner is not None:
            # From the table, not the slot: a wait for the bare descriptor has to be ended as well.
            registered = runner.io.table.get(self._sock.fileno())
            if registered is not None:
                runner.io.forget(registered)

    # Addresses

    async def bind(self, address: AddressFormat) -> None:
        address = await resolve_address(self._sock, address, local=True)
        if self._sock.family == _AF_UNIX and address and address[0] not in ("\0", 0):
            # The path may lie on a slow file system; an abstract name does not.
            await run_in_thread(self._sock.bind, address)
        else:
            await checkpoint()
            self._sock.bind(address)

    @enable_ki_protection
    async def connect(self, address: AddressFormat) -> None:
        try:
            address = await resolve_address(self._sock, address, local=False)
            task = current_task()
            if task.alert:
                task.raise_if_interrupted()
            if self.runner is task.runner:
                # An unconnected socket counts as hung up: that is of no use now.
                self.interest.hangup = not self._reads_drain()
            try:
                self._sock.connect(address)
            except BlockingIOError as exc:
                if exc.errno == errno.EAGAIN:
                    # A Unix socket whose listener is overrun: nothing is under way that could be waited for.
                    raise
            else:
                await cancel_shielded_checkpoint()
                return
            await self.join(task.runner).until_writable()
        except Cancelled:
            # The attempt cannot be taken back, and nobody could use a socket in that state.
            self.close()
            raise
        failure = self._sock.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_ERROR)
        if failure != 0:
            raise OSError(failure, f"Error connecting to {address!r}: {os.strerror(failure)}")

    async def accept(self) -> tuple[SocketType, AddressFormat]:
        sock, address = await self._reading(self._sock.accept, (), False)
        return Socket(sock), address

    async def wait_writable(self) -> None:
        await wait_writable(self._sock)

    # Reading

    # flat: each datagram comes by here
    @enable_ki_protection
    async def _reading(self, call: Callable[..., T], args: tuple[object, ...], odd: bool) -> T:
        """Do a system call that reads, waiting until it gets something; an odd one is tried whatever is remembered."""
        runner = current.runner
        task = None if runner is None else runner.current
        if task is None:
            task = current_task()
            runner = task.runner
        if task.alert:
            task.raise_if_interrupted()
        if odd or self.runner is not runner or self.interest.readable:
            try:
                result = call(*args)
            except BlockingIOError:
                if odd:
                    return await self._reading_by_level(call, args)
            except BaseException:
                await cancel_shielded_checkpoint()
                raise
            else:
                if task.budget > 0:
                    task.budget -= 1
                else:
                    task.budget = BUDGET
                    await cancel_shielded_checkpoint()
                return result
        assert runner is not None
        interest = self.join(runner)
        task.budget = BUDGET
        while True:
            interest.readable = False
            if interest.reader is not None:
                raise BusyResourceError("another task is already waiting to read from this socket")
            interest.reader = task
            if interest.arm is not None:
                interest.arm(interest)
            task.custom_sleep_data = interest
            await park(task, abort_read)
            try:
                return call(*args)
            except BlockingIOError:
                # Another task was faster.
                pass

    async def _reading_by_level(self, call: Callable[..., T], args: tuple[object, ...]) -> T:
        while True:
            await wait_readable(self._sock)
            try:
                return call(*args)
            except BlockingIOError:
                pass

    def recv(self, buflen: int, flags: int = 0, /) -> Coroutine[object, None, bytes]:
        odd = flags != 0 or buflen.__class__ is not int or buflen < 1
        return self._reading(self.plain_recv, (buflen, flags), odd)

    def recv_into(
        self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0
    ) -> Coroutine[object, None, int]:
        odd = flags != 0 or not _has_room(buffer, nbytes)
        return self._reading(self._sock.recv_into, (buffer, nbytes, flags), odd)

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> Coroutine[object, None, tuple[bytes, AddressFormat]]:
        odd = flags != 0 or bufsize.__class__ is not int or bufsize < 1
        return self._reading(self._sock.recvfrom, (bufsize, flags), odd)

    def recvfrom_into(
        self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0
    ) -> Coroutine[object, None, tuple[int, AddressFormat]]:
        odd = flags != 0 or not _has_room(buffer, nbytes)
        return self._reading(self._sock.recvfrom_into, (buffer, nbytes, flags), odd)

    def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> Coroutine[object, None, tuple[bytes, Ancillary, int, AddressFormat]]:
        odd = (
            flags != 0
            or bufsize.__class__ is not int
            or bufsize < 1
            or ancbufsize.__class__ is not int
            or ancbufsize < 0
        )
        return self._reading(self._sock.recvmsg, (bufsize, ancbufsize, flags), odd)

    def recvmsg_into(
        self, buffers: Iterable[WriteableBuffer], ancbufsize: int = 0, flags: int = 0, /
    ) -> Coroutine[object, None, tuple[int, Ancillary, int, AddressFormat]]:
        # The call may be made twice: what can be iterated over only once is kept.  It costs more to look at many
        # buffers than to try.
        return self._reading(self._sock.recvmsg_into, (list(buffers), ancbufsize, flags), True)

    # Writing

    # flat: each datagram comes by here
    @enable_ki_protection
    async def _writing(self, call: Callable[..., T], args: tuple[object, ...], odd: bool) -> T:
        """Do a system call that writes, waiting until it is taken; an odd one is tried whatever is remembered."""
        runner = current.runner
        task = None if runner is None else runner.current
        if task is None:
            task = current_task()
            runner = task.runner
        if task.alert:
            task.raise_if_interrupted()
        if odd or self.runner is not runner or self.interest.writable:
            try:
                result = call(*args)
            except BlockingIOError:
                pass
            except BaseException:
                await cancel_shielded_checkpoint()
                raise
            else:
                if task.budget > 0:
                    task.budget -= 1
                else:
                    task.budget = BUDGET
                    await cancel_shielded_checkpoint()
                return result
        assert runner is not None
        interest = self.join(runner)
        task.budget = BUDGET
        while True:
            interest.writable = False
            if interest.writer is not None:
                raise BusyResourceError("another task is already waiting to write to this socket")
            interest.writer = task
            if interest.arm is not None:
                interest.arm(interest)
            task.custom_sleep_data = interest
            await park(task, abort_write)
            try:
                return call(*args)
            except BlockingIOError:
                pass

    def send(self, bytes: ReadableBuffer, flags: int = 0, /) -> Coroutine[object, None, int]:
        return self._writing(self.plain_send, (bytes, flags), flags != 0 or not _has_data(bytes))

    @overload
    async def sendto(self, data: ReadableBuffer, address: AddressFormat, /) -> int: ...

    @overload
    async def sendto(self, data: ReadableBuffer, flags: int, address: AddressFormat, /) -> int: ...

    async def sendto(self, *args: Any) -> int:
        if len(args) not in (2, 3):
            raise TypeError(f"sendto() takes (data, address) or (data, flags, address), not {len(args)} arguments")
        # Not `self._sock.family`, which makes an enumeration's member at each call.
        if self._family not in INTERNET or not is_numeric(self._family, args[-1]):
            args = (*args[:-1], await resolve_address(self._sock, args[-1], local=False))
        return await self._writing(self._sock.sendto, args, len(args) == 3 or not _has_data(args[0]))

    async def sendmsg(
        self,
        buffers: Iterable[ReadableBuffer],
        ancdata: Iterable[tuple[int, int, ReadableBuffer]] = (),
        flags: int = 0,
        address: AddressFormat | None = None,
        /,
    ) -> int:
        if address is not None:
            address = await resolve_address(self._sock, address, local=False)
        # As in `recvmsg_into`.
        return await self._writing(self._sock.sendmsg, (list(buffers), list(ancdata), flags, address), True)


def _has_room(buffer: object, nbytes: object) -> bool:
    """Return whether the system will certainly take this buffer to put something into."""
    if buffer.__class__ is bytearray:
        size = len(buffer)
    elif isinstance(buffer, memoryview) and not buffer.readonly and buffer.c_contiguous:
        size = buffer.nbytes
    else:
        return False
    return size > 0 and nbytes.__class__ is int and 0 <= nbytes <= size


def _has_data(data: object) -> bool:
    """Return whether the system will certainly take something of this to send."""
    if data.__class__ is bytes:
        return len(data) > 0
    return isinstance(data, memoryview) and data.c_contiguous and data.nbytes > 0


# Making them

_factory: Final[RunVar[SocketFactory | None]] = RunVar("socket_factory", None)


def set_custom_socket_factory(socket_factory: SocketFactory | None) -> SocketFactory | None:
    """Let `socket_factory` make the sockets of this run, None for real ones; return the one before.

    Not a cancel point.  Raises RuntimeError outside a run.
    Source: trio's documentation, `trio.socket.set_custom_socket_factory`.
    """
    previous = _factory.get()
    _factory.set(socket_factory)
    return previous


def from_stdlib_socket(sock: stdlib_socket.socket) -> SocketType:
    """Make a socket object of one of the standard library's, which becomes non-blocking.

    Raises TypeError for subclasses, such as `ssl.SSLSocket`.
    Source: trio's documentation, `trio.socket.from_stdlib_socket`.
    """
    return Socket(sock)


def fromfd(
    fd: SupportsIndex,
    family: AddressFamily | int = stdlib_socket.AF_INET,
    type: SocketKind | int = stdlib_socket.SOCK_STREAM,
    proto: int = 0,
) -> SocketType:
    """Make a socket object for a duplicate of a descriptor; where the system can tell, it corrects the rest.

    Source: trio's documentation, `trio.socket.fromfd`.
    """
    family, type, proto = _what_it_is(index(fd), family, type, proto)
    return Socket(stdlib_socket.fromfd(fd, family, type, proto))


def socketpair(
    family: AddressFamily | int | None = None,
    type: SocketKind | int = SocketKind.SOCK_STREAM,
    proto: int = 0,
) -> tuple[SocketType, SocketType]:
    """Make a pair of connected sockets, as `socket.socketpair` does.

    Source: trio's documentation, `trio.socket.socketpair`.
    """
    left, right = stdlib_socket.socketpair(family, type, proto)
    return Socket(left), Socket(right)


def socket(
    family: AddressFamily | int = stdlib_socket.AF_INET,
    type: SocketKind | int = stdlib_socket.SOCK_STREAM,
    proto: int = 0,
    fileno: int | None = None,
) -> SocketType:
    """Make a socket, as `socket.socket` does; the run's socket factory is asked, if there is one.

    Raises RuntimeError outside a run.

    Example::

        with nursery.socket.socket(nursery.socket.AF_INET, nursery.socket.SOCK_DGRAM) as sock:
            await sock.sendto(b"ping", ("127.0.0.1", 9999))

    Source: trio's documentation, `trio.socket.socket`.
    """
    if fileno is None:
        factory = _factory.get()
        if factory is not None:
            return factory.socket(family, type, proto)
    else:
        family, type, proto = _what_it_is(fileno, family, type, proto)
    return Socket(stdlib_socket.socket(family, type, proto, fileno))


def _what_it_is(
    fd: int, family: AddressFamily | int, type: SocketKind | int, proto: int
) -> tuple[AddressFamily | int, SocketKind | int, int]:
    """Ask the system what kind of socket a descriptor is, if the system can tell."""
    if not hasattr(stdlib_socket, "SO_DOMAIN"):
        return family, type, proto
    probe = stdlib_socket.socket(family, type, proto, fileno=fd)
    try:
        return (
            probe.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_DOMAIN),
            probe.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_TYPE),
            probe.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_PROTOCOL),
        )
    finally:
        # The descriptor is not the probe's to close.
        probe.detach()


__all__ = [
    "Socket",
    "from_stdlib_socket",
    "fromfd",
    "set_custom_socket_factory",
    "socket",
    "socketpair",
]
