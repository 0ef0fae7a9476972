"""A datagram socket as an asyncio transport, on one edge-triggered registration.

Invariant: each direction's handle is in one of three places: waiting in the interest, in the run queue, or nowhere
because that direction is paused, idle or over.  While datagrams are buffered, one of two things will try again: the
writer handle, or a timer where the system has no event for it.  `connection_lost` is called once, by the loop, after
everything else.

What the system says about one datagram (an error, or that nobody listens there) is told to the protocol by
`error_received` and is not the transport's end.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import warnings
from asyncio import futures, trsock
from asyncio.log import logger
from collections import deque
from collections.abc import Callable
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..handles import ReadinessHandle
from .flow import FlowControl

if TYPE_CHECKING:
    from ...kernel.io.interest import Interest
    from ..loop.state import LoopState

Data: TypeAlias = "bytes | bytearray | memoryview"

INTERNET: Final = (socket.AF_INET, socket.AF_INET6)
# The longest datagram of the internet families, in bytes.  Others may be as long as the loop's read buffer: to allocate
# that much for each one costs 20 us, and to receive into the buffer and copy 0.8 us more than to allocate this much.
LONGEST: Final = 64 * 1024
# How many datagrams are received before others get their turn (as many as libuv takes).
MOST_AT_ONCE: Final = 32
# What each buffered datagram counts beside its bytes, as in asyncio from 3.13 on: empty ones cost memory too.
HEADER: Final = 8
# After so many datagrams to a lost connection each further one is warned of.
WARN_AFTER: Final = 4
# What is not about one datagram: each further try would say the same.
HOPELESS: Final = frozenset({errno.EBADF, errno.ENOTSOCK, errno.ENOTCONN, errno.EINVAL, errno.EOPNOTSUPP})
# Seconds between two tries to send to a unix socket whose queue is full: on a socket that is not connected to it no
# event tells when it is not any more (asyncio's loop asks without pause).
FIRST_RETRY: Final = 0.001
LONGEST_RETRY: Final = 0.02


class DatagramHandle(ReadinessHandle):
    """A handle of a transport, which learns by it that its descriptor was taken away."""

    __slots__ = ("_gone",)

    def __init__(self, callback: Callable[[], object], gone: Callable[[], object], loop: LoopState) -> None:
        super().__init__(callback, loop)
        self._gone: Callable[[], object] | None = gone

    def wake_with_error(self, error: BaseException) -> None:
        """Tell the transport."""
        self.abort = None
        if self._gone is not None:
            self._gone()

    def cancel(self) -> None:
        """Never be called again, and lead back to the transport no longer."""
        super().cancel()
        self._gone = None


class DatagramTransport(FlowControl, asyncio.DatagramTransport):
    """What `create_datagram_endpoint` gives to protocols.

    It is an asyncio.Transport as well, as asyncio's own is, but `write` is none of its methods.

    Source: asyncio's documentation, `asyncio.DatagramTransport`.
    """

    # As in flow.py.
    __slots__ = (
        "_address",
        "_buffer",
        "_buffered",
        "_closing",
        "_connected",
        "_has_end",
        "_interest",
        "_lost",
        "_lost_writes",
        "_on_read",
        "_on_write",
        "_paused",
        "_polls_peer",
        "_read_queued",
        "_recvfrom",
        "_retry",
        "_retry_after",
        "_send",
        "_sendto",
        "_sock",
        "_sock_fd",
    )

    _protocol: asyncio.DatagramProtocol

    def __init__(
        self,
        loop: LoopState,
        sock: socket.socket,
        protocol: asyncio.DatagramProtocol,
        address: Any = None,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(extra)
        self._loop = loop
        self._sock: socket.socket | None = sock
        self._sock_fd = sock.fileno()
        # Bound once, not at each datagram.
        self._recvfrom: Callable[[int], tuple[bytes, Any]]
        self._recvfrom = sock.recvfrom if sock.family in INTERNET else self._recvfrom_large
        self._send = sock.send
        self._sendto = sock.sendto
        self._extra: dict[str, Any]
        self._extra["socket"] = trsock.TransportSocket(sock)
        try:
            self._extra["sockname"] = sock.getsockname()
        except OSError:
            self._extra["sockname"] = None
        if "peername" not in self._extra:
            try:
                self._extra["peername"] = sock.getpeername()
            except OSError:
                self._extra["peername"] = None
        # Also to a peer without a name, as in a socket pair.
        self._connected = self._extra["peername"] is not None
        # Where everything goes if it may go nowhere else; a socket that is not connected to it broadcasts.
        self._address = address
        # Of a sequenced-packet socket, which has an end: nothing but empty packets come then.
        self._has_end = sock.type == getattr(socket, "SOCK_SEQPACKET", None)
        self._polls_peer = not self._connected and sock.family == getattr(socket, "AF_UNIX", None)
        self._buffer: deque[tuple[bytes, Any]] = deque()
        self._buffered = 0
        self._retry: asyncio.TimerHandle | None = None
        self._retry_after = FIRST_RETRY
        self._closing = False
        self._paused = False
        self._read_queued = False
        self._lost_writes = 0
        self._lost = False
        self.set_protocol(protocol)
        self._interest: Interest = loop.io.open(self._sock_fd)
        self._on_read = DatagramHandle(self._read_ready, self._gone, loop)
        self._on_write = DatagramHandle(self._write_ready, self._gone, loop)
        loop._transports[self._sock_fd] = self
        # Three turns of their own: connection_made() may raise, and the others come all the same.
        loop.call_soon(self._protocol.connection_made, self)
        loop.call_soon(self._read_on)
        if waiter is not None:
            loop.call_soon(futures._set_result_unless_cancelled, waiter, None)  # type: ignore[attr-defined]  # not in typeshed

    def __repr__(self) -> str:
        state = "closed" if self._sock is None else "closing" if self._closing else "open"
        reading = "polling" if self.is_reading() else "idle"
        return f"<{type(self).__name__} {state} fd={self._sock_fd} read={reading} write=<bufsize={self._buffered}>>"

    # The protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol take over."""
        self._protocol = protocol  # type: ignore[assignment]  # whatever the protocol lacks, it lacks when it is called

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self._protocol

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, under the name that libraries look for."""
        return self._loop

    # Reading

    def is_reading(self) -> bool:
        """Return whether datagrams are being received."""
        return not self._closing and not self._paused

    def pause_reading(self) -> None:
        """Receive nothing until `resume_reading`; what comes meanwhile the system keeps, or drops."""
        if self.is_reading():
            self._paused = True
            self._stop_waiting_to_read()

    def resume_reading(self) -> None:
        """Receive again."""
        if self._paused and not self._closing:
            self._paused = False
            self._read_on()

    def _stop_waiting_to_read(self) -> None:
        if self._interest.reader is self._on_read:
            self._interest.reader = None

    def _read_on(self) -> None:
        """Wait for datagrams, or receive soon if there may be some."""
        if self._closing or self._paused or self._read_queued:
            return
        interest = self._interest
        on_read = self._on_read
        if interest.readable:
            self._read_queued = True
            on_read.abort = None
            self._loop.runner.queue.append(on_read)
        else:
            on_read.abort = True
            interest.reader = on_read
            if interest.arm is not None:
                interest.arm(interest)

    def _recvfrom_large(self, size: int) -> tuple[bytes, Any]:
        """Receive a datagram that may be longer than `size`."""
        assert self._sock is not None
        buffer = self._loop.read_buffer
        received, address = self._sock.recvfrom_into(buffer)
        return bytes(buffer[:received]), address

    # flat: once for every event
    def _read_ready(self) -> None:
        self._read_queued = False
        recvfrom = self._recvfrom
        try:
            for _ in repeat(None, MOST_AT_ONCE):
                if self._closing or self._paused:
                    return
                try:
                    data, address = recvfrom(LONGEST)
                except (BlockingIOError, InterruptedError):
                    self._interest.readable = False
                    return
                except OSError as exc:
                    refused = exc
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as exc:
                    self._fatal_error(exc, "Fatal read error on datagram transport")
                    return
                else:
                    if self._has_end and not data:
                        self.close()
                        return
                    self._protocol.datagram_received(data, address)
                    continue
                if refused.errno in HOPELESS:
                    self._fatal_error(refused, "Fatal read error on datagram transport")
                    return
                self._protocol.error_received(refused)
        finally:
            # Also after a callback that raised: the loop reports it, the next datagram is received.
            self._read_on()

    # Writing

    # flat: once for every datagram
    def sendto(self, data: Data, addr: Any = None) -> None:
        """Send a datagram, which may be empty: at once if the system takes it, else as soon as it does.

        Arguments: addr is where it goes; None if the transport is connected.
        Raises TypeError for what is no bytes, ValueError for an address that is missing or is not the one that the
        transport is connected to.  What the system says goes to `error_received`.
        Source: asyncio's documentation, `DatagramTransport.sendto`.
        """
        given: object = data
        if not isinstance(given, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._address:
            if addr is not None and addr != self._address:
                raise ValueError(f"Invalid address: must be None or {self._address}")
            addr = self._address
        elif addr is None and not self._connected:
            raise ValueError("sendto() needs an address: the transport is not connected to one")
        if not self._buffer and not self._lost:
            try:
                if self._connected:
                    self._send(data)
                else:
                    self._sendto(data, addr)
            except (BlockingIOError, InterruptedError):
                self._interest.writable = False
            except OSError as exc:
                self._protocol.error_received(exc)
                return
            else:
                return
        self._keep(data, addr)

    def _keep(self, data: Data, addr: Any) -> None:
        """Keep a datagram until the system takes it."""
        if self._lost:
            if self._sock is not None and not self._address:
                # As in asyncio: until connection_lost() is called it may go out, at once or not at all.
                self._transmit(data, addr)
                return
            self._lost_writes += 1
            if self._lost_writes > WARN_AFTER:
                logger.warning("socket.send() raised exception.")
            return
        # The caller may change what is behind it.
        kept = bytes(data)
        self._buffer.append((kept, addr))
        self._buffered += len(kept) + HEADER
        if len(self._buffer) == 1:
            self._wait_to_write()
        self._maybe_pause()

    def _transmit(self, data: Data, addr: Any) -> bool:
        """Hand a datagram that was kept to the system; return False if it has to wait on."""
        try:
            if self._connected:
                self._send(data)
            else:
                self._sendto(data, addr)
        except (BlockingIOError, InterruptedError):
            self._interest.writable = False
            return False
        except OSError as exc:
            self._protocol.error_received(exc)
        return True

    def _wait_to_write(self) -> None:
        if self._polls_peer:
            if self._retry is None:
                self._retry = self._loop.call_later(self._retry_after, self._write_ready)
                self._retry_after = min(2 * self._retry_after, LONGEST_RETRY)
            return
        interest = self._interest
        self._on_write.abort = True
        interest.writer = self._on_write
        if interest.arm is not None:
            interest.arm(interest)

    def _write_ready(self) -> None:
        """Send what is buffered, as far as the system takes it."""
        buffer = self._buffer
        self._retry = None
        blocked = False
        try:
            while buffer and not blocked:
                data, addr = buffer.popleft()
                self._buffered -= len(data) + HEADER
                if self._transmit(data, addr):
                    self._retry_after = FIRST_RETRY
                else:
                    blocked = True
                    buffer.appendleft((data, addr))
                    self._buffered += len(data) + HEADER
        finally:
            # Also after a callback that raised, or an address of the wrong kind: the loop reports it.
            self._after_writing(blocked)

    def _after_writing(self, blocked: bool) -> None:
        if self._lost:
            return
        if blocked:
            self._wait_to_write()
        elif self._buffer:
            self._loop.call_soon(self._write_ready)
        self._maybe_resume()
        # resume_writing() may have sent again, closed, or both.
        if self._closing and not self._buffer:
            self._lose(None)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent; each datagram counts 8 more."""
        return self._buffered

    def _drop_buffer(self) -> None:
        self._buffer.clear()
        self._buffered = 0
        if self._interest.writer is self._on_write:
            self._interest.writer = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    # Ending

    def is_closing(self) -> bool:
        """Return whether the transport is closed or about to be."""
        return self._closing

    def close(self) -> None:
        """Stop receiving, send what is buffered, then close."""
        if self._closing:
            return
        self._closing = True
        self._stop_waiting_to_read()
        if not self._buffer:
            self._lose(None)

    def abort(self) -> None:
        """Close at once; what is buffered is lost."""
        self._force_close(None)

    def _fatal_error(self, exc: BaseException, message: str) -> None:
        if isinstance(exc, OSError):
            if self._loop.get_debug():
                logger.debug("%r: %s", self, message, exc_info=True)
        else:
            self._loop.call_exception_handler(
                {"message": message, "exception": exc, "transport": self, "protocol": self._protocol}
            )
        self._force_close(exc)

    def has_descriptor(self) -> bool:
        """Return whether the socket still has its descriptor, as far as it knows."""
        return self._sock is not None and self._sock.fileno() == self._sock_fd

    def descriptor_gone(self) -> None:
        """Be told that somebody has closed the socket, and that its number may be in use again."""
        self._loop.io.forget(self._interest)
        self._gone()

    def _gone(self) -> None:
        news = f"descriptor {self._sock_fd} was closed, or something else has taken it over"
        self._fatal_error(OSError(errno.EBADF, news), "Fatal error on datagram transport")

    def _force_close(self, exc: BaseException | None) -> None:
        if self._lost:
            return
        self._drop_buffer()
        if not self._closing:
            self._closing = True
            self._stop_waiting_to_read()
        self._lose(exc)

    def _lose(self, exc: BaseException | None) -> None:
        """Let the end be told, once, in the next turn."""
        if not self._lost:
            self._lost = True
            self._loop.call_soon(self._call_connection_lost, exc)

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        try:
            self._protocol.connection_lost(exc)  # type: ignore[arg-type]  # asyncio passes what it has
        finally:
            loop, sock = self._loop, self._sock
            self._stop_waiting_to_read()
            self._drop_buffer()
            # A protocol that keeps its transport would be garbage together with it; so would the handles.
            self._protocol = None  # type: ignore[assignment]  # as in asyncio: nobody is told any more
            self._on_read.cancel()
            self._on_write.cancel()
            del self._recvfrom
            loop.io.forget(self._interest)
            if loop._transports.get(self._sock_fd) is self:
                del loop._transports[self._sock_fd]
            self._sock = None
            if sock is not None:
                sock.close()

    # A default argument: at the interpreter's end the names of the module may be gone.
    def __del__(self, _warn: Any = warnings.warn) -> None:
        sock = getattr(self, "_sock", None)
        if sock is not None:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=2)
            sock.close()
