"""Servers: who is counted, who is waited for, and what a bad connection or a bad descriptor does to the others."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
import socket
import sys
from typing import Any

import pytest

from nursery.compat.loop import server as server_module
from tests.compat.transports.tls_ends import Recorder, as_client, calling, connected, receive_all, reports
from tests.compat.two_loops import LoopFactory, on_both, run, run_on
from tests.tls.certificates import server_context


class Accepting:
    """A factory of protocols that remembers what it has made."""

    def __init__(self) -> None:
        self.protocols: list[Recorder] = []
        self.accepted = asyncio.Event()

    def __call__(self) -> Recorder:
        self.protocols.append(Recorder())
        self.accepted.set()
        return self.protocols[-1]


async def serve(factory: Any = None, **options: Any) -> Any:
    return await asyncio.get_running_loop().create_server(factory or Recorder, "127.0.0.1", 0, **options)


async def connect(server: Any) -> Recorder:
    """Connect to a server and return the client's protocol."""
    _, protocol = await asyncio.get_running_loop().create_connection(Recorder, *server.sockets[0].getsockname())
    return protocol


@on_both
def test_a_server_counts_its_connections(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        server = await serve(start_serving=False)
        assert not server.is_serving()
        await server.start_serving()
        await server.start_serving()
        assert server.is_serving()
        assert server.get_loop() is asyncio.get_running_loop()
        client = await connect(server)
        await asyncio.sleep(0.002)
        server.close()
        server.close()
        assert server.sockets == ()
        assert not server.is_serving()
        waiting = asyncio.ensure_future(server.wait_closed())
        if sys.version_info >= (3, 12):
            await asyncio.sleep(0.002)
            assert not waiting.done()
        client.transport.close()
        await client.lost
        await waiting
        await server.wait_closed()

    run_on(loop_factory, main())


@on_both
def test_a_server_that_was_not_closed_is_waited_for(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        server = await serve()
        waiting = asyncio.ensure_future(server.wait_closed())
        await asyncio.sleep(0.002)
        assert sys.version_info < (3, 12) or not waiting.done()
        server.close()
        await waiting

    run_on(loop_factory, main())


@on_both
def test_sockets_are_those_that_are_listened_on(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        async with await asyncio.get_running_loop().create_server(Recorder, sock=sock) as server:
            (shown,) = server.sockets
            assert isinstance(server.sockets, tuple)
            assert shown.fileno() == sock.fileno()
            assert "sockets" in repr(server)

    run_on(loop_factory, main())


@on_both
def test_serve_forever_ends_when_cancelled_and_closes_the_server(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        server = await serve(start_serving=False)
        serving = asyncio.ensure_future(server.serve_forever())
        await asyncio.sleep(0)
        assert server.is_serving()
        with pytest.raises(RuntimeError, match="already being awaited"):
            await server.serve_forever()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert server.sockets == ()
        with pytest.raises(RuntimeError, match="is closed"):
            await server.serve_forever()

    run_on(loop_factory, main())


def test_serve_forever_ends_when_cancelled_although_a_client_is_idle() -> None:
    async def main() -> None:
        server = await serve(start_serving=False)
        serving = asyncio.ensure_future(server.serve_forever())
        await asyncio.sleep(0)
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.setblocking(False)
            while not server._active:
                await asyncio.sleep(0.001)
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
            if sys.version_info >= (3, 12):
                assert await asyncio.get_running_loop().sock_recv(client, 1) == b""

    run(main())


@on_both
def test_serve_forever_ends_when_the_server_is_closed(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        server = await serve()
        serving = asyncio.ensure_future(server.serve_forever())
        await asyncio.sleep(0)
        server.close()
        with pytest.raises(asyncio.CancelledError):
            await serving

    run_on(loop_factory, main())


def test_a_closed_server_cannot_be_started() -> None:
    async def main() -> None:
        server = await serve(start_serving=False)
        server.close()
        with pytest.raises(RuntimeError, match="is closed"):
            await server.start_serving()

    run(main())


def test_clients_are_closed_with_their_data_sent() -> None:
    size = 3_000_000

    async def main() -> None:
        accepting = Accepting()
        async with await serve(accepting) as server:
            client = await connect(server)
            await accepting.accepted.wait()
            await accepting.protocols[0].made.wait()
            accepting.protocols[0].transport.write(b"x" * size)
            server.close_clients()
            assert await client.lost is None
            assert len(client.data) == size

    run(main())


def test_clients_of_tls_are_closed_with_a_goodbye() -> None:
    def program(sock: socket.socket) -> bytes:
        tls = as_client(sock)
        tls.sendall(b"hello")
        # An end without a goodbye would be an error.
        data = receive_all(tls)
        tls.unwrap()
        return data

    async def main() -> None:
        accepting = Accepting()
        async with await serve(accepting, ssl=server_context()) as server:
            async with calling(program, server.sockets[0].getsockname()):
                await accepting.accepted.wait()
                await accepting.protocols[0].until(5)
                server.close_clients()
                assert await accepting.protocols[0].lost is None

    run(main())


def test_clients_are_aborted() -> None:
    async def main() -> None:
        accepting = Accepting()
        async with await serve(accepting) as server:
            client = await connect(server)
            client.transport.pause_reading()
            await accepting.accepted.wait()
            await accepting.protocols[0].made.wait()
            accepting.protocols[0].transport.write(b"x" * 9_000_000)
            server.abort_clients()
            assert await accepting.protocols[0].lost is None
            client.transport.abort()
            await client.lost
        async with connected() as ends:
            ends.server.abort_clients()
            assert ends.served.transport.is_closing()
            assert await ends.served.lost is None

    run(main())


def test_many_connections_at_once_are_all_accepted() -> None:
    async def main() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            writer.close()
            await writer.wait_closed()

        async def ask(number: int) -> bytes:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"%d\n" % number)
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

        server: Any = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=50)
        # Fewer are accepted in one turn than come at once.
        server._backlog = 7
        address = server.sockets[0].getsockname()
        answers = await asyncio.gather(*[ask(number) for number in range(50)])
        assert answers == [b"%d\n" % number for number in range(50)]
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.002)

    run(main())


def test_a_factory_that_fails_costs_its_own_connection_only() -> None:
    async def main() -> None:
        accepting = Accepting()
        fail = True

        def factory() -> Recorder:
            if fail:
                raise LookupError("no protocol")
            return accepting()

        async with await serve(factory) as server:
            with reports() as told:
                client = await connect(server)
                assert await client.lost is None
            assert [report["message"] for report in told] == ["Error on transport creation for incoming connection"]
            fail = False
            client = await connect(server)
            await accepting.accepted.wait()
            client.transport.close()
            await client.lost

    run(main())


class Deceptive:
    """A listening socket whose accept() raises first."""

    def __init__(self, sock: socket.socket, *errors: OSError) -> None:
        self._sock = sock
        self._errors = list(errors)

    def accept(self) -> Any:
        if self._errors:
            raise self._errors.pop(0)
        return self._sock.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def deceive(server: Any, *errors: OSError) -> None:
    (listener,) = server._listeners
    listener.sock = Deceptive(listener.sock, *errors)


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.ENETUNREACH, errno.EPERM])
def test_a_connection_that_ended_while_it_waited_does_not_end_the_server(number: int) -> None:
    async def main() -> None:
        async with await serve() as server:
            deceive(server, OSError(number, "gone"), OSError(number, "gone"))
            with reports() as told:
                client = await connect(server)
                client.transport.close()
                await client.lost
            assert not told

    run(main())


