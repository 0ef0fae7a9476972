"""websockets: its asyncio client and server, and its threaded ones as foreign peers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import pytest
import websockets
import websockets.sync.client
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, broadcast, serve

import nursery
from tests.libraries.certificates import Certificates
from tests.libraries.on_our_loop import asyncio_test, mixed_test

Connection: TypeAlias = ServerConnection


async def shout(connection: Connection) -> None:
    """Send each message back in capitals."""
    async for message in connection:
        await connection.send(message.upper())


@asynccontextmanager
async def shouting() -> AsyncIterator[str]:
    async with serve(shout, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asyncio_test
async def test_messages_go_both_ways() -> None:
    async with shouting() as url, connect(url) as connection:
        for word in ("hello", "goodbye"):
            await connection.send(word)
            assert await connection.recv() == word.upper()
        await (await connection.ping())


@asyncio_test
async def test_a_foreign_client_is_served() -> None:
    def talk(url: str) -> object:
        with websockets.sync.client.connect(url) as connection:
            connection.send("hello")
            return connection.recv()

    async with shouting() as url:
        assert await asyncio.to_thread(talk, url) == "HELLO"


@asyncio_test
async def test_tls(certificates: Certificates) -> None:
    async with serve(shout, "127.0.0.1", 0, ssl=certificates.server) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"wss://127.0.0.1:{port}", ssl=certificates.client) as connection:
            await connection.send("hello")
            assert await connection.recv() == "HELLO"


@asyncio_test
async def test_a_large_message_passes_in_fragments() -> None:
    message = "word " * 200_000

    async with serve(shout, "127.0.0.1", 0, max_size=None) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with connect(url, max_size=None) as connection:
            await connection.send(message[start : start + 50_000] for start in range(0, len(message), 50_000))
            assert await connection.recv() == message.upper()


@asyncio_test
async def test_a_server_that_closes_tells_its_clients() -> None:
    async with serve(shout, "127.0.0.1", 0) as server:
        async with connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}") as connection:
            server.close()
            with pytest.raises(websockets.ConnectionClosedOK):
                await connection.recv()
            assert connection.close_code == 1001


@asyncio_test
async def test_cancel_ends_a_recv_and_the_connection_goes_on() -> None:
    async with shouting() as url, connect(url) as connection:
        receiving = asyncio.create_task(connection.recv())
        await asyncio.sleep(0.01)
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        await connection.send("hello")
        assert await connection.recv() == "HELLO"


@mixed_test
async def test_a_scope_ends_a_recv_and_the_connection_goes_on() -> None:
    async with shouting() as url, connect(url) as connection:
        for _ in range(3):
            with nursery.move_on_after(0.01) as scope:
                await connection.recv()
            assert scope.cancelled_caught
        await connection.send("hello")
        assert await connection.recv() == "HELLO"


@mixed_test
async def test_a_connection_closes_properly_in_a_cancelled_scope() -> None:
    codes: list[int | None] = []

    async def remember(connection: Connection) -> None:
        await connection.wait_closed()
        codes.append(connection.close_code)

    async with serve(remember, "127.0.0.1", 0) as server:
        with nursery.move_on_after(0.02) as scope:
            async with connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}") as connection:
                await connection.recv()
        assert scope.cancelled_caught
    # The library's code for a block that was left by an error.
    assert codes == [1011]


@mixed_test
async def test_a_handler_speaks_and_listens_in_a_nursery() -> None:
    async def tell_and_listen(connection: Connection) -> None:
        sender, receiver = nursery.open_memory_channel[str](10)

        async def tell() -> None:
            async for text in receiver:
                await connection.send(f"told: {text}")

        async with nursery.open_nursery() as children:
            children.start_soon(tell)
            async with sender:
                async for message in connection:
                    await sender.send(message)

    async with serve(tell_and_listen, "127.0.0.1", 0) as server:
        async with connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}") as connection:
            for word in ("one", "two"):
                await connection.send(word)
            assert [await connection.recv(), await connection.recv()] == ["told: one", "told: two"]


@mixed_test
async def test_native_children_each_have_a_connection() -> None:
    heard: list[object] = []

    async def talk(number: int) -> None:
        async with connect(url) as connection:
            await connection.send(f"child {number}")
            heard.append(await connection.recv())

    async with shouting() as url:
        with nursery.fail_after(5):
            async with nursery.open_nursery() as children:
                for number in range(10):
                    children.start_soon(talk, number)
    assert sorted(map(str, heard)) == [f"CHILD {number}" for number in range(10)]


@mixed_test
async def test_a_broadcast_reaches_every_native_child() -> None:
    heard: list[object] = []
    connections: set[Connection] = set()

    async def join(connection: Connection) -> None:
        connections.add(connection)
        await connection.wait_closed()

    async def listen(task_status: nursery.TaskStatus[None] = nursery.TASK_STATUS_IGNORED) -> None:
        async with connect(url) as connection:
            task_status.started()
            heard.append(await connection.recv())

    async with serve(join, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with nursery.open_nursery() as children:
            for _ in range(5):
                await children.start(listen)
            while len(connections) < 5:
                await nursery.sleep(0.001)
            broadcast(connections, "news")
    assert heard == ["news"] * 5
