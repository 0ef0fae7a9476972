"""tornado: its IOLoop wraps the running loop; server, client, websockets and streams on it."""

# mypy: allow-subclassing-any, allow-untyped-decorators
# To the type checker everything of the libraries is Any, installed or not.

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from tornado.gen import TimeoutError as TornadoTimeout
from tornado.gen import sleep, with_timeout
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.iostream import IOStream, StreamClosedError
from tornado.netutil import bind_sockets
from tornado.queues import Queue
from tornado.tcpclient import TCPClient
from tornado.tcpserver import TCPServer
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect

import nursery
from nursery import compat
from tests.libraries.certificates import Certificates
from tests.libraries.foreign_http import ForeignServer, fetch
from tests.libraries.on_our_loop import OTHER_LOOP, asyncio_test, mixed_test


class Hello(RequestHandler):
    async def get(self) -> None:
        await asyncio.sleep(0)
        self.write(f"hello from {self.request.path}")


@asynccontextmanager
async def serving(pages: dict[str, type[RequestHandler]], tls: Certificates | None = None) -> AsyncIterator[str]:
    """Serve the pages on a free port; gives the address without its scheme."""
    app = Application(list(pages.items()))
    server = HTTPServer(app, ssl_options=None if tls is None else tls.server)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    try:
        yield f"127.0.0.1:{sockets[0].getsockname()[1]}"
    finally:
        server.stop()
        await server.close_all_connections()


@contextmanager
def client(**options: object) -> Iterator[AsyncHTTPClient]:
    made = AsyncHTTPClient(force_instance=True, **options)
    try:
        yield made
    finally:
        made.close()


async def text(http: AsyncHTTPClient, url: str, **options: object) -> str:
    body: bytes = (await http.fetch(url, **options)).body
    return body.decode()


@asyncio_test
async def test_a_client_talks_to_a_foreign_server(foreign_server: ForeignServer) -> None:
    with client() as http:
        for path in ("/one", "/two"):
            assert await text(http, foreign_server.url + path) == f"hello from {path}"


@asyncio_test
async def test_a_server_answers_a_foreign_client() -> None:
    async with serving({"/page": Hello}) as address:
        assert await asyncio.to_thread(fetch, int(address.rpartition(":")[2]), "/page") == b"hello from /page"


@asyncio_test
async def test_tls(certificates: Certificates) -> None:
    async with serving({"/page": Hello}, certificates) as address:
        with client() as http:
            assert await text(http, f"https://{address}/page", ssl_options=certificates.client) == "hello from /page"


@asyncio_test
async def test_a_websocket() -> None:
    class Shout(WebSocketHandler):
        async def on_message(self, message: str | bytes) -> None:
            assert isinstance(message, str)
            await self.write_message(message.upper())

    async with serving({"/": Shout}) as address:
        connection = await websocket_connect(f"ws://{address}/")
        await connection.write_message("hello")
        assert await connection.read_message() == "HELLO"
        connection.close()
        assert await connection.read_message() is None


@asyncio_test
async def test_streams_read_and_write_through_add_reader() -> None:
    class Echo(TCPServer):
        async def handle_stream(self, stream: IOStream, address: object) -> None:
            try:
                while True:
                    await stream.write(await stream.read_until(b"\n"))
            except StreamClosedError:
                left.set()

    left = asyncio.Event()
    body = bytes(1_000_000) + b"\n"
    server = Echo()
    [sock] = bind_sockets(0, "127.0.0.1")
    server.add_socket(sock)
    stream = await TCPClient().connect("127.0.0.1", sock.getsockname()[1])
    written = stream.write(body)
    assert await stream.read_until(b"\n") == body
    await written
    stream.close()
    await left.wait()
    server.stop()


