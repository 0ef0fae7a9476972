"""A child process as an asyncio transport: its pipes, its end, the signals sent to it.

Invariant: the protocol is called in this order, each method in a turn of the loop of its own or behind a pipe's event:

    connection_made
    pipe_data_received, pipe_connection_lost       once a pipe is gone, nothing more comes from it
    process_exited                                 once; what the process has left in its pipes was received before,
                                                   as long as reading was not paused
    pipe_connection_lost                           of pipes that other processes hold open
    connection_lost                                once; the process has been reaped, and every pipe is gone

asyncio promises of this only the first and the last line.

The process is nursery.processes.process.Process: it waits, it reaps, it sends the signals, and none after the reaping.
Here is one kernel task that waits for it, which is no task of asyncio's: a program that cancels all tasks, as
asyncio.run does, must still learn of the ends of its children.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import warnings
from asyncio.log import logger
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

from ...kernel.scope import CancelScope
from ...kernel.task import Task as KernelTask
from ...processes.process import Process
from .pipe import ReadPipeTransport, WritePipeTransport

if TYPE_CHECKING:
    from ..loop.subprocesses import Subprocesses

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2

# What asyncio says of a process whose exit status somebody else has read, or that ended while SIGCHLD was ignored.
UNKNOWN: Final = 255
# How long a transport without a loop waits for the process it has killed, in seconds.
LAST_MOMENT: Final = 0.1


class PipeProtocol(asyncio.Protocol):
    """What the transport of one pipe tells the transport of its process."""

    def __init__(self, process: ProcessTransport, fd: int) -> None:
        self._process: ProcessTransport | None = process
        self._fd = fd

    def data_received(self, data: bytes) -> None:
        """Pass on what the process wrote."""
        if self._process is not None:
            self._process._protocol.pipe_data_received(self._fd, data)

    def pause_writing(self) -> None:
        """Pass on that the process reads slowly."""
        if self._process is not None:
            self._process._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that it has caught up."""
        if self._process is not None:
            self._process._protocol.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Pass on the end of the pipe."""
        process, self._process = self._process, None
        if process is not None:
            process._pipe_lost(self._fd, exc)


class ProcessTransport(asyncio.SubprocessTransport):
    """What `subprocess_exec` and `subprocess_shell` give to protocols.

    Arguments: popen has just been started, with pipes that are not buffered; process and pipes belong to the transport,
    unless the constructor raises.

    Source: asyncio's documentation, "Subprocess Transports".
    """

    _closed = False

    def __init__(
        self, loop: Subprocesses, protocol: asyncio.SubprocessProtocol, popen: subprocess.Popen[bytes]
    ) -> None:
        super().__init__()
        self._extra: dict[str, Any]
        self._loop = loop
        self._protocol = protocol
        self._popen = popen
        self._process = Process._create(popen, None, None, None, False)
        self._returncode: int | None = None
        # Whether the protocol knows of the end.
        self._exit_told = False
        self._lost = False
        self._waiters: list[asyncio.Future[int]] = []
        self._pipes: dict[int, ReadPipeTransport | WritePipeTransport] = {}
        try:
            if popen.stdin is not None:
                self._pipes[STDIN] = WritePipeTransport(loop, popen.stdin, PipeProtocol(self, STDIN))
            if popen.stdout is not None:
                self._pipes[STDOUT] = ReadPipeTransport(loop, popen.stdout, PipeProtocol(self, STDOUT))
            if popen.stderr is not None:
                self._pipes[STDERR] = ReadPipeTransport(loop, popen.stderr, PipeProtocol(self, STDERR))
        except BaseException:
            self._closed = True
            for pipe in self._pipes.values():
                pipe.release()
            raise
        self._open_pipes = set(self._pipes)
        self._extra["subprocess"] = popen

    # The beginning

    def begin(self, waiter: asyncio.Future[None]) -> None:
        """Serve the pipes and wait for the end of the process; called by the loop after `connection_made`."""
        for pipe in self._pipes.values():
            pipe.begin()
        runner = self._loop.runner
        # See the file's head: asyncio.all_tasks() must not know this one.
        task_class, runner.task_class = runner.task_class, KernelTask
        try:
            runner.spawn_system(self._watch, (), f"<child {self._process.pid}>", copy_context())
        finally:
            runner.task_class = task_class
        if not waiter.done():
            waiter.set_result(None)

    def __repr__(self) -> str:
        parts = [type(self).__name__]
        if self._closed:
            parts.append("closed")
        parts.append(f"pid={self._process.pid}")
        parts.append("running" if self._returncode is None else f"returncode={self._returncode}")
        names = {STDIN: "stdin", STDOUT: "stdout", STDERR: "stderr"}
        parts.extend(f"{names[fd]}={pipe!r}" for fd, pipe in self._pipes.items())
        return f"<{' '.join(parts)}>"

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol take over."""
        self._protocol = protocol  # type: ignore[assignment]  # it is the caller's word that it is one for processes

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self._protocol

    # Looking at it

    def get_pid(self) -> int:
        """Return the number of the process."""
        return self._process.pid

    def get_returncode(self) -> int | None:
        """Return the exit status, the negative of the signal that ended the process, or None while it runs."""
        return self._returncode

    def get_pipe_transport(self, fd: int) -> asyncio.BaseTransport | None:
        """Return the transport of the pipe to 0, stdin, or from 1, stdout, or 2, stderr; None if there is none."""
        return self._pipes.get(fd)

    # Signals

    def send_signal(self, signal: int) -> None:
        """Send a signal to the process.

        Raises ProcessLookupError if the process has ended and that is known.  One that has just ended gets nothing, and
        neither does any other process that has its number now.
        Source: asyncio's documentation, `SubprocessTransport.send_signal`.
        """
        if self._returncode is not None:
            raise ProcessLookupError(f"process {self._process.pid} has ended with return code {self._returncode}")
        self._process.send_signal(signal)

    def terminate(self) -> None:
        """Ask the process to end: SIGTERM.  Raises what `send_signal` raises."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Make the process end: SIGKILL.  Raises what `send_signal` raises."""
        self.send_signal(signal.SIGKILL)

    # The end of the process

    async def _watch(self) -> None:
        """Wait for the end of the process, or of the loop; the body of a kernel task."""
        watches = self._loop._child_watches
        with CancelScope() as scope:
            watches.add(scope)
            try:
                await self._until_exit()
            finally:
                watches.discard(scope)

    async def _until_exit(self) -> None:
        process = self._process
        if process._ending is not None:
            await process._ending.wait()
        somebody_was_faster = self._popen.returncode is None and not is_child(process.pid)
        code = await process.wait()
        if somebody_was_faster:
            # Popen makes it a 0, which means success.
            code = UNKNOWN
            logger.warning(
                "child process pid %d exit status already read: will report returncode %d", process.pid, code
            )
        self._returncode = code
        loop = self._loop
        if loop.is_closed():
            # There is nobody to tell; the run goes on, or is about to end.
            return
        if loop.get_debug():
            logger.info("%r exited with return code %r", self, code)
        # In callbacks of their own, so that what a protocol raises is reported and stops nothing.
        for pipe in self._pipes.values():
            loop.call_soon(pipe.catch_up)
        # A turn after them, behind the ends of the pipes that they have met.
        loop.call_soon(loop.call_soon, self._tell_exit)

    def _tell_exit(self) -> None:
        self._exit_told = True
        try:
            self._protocol.process_exited()
        finally:
            self._end_if_over()
            assert self._returncode is not None
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(self._returncode)
            self._waiters.clear()

    async def _wait(self) -> int:
        """Wait for the end of the process, not for its pipes, and return the return code.

        The standard library's Process.wait calls this.
        """
        if self._returncode is not None:
            return self._returncode
        waiter: asyncio.Future[int] = self._loop.create_future()
        self._waiters.append(waiter)
        return await waiter

    def _pipe_lost(self, fd: int, exc: BaseException | None) -> None:
        self._open_pipes.discard(fd)
        try:
            self._protocol.pipe_connection_lost(fd, exc)  # type: ignore[arg-type]  # asyncio passes what it has
        finally:
            self._end_if_over()

    def _end_if_over(self) -> None:
        if self._exit_told and not self._open_pipes and not self._lost:
            self._lost = True
            self._loop.call_soon(self._call_connection_lost)

    def _call_connection_lost(self) -> None:
        self._closed = True
        protocol = self._protocol
        # What leads from here to the protocol is a cycle with the way back.
        self._protocol = None  # type: ignore[assignment]  # as asyncio does
        protocol.connection_lost(None)

    # The end of the transport

    def is_closing(self) -> bool:
        """Return whether the transport was closed."""
        return self._closed

    def close(self) -> None:
        """Close the pipes, and kill the process if it has not ended.

        `connection_lost` follows when it has been reaped, so it leaves no zombie.  What waits to be written is written
        if the process has ended by itself, since others may have its pipes, and dropped if it is killed.
        Source: asyncio's documentation, `SubprocessTransport.close`.
        """
        if self._closed:
            return
        self._closed = True
        for pipe in self._pipes.values():
            pipe.close()
        if self._returncode is None and self._process.returncode is None:
            if self._loop.get_debug():
                logger.warning("Close running child process: kill %r", self)
            self._kill()
            stdin = self._pipes.get(STDIN)
            if isinstance(stdin, WritePipeTransport):
                stdin.abort()
            if self._loop.is_closed():
                self._reap()

    def _kill(self) -> None:
        try:
            # The one that get_extra_info("subprocess") shows: whoever replaces its method is asked.  It looks whether
            # the process has ended, as ours does.
            self._popen.kill()
        except (ProcessLookupError, PermissionError):
            # It belongs to another user, by setuid for instance.
            pass

    def _reap(self) -> None:
        """Wait for a process that was killed, where no loop does."""
        try:
            self._popen.wait(LAST_MOMENT)
        except subprocess.TimeoutExpired:
            # Popen keeps what is left to be reaped, and says so.
            pass

    # A default argument: at the interpreter's end the names of the module may be gone.
    def __del__(self, _warn: Any = warnings.warn) -> None:
        if self._closed or not hasattr(self, "_open_pipes"):
            return
        _warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=2)
        self._closed = True
        # As in pipe.py, the loop is left alone.
        for pipe in self._pipes.values():
            pipe.drop()
        if self._popen.poll() is None:
            self._kill()
            self._reap()


def is_child(pid: int) -> bool:
    """Return whether `pid` is a child of ours, running or not yet reaped; True if that cannot be known."""
    if not hasattr(os, "waitid"):
        return True
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True

