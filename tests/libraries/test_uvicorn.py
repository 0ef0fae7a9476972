"""uvicorn with Starlette and FastAPI: in one loop with its clients, and as a program of its own."""

# mypy: allow-subclassing-any, allow-untyped-decorators
# To the type checker everything of the libraries is Any, installed or not.

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import fastapi
import httpx
import pytest
import uvicorn
import websockets.asyncio.client
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

import nursery
from tests.libraries.certificates import Certificates
from tests.libraries.foreign_http import fetch
from tests.libraries.on_our_loop import asyncio_test, mixed_test
from tests.libraries.temporary_server import accepts, free_port, running, with_the_checkout


@asynccontextmanager
async def serving(app: object, http: str = "h11", tls: Certificates | None = None) -> AsyncIterator[str]:
    """Serve an ASGI application on a free port; gives the address without its scheme."""
    config = uvicorn.Config(
        app,
        port=0,
        http=http,
        log_level="error",
        ssl_certfile=None if tls is None else tls.certificate_file,
        ssl_keyfile=None if tls is None else tls.key_file,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    serve = asyncio.create_task(server.serve())
    try:
        while not server.started:
            await asyncio.sleep(0.001)
            if serve.done():
                await serve
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serve


async def hello(request: Request) -> Response:
    return PlainTextResponse(f"hello from {request.url.path}")


@pytest.mark.parametrize("http", ["h11", "httptools"])
@asyncio_test
async def test_starlette_answers(http: str) -> None:
    async def length(request: Request) -> Response:
        return JSONResponse(len(await request.body()))

    app = Starlette(routes=[Route("/page", hello), Route("/length", length, methods=["POST"])])
    async with serving(app, http) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
        for _ in range(3):
            assert (await client.get("/page")).text == "hello from /page"
        assert (await client.post("/length", content=bytes(1_000_000))).json() == 1_000_000
        assert (await client.get("/nowhere")).status_code == 404


@asyncio_test
async def test_a_foreign_client_is_served() -> None:
    async with serving(Starlette(routes=[Route("/page", hello)])) as address:
        assert await asyncio.to_thread(fetch, int(address.rpartition(":")[2]), "/page") == b"hello from /page"


@asyncio_test
async def test_tls(certificates: Certificates) -> None:
    app = Starlette(routes=[Route("/page", hello)])
    async with serving(app, tls=certificates) as address:
        async with httpx.AsyncClient(base_url=f"https://{address}", verify=certificates.client) as client:
            for _ in range(2):
                assert (await client.get("/page")).text == "hello from /page"


@asyncio_test
async def test_fastapi_answers_from_coroutines_and_from_threads() -> None:
    app = fastapi.FastAPI()

    @app.get("/double/{number}")
    async def double(number: int) -> dict[str, int]:
        await asyncio.sleep(0)
        return {"twice": 2 * number}

    @app.get("/half/{number}")
    def half(number: int) -> dict[str, float]:
        return {"half": number / 2}

    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
        answers = await asyncio.gather(*(client.get(f"/double/{number}") for number in range(20)))
        assert [answer.json()["twice"] for answer in answers] == [2 * number for number in range(20)]
        assert (await client.get("/half/7")).json() == {"half": 3.5}
        assert (await client.get("/half/seven")).status_code == 422


@asyncio_test
async def test_a_websocket() -> None:
    async def shout(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text.upper())

    app = Starlette(routes=[WebSocketRoute("/", shout)])
    async with serving(app) as address:
        async with websockets.asyncio.client.connect(f"ws://{address}") as connection:
            for word in ("hello", "goodbye"):
                await connection.send(word)
                assert await connection.recv() == word.upper()


@asyncio_test
async def test_middleware_and_a_background_task() -> None:
    done = asyncio.Event()

    class Stamp(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
            response = await call_next(request)
            response.headers["X-Stamp"] = "here"
            return response

    async def page(request: Request) -> Response:
        async def later() -> None:
            done.set()

        return PlainTextResponse("page", background=BackgroundTask(later))

    app = Starlette(routes=[Route("/", page)], middleware=[Middleware(Stamp)])
    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
        assert (await client.get("/")).headers["X-Stamp"] == "here"
        await done.wait()


@mixed_test
async def test_a_fastapi_handler_opens_a_nursery() -> None:
    app = fastapi.FastAPI()

    @app.get("/squares/{count}")
    async def squares(count: int) -> list[int]:
        found: list[int] = []
        sender, receiver = nursery.open_memory_channel[int](0)

        async def work(number: int, results: nursery.MemorySendChannel[int]) -> None:
            async with results:
                await nursery.sleep(0.001)
                await results.send(number * number)

        async with nursery.open_nursery() as workers:
            async with sender:
                for number in range(count):
                    workers.start_soon(work, number, sender.clone())
            async for square in receiver:
                found.append(square)
        return sorted(found)

    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
        for _ in range(2):
            assert (await client.get("/squares/5")).json() == [0, 1, 4, 9, 16]


@mixed_test
async def test_a_handler_gives_up_native_and_asyncio_waits_alike() -> None:
    app = fastapi.FastAPI()

    @app.get("/")
    async def gives_up() -> list[bool]:
        with nursery.move_on_after(0.02) as native:
            await nursery.sleep_forever()
        with nursery.move_on_after(0.02) as foreign:
            await asyncio.get_running_loop().create_future()
        with nursery.move_on_after(0.02) as child:
            async with nursery.open_nursery() as children:
                children.start_soon(asyncio.sleep, 10)
        return [scope.cancelled_caught for scope in (native, foreign, child)]

    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
        assert (await client.get("/")).json() == [True, True, True]


@mixed_test
async def test_a_native_error_in_a_handler_is_a_500_and_the_connection_lives() -> None:
    async def fails(request: Request) -> Response:
        async with nursery.open_nursery() as children:
            children.start_soon(nursery.sleep_forever)
            raise ValueError("this page is broken")
        raise AssertionError

    app = Starlette(routes=[Route("/broken", fails), Route("/page", hello)])
    limits = httpx.Limits(max_connections=1)
    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}", limits=limits) as client:
        assert (await client.get("/broken")).status_code == 500
        assert (await client.get("/page")).text == "hello from /page"


@mixed_test
async def test_the_lifespan_holds_a_nursery_whose_channel_the_handlers_use() -> None:
    done: list[int] = []

    @asynccontextmanager
    async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[dict[str, object]]:
        sender, receiver = nursery.open_memory_channel[int](10)

        async def work() -> None:
            async for number in receiver:
                done.append(number)

        async with nursery.open_nursery() as workers:
            workers.start_soon(work)
            async with sender:
                yield {"jobs": sender}

    app = fastapi.FastAPI(lifespan=lifespan)

    def jobs(request: fastapi.Request) -> nursery.MemorySendChannel[int]:
        channel: nursery.MemorySendChannel[int] = request.state.jobs
        return channel

    # A default, not Annotated: with the annotations of this file only strings, FastAPI would look for `jobs` outside.
    @app.post("/jobs/{number}")
    async def accept(number: int, channel: object = fastapi.Depends(jobs)) -> str:
        assert isinstance(channel, nursery.MemorySendChannel)
        await channel.send(number)
        return "accepted"

    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
        for number in range(5):
            assert (await client.post(f"/jobs/{number}")).json() == "accepted"
    assert done == [0, 1, 2, 3, 4]


@mixed_test
async def test_a_stream_is_fed_by_a_native_channel_and_ends_with_its_client() -> None:
    ended = nursery.Event()

    async def count(sender: nursery.MemorySendChannel[int]) -> None:
        async with sender:
            number = 0
            while True:
                await sender.send(number)
                number += 1
                await nursery.sleep(0.001)

    async def lines() -> AsyncIterator[str]:
        # A generator may not yield inside a nursery: the counting belongs to the handler's caller.
        try:
            async for number in receiver:
                yield f"{number}\n"
        finally:
            ended.set()

    async def page(request: Request) -> Response:
        return StreamingResponse(lines())

    sender, receiver = nursery.open_memory_channel[int](0)
    app = Starlette(routes=[Route("/", page)])
    async with nursery.open_nursery() as children:
        children.start_soon(count, sender)
        async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
            async with client.stream("GET", "/") as response:
                received: list[str] = []
                async for line in response.aiter_lines():
                    received.append(line)
                    if len(received) == 5:
                        break
            with nursery.fail_after(5):
                await ended.wait()
        children.cancel_scope.cancel()
    assert received == ["0", "1", "2", "3", "4"]


@mixed_test
async def test_native_children_call_the_application_without_a_server() -> None:
    app = fastapi.FastAPI()

    @app.get("/double/{number}")
    async def double(number: int) -> int:
        await nursery.sleep(0.001)
        return 2 * number

    answers: dict[int, int] = {}

    async def ask(number: int) -> None:
        answers[number] = (await client.get(f"/double/{number}")).json()

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        async with nursery.open_nursery() as children:
            for number in range(10):
                children.start_soon(ask, number)
    assert answers == {number: 2 * number for number in range(10)}


@mixed_test
async def test_a_request_of_a_native_child_is_cut_off_and_the_server_goes_on() -> None:
    async def slow(request: Request) -> Response:
        await nursery.sleep(0.2)
        return PlainTextResponse("slow")

    app = Starlette(routes=[Route("/slow", slow), Route("/page", hello)])
    limits = httpx.Limits(max_connections=1)
    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}", limits=limits) as client:
        with nursery.move_on_after(0.02) as scope:
            async with nursery.open_nursery() as children:
                children.start_soon(client.get, "/slow")
        assert scope.cancelled_caught
        assert (await client.get("/page")).text == "hello from /page"