@asyncio_test
async def test_callbacks_and_timers_of_the_ioloop() -> None:
    ticks: list[float] = []
    enough = asyncio.Event()

    def tick() -> None:
        ticks.append(loop.time())
        if len(ticks) == 3:
            enough.set()

    loop = IOLoop.current()
    periodic = PeriodicCallback(tick, 1)
    periodic.start()
    await enough.wait()
    periodic.stop()
    called = asyncio.Event()
    loop.add_callback(called.set)
    await called.wait()
    with pytest.raises(TornadoTimeout):
        await with_timeout(datetime.timedelta(milliseconds=5), asyncio.Event().wait())
    assert await loop.run_in_executor(None, sum, [1, 2]) == 3


@pytest.mark.skipif(OTHER_LOOP is not None, reason="about how our loop is made")
def test_an_ioloop_of_its_own_makes_and_ends_our_loop() -> None:
    loop = IOLoop(asyncio_loop=compat.new_event_loop(), make_current=False)

    async def main() -> int:
        await sleep(0.001)
        with nursery.move_on_after(0.001):
            await nursery.sleep_forever()
        return 7

    assert loop.run_sync(main) == 7
    loop.close(all_fds=True)


@asyncio_test
async def test_cancel_ends_a_fetch_and_the_client_goes_on(foreign_server: ForeignServer) -> None:
    with client(max_clients=1) as http:
        # tornado's client has no cancellation of its own: the fetch goes on until its time limit.
        request = asyncio.create_task(text(http, f"{foreign_server.url}/slow", request_timeout=0.1))
        await asyncio.to_thread(foreign_server.server.slow_requests.acquire)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert await text(http, f"{foreign_server.url}/next") == "hello from /next"


@mixed_test
async def test_a_scope_ends_a_fetch_and_the_client_goes_on(foreign_server: ForeignServer) -> None:
    with client(max_clients=1) as http:
        with nursery.move_on_after(0.02) as scope:
            await text(http, f"{foreign_server.url}/slow", request_timeout=0.1)
        assert scope.cancelled_caught
        assert await text(http, f"{foreign_server.url}/next") == "hello from /next"


@mixed_test
async def test_a_scope_ends_a_read_of_a_stream_and_the_stream_goes_on() -> None:
    class Late(TCPServer):
        async def handle_stream(self, stream: IOStream, address: object) -> None:
            await stream.write(b"first\n")
            await stream.read_until(b"\n")
            await stream.write(b"second\n")
            stream.close()

    server = Late()
    [sock] = bind_sockets(0, "127.0.0.1")
    server.add_socket(sock)
    stream = await TCPClient().connect("127.0.0.1", sock.getsockname()[1])
    assert await stream.read_until(b"\n") == b"first\n"
    queue: Queue[int] = Queue()
    with nursery.move_on_after(0.01) as scope:
        await queue.get()
    assert scope.cancelled_caught
    await stream.write(b"go on\n")
    assert await stream.read_until(b"\n") == b"second\n"
    stream.close()
    server.stop()


@mixed_test
async def test_a_handler_opens_a_nursery() -> None:
    class Squares(RequestHandler):
        async def get(self) -> None:
            sender, receiver = nursery.open_memory_channel[int](0)

            async def work(number: int, results: nursery.MemorySendChannel[int]) -> None:
                async with results:
                    await nursery.sleep(0.001)
                    await results.send(number * number)

            async with nursery.open_nursery() as workers:
                async with sender:
                    for number in range(5):
                        workers.start_soon(work, number, sender.clone())
                squares = sorted([square async for square in receiver])
            with nursery.move_on_after(0.01) as scope:
                await sleep(10)
            self.write({"squares": squares, "gave up": scope.cancelled_caught})

    async with serving({"/": Squares}) as address:
        with client() as http:
            for _ in range(2):
                assert await text(http, f"http://{address}/") == '{"squares": [0, 1, 4, 9, 16], "gave up": true}'


@mixed_test
async def test_children_of_a_nursery_share_a_client(foreign_server: ForeignServer) -> None:
    said: list[str] = []

    async def child(number: int) -> None:
        said.append(await text(http, f"{foreign_server.url}/{number}"))

    with client(max_clients=3) as http:
        async with nursery.open_nursery() as children:
            for number in range(10):
                children.start_soon(child, number)
    assert sorted(said) == [f"hello from /{number}" for number in range(10)]
