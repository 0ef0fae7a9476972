"""aiohttp: client, server and websockets."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import nursery
from tests.libraries.certificates import Certificates
from tests.libraries.foreign_http import ForeignServer, fetch
from tests.libraries.on_our_loop import asyncio_test, mixed_test

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def hello(request: web.Request) -> web.Response:
    return web.Response(text=f"hello from {request.path}")


@asynccontextmanager
async def serving(
    pages: dict[str, Handler], tls: ssl.SSLContext | None = None, handler_cancellation: bool = False
) -> AsyncIterator[str]:
    """Serve the pages on a free port; gives the URL."""
    app = web.Application()
    for path, handler in pages.items():
        app.router.add_route("*", path, handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=handler_cancellation)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        port = runner.addresses[0][1]
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def one_connection() -> aiohttp.ClientSession:
    """A session whose pool has room for one connection: one that is not given back is missed at once."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1))


async def text(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as response:
        body: str = await response.text()
        return body


@asyncio_test
async def test_a_client_keeps_its_connection_to_a_foreign_server(foreign_server: ForeignServer) -> None:
    async with aiohttp.ClientSession() as session:
        for path in ("/one", "/two", "/three"):
            assert await text(session, foreign_server.url + path) == f"hello from {path}"
    assert foreign_server.accepted == 1


@asyncio_test
async def test_a_server_answers_a_foreign_client() -> None:
    async with serving({"/page": hello}) as url:
        assert await asyncio.to_thread(fetch, int(url.rpartition(":")[2]), "/page") == b"hello from /page"


@asyncio_test
async def test_many_requests_at_once_share_a_small_pool() -> None:
    async def double(request: web.Request) -> web.Response:
        await asyncio.sleep(0)
        return web.json_response({"twice": 2 * (await request.json())["number"]})

    async def ask(number: int) -> int:
        async with session.post(f"{url}/double", json={"number": number}) as response:
            answer: int = (await response.json())["twice"]
            return answer

    async with serving({"/double": double}) as url:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=5)) as session:
            answers = await asyncio.gather(*(ask(number) for number in range(100)))
    assert answers == [2 * number for number in range(100)]


