"""Byte streams over bare descriptors: pipes, terminals, character devices.

Invariant: `_fd` is -1 from the moment of closing on.  The number may be somebody else's the next instant, so nothing
ever touches it again: whoever was woken a moment before the close meets -1, hence EBADF, hence ClosedResourceError.

The system call comes first; the stream registers with the run only when it has to wait.  Unlike on a TCP socket a
short read never means "drained" here: a terminal hands out one line at a time, a pipe in packet mode one packet, and
no further edge would come for the rest (tests/streams/test_fd_stream.py).  So only EAGAIN puts a reader to sleep.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final, NoReturn, final

from ..kernel.current import current, current_task
from ..kernel.errors import BrokenResourceError, BusyResourceError, ClosedResourceError
from ..kernel.io.interest import Interest, abort_read, abort_write, wait_writable
from ..kernel.traps import BUDGET, cancel_shielded_checkpoint, checkpoint, park
from .abstract import Stream

if TYPE_CHECKING:
    from ..kernel.runner import Runner

# What a pipe of Linux holds by default, in bytes.
DEFAULT_RECEIVE_SIZE: Final = 64 * 1024

ANOTHER_SENDS: Final = "another task is currently sending data on this FdStream"
ANOTHER_RECEIVES: Final = "another task is currently receiving data on this FdStream"
WAS_CLOSED: Final = "this file was already closed"

_read: Final = os.read
_write: Final = os.write


@final
class FdStream(Stream):
    """A stream over a descriptor that can be waited for (a pipe, a terminal), which from then on belongs to it.

    Arguments: fd is a descriptor, open for reading, writing or both.

    The open file behind the descriptor becomes non-blocking, and with it each descriptor that shares it, in other
    processes too: a stream over the terminal's standard input can make somebody's `print` to the terminal raise
    BlockingIOError.  Closing the stream puts back what was there before.

    Raises TypeError if fd is no integer, OSError if it is no open descriptor.  Not a cancel point.

    Example::

        async with nursery.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stream:
            async for piece in stream:
                print(len(piece), "bytes")

    Source: trio's documentation, `trio.lowlevel.FdStream`.
    """

    __slots__ = ("__weakref__", "_fd", "_interest", "_runner", "_sending", "_was_blocking")

    # Meaningful while `_runner` is set.
    _interest: Interest

    def __init__(self, fd: int) -> None:
        # First of all: `__del__` runs also if what follows raises.
        self._fd = -1
        if not isinstance(fd, int):
            raise TypeError(f"a file descriptor must be an int, not {fd!r}")
        self._was_blocking = os.get_blocking(fd)
        os.set_blocking(fd, False)
        self._fd = fd
        # The run that the stream is registered with.
        self._runner: Runner | None = None
        # Whether a task is between the first and the last byte of its data.
        self._sending = False

    # flat: the hot path of every pipe
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is None:
            max_bytes = DEFAULT_RECEIVE_SIZE
        elif not isinstance(max_bytes, int):
            raise TypeError("max_bytes must be integer >= 1")
        elif max_bytes < 1:
            raise ValueError("max_bytes must be integer >= 1")
        runner = current.runner
        task = None if runner is None else runner.current
        if task is None:
            task = current_task()
            runner = task.runner
        if task.alert:
            task.raise_if_interrupted()
        registered = self._runner is runner
        if registered and self._interest.reader is not None:
            raise BusyResourceError(ANOTHER_RECEIVES)
        if not registered or self._interest.readable:
            try:
                data = _read(self._fd, max_bytes)
            except BlockingIOError:
                pass
            except OSError as exc:
                await cancel_shielded_checkpoint()
                _raise_stream_error(exc)
            else:
                if task.budget > 0:
                    task.budget -= 1
                else:
                    task.budget = BUDGET
                    await cancel_shielded_checkpoint()
                return data
        task.budget = BUDGET
        interest = self._join(task.runner)
        while True:
            if interest.reader is not None:
                # A wait for the bare descriptor, or whoever came while this task was being woken.
                raise BusyResourceError(ANOTHER_RECEIVES)
            interest.readable = False
            interest.reader = task
            if interest.arm is not None:
                interest.arm(interest)
            task.custom_sleep_data = interest
            await park(task, abort_read)
            try:
                return _read(self._fd, max_bytes)
            except BlockingIOError:
                pass
            except OSError as exc:
                _raise_stream_error(exc)

    # flat: the hot path of every pipe
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        runner = current.runner
        task = None if runner is None else runner.current
        if task is None:
            task = current_task()
            runner = task.runner
        if task.alert:
            task.raise_if_interrupted()
        if self._sending:
            raise BusyResourceError(ANOTHER_SENDS)
        if self._fd < 0:
            raise ClosedResourceError(WAS_CLOSED)
        if data.__class__ is not bytes and data.__class__ is not bytearray:
            data = memoryview(data)
            if data.nbytes:
                # In bytes, whatever the items are: the system counts so.
                data = data.cast("B")
        size = len(data)
        if not size:
            await checkpoint()
            return
        sent = 0
        if self._runner is not runner or self._interest.writable:
            try:
                sent = _write(self._fd, data)
            except BlockingIOError:
                pass
            except OSError as exc:
                await cancel_shielded_checkpoint()
                _raise_stream_error(exc)
            else:
                if sent == size:
                    if task.budget > 0:
                        task.budget -= 1
                    else:
                        task.budget = BUDGET
                        await cancel_shielded_checkpoint()
                    return
        task.budget = BUDGET
        self._sending = True
        try:
            with memoryview(data) as view:
                interest = self._join(task.runner)
                while True:
                    if interest.writer is not None:
                        raise BusyResourceError(ANOTHER_SENDS)
                    interest.writable = False
                    interest.writer = task
                    if interest.arm is not None:
                        interest.arm(interest)
                    task.custom_sleep_data = interest
                    await park(task, abort_write)
                    with view[sent:] as rest:
                        try:
                            sent += _write(self._fd, rest)
                        except BlockingIOError:
                            continue
                        except OSError as exc:
                            _raise_stream_error(exc)
                    if sent == size:
                        return
        finally:
            self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        if self._sending:
            raise BusyResourceError(ANOTHER_SENDS)
        if self._fd < 0:
            raise ClosedResourceError(WAS_CLOSED)
        self._sending = True
        try:
            await wait_writable(self._fd)
        finally:
            self._sending = False

    def close(self) -> None:
        """Close the descriptor; whoever waits on the stream gets ClosedResourceError; idempotent.  Not a cancel point.

        Raises RuntimeError in another thread than that of tasks that wait.

        Source: trio's documentation, `trio.lowlevel.FdStream.close`.
        """
        if self._fd < 0:
            return
        own, runner = self._runner, current.runner
        if own is not None and own is not runner:
            interest = self._interest
            if interest.reader is not None or interest.writer is not None:
                # Between two pieces of the run this is fine; in another thread nobody would wake them.
                own.check_thread("closing a stream that a task waits for")
                own.io.forget(interest)
        if runner is not None:
            # From the table, not the slot: a wait for the bare descriptor has to be ended as well.
            registered = runner.io.table.get(self._fd)
            if registered is not None:
                runner.io.forget(registered)
        self._let_go()

    async def aclose(self) -> None:
        self.close()
        await checkpoint()

    def fileno(self) -> int:
        """Return the descriptor, -1 once it is closed.

        Source: trio's documentation, `trio.lowlevel.FdStream.fileno`.
        """
        return self._fd

    def __repr__(self) -> str:
        return f"<FdStream over descriptor {self._fd}>" if self._fd >= 0 else "<FdStream, closed>"

    def __del__(self) -> None:
        # The run is left alone: this may happen at any moment, in any thread.  Nobody waits, since waiters hold the
        # stream, and a driver knows how to deal with a number that was closed without a word.
        if self._fd >= 0:
            self._let_go()

    def _let_go(self) -> None:
        fd, self._fd = self._fd, -1
        self._runner = None
        try:
            if self._was_blocking:
                os.set_blocking(fd, True)
        finally:
            os.close(fd)

    def _join(self, runner: Runner) -> Interest:
        """Register with a run, if it has not been done; OSError if the descriptor cannot be waited for."""
        if self._runner is runner and not self._interest.closed:
            return self._interest
        # `level`, not `open`: somebody may already be waiting for the bare descriptor.
        self._interest = interest = runner.io.level(self._fd)
        self._runner = runner
        return interest


def _raise_stream_error(error: OSError) -> NoReturn:
    """Raise what a stream raises where its system call raised `error`, which is the cause only if it tells more."""
    if error.errno == errno.EBADF:
        raise ClosedResourceError(WAS_CLOSED) from None
    raise BrokenResourceError(f"the file behind the stream is broken: {error}") from error


__all__ = ["FdStream"]