def test_a_system_out_of_descriptors_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "RETRY_AFTER", 0.05)

    async def main() -> None:
        accepting = Accepting()
        async with await serve(accepting) as server:
            deceive(server, OSError(errno.EMFILE, "too many open files"))
            with reports() as told:
                client = await connect(server)
                while not told:
                    await asyncio.sleep(0)
                assert not accepting.protocols
                assert [report["message"] for report in told] == ["socket.accept() out of system resource"]
                await accepting.accepted.wait()
            assert len(told) == 1
            client.transport.close()
            await client.lost

    run(main())


def test_a_listening_descriptor_that_was_closed_behind_the_loops_back_is_reported_once() -> None:
    async def main() -> None:
        server = await serve()
        deceive(server, *[OSError(errno.EBADF, "bad descriptor")] * 100)
        with reports() as told:
            with socket.create_connection(server.sockets[0].getsockname()):
                for _ in range(10):
                    await asyncio.sleep(0.001)
        assert len(told) == 1
        assert told[0]["exception"].errno == errno.EBADF
        server.close()
        await server.wait_closed()

    run(main())


def test_closing_a_server_whose_descriptor_is_gone_is_no_error() -> None:
    async def main() -> None:
        server = await serve()
        os.close(server.sockets[0].fileno())
        server.close()
        await server.wait_closed()

    run(main())


def test_each_connection_has_a_context_of_its_own() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")
    seen: list[str] = []

    def factory() -> Recorder:
        seen.append(name.get())
        name.set(f"connection {len(seen)}")
        return Named()

    class Named(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.events.append(name.get())
            self.transport.write(name.get().encode())

    async def main() -> None:
        name.set("whoever makes the server")
        server = await serve(factory, start_serving=False)
        name.set("whoever starts it")
        async with server:
            await server.start_serving()
            for number in (1, 2):
                client = await connect(server)
                client.transport.write(b"?")
                assert await client.until(12) == f"connection {number}".encode()
                client.transport.close()
                await client.lost
        assert seen == ["whoever makes the server"] * 2

    run(main())


def test_a_servers_context_is_shown_and_checked() -> None:
    async def main() -> None:
        context = server_context()
        async with await serve(ssl=context) as server:
            # tornado and aiohttp look here.
            assert server._ssl_context is context
        async with await serve() as server:
            assert server._ssl_context is None
        with pytest.raises(TypeError, match="ssl argument must be an SSLContext or None"):
            await serve(ssl=True)
        with pytest.raises(TypeError, match="SSLContext"):
            await serve(ssl="context")
        for limit in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
            with pytest.raises(ValueError, match=f"{limit} should be a positive number, got 0"):
                await serve(ssl=context, **{limit: 0})
            with pytest.raises(ValueError, match=f"{limit} is only meaningful with ssl"):
                await serve(**{limit: 1})

    run(main())


def test_a_server_that_is_closed_during_a_handshake_waits_for_it() -> None:
    async def main() -> None:
        server = await serve(ssl=server_context(), ssl_handshake_timeout=0.01)
        with socket.create_connection(server.sockets[0].getsockname()):
            await asyncio.sleep(0.002)
            server.close()
            await server.wait_closed()

    run(main())