@asyncio_test
async def test_a_large_body_comes_back_whole() -> None:
    body = bytes(range(256)) * 20_000

    async def send_back(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for chunk in request.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    async with serving({"/echo": send_back}) as url, aiohttp.ClientSession() as session:
        async with session.post(f"{url}/echo", data=in_pieces()) as response:
            assert await response.read() == body


@asyncio_test
async def test_a_file_is_served(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4_000
    (tmp_path / "file.bin").write_bytes(content)

    async def file(request: web.Request) -> web.FileResponse:
        return web.FileResponse(tmp_path / "file.bin")

    async with serving({"/file": file}) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/file") as response:
            assert await response.read() == content
        async with session.get(f"{url}/file", headers={"Range": "bytes=10-19"}) as response:
            assert response.status == 206
            assert await response.read() == content[10:20]


@asyncio_test
async def test_tls(certificates: Certificates) -> None:
    async with serving({"/page": hello}, certificates.server) as url:
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                async with session.get(f"{url}/page", ssl=certificates.client) as response:
                    assert await response.text() == "hello from /page"
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get(f"{url}/page")


@asyncio_test
async def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    app = web.Application()
    app.router.add_get("/page", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, path).start()
    try:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:
            assert await text(session, "http://localhost/page") == "hello from /page"
    finally:
        await runner.cleanup()


@asyncio_test
async def test_a_time_limit_of_the_client_frees_the_connection(foreign_server: ForeignServer) -> None:
    async with one_connection() as session:
        with pytest.raises(TimeoutError):
            await session.get(f"{foreign_server.url}/slow", timeout=aiohttp.ClientTimeout(total=0.05))
        assert await text(session, f"{foreign_server.url}/next") == "hello from /next"


@asyncio_test
async def test_cancel_ends_a_request_and_the_pool_goes_on(foreign_server: ForeignServer) -> None:
    async with one_connection() as session:
        assert await text(session, f"{foreign_server.url}/first") == "hello from /first"
        request = asyncio.create_task(text(session, f"{foreign_server.url}/slow"))
        await asyncio.to_thread(foreign_server.server.slow_requests.acquire)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert await text(session, f"{foreign_server.url}/next") == "hello from /next"


@mixed_test
async def test_a_scope_ends_a_request_and_the_pool_goes_on(foreign_server: ForeignServer) -> None:
    async with one_connection() as session:
        with nursery.move_on_after(0.05) as scope:
            await text(session, f"{foreign_server.url}/slow")
        assert scope.cancelled_caught
        assert await text(session, f"{foreign_server.url}/next") == "hello from /next"


@mixed_test
async def test_a_scope_ends_the_reading_of_a_body_and_the_pool_goes_on() -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        await nursery.sleep(5)
        return response

    async with serving({"/half": half, "/page": hello}) as url, one_connection() as session:
        with nursery.move_on_after(0.05) as scope:
            async with session.get(f"{url}/half") as response:
                assert await response.content.readany() == b"half"
                await response.content.readany()
        assert scope.cancelled_caught
        assert await text(session, f"{url}/page") == "hello from /page"


@mixed_test
async def test_a_scope_ends_the_wait_for_a_connection_and_the_pool_goes_on(foreign_server: ForeignServer) -> None:
    async with one_connection() as session:
        async with session.get(f"{foreign_server.url}/held") as response:
            with nursery.move_on_after(0.02) as scope:
                await text(session, f"{foreign_server.url}/waits")
            assert scope.cancelled_caught
            await response.read()
        assert await text(session, f"{foreign_server.url}/next") == "hello from /next"


@mixed_test
async def test_a_request_cut_off_at_any_point_gives_its_connection_back(foreign_server: ForeignServer) -> None:
    async def cancel_later(scope: nursery.CancelScope, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        scope.cancel()

    # Each round the scope is cancelled some turns of the loop later: while it connects, writes, reads.
    async with one_connection() as session:
        for turns in [*range(20), 30, 50, 100, 200, 400]:
            async with nursery.open_nursery() as children:
                with nursery.CancelScope() as scope:
                    children.start_soon(cancel_later, scope, turns)
                    await text(session, f"{foreign_server.url}/page")
            with nursery.fail_after(5):
                assert await text(session, f"{foreign_server.url}/next") == "hello from /next"


@mixed_test
async def test_clean_up_in_a_cancelled_scope_may_await_the_client(foreign_server: ForeignServer) -> None:
    said = ""
    with nursery.CancelScope() as scope:
        async with aiohttp.ClientSession() as session:
            scope.cancel()
            try:
                await text(session, f"{foreign_server.url}/never")
            finally:
                # asyncio's rule: once interrupted, asyncio code may clean up.
                said = await text(session, f"{foreign_server.url}/bye")
    assert scope.cancelled_caught
    assert said == "hello from /bye"


@mixed_test
async def test_children_of_a_nursery_share_a_session(foreign_server: ForeignServer) -> None:
    said: list[str] = []

    async def child(number: int) -> None:
        said.append(await text(session, f"{foreign_server.url}/{number}"))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2)) as session:
        async with nursery.open_nursery() as children:
            for number in range(10):
                children.start_soon(child, number)
        assert sorted(said) == [f"hello from /{number}" for number in range(10)]
        assert await text(session, f"{foreign_server.url}/next") == "hello from /next"
    assert foreign_server.accepted <= 2


@mixed_test
async def test_a_childs_failure_ends_the_requests_of_the_others(foreign_server: ForeignServer) -> None:
    async def asks(number: int) -> None:
        await text(session, f"{foreign_server.url}/slow")

    async def fails() -> None:
        for _ in range(3):
            await nursery.to_thread.run_sync(foreign_server.server.slow_requests.acquire)
        raise ValueError("enough")

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=3)) as session:
        with pytest.RaisesGroup(ValueError):
            async with nursery.open_nursery() as children:
                for number in range(3):
                    children.start_soon(asks, number)
                children.start_soon(fails)
        with nursery.fail_after(5):
            assert await text(session, f"{foreign_server.url}/next") == "hello from /next"


@mixed_test
async def test_a_handler_opens_a_nursery() -> None:
    async def fan_out(request: web.Request) -> web.Response:
        sender, receiver = nursery.open_memory_channel[int](0)

        async def work(number: int, results: nursery.MemorySendChannel[int]) -> None:
            async with results:
                await nursery.sleep(0.001)
                await results.send(number * number)

        async with nursery.open_nursery() as workers:
            async with sender:
                for number in range(5):
                    workers.start_soon(work, number, sender.clone())
            squares = [square async for square in receiver]
        return web.json_response(sorted(squares))

    async with serving({"/squares": fan_out}) as url, aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.get(f"{url}/squares") as response:
                assert await response.json() == [0, 1, 4, 9, 16]


@mixed_test
async def test_a_handler_gives_up_native_and_asyncio_waits_alike() -> None:
    async def gives_up(request: web.Request) -> web.Response:
        with nursery.move_on_after(0.02) as native:
            await nursery.sleep_forever()
        with nursery.move_on_after(0.02) as foreign:
            await asyncio.get_running_loop().create_future()
        with nursery.move_on_after(0.02) as child:
            async with nursery.open_nursery() as children:
                children.start_soon(asyncio.sleep, 10)
        return web.json_response([scope.cancelled_caught for scope in (native, foreign, child)])

    async with serving({"/": gives_up}) as url, aiohttp.ClientSession() as session:
        with nursery.fail_after(5):
            async with session.get(url) as response:
                assert await response.json() == [True, True, True]


