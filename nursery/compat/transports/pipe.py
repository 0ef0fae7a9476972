"""One end of a pipe as an asyncio transport: pipes, sockets, terminals and other character devices.

Invariant: a transport owns its pipe from the constructor's return to `connection_lost`, which is called once, by the
loop, after everything else.  Each handle is in one of three places: in the run queue, and just then its `abort` is
None; waiting in the interest; or nowhere, because there is nothing to do.  Readiness that comes meanwhile is cached in
the interest.

A short read never means "drained" here, as in streams/fd_stream.py: a terminal hands out one line at a time, a pipe in
packet mode one packet, and no further edge would come for the rest.  So only EAGAIN makes a reader wait.  (To ask how
much is left, by FIONREAD, is a cheaper system call, and made ping-pong with a process slower, 9 us of CPU against 7:
the read that finds nothing comes late enough to find the answer at times.)

Two kinds of descriptors need care.  Devices like /dev/null cannot be waited for (epoll says EPERM), because they are
always ready: their interest stands in no table and stays ready.  And a descriptor that something else in this run waits
for already, such as one terminal for both directions, is used through a duplicate, which is a registration of its own.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import stat
import warnings
from asyncio.log import logger
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ...kernel.io.interest import Interest
from ..handles import ReadinessHandle
from .flow import FlowControl
from .receiving import buffered_of

if TYPE_CHECKING:
    from ..loop.state import LoopState

Data: TypeAlias = "bytes | bytearray | memoryview"

# What a pipe of Linux holds by default, in bytes.  For 256 KiB the allocator maps and unmaps memory at each call: 28 us
# for a message of 10 KB, where this takes 3.
READ_SIZE: Final = 64 * 1024
# The second read in a turn saves the turn in which it would tell that nothing is left (5 us of CPU for ping-pong with a
# process, against 6); four of them are what asyncio reads in a turn, by one call.
READS_A_TURN: Final = 4
# How many buffers one writev takes (IOV_MAX on Linux).
MOST_BUFFERS: Final = 1024
# How often `catch_up` reads in one turn; a pipe that is full is read in one, unless it was made larger.
MOST_READS: Final = 16
# From the so-manieth write to a lost pipe on, a warning is logged.
WARN_AFTER: Final = 5

# What poll() tells without being asked, and the peer's end of a socket.
GONE: Final = select.POLLERR | select.POLLHUP | select.POLLNVAL
SHUT: Final[int] = getattr(select, "POLLRDHUP", 0)


class EndHandle(ReadinessHandle):
    """A handle of a transport, which learns by it when its descriptor was taken away."""

    __slots__ = ("_gone",)

    def __init__(self, callback: Callable[[], object], gone: Callable[[], object], loop: LoopState) -> None:
        ReadinessHandle.__init__(self, callback, loop)
        self._gone = gone
        self.abort = True

    def wake_with_error(self, error: BaseException) -> None:
        """Tell the transport: somebody has announced that he closes the descriptor, or has closed it unannounced."""
        self._loop.call_soon(self._gone)

    def cancel(self) -> None:
        """Never be called again, and lead back to the transport no longer."""
        ReadinessHandle.cancel(self)
        self._gone = do_nothing

    def queue(self) -> None:
        """Be called in the next turn; only for a handle that is not queued."""
        self.abort = None
        self._loop.runner.queue.append(self)


class PipeEnd(asyncio.BaseTransport):
    """What both directions have in common: the pipe, its registration, its end.

    `_fd` is the descriptor that system calls are made on, the pipe's own or a duplicate.
    """

    _loop: LoopState
    _protocol: asyncio.BaseProtocol
    _extra: dict[str, Any]
    _interest: Interest
    # None once it was closed; and while nothing was taken over yet.
    _pipe: Any = None
    _fd = -1
    _duplicated = False
    _closing = False
    _lost = False

    def _take(self, loop: LoopState, pipe: Any, refusal: str) -> int:
        """Take the pipe over and return its mode; ValueError for what is no pipe, and then it is left alone."""
        fd: int = pipe.fileno()
        mode = os.fstat(fd).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)):
            raise ValueError(
                f"{refusal}: {pipe!r} is a {'regular file' if stat.S_ISREG(mode) else 'file of another kind'}, which "
                "cannot be waited for; use a thread (loop.run_in_executor)"
            )
        os.set_blocking(fd, False)
        if fd in loop.io.table:
            fd = os.dup(fd)
            self._duplicated = True
        self._fd = fd
        self._loop = loop
        try:
            self._register()
        except BaseException:
            self._close_duplicate()
            raise
        self._extra["pipe"] = self._pipe = pipe
        return mode

    def _register(self) -> None:
        try:
            self._interest = self._loop.io.open(self._fd)
            # Registering reports what is there already as an edge.
            self._interest.readable = False
        except PermissionError:
            self._interest = Interest(self._fd)

    def _is_always_ready(self) -> bool:
        """Return whether the descriptor cannot be waited for."""
        return self._loop.io.table.get(self._fd) is not self._interest

    def _arm(self, handle: EndHandle) -> None:
        """Tell a level-triggered driver that `handle` waits now."""
        interest = self._interest
        assert interest.arm is not None
        try:
            interest.arm(interest)
        except PermissionError:
            # It took the interest out of its table: always ready.
            interest.arm = None
            interest.readable = interest.writable = True
            handle.queue()

    def __repr__(self) -> str:
        state = "closed" if self._pipe is None else "closing" if self._closing else "open"
        return f"<{type(self).__name__} {state} fd={self._fd}{self._activity()}>"

    def _activity(self) -> str:
        raise NotImplementedError

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol take over."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self._protocol

    def is_closing(self) -> bool:
        """Return whether the transport is closed or about to be."""
        return self._closing

    # The end

    def begin(self, waiter: asyncio.Future[None] | None = None) -> None:
        """Start working; called by the loop after `connection_made`."""
        if not self._lost:
            self._start()
            # What is there already comes before what the waiter does next (as in asyncio, tests of AsyncSSH).
            self._loop._look_again()
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _start(self) -> None:
        raise NotImplementedError

    def catch_up(self) -> None:
        """Act at once on what the pipe has to tell, the process at its other end having ended."""
        raise NotImplementedError

    def _stop(self) -> None:
        """Take the handles away for good."""
        raise NotImplementedError

    def _descriptor_gone(self) -> None:
        """Be told that the descriptor is not ours any more."""
        self._lose(OSError(errno.EBADF, f"descriptor {self._fd} was closed behind the transport's back"))

    def _lose(self, exc: BaseException | None) -> None:
        """Let the end be told, once, in the next turn; after the loop's own end nobody can be told."""
        self._closing = True
        if not self._lost:
            self._lost = True
            self._stop()
            if self._loop.is_closed():
                self.drop()
            else:
                self._loop.call_soon(self._call_connection_lost, exc)

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        try:
            self._protocol.connection_lost(exc)  # type: ignore[arg-type]  # asyncio passes what it has
        finally:
            # What leads from here to the protocol is a cycle with the way back.
            self.set_protocol(None)  # type: ignore[arg-type]  # as asyncio does
            self.release()

    def release(self) -> None:
        """Give back what is held of the system, and tell nobody."""
        pipe, self._pipe = self._pipe, None
        if pipe is None:
            return
        self._closing = self._lost = True
        self._stop()
        self._loop.io.forget(self._interest)
        self._close_duplicate()
        pipe.close()

    def _close_duplicate(self) -> None:
        if self._duplicated:
            self._duplicated = False
            os.close(self._fd)

    def drop(self) -> None:
        """Close the pipe and leave the loop alone, as a finaliser must, which runs at any moment and in any thread.

        A driver knows how to deal with a number that was closed without a word.
        """
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            self._close_duplicate()
            pipe.close()

    # A default argument: at the interpreter's end the names of the module may be gone.
    def __del__(self, _warn: Any = warnings.warn) -> None:
        if self._pipe is not None:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.drop()


