"""A process as asyncio shows it: with streams for its pipes.

Invariant: what `communicate` has received stays with the process until a call returns it, so that a call which was
cancelled, by a time limit for instance, loses no output.

The process itself is the transport's (transports/process.py), which waits for it by the native process.  The classes
extend asyncio's, so what a library does with its processes it can do with these.
"""

from __future__ import annotations

import asyncio
from asyncio import subprocess as stdlib_subprocess
from asyncio.log import logger
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias

from .stream import DEFAULT_LIMIT, StreamReader, StreamWriter
from .tasks import gather

Input: TypeAlias = "bytes | bytearray | memoryview"


class SubprocessStreamProtocol(stdlib_subprocess.SubprocessStreamProtocol):
    """What feeds the streams of a process from its transport."""

    if TYPE_CHECKING:
        _limit: int
        _loop: asyncio.AbstractEventLoop
        _transport: asyncio.SubprocessTransport
        _pipe_fds: list[int]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Make a stream for each pipe."""
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport
        stdin: Any = transport.get_pipe_transport(0)
        if stdin is not None:
            protocol: Any = self
            self.stdin = StreamWriter(stdin, protocol, None, self._loop)
        self.stdout = self._reader(1)
        self.stderr = self._reader(2)

    def _reader(self, fd: int) -> StreamReader | None:
        pipe = self._transport.get_pipe_transport(fd)
        if pipe is None:
            return None
        self._pipe_fds.append(fd)
        reader = StreamReader(limit=self._limit, loop=self._loop)
        reader.set_transport(pipe)
        return reader


class Process(stdlib_subprocess.Process):
    """A child process; made by `create_subprocess_exec` and `create_subprocess_shell`.

    Attributes: `pid`; `stdin`, a StreamWriter, `stdout` and `stderr`, StreamReaders, each of them None unless it was
    asked for with `PIPE`.

    Source: asyncio's documentation, `asyncio.subprocess.Process`.
    """

    if TYPE_CHECKING:
        _transport: Any
        _loop: asyncio.AbstractEventLoop

    def __init__(
        self, transport: asyncio.BaseTransport, protocol: asyncio.BaseProtocol, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(transport, protocol, loop)
        # What `communicate` has received and not returned.
        self._received: dict[int, list[bytes]] = {1: [], 2: []}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.pid}>"

    @property
    def returncode(self) -> int | None:
        """The exit status, the negative of the signal that ended the process, or None while it is not known to end."""
        code: int | None = self._transport.get_returncode()
        return code

    async def wait(self) -> int:
        """Wait until the process has ended, and return its `returncode`; any number of tasks may do so at once.

        Its pipes play no part: what it wrote can be read afterwards, and others may hold them open.  (Up to 3.14,
        asyncio's own waits for them as well, and for ever if nobody reads them.)
        A cancel point; a cancelled call leaves the process alone.

        Source: asyncio's documentation, `Process.wait`.
        """
        code: int = await self._transport._wait()
        return code

    def send_signal(self, signal: int) -> None:
        """Send a signal to the process.

        Raises ProcessLookupError if it is known to have ended; no other process gets the signal in its place.
        Source: asyncio's documentation, `Process.send_signal`.
        """
        self._transport.send_signal(signal)

    def terminate(self) -> None:
        """Ask the process to end: send SIGTERM, as `send_signal` does."""
        self._transport.terminate()

    def kill(self) -> None:
        """Make the process end: send SIGKILL, as `send_signal` does."""
        self._transport.kill()

    async def communicate(self, input: Input | None = None) -> tuple[bytes, bytes]:
        """Send `input`, close stdin, receive until stdout and stderr end, wait for the process; return what came.

        That the process does not read its input is no error.  What is no pipe comes back as None.

        A cancel point; a cancelled call leaves the process alone, and what it has received is returned by the next.

        Example::

            process = await asyncio.create_subprocess_exec("sort", stdin=PIPE, stdout=PIPE)
            try:
                out, _ = await asyncio.wait_for(process.communicate(data), 5)
            except TimeoutError:
                process.kill()
                out, _ = await process.communicate()

        Source: asyncio's documentation, `Process.communicate`.
        """
        work: list[Coroutine[Any, Any, None]] = []
        if self.stdin is not None:
            work.append(self._send(self.stdin, input))
        for fd, stream in ((1, self.stdout), (2, self.stderr)):
            if stream is not None:
                work.append(self._receive(fd, stream))
        if len(work) == 1:
            await work[0]
        elif work:
            await gather(*work)
        await self.wait()
        out: Any = self._take(1, self.stdout)
        err: Any = self._take(2, self.stderr)
        return out, err

    async def _send(self, stdin: asyncio.StreamWriter, data: Input | None) -> None:
        debug = self._loop.get_debug()
        try:
            if data is not None:
                stdin.write(data)
                if debug:
                    logger.debug("%r communicate: feed stdin (%s bytes)", self, len(data))
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as exc:
            if debug:
                logger.debug("%r communicate: stdin got %r", self, exc)
        if debug:
            logger.debug("%r communicate: close stdin", self)
        stdin.close()

    async def _receive(self, fd: int, stream: asyncio.StreamReader) -> None:
        pieces = self._received[fd]
        # Of any size: a pipe does not give more at once.
        while piece := await stream.read(DEFAULT_LIMIT):
            pieces.append(piece)
        if self._loop.get_debug():
            logger.debug("%r communicate: close %s", self, "stdout" if fd == 1 else "stderr")
        pipe = self._transport.get_pipe_transport(fd)
        if pipe is not None:
            pipe.close()

    def _take(self, fd: int, stream: asyncio.StreamReader | None) -> bytes | None:
        if stream is None:
            return None
        pieces = self._received[fd]
        data = b"".join(pieces)
        pieces.clear()
        return data