@mixed_test
async def test_a_native_error_in_a_handler_is_a_500_and_the_connection_lives() -> None:
    async def fails(request: web.Request) -> web.Response:
        async with nursery.open_nursery() as children:
            children.start_soon(nursery.sleep_forever)
            raise ValueError("this page is broken")
        raise AssertionError

    async with serving({"/broken": fails, "/page": hello}) as url, one_connection() as session:
        async with session.get(f"{url}/broken") as response:
            assert response.status == 500
        assert await text(session, f"{url}/page") == "hello from /page"


@mixed_test
async def test_a_client_that_leaves_cancels_the_nursery_of_its_handler() -> None:
    ended = nursery.Event()

    async def child() -> None:
        try:
            await nursery.sleep_forever()
        finally:
            ended.set()

    async def waits(request: web.Request) -> web.Response:
        async with nursery.open_nursery() as children:
            children.start_soon(child)
        raise AssertionError

    async with serving({"/": waits}, handler_cancellation=True) as url, aiohttp.ClientSession() as session:
        with nursery.move_on_after(0.05):
            await session.get(url)
        with nursery.fail_after(5):
            await ended.wait()


@mixed_test
async def test_a_native_channel_feeds_an_upload() -> None:
    async def length(request: web.Request) -> web.Response:
        return web.json_response(len(await request.read()))

    async def produce(sender: nursery.MemorySendChannel[bytes]) -> None:
        async with sender:
            for _ in range(10):
                await nursery.sleep(0.001)
                await sender.send(bytes(1000))

    async def body(receiver: nursery.MemoryReceiveChannel[bytes]) -> AsyncIterator[bytes]:
        async for chunk in receiver:
            yield chunk

    async with serving({"/": length}) as url, aiohttp.ClientSession() as session:
        sender, receiver = nursery.open_memory_channel[bytes](0)
        async with nursery.open_nursery() as producers:
            producers.start_soon(produce, sender)
            async with session.post(url, data=body(receiver)) as response:
                assert await response.json() == 10_000


# Websockets


async def shout(request: web.Request) -> web.WebSocketResponse:
    """Send each message back in capitals."""
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    async for message in websocket:
        await websocket.send_str(message.data.upper())
    return websocket


@asyncio_test
async def test_a_websocket() -> None:
    async with serving({"/": shout}) as url, aiohttp.ClientSession() as session:
        async with session.ws_connect(url) as websocket:
            for word in ("hello", "goodbye"):
                await websocket.send_str(word)
                assert await websocket.receive_str() == word.upper()
        assert websocket.close_code == aiohttp.WSCloseCode.OK


@asyncio_test
async def test_a_websocket_over_tls(certificates: Certificates) -> None:
    async with serving({"/": shout}, certificates.server) as url, aiohttp.ClientSession() as session:
        async with session.ws_connect(url, ssl=certificates.client) as websocket:
            await websocket.send_str("hello")
            assert await websocket.receive_str() == "HELLO"


@mixed_test
async def test_a_scope_ends_a_websockets_receive_and_the_websocket_goes_on() -> None:
    async with serving({"/": shout}) as url, aiohttp.ClientSession() as session:
        async with session.ws_connect(url) as websocket:
            with nursery.move_on_after(0.02) as scope:
                await websocket.receive()
            assert scope.cancelled_caught
            await websocket.send_str("hello")
            assert await websocket.receive_str() == "HELLO"


@mixed_test
async def test_native_children_read_and_write_one_websocket() -> None:
    async def say(number: int) -> None:
        await websocket.send_str(f"message {number}")

    async with serving({"/": shout}) as url, aiohttp.ClientSession() as session:
        async with session.ws_connect(url) as websocket:
            async with nursery.open_nursery() as children:
                for number in range(10):
                    children.start_soon(say, number)
                heard = {await websocket.receive_str() for _ in range(10)}
    assert heard == {f"MESSAGE {number}" for number in range(10)}


@mixed_test
async def test_a_websocket_handler_has_a_native_child_that_speaks_on_its_own() -> None:
    async def ticking(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)

        async def tick() -> None:
            while True:
                await nursery.sleep(0.005)
                await websocket.send_str("tick")

        async with nursery.open_nursery() as children:
            children.start_soon(tick)
            async for message in websocket:
                await websocket.send_str(message.data.upper())
            children.cancel_scope.cancel()
        return websocket

    async with serving({"/": ticking}) as url, aiohttp.ClientSession() as session:
        async with session.ws_connect(url) as websocket:
            await websocket.send_str("hello")
            heard = [await websocket.receive_str() for _ in range(3)]
    assert sorted(heard) == ["HELLO", "tick", "tick"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
@mixed_test
async def test_with_eager_tasks_everywhere_a_native_child_calls_the_client(foreign_server: ForeignServer) -> None:
    eager: Any = vars(asyncio)["eager_task_factory"]
    asyncio.get_running_loop().set_task_factory(eager)
    async with aiohttp.ClientSession() as session:
        async with nursery.open_nursery() as children:
            for _ in range(3):
                children.start_soon(text, session, f"{foreign_server.url}/page")
        request = asyncio.create_task(text(session, f"{foreign_server.url}/task"))
        assert await request == "hello from /task"
