"""A pipe that tells when the last of a family of processes is gone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator

from nursery.streams.fd_stream import FdStream


class Witness:
    """Ends when every process that was given `fd` has ended."""

    def __init__(self, stream: FdStream, fd: int) -> None:
        self.fd = fd
        self._stream = stream

    async def says(self) -> bytes:
        """Wait for something that one of them writes."""
        return await self._stream.receive_some()

    async def all_gone(self) -> None:
        """Wait until none of them is left."""
        while await self._stream.receive_some():
            pass


@contextlib.asynccontextmanager
async def witness() -> AsyncGenerator[Witness, None]:
    """Make a witness; close its `fd` on our side once the processes are started."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    async with FdStream(read) as stream:
        try:
            yield Witness(stream, write)
        finally:
            with contextlib.suppress(OSError):
                os.close(write)
