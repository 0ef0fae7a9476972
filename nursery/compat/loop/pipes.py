"""Pipes: connect_read_pipe and connect_write_pipe.

Invariant: a pipe that was refused still belongs to the caller; one that was taken over is closed with its transport.
"""

from __future__ import annotations

import asyncio
from asyncio.log import logger
from collections.abc import Callable
from typing import Any, TypeVar

from ..transports.pipe import PipeEnd, ReadPipeTransport, WritePipeTransport
from .state import LoopState

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)


class Pipes(LoopState):
    """Taking over one end of a pipe, a socket or a terminal."""

    async def connect_read_pipe(
        self, protocol_factory: Callable[[], ProtocolT], pipe: Any
    ) -> tuple[asyncio.ReadTransport, ProtocolT]:
        """Read from `pipe`, a file object, and return transport and protocol.

        The pipe becomes non-blocking, and belongs to the transport.  A character device that is always ready, such as
        /dev/null, is read as well (asyncio reports an error in a callback and reads nothing).
        Raises ValueError for what is no pipe, socket or character device, such as a regular file.
        Source: asyncio's documentation, `loop.connect_read_pipe`.
        """
        self._check_closed()
        protocol = protocol_factory()
        transport = ReadPipeTransport(self, pipe, protocol)
        await self._connect_pipe("Read", transport, protocol)
        return transport, protocol

    async def connect_write_pipe(
        self, protocol_factory: Callable[[], ProtocolT], pipe: Any
    ) -> tuple[asyncio.WriteTransport, ProtocolT]:
        """Write to `pipe`, a file object, and return transport and protocol.

        As `connect_read_pipe`; one descriptor may serve both, a terminal for example.
        Source: asyncio's documentation, `loop.connect_write_pipe`.
        """
        self._check_closed()
        protocol = protocol_factory()
        transport = WritePipeTransport(self, pipe, protocol)
        await self._connect_pipe("Write", transport, protocol)
        return transport, protocol

    async def _connect_pipe(self, direction: str, transport: PipeEnd, protocol: asyncio.BaseProtocol) -> None:
        connected: asyncio.Future[None] = self.create_future()
        self.call_soon(protocol.connection_made, transport)
        self.call_soon(transport.begin, connected)
        try:
            await connected
        except BaseException:
            transport.close()
            raise
        if self._debug:
            logger.debug("%s pipe connected: (%r, %r)", direction, transport, protocol)
