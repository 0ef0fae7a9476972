"""Echo servers. Each serves one client, which is a process of its own and does the measuring."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

from benchmarks.client_process import ClientProcess
from benchmarks.dialect import Dialect, Nursery, Stream
from benchmarks.expect import expect
from benchmarks.meter import Meter
from benchmarks.systems import (
    LOOPS_AND_COMPAT,
    PROTOCOL_LOOPS,
    Program,
    on_dialects,
    on_loops,
)
from benchmarks.workloads import echo_epoll

HOST = "127.0.0.1"
READ = 64 * 1024


@dataclass(frozen=True, slots=True)
class Echo:
    """A message of `size` bytes goes to and fro on each of so many connections."""

    size: int
    connections: int

    def programs(self) -> dict[str, Program]:
        return (
            on_dialects(self.in_dialect)
            | on_loops(self.in_asyncio_streams, LOOPS_AND_COMPAT)
            | on_loops(self.in_asyncio_protocol, PROTOCOL_LOOPS)
            | {"epoll": self.in_epoll}
        )

    async def in_dialect(self, lib: Dialect, meter: Meter) -> None:
        server: Nursery
        served = 0

        async def handler(stream: Stream) -> None:
            nonlocal served
            async for data in stream:
                await stream.send_all(data)
            served += 1
            if served == self.connections:
                server.cancel_scope.cancel()

        with self._client(meter) as client:
            async with lib.open_nursery() as server:
                serve = partial(lib.serve_tcp, handler, 0, host=HOST)
                listeners = await server.start(serve)
                client.connect(listeners[0].socket.getsockname()[1])
        expect("connections served", served, self.connections)

    async def in_asyncio_streams(self, meter: Meter) -> None:
        served = 0
        all_served = asyncio.Event()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal served
            while data := await reader.read(READ):
                writer.write(data)
                await writer.drain()
            writer.close()
            served += 1
            if served == self.connections:
                all_served.set()

        with self._client(meter) as client:
            async with await asyncio.start_server(handler, HOST, 0) as server:
                client.connect(server.sockets[0].getsockname()[1])
                await all_served.wait()
        expect("connections served", served, self.connections)

    async def in_asyncio_protocol(self, meter: Meter) -> None:
        connections = self.connections
        served = 0
        all_served = asyncio.Event()

        class EchoProtocol(asyncio.Protocol):
            transport: asyncio.Transport

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                # Not every loop's transport is an instance of asyncio's class.
                self.transport = cast(asyncio.Transport, transport)

            def data_received(self, data: bytes) -> None:
                self.transport.write(data)

            def connection_lost(self, exc: Exception | None) -> None:
                nonlocal served
                served += 1
                if served == connections:
                    all_served.set()

        loop = asyncio.get_running_loop()
        with self._client(meter) as client:
            async with await loop.create_server(EchoProtocol, HOST, 0) as server:
                client.connect(server.sockets[0].getsockname()[1])
                await all_served.wait()
        expect("connections served", served, connections)

    def in_epoll(self, meter: Meter) -> None:
        with self._client(meter) as client:
            echo_epoll.serve(HOST, self.connections, client.connect)

    @contextmanager
    def _client(self, meter: Meter) -> Iterator[ClientProcess]:
        client = ClientProcess(HOST, self.size, self.connections, meter.seconds)
        with client:
            yield client
            meter.record(*client.result())
