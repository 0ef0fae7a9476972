"""Datagram echo servers: one socket that serves all clients, and answers whoever has sent."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from benchmarks.client_process import ClientProcess
from benchmarks.dialect import Dialect
from benchmarks.echo_client import GOODBYE
from benchmarks.expect import expect
from benchmarks.meter import Meter
from benchmarks.systems import PROTOCOL_LOOPS, Program, on_dialects, on_loops
from benchmarks.wire import HOST

MOST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Datagrams:
    """A datagram of `size` bytes goes to and fro for each of so many clients."""

    size: int
    clients: int

    def programs(self) -> dict[str, Program]:
        return (
            on_dialects(self.in_dialect)
            | on_loops(self.in_asyncio_protocol, PROTOCOL_LOOPS)
            | {"epoll": self.in_epoll}
        )

    async def in_dialect(self, lib: Dialect, meter: Meter) -> None:
        with self._client(meter) as client, lib.socket.from_stdlib_socket(_bound()) as sock:
            client.connect(sock.getsockname())
            goodbyes = 0
            while goodbyes < self.clients:
                data, address = await sock.recvfrom(MOST)
                if data == GOODBYE:
                    goodbyes += 1
                else:
                    await sock.sendto(data, address)

    async def in_asyncio_protocol(self, meter: Meter) -> None:
        clients = self.clients
        all_gone = asyncio.Event()

        class EchoProtocol(asyncio.DatagramProtocol):
            transport: asyncio.DatagramTransport
            goodbyes = 0

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                # Not every loop's transport is an instance of asyncio's class.
                self.transport = cast(asyncio.DatagramTransport, transport)

            def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
                if data == GOODBYE:
                    self.goodbyes += 1
                    if self.goodbyes == clients:
                        all_gone.set()
                else:
                    self.transport.sendto(data, addr)

        loop = asyncio.get_running_loop()
        sock = _bound()
        with self._client(meter) as client:
            transport, protocol = await loop.create_datagram_endpoint(EchoProtocol, sock=sock)
            client.connect(sock.getsockname())
            await all_gone.wait()
            transport.close()
        expect("clients that said goodbye", protocol.goodbyes, clients)

    def in_epoll(self, meter: Meter) -> None:
        with self._client(meter) as client, _bound() as sock, select.epoll() as epoll:
            sock.setblocking(False)
            epoll.register(sock, select.EPOLLIN | select.EPOLLET)
            client.connect(sock.getsockname())
            goodbyes = 0
            while goodbyes < self.clients:
                epoll.poll()
                try:
                    while True:
                        data, address = sock.recvfrom(MOST)
                        if data == GOODBYE:
                            goodbyes += 1
                        else:
                            sock.sendto(data, address)
                except BlockingIOError:
                    pass

    @contextmanager
    def _client(self, meter: Meter) -> Iterator[ClientProcess]:
        with ClientProcess("udp", self.size, self.clients, meter.seconds) as client:
            yield client
            meter.record(*client.result())


def _bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((HOST, 0))
    return sock
