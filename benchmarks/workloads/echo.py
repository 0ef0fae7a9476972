"""Echo servers. Each serves one client, which is a process of its own and does the measuring."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

from benchmarks.client_process import ClientProcess
from benchmarks.dialect import Dialect, Listener, Nursery, Stream
from benchmarks.expect import expect
from benchmarks.meter import Meter
from benchmarks.systems import (
    LOOPS_AND_COMPAT,
    PROTOCOL_LOOPS,
    Program,
    in_facade,
    on_dialects,
    on_loops,
)
from benchmarks.wire import TCP, TLS, UNIX, Wire
from benchmarks.workloads import echo_epoll

READ = 64 * 1024


@dataclass(frozen=True, slots=True)
class Echo:
    """A message of `size` bytes goes to and fro on each of so many connections."""

    size: int
    connections: int
    wire: Wire = TCP

    def programs(self) -> dict[str, Program]:
        programs = (
            on_dialects(self.in_dialect)
            | in_facade(self.in_asyncio_streams)
            | on_loops(self.in_asyncio_streams, LOOPS_AND_COMPAT)
            | on_loops(self.in_asyncio_protocol, PROTOCOL_LOOPS)
        )
        if self.wire is not TLS:
            programs["epoll"] = self.in_epoll
        return programs

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

        sock = self.wire.listen()
        listener: Listener = lib.SocketListener(lib.socket.from_stdlib_socket(sock))
        context = self.wire.server_context()
        if context is not None:
            listener = lib.SSLListener(listener, context)
        with self._client(meter) as client:
            async with lib.open_nursery() as server:
                await server.start(partial(lib.serve_listeners, handler, [listener]))
                client.connect(sock.getsockname())
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

        sock, context = self.wire.listen(), self.wire.server_context()
        start = asyncio.start_unix_server if self.wire is UNIX else asyncio.start_server
        with self._client(meter) as client:
            async with await start(handler, sock=sock, ssl=context):
                client.connect(sock.getsockname())
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
        sock, context = self.wire.listen(), self.wire.server_context()
        create = loop.create_unix_server if self.wire is UNIX else loop.create_server
        with self._client(meter) as client:
            async with await create(EchoProtocol, sock=sock, ssl=context):
                client.connect(sock.getsockname())
                await all_served.wait()
        expect("connections served", served, connections)

    def in_epoll(self, meter: Meter) -> None:
        with self._client(meter) as client, self.wire.listen() as listener:
            client.connect(listener.getsockname())
            echo_epoll.serve(listener, self.connections)

    @contextmanager
    def _client(self, meter: Meter) -> Iterator[ClientProcess]:
        client = ClientProcess(self.wire.name, self.size, self.connections, meter.seconds)
        with client:
            yield client
            meter.record(*client.result())