# As a program

PROGRAM = """
import asyncio
from contextlib import asynccontextmanager
from fastapi import FastAPI
import nursery

@asynccontextmanager
async def lifespan(app):
    async with nursery.open_nursery() as children:
        children.start_soon(nursery.sleep_forever)
        yield
        children.cancel_scope.cancel()
    print("left the nursery", flush=True)

app = FastAPI(lifespan=lifespan)

@app.get("/loop")
async def loop():
    async with nursery.open_nursery() as children:
        children.start_soon(nursery.sleep, 0.001)
    return type(asyncio.get_running_loop()).__module__
"""


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_the_command_runs_on_our_loop_and_ends_by_a_signal(http: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    port = free_port()
    arguments = [sys.executable, "-m", "uvicorn", "program:app", "--port", str(port), "--app-dir", str(tmp_path)]
    arguments += ["--loop", "nursery.compat:new_event_loop", "--http", http]
    log = tmp_path / "log"
    with running(arguments, log, lambda: accepts(port), environment=with_the_checkout()) as program:
        answers = [httpx.get(f"http://127.0.0.1:{port}/loop").json() for _ in range(2)]
        assert answers == ["nursery.compat.loop"] * 2
        program.send_signal(signal.SIGTERM)
        program.wait(10)
    assert "left the nursery" in log.read_text()
    assert "Finished server process" in log.read_text()
    assert program.returncode in (0, -signal.SIGTERM)
