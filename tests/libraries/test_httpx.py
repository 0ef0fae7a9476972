"""httpx, and httpcore below it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpcore
import httpx
import pytest

import nursery
from tests.libraries.foreign_http import ForeignServer
from tests.libraries.on_our_loop import asyncio_test, mixed_test

ONE_CONNECTION = httpx.Limits(max_connections=1, max_keepalive_connections=1)


def one_connection() -> httpx.AsyncClient:
    """A client whose pool has room for one connection: one that is not given back is missed at once."""
    return httpx.AsyncClient(limits=ONE_CONNECTION, timeout=5)


async def text(client: httpx.AsyncClient, url: str) -> str:
    body: str = (await client.get(url)).text
    return body


@asyncio_test
async def test_a_client_keeps_its_connection_to_a_foreign_server(foreign_server: ForeignServer) -> None:
    async with httpx.AsyncClient() as client:
        for path in ("/one", "/two", "/three"):
            assert await text(client, foreign_server.url + path) == f"hello from {path}"
    assert foreign_server.accepted == 1


@asyncio_test
async def test_a_large_body_comes_back_whole(foreign_server: ForeignServer) -> None:
    body = bytes(range(256)) * 20_000

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    async with httpx.AsyncClient() as client:
        headers = {"Content-Length": str(len(body))}
        response = await client.post(f"{foreign_server.url}/echo", content=in_pieces(), headers=headers)
    assert response.content == body


@asyncio_test
async def test_a_time_limit_of_the_client_frees_the_connection(foreign_server: ForeignServer) -> None:
    async with one_connection() as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get(f"{foreign_server.url}/slow", timeout=0.05)
        assert await text(client, f"{foreign_server.url}/next") == "hello from /next"


@asyncio_test
async def test_cancel_ends_a_request_and_the_pool_goes_on(foreign_server: ForeignServer) -> None:
    async with one_connection() as client:
        assert await text(client, f"{foreign_server.url}/first") == "hello from /first"
        request = asyncio.create_task(text(client, f"{foreign_server.url}/slow"))
        await asyncio.to_thread(foreign_server.server.slow_requests.acquire)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert await text(client, f"{foreign_server.url}/next") == "hello from /next"


@mixed_test
async def test_a_scope_ends_a_request_and_the_pool_goes_on(foreign_server: ForeignServer) -> None:
    async with one_connection() as client:
        for _ in range(3):
            with nursery.move_on_after(0.02) as scope:
                await text(client, f"{foreign_server.url}/slow")
            assert scope.cancelled_caught
        assert await text(client, f"{foreign_server.url}/next") == "hello from /next"


@mixed_test
async def test_a_scope_that_is_cancelled_beforehand_leaves_the_pool_whole(foreign_server: ForeignServer) -> None:
    async with one_connection() as client:
        with nursery.CancelScope() as scope:
            scope.cancel()
            await text(client, f"{foreign_server.url}/never")
        assert scope.cancelled_caught
        assert await text(client, f"{foreign_server.url}/next") == "hello from /next"


@mixed_test
async def test_children_of_a_nursery_share_a_client(foreign_server: ForeignServer) -> None:
    said: list[str] = []

    async def child(number: int) -> None:
        said.append(await text(client, f"{foreign_server.url}/{number}"))

    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=3)) as client:
        async with nursery.open_nursery() as children:
            for number in range(12):
                children.start_soon(child, number)
        assert sorted(said) == sorted(f"hello from /{number}" for number in range(12))
        assert await text(client, f"{foreign_server.url}/next") == "hello from /next"
    assert foreign_server.accepted <= 3


@mixed_test
async def test_the_first_answer_cancels_the_other_requests(foreign_server: ForeignServer) -> None:
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=3)) as client:
        sender, receiver = nursery.open_memory_channel[str](0)

        async def ask(path: str) -> None:
            await sender.send(await text(client, foreign_server.url + path))

        async with nursery.open_nursery() as children:
            for path in ("/slow", "/slow", "/fast"):
                children.start_soon(ask, path)
            first = await receiver.receive()
            children.cancel_scope.cancel()
        assert first == "hello from /fast"
        with nursery.fail_after(5):
            for _ in range(3):
                assert await text(client, f"{foreign_server.url}/next") == "hello from /next"


@mixed_test
async def test_a_native_channel_feeds_an_upload_and_a_download_feeds_a_channel(foreign_server: ForeignServer) -> None:
    upload, uploaded = nursery.open_memory_channel[bytes](0)
    download, downloaded = nursery.open_memory_channel[bytes](0)

    async def produce() -> None:
        async with upload:
            for number in range(10):
                await upload.send(bytes([number]) * 1000)

    async def body() -> AsyncIterator[bytes]:
        async for chunk in uploaded:
            yield chunk

    async def transfer() -> None:
        async with download, httpx.AsyncClient() as client:
            headers = {"Content-Length": "10000"}
            url = f"{foreign_server.url}/echo"
            async with client.stream("POST", url, content=body(), headers=headers) as response:
                async for chunk in response.aiter_bytes():
                    await download.send(chunk)

    async with nursery.open_nursery() as children:
        children.start_soon(produce)
        children.start_soon(transfer)
        received = b"".join([chunk async for chunk in downloaded])
    assert received == b"".join(bytes([number]) * 1000 for number in range(10))


@mixed_test
async def test_httpcores_pool_has_no_connection_in_use_after_a_cut(foreign_server: ForeignServer) -> None:
    async with httpcore.AsyncConnectionPool(max_connections=1) as pool:
        with nursery.move_on_after(0.03) as scope:
            await pool.request("GET", f"{foreign_server.url}/slow")
        assert scope.cancelled_caught
        # What it waited for has been closed and forgotten.
        assert pool.connections == []
        response = await pool.request("GET", f"{foreign_server.url}/next")
        assert response.content == b"hello from /next"
        assert [connection.is_idle() for connection in pool.connections] == [True]
