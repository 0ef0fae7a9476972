"""A stream socket as an asyncio transport, on one edge-triggered registration.

Invariant: the reader handle is in one of three places: waiting in the interest (`_interest.reader`), in the run queue
(`_read_queued`), or nowhere because nothing is to be read now (`_reading` is False: not begun, paused, over, closing).
Readiness that comes meanwhile is cached in the interest.  `_direct` says that a write may go to the system at once:
nothing is buffered, none of the exceptions below holds, and neither the end of the stream nor of the connection came.
`connection_lost` is called once, by the loop, after everything else.  The protocol is called in one context, a copy of
the one that the transport was made in, as in Python 3.15.

Data is received by `recv(65536)`: for more, the C allocator maps and unmaps, or grows and trims, its memory at each
call (1 KiB, by `recv(262144)`: 22 us; by this: 5 us).  Messages that fill it are received by twice as much, which costs
less than half of two system calls; a buffer of the loop's that is copied out costs more for every size.

Together: while others wait for their turn, a write is put off until the end of the turn, and sent right after those of
other connections (outbox.py).

Gathering: many servers write the head of an answer, then its body.  A transport whose protocol writes twice between
two reads learns it, and from then on sends what one turn of the loop has written by one system call at the end of that
turn: uvicorn answers 15 % more requests.  Protocols that write once are never delayed; who stops writing twice is found
out after a few turns.

System calls: a message shorter than that costs one recv, since a short read means "drained" while no hang-up was seen;
a write costs one send while nothing is buffered.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import warnings
from asyncio import constants, trsock
from asyncio.log import logger
from collections import deque
from contextvars import Context, copy_context
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..handles import ReadinessHandle
from .flow import FlowControl
from .outbox import MOST, Outbox
from .receiving import buffered_of, check_protocol, receiver_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...kernel.io.interest import Interest
    from ..loop.server import Server
    from ..loop.state import LoopState

Data: TypeAlias = "bytes | bytearray | memoryview"

# Up to so many bytes several pieces are made one, which costs less than to hand them to the system one by one.
JOINED: Final = 256 * 1024
# How many buffers one sendmsg takes (IOV_MAX on Linux).
MOST_BUFFERS: Final = 1024
# How much is received by one call (bytes).
RECEIVE: Final = 64 * 1024
# The same where messages are large: just below what the C allocator would map anew each time.
RECEIVE_LARGE: Final = 128 * 1024 - 64
# For so many smaller messages after a large one, larger ones are expected still.
STAY_LARGE: Final = 16
# Gathering ends after so many turns in a row with a single write, and is tried again after so many second writes.
SINGLES: Final = 4
PATIENCE: Final = 100
# After so many writes to a lost connection each further one is warned of.
WARN_AFTER: Final = 4


class SocketTransport(FlowControl):
    """What `create_connection` and `create_server` give to protocols.

    Source: asyncio's documentation, "Transports and Protocols".
    """

    __slots__ = (
        "_at_once",
        "_buffer",
        "_buffered",
        "_buffered_protocol",
        "_closing",
        "_context",
        "_data_received",
        "_direct",
        "_empty_waiter",
        "_eof",
        "_gathering",
        "_interest",
        "_large",
        "_lost",
        "_lost_writes",
        "_on_read",
        "_on_write",
        "_outbox",
        "_patience",
        "_paused",
        "_protocol_connected",
        "_put_off",
        "_queue",
        "_read_over",
        "_read_queued",
        "_reading",
        "_recv",
        "_send",
        "_server",
        "_singles",
        "_sock",
        "_sock_fd",
        "_wrote",
    )

    # asyncio's own names for "start_tls() may be called on it", and "sendfile() may hand the socket to the system".
    _start_tls_compatible = True
    _sendfile_compatible: Any = constants._SendfileMode.TRY_NATIVE

    def __init__(
        self,
        loop: LoopState,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
        server: Server | None = None,
        context: Context | None = None,
    ) -> None:
        super().__init__(extra)
        check_protocol(protocol)
        self._loop = loop
        self._sock: socket.socket | None = sock
        self._sock_fd = sock.fileno()
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
        # Of the internet's families; `sock.family` makes a member of an enumeration at each call.
        if isinstance(self._extra["sockname"], tuple) and sock.proto in (0, socket.IPPROTO_TCP):
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                # Lost already, and reading will tell; or of another family with such addresses.
                pass
        self._recv = sock.recv
        self._send = sock.send
        self._server = server
        self._buffer: deque[bytes | memoryview] = deque()
        self._buffered = 0
        self._eof = False
        self._closing = False
        self._at_once = RECEIVE
        self._large = 0
        self._paused = False
        self._read_over = False
        self._reading = False
        self._read_queued = False
        self._direct = True
        self._empty_waiter: asyncio.Future[None] | None = None
        # Whether there was a direct write since the last read; how many second ones it takes until they are gathered;
        # how often in a row there was only one to gather.
        self._wrote = False
        self._gathering = False
        self._patience = 0
        self._singles = 0
        # Whether it is in the outbox.
        self._put_off = False
        self._outbox: Outbox = loop.outbox
        self._queue = loop.runner.queue
        self._lost_writes = 0
        self._lost = False
        self._protocol_connected = False
        self._buffered_protocol: asyncio.BufferedProtocol | None = None
        self.set_protocol(protocol)
        self._interest: Interest = loop.io.open(self._sock_fd)
        # Registering reports what is there already as an edge.
        self._interest.readable = False
        self._context = context = copy_context() if context is None else context
        self._on_read = ReadinessHandle(self._read_ready, loop, context)
        self._on_write = ReadinessHandle(self._write_ready, loop, context)
        if server is not None:
            server._attach(self)
        loop._transports[self._sock_fd] = self
        loop.call_soon(self._begin, waiter, context=context)

    def _begin(self, waiter: asyncio.Future[None] | None) -> None:
        self._protocol_connected = True
        try:
            self._protocol.connection_made(self)
        finally:
            # A turn later, as in asyncio: what connection_made started comes first.
            self._loop.call_soon(self._begin_reading, waiter, context=self._context)

    def _begin_reading(self, waiter: asyncio.Future[None] | None) -> None:
        self._reading = not self._closing and not self._paused
        self._read_on()
        # What is there already comes before what the waiter does next.
        self._loop._look_again()
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def __repr__(self) -> str:
        state = "closed" if self._sock is None else "closing" if self._closing else "open"
        reading = "polling" if self._reading else "idle"
        return f"<{type(self).__name__} {state} fd={self._sock_fd} read={reading} write=<bufsize={self._buffered}>>"

    # The protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol take over."""
        self._protocol = protocol
        self._buffered_protocol = buffered_of(protocol)
        # Bound at each change, not at each message.
        self._data_received: Any = receiver_of(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self._protocol

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, under the name that libraries look for."""
        return self._loop

    # Reading

    def is_reading(self) -> bool:
        """Return whether data is being received."""
        return not self._closing and not self._paused

    def pause_reading(self) -> None:
        """Receive nothing until `resume_reading`."""
        if self._closing or self._paused:
            return
        self._paused = True
        self._stop_reading()

    def resume_reading(self) -> None:
        """Receive again."""
        if self._closing or not self._paused:
            return
        self._paused = False
        self._reading = self._protocol_connected and not self._read_over
        self._read_on()

    def _stop_reading(self) -> None:
        self._reading = False
        if self._interest.reader is self._on_read:
            self._interest.reader = None

    def _read_on(self) -> None:
        """Wait for data, or read at once if it is known to be there."""
        if not self._reading or self._read_queued:
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

    # flat: once for every message
    def _read_ready(self) -> None:
        self._read_queued = False
        if not self._reading:
            return
        if self._buffered_protocol is not None:
            self._read_into(self._buffered_protocol)
            return
        interest = self._interest
        self._wrote = False
        try:
            data = self._recv(self._at_once)
        except (BlockingIOError, InterruptedError):
            interest.readable = False
            self._read_on()
            return
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal read error on socket transport")
            return
        if not data:
            self._received_eof()
            return
        if len(data) < RECEIVE:
            if not interest.hangup:
                interest.readable = False
            if self._large:
                self._expect_less()
        else:
            self._expect_more(len(data))
        try:
            self._data_received(data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.data_received() call failed.")
            return
        if self._reading:
            if interest.readable:
                self._read_on()
            else:
                # As there, in line.
                on_read = self._on_read
                on_read.abort = True
                interest.reader = on_read
                if interest.arm is not None:
                    interest.arm(interest)

    def _expect_more(self, received: int) -> None:
        """Receive more at once, for a while: a message was large."""
        if received < self._at_once and not self._interest.hangup:
            self._interest.readable = False
        self._at_once = RECEIVE_LARGE
        self._large = STAY_LARGE

    def _expect_less(self) -> None:
        """Receive less at once again, if this is the last of some smaller messages."""
        self._large -= 1
        if not self._large:
            self._at_once = RECEIVE

    def _read_into(self, protocol: asyncio.BufferedProtocol) -> None:
        interest = self._interest
        self._wrote = False
        try:
            buffer = protocol.get_buffer(-1)
            room = len(buffer)  # type: ignore[arg-type]  # every buffer that recv_into takes has a length
            if not room:
                raise RuntimeError("get_buffer() returned an empty buffer")
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.get_buffer() call failed.")
            return
        assert self._sock is not None
        try:
            received = self._sock.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            interest.readable = False
            self._read_on()
            return
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal read error on socket transport")
            return
        if not received:
            self._received_eof()
            return
        if received < room and not interest.hangup:
            interest.readable = False
        try:
            protocol.buffer_updated(received)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.buffer_updated() call failed.")
            return
        self._read_on()

    def _received_eof(self) -> None:
        self._read_over = True
        self._reading = False
        protocol: Any = self._protocol
        try:
            keep_open = protocol.eof_received()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.eof_received() call failed.")
            return
        if not keep_open:
            self.close()

    # Writing

    # flat: once for every message
    def write(self, data: Data) -> None:
        """Send `data`: at once as far as the system takes it, the rest when it can."""
        if type(data) is not bytes:
            data = _in_bytes(data)
        if not self._direct or self._wrote:
            self._write_later(data)
            return
        if self._queue and 0 < len(data) <= self._high:
            # Others wait for their turn, and may write as well.
            outbox = self._outbox
            if outbox.patience:
                outbox.patience -= 1
            else:
                self._direct = False
                self._put_off = True
                # The caller may change what is not bytes.
                self._buffer.append(data if type(data) is bytes else bytes(data))
                self._buffered = len(data)
                waiting = outbox.waiting
                waiting.append(self)
                if len(waiting) == 1:
                    outbox.begin()
                elif len(waiting) >= MOST:
                    outbox.send_all()
                return
        self._wrote = True
        try:
            sent = self._send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal write error on socket transport")
            return
        if sent == len(data):
            return
        self._direct = False
        self._interest.writable = False
        self._keep(memoryview(data)[sent:] if type(data) is bytes else bytes(data[sent:]))
        self._maybe_pause()

    def _write_later(self, data: Data) -> None:
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._empty_waiter is not None:
            raise RuntimeError("unable to write; sendfile is in progress")
        if not data:
            return
        if self._lost:
            self._note_lost_write()
            return
        if self._direct:
            # The second one since the last read.
            if self._patience:
                self._patience -= 1
                self._wrote = False
                self.write(data)
                return
            self._gathering = True
            self._direct = False
            self._singles = -1
        self._keep(data)
        if (self._gathering or self._put_off) and self._interest.writable:
            if self._buffered > self._high or self._buffered > RECEIVE or self._loop.running_in is None:
                self._flush()
            elif not self._put_off:
                self._put_off = True
                waiting = self._outbox.waiting
                waiting.append(self)
                if len(waiting) == 1:
                    self._outbox.begin()
                return
        self._maybe_pause()

    # flat: once for every message of a busy server
    def send_put_off(self) -> None:
        """Send what was written in this turn; called by the outbox, in no particular context."""
        if not self._put_off:
            # It is sent already.
            return
        if self._protocol_paused:
            # It will be told that it may go on.
            self._loop.call_soon(self._flush, context=self._context)
            return
        self._put_off = False
        buffer = self._buffer
        if len(buffer) == 1:
            data = buffer[0]
            if self._gathering:
                self._singles += 1
                if self._singles == SINGLES:
                    self._gathering = False
                    self._patience = PATIENCE
        else:
            data = b"".join(buffer)
            self._singles = 0
        try:
            sent = self._send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._drop_buffer()
            self._loop.call_soon(self._fatal_error, exc, "Fatal write error on socket transport", context=self._context)
            return
        buffer.clear()
        if sent == self._buffered:
            self._buffered = 0
            self._direct = not self._gathering
            return
        buffer.append(memoryview(data)[sent:])
        self._buffered -= sent
        self._interest.writable = False
        self._wait_to_write()

    def writelines(self, list_of_data: Iterable[Data]) -> None:
        """Send each item of `list_of_data`, by one system call if nothing is buffered."""
        items = [item if type(item) is bytes else _in_bytes(item) for item in list_of_data]
        if (self._direct or self._gathering or self._put_off) and sum(map(len, items)) <= JOINED:
            self.write(b"".join(items))
            return
        if self._eof:
            raise RuntimeError("Cannot call writelines() after write_eof()")
        if self._empty_waiter is not None:
            raise RuntimeError("unable to writelines; sendfile is in progress")
        items = [item for item in items if item]
        if not items:
            return
        if self._lost:
            self._note_lost_write()
            return
        self._direct = False
        for item in items:
            self._keep(item)
        if self._interest.writable:
            self._flush()
        self._maybe_pause()

    def _keep(self, data: Data | memoryview) -> None:
        if not self._buffer and not self._interest.writable:
            self._wait_to_write()
        if type(data) is not bytes and not (type(data) is memoryview and type(data.obj) is bytes):
            # The caller may change what is behind it.
            data = bytes(data)
        self._buffer.append(data)
        self._buffered += len(data)

    def _wait_to_write(self) -> None:
        interest = self._interest
        self._on_write.abort = True
        interest.writer = self._on_write
        if interest.arm is not None:
            interest.arm(interest)

    def _write_ready(self) -> None:
        if self._lost or not self._buffer:
            return
        self._flush()

    def _flush(self) -> None:
        """Send what is buffered, as far as the system takes it."""
        sock = self._sock
        assert sock is not None
        buffer = self._buffer
        self._put_off = False
        while buffer:
            try:
                if len(buffer) == 1:
                    sent = sock.send(buffer[0])
                else:
                    sent = sock.sendmsg(islice(buffer, MOST_BUFFERS))
            except (BlockingIOError, InterruptedError):
                break
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self._drop_buffer()
                self._fatal_error(exc, "Fatal write error on socket transport")
                return
            self._buffered -= sent
            while sent:
                first = buffer[0]
                if len(first) <= sent:
                    sent -= len(first)
                    buffer.popleft()
                else:
                    buffer[0] = memoryview(first)[sent:]
                    break
        if buffer:
            self._interest.writable = False
            self._wait_to_write()
        else:
            self._allow_direct()
            if self._empty_waiter is not None and not self._empty_waiter.done():
                self._empty_waiter.set_result(None)
        self._maybe_resume()
        if not buffer and not self._lost:
            # resume_writing() may have written again, closed, or both.
            if self._closing:
                self._lose(None)
            elif self._eof:
                self._shut_down_writing()

    def _allow_direct(self) -> None:
        self._direct = not (
            self._eof or self._lost or self._buffer or self._gathering or self._empty_waiter is not None
        )

    def _make_empty_waiter(self) -> asyncio.Future[None]:
        """Refuse writes until `_reset_empty_waiter`, and return a future that is done once the buffer is empty.

        It fails if the connection is lost first.  For sendfile, which then has the socket to itself.
        """
        if self._empty_waiter is not None:
            raise RuntimeError("Empty waiter is already set")
        if self._put_off:
            self._flush()
        self._empty_waiter = waiter = self._loop.create_future()
        self._direct = False
        if not self._buffer:
            waiter.set_result(None)
        return waiter

    def _reset_empty_waiter(self) -> None:
        """Allow writes again."""
        self._empty_waiter = None
        self._allow_direct()

    def write_eof(self) -> None:
        """Send the end of the stream once the buffer is empty; the other direction stays open."""
        if self._closing or self._eof:
            return
        if self._put_off:
            self._flush()
        self._eof = True
        self._direct = False
        if not self._buffer:
            self._shut_down_writing()

    def _shut_down_writing(self) -> None:
        try:
            if self._sock is not None:
                self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            # The peer was faster.
            pass

    def can_write_eof(self) -> bool:
        """Return True: a stream socket has two directions."""
        return True

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent."""
        return self._buffered

    def _note_lost_write(self) -> None:
        self._lost_writes += 1
        if self._lost_writes > WARN_AFTER:
            logger.warning("socket.send() raised exception.")

    def _drop_buffer(self) -> None:
        self._buffer.clear()
        self._buffered = 0
        # Else the outbox would find that all of it was sent, and open the direct way again.
        self._put_off = False
        if self._interest.writer is self._on_write:
            self._interest.writer = None

    # Ending

    def is_closing(self) -> bool:
        """Return whether the transport is closed or about to be."""
        return self._closing

    def close(self) -> None:
        """Stop receiving, send what is buffered, then close."""
        if self._closing:
            return
        if self._put_off:
            self._flush()
        self._closing = True
        self._stop_reading()
        if not self._buffer:
            self._lose(None)

    def abort(self) -> None:
        """Close at once; what is buffered is lost."""
        self._force_close(None)

    def has_descriptor(self) -> bool:
        """Return whether the socket still has its descriptor, as far as it knows."""
        return self._sock is not None and self._sock.fileno() == self._sock_fd

    def descriptor_gone(self) -> None:
        """Be told that somebody has closed the socket, and that its number may be in use again."""
        self._loop.io.forget(self._interest)
        news = f"descriptor {self._sock_fd} was closed behind the transport's back: close the transport, not its socket"
        self._fatal_error(OSError(errno.EBADF, news), "Fatal error on socket transport")

    def _fatal_error(self, exc: BaseException, message: str = "Fatal error on transport") -> None:
        if isinstance(exc, OSError):
            if self._loop.get_debug():
                logger.debug("%r: %s", self, message, exc_info=True)
        else:
            self._loop.call_exception_handler(
                {"message": message, "exception": exc, "transport": self, "protocol": self._protocol}
            )
        self._force_close(exc)

    def _force_close(self, exc: BaseException | None) -> None:
        if self._lost:
            return
        if self._put_off and self._buffer and self._interest.writable:
            # It would be on its way if it had not been put off: an alert of TLS, or an answer before an abort.
            try:
                self._send(b"".join(self._buffer))
            except OSError:
                pass
        self._drop_buffer()
        if not self._closing:
            self._closing = True
            self._stop_reading()
        self._lose(exc)

    def _lose(self, exc: BaseException | None) -> None:
        """Let the end be told, once, in the next turn."""
        if not self._lost:
            self._lost = True
            self._direct = False
            if self._empty_waiter is not None and not self._empty_waiter.done():
                self._empty_waiter.set_exception(exc or ConnectionError("Connection is closed by peer"))
            self._loop.call_soon(self._call_connection_lost, exc, context=self._context)

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        try:
            if self._protocol_connected:
                self._protocol.connection_lost(exc)  # type: ignore[arg-type]  # asyncio passes what it has
        finally:
            loop, sock, server = self._loop, self._sock, self._server
            self._stop_reading()
            self._drop_buffer()
            # A protocol that keeps its transport would be garbage together with it; so would the handles.
            self._protocol = None  # type: ignore[assignment]  # as in asyncio: nobody is told any more
            self._buffered_protocol = self._data_received = None
            self._on_read.cancel()
            self._on_write.cancel()
            loop.io.forget(self._interest)
            if loop._transports.get(self._sock_fd) is self:
                del loop._transports[self._sock_fd]
            self._sock = None
            if sock is not None:
                try:
                    sock.close()
                except OSError:
                    # Closed behind our back, and told as the connection's error if anybody noticed.
                    pass
            self._server = None
            if server is not None:
                server._detach(self)

    # A default argument: at the interpreter's end the module's names may be gone.
    def __del__(self, _warn: Any = warnings.warn) -> None:
        sock = getattr(self, "_sock", None)
        if sock is not None:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=2)
            sock.close()
            if self._server is not None:
                self._server._detach(self)


def _in_bytes(data: Data) -> Data:
    """Return `data` as something whose length is in bytes; TypeError for what is not bytes-like."""
    if isinstance(data, memoryview):
        return data.cast("B") if data.c_contiguous else bytes(data)
    given: object = data
    if not isinstance(given, (bytes, bytearray)):
        raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
    return data