class ReadPipeTransport(PipeEnd, asyncio.ReadTransport):
    """What `connect_read_pipe` gives to protocols.

    Source: asyncio's documentation, "Transports and Protocols".
    """

    def __init__(self, loop: LoopState, pipe: Any, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._take(loop, pipe, "Pipe transport is for pipes/sockets only")
        self._paused = False
        self.set_protocol(protocol)
        self._on_read = EndHandle(self._read_ready, self._descriptor_gone, loop)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol take over; a BufferedProtocol is served as well, which asyncio's pipes do not."""
        self._protocol = protocol
        self._buffered_protocol = buffered_of(protocol)
        # Bound at each change, not at each message.
        self._data_received: Any = getattr(protocol, "data_received", None)

    def _activity(self) -> str:
        if self._pipe is None:
            return ""
        return " polling" if self._interest.reader is self._on_read or self._on_read.abort is None else " idle"

    # Reading

    def is_reading(self) -> bool:
        """Return whether data is being received."""
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        """Receive nothing until `resume_reading`."""
        if self._closing or self._paused:
            return
        self._paused = True
        if self._interest.reader is self._on_read:
            self._interest.reader = None
        if self._loop.get_debug():
            logger.debug("%r pauses reading", self)

    def resume_reading(self) -> None:
        """Receive again."""
        if self._closing or not self._paused:
            return
        self._paused = False
        self._read_on()
        if self._loop.get_debug():
            logger.debug("%r resumes reading", self)

    def _start(self) -> None:
        self._read_on()

    # flat: twice for every message
    def _read_on(self) -> None:
        """Wait for data, or read in the next turn if some is known to be there."""
        if self._closing or self._paused or self._on_read.abort is None:
            return
        interest = self._interest
        if interest.readable:
            self._on_read.queue()
            return
        if interest.closed:
            # By add_reader and remove_reader, for instance, while reading was paused.
            self._register()
            interest = self._interest
        interest.reader = self._on_read
        if interest.arm is not None:
            self._arm(self._on_read)

    # flat: twice for every message
    def _read_ready(self) -> None:
        self._on_read.abort = True
        if not self._closing and not self._paused:
            try:
                for _ in range(READS_A_TURN):
                    if not self._read() or not self.is_reading() or not self._interest.readable:
                        break
            finally:
                # Also if the protocol failed: that is reported, and is no reason to stop.
                self._read_on()

    def _read(self) -> bool:
        """Read once, and give the protocol what was there; return whether there was something."""
        if self._buffered_protocol is not None:
            return self._read_into(self._buffered_protocol)
        try:
            data = os.read(self._fd, READ_SIZE)
        except (BlockingIOError, InterruptedError):
            self._drained()
            return False
        except OSError as exc:
            self._fatal_error(exc, "Fatal read error on pipe transport")
            return False
        if not data:
            self._received_eof()
            return False
        if self._interest.arm is not None:
            # A level-triggered driver will tell of the rest.
            self._interest.readable = False
        self._data_received(data)
        return True

    def _read_into(self, protocol: asyncio.BufferedProtocol) -> bool:
        try:
            buffer: Any = protocol.get_buffer(-1)
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.get_buffer() call failed.")
            return False
        try:
            received = os.readv(self._fd, [buffer])
        except (BlockingIOError, InterruptedError):
            self._drained()
            return False
        except OSError as exc:
            self._fatal_error(exc, "Fatal read error on pipe transport")
            return False
        if not received:
            self._received_eof()
            return False
        if self._interest.arm is not None:
            self._interest.readable = False
        protocol.buffer_updated(received)
        return True

    def _drained(self) -> None:
        self._interest.readable = False
        if self._is_always_ready() and not self._interest.closed:
            error = BlockingIOError(errno.EAGAIN, "the device has nothing to read and cannot be waited for")
            self._fatal_error(error, "Fatal read error on pipe transport")

    def catch_up(self) -> None:
        if self._interest.reader is self._on_read:
            self._interest.reader = None
        try:
            for _ in range(MOST_READS):
                if self._closing or self._paused or not self._read():
                    break
        finally:
            self._read_on()

    def _received_eof(self) -> None:
        if self._loop.get_debug():
            logger.info("%r was closed by peer", self)
        protocol: Any = self._protocol
        self._closing = True
        self._loop.call_soon(protocol.eof_received)
        self._lose(None)

    # Ending

    def close(self) -> None:
        """Stop receiving and close the pipe."""
        if not self._closing:
            self._lose(None)

    def _stop(self) -> None:
        if self._interest.reader is self._on_read:
            self._interest.reader = None
        self._on_read.cancel()

    def _fatal_error(self, exc: BaseException, message: str) -> None:
        # EIO is how a terminal tells that its other side is closed.
        if isinstance(exc, OSError) and exc.errno == errno.EIO:
            if self._loop.get_debug():
                logger.debug("%r: %s", self, message, exc_info=True)
        else:
            self._loop.call_exception_handler(
                {"message": message, "exception": exc, "transport": self, "protocol": self._protocol}
            )
        self._lose(exc)


class WritePipeTransport(PipeEnd, FlowControl):
    """What `connect_write_pipe` gives to protocols.

    That nobody reads any more is noticed at once, not at the next write, for pipes and sockets.

    Source: asyncio's documentation, "Transports and Protocols".
    """

    def __init__(self, loop: LoopState, pipe: Any, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        mode = self._take(loop, pipe, "Pipe transport is only for pipes, sockets and character devices")
        self._buffer: deque[bytes | memoryview] = deque()
        self._buffered = 0
        self._lost_writes = 0
        self._sees_peer = not stat.S_ISCHR(mode)
        self._protocol = protocol
        self._on_write = EndHandle(self._write_ready, self._descriptor_gone, loop)
        self._on_peer = EndHandle(self._peer_stirred, self._descriptor_gone, loop)

    def _activity(self) -> str:
        if self._pipe is None:
            return ""
        polling = self._interest.writer is self._on_write
        return f" {'polling' if polling else 'idle'} bufsize={self._buffered}"

    # The other side

    def _start(self) -> None:
        if self._sees_peer:
            self._watch_peer()

    def _watch_peer(self) -> None:
        interest = self._interest
        if interest.readable:
            self._on_peer.queue()
        else:
            interest.reader = self._on_peer
            if interest.arm is not None:
                interest.arm(interest)

    def _peer_stirred(self) -> None:
        self._on_peer.abort = True
        self.catch_up()
        if not self._lost and self._interest.arm is None:
            # The peer wrote something, which is not for us.  A level-triggered driver would report that for ever.
            self._interest.readable = False
            self._watch_peer()

    def catch_up(self) -> None:
        if self._lost or not self._sees_peer or not is_shut(self._fd):
            return
        if self._loop.get_debug():
            logger.info("%r was closed by peer", self)
        self._force_close(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) if self._buffer else None)

    # Writing

    # flat: once for every message
    def write(self, data: Data) -> None:
        """Write `data`: at once as far as the system takes it, the rest when it can."""
        given: object = data
        if not isinstance(given, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if not data:
            return
        if self._closing:
            self._lost_writes += 1
            if self._lost_writes > WARN_AFTER:
                logger.warning("pipe closed by peer or os.write(pipe, data) raised exception.")
            return
        if isinstance(data, memoryview):
            data = data.cast("B")
        if self._buffer or not self._interest.writable:
            self._keep(data)
            self._maybe_pause()
            return
        try:
            sent = os.write(self._fd, data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._lost_writes += 1
            self._fatal_error(exc)
            return
        if sent == len(data):
            return
        self._interest.writable = False
        self._keep(memoryview(data)[sent:])
        self._maybe_pause()

    def _keep(self, data: Data) -> None:
        if not self._buffer and not self._wait_to_write():
            return
        if type(data) is not bytes and not (type(data) is memoryview and type(data.obj) is bytes):
            # The caller may change what is behind it.
            data = bytes(data)
        self._buffer.append(data)
        self._buffered += len(data)

    def _wait_to_write(self) -> bool:
        """Wait until the pipe takes more; return False if that cannot be, and the pipe is lost by that."""
        if self._interest.closed:
            self._register()
        elif self._is_always_ready():
            self._fatal_error(BlockingIOError(errno.EAGAIN, "the device takes nothing and cannot be waited for"))
            return False
        self._interest.writer = self._on_write
        if self._interest.arm is not None:
            self._arm(self._on_write)
        return True

    # flat: once for every event
    def _write_ready(self) -> None:
        self._on_write.abort = True
        buffer = self._buffer
        if self._lost or not buffer:
            return
        while buffer:
            try:
                if len(buffer) == 1:
                    sent = os.write(self._fd, buffer[0])
                else:
                    sent = os.writev(self._fd, list(islice(buffer, MOST_BUFFERS)))
            except (BlockingIOError, InterruptedError):
                sent = 0
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self._lost_writes += 1
                self._fatal_error(exc)
                return
            self._buffered -= sent
            if not self._take_away(sent):
                # Not all of what was offered: it is full.
                break
        if buffer:
            self._interest.writable = False
            if not self._wait_to_write():
                return
        self._maybe_resume()
        # resume_writing() may have written again.
        if self._closing and not buffer:
            self._lose(None)

    def _take_away(self, sent: int) -> bool:
        """Drop what was sent from the buffer; return whether that were whole pieces, as many as were offered."""
        buffer = self._buffer
        offered = min(len(buffer), MOST_BUFFERS)
        for _ in range(offered):
            first = buffer[0]
            if len(first) > sent:
                buffer[0] = memoryview(first)[sent:]
                return False
            sent -= len(first)
            buffer.popleft()
        return True

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be written."""
        return self._buffered

    def can_write_eof(self) -> bool:
        """Return True: closing the pipe is its end."""
        return True

    def write_eof(self) -> None:
        """Write what is buffered, then close the pipe."""
        if self._closing:
            return
        self._closing = True
        if not self._buffer:
            self._lose(None)

    # Ending

    def close(self) -> None:
        """Write what is buffered, then close the pipe."""
        self.write_eof()

    def abort(self) -> None:
        """Close at once; what is buffered is lost."""
        self._force_close(None)

    def _force_close(self, exc: BaseException | None) -> None:
        self._buffer.clear()
        self._buffered = 0
        self._lose(exc)

    def _stop(self) -> None:
        interest = self._interest
        if interest.reader is self._on_peer:
            interest.reader = None
        if interest.writer is self._on_write:
            interest.writer = None
        self._on_peer.cancel()
        self._on_write.cancel()

    def _fatal_error(self, exc: BaseException) -> None:
        message = "Fatal write error on pipe transport"
        if isinstance(exc, OSError):
            if self._loop.get_debug():
                logger.debug("%r: %s", self, message, exc_info=True)
        else:
            self._loop.call_exception_handler(
                {"message": message, "exception": exc, "transport": self, "protocol": self._protocol}
            )
        self._force_close(exc)


def do_nothing() -> None:
    """Stand for a callback that was taken away."""


def is_shut(fd: int) -> bool:
    """Return whether nobody reads what is written to `fd`, or its peer has shut its own direction down."""
    look = select.poll()
    look.register(fd, SHUT)
    return any(mask & (GONE | SHUT) for _, mask in look.poll(0))
