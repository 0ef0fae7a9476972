"""hypercorn: HTTP/1.1, HTTP/2 over TLS and websockets, from its asyncio worker."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import h2  # the HTTP/2 of httpx
import httpx
import hypercorn.asyncio
import hypercorn.config
import websockets.asyncio.client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

import nursery
from tests.libraries.certificates import Certificates
from tests.libraries.foreign_http import fetch
from tests.libraries.on_our_loop import asyncio_test, mixed_test
from tests.libraries.temporary_server import accepts, free_port, running, with_the_checkout

assert h2


@asynccontextmanager
async def serving(app: object, tls: Certificates | None = None) -> AsyncIterator[str]:
    """Serve an ASGI application on a free port; gives the address without its scheme."""
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    config = hypercorn.config.Config()
    # It belongs to hypercorn from now on. It listens already: whoever connects early waits.
    config.bind = [f"fd://{sock.detach()}"]
    config.loglevel = "error"
    config.graceful_timeout = 1
    if tls is not None:
        config.certfile, config.keyfile = str(tls.certificate_file), str(tls.key_file)
    stop = asyncio.Event()
    serve = asyncio.create_task(hypercorn.asyncio.serve(app, config, shutdown_trigger=stop.wait))
    try:
        yield f"127.0.0.1:{port}"
    finally:
        stop.set()
        await serve


async def hello(request: Request) -> Response:
    return PlainTextResponse(f"hello from {request.url.path}")


async def version(request: Request) -> Response:
    return PlainTextResponse(request.scope["http_version"])


@asyncio_test
async def test_starlette_answers() -> None:
    async def length(request: Request) -> Response:
        return JSONResponse(len(await request.body()))

    app = Starlette(routes=[Route("/page", hello), Route("/length", length, methods=["POST"])])
    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
        for _ in range(3):
            assert (await client.get("/page")).text == "hello from /page"
        assert (await client.post("/length", content=bytes(1_000_000))).json() == 1_000_000


@asyncio_test
async def test_a_foreign_client_is_served() -> None:
    async with serving(Starlette(routes=[Route("/page", hello)])) as address:
        assert await asyncio.to_thread(fetch, int(address.rpartition(":")[2]), "/page") == b"hello from /page"


@asyncio_test
async def test_many_requests_share_one_http2_connection(certificates: Certificates) -> None:
    app = Starlette(routes=[Route("/version", version)])
    async with serving(app, certificates) as address:
        async with httpx.AsyncClient(
            base_url=f"https://{address}", http2=True, http1=False, verify=certificates.client
        ) as client:
            answers = await asyncio.gather(*(client.get("/version") for _ in range(20)))
    assert [answer.text for answer in answers] == ["2"] * 20


@asyncio_test
async def test_a_websocket() -> None:
    async def shout(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text.upper())

    async with serving(Starlette(routes=[WebSocketRoute("/", shout)])) as address:
        async with websockets.asyncio.client.connect(f"ws://{address}") as connection:
            await connection.send("hello")
            assert await connection.recv() == "HELLO"


@mixed_test
async def test_a_handler_opens_a_nursery() -> None:
    async def squares(request: Request) -> Response:
        found: list[int] = []

        async def work(number: int) -> None:
            await nursery.sleep(0.001)
            found.append(number * number)

        async with nursery.open_nursery() as workers:
            for number in range(5):
                workers.start_soon(work, number)
        with nursery.move_on_after(0.01) as scope:
            await asyncio.sleep(10)
        assert scope.cancelled_caught
        return JSONResponse(found)

    async with serving(Starlette(routes=[Route("/", squares)])) as address, httpx.AsyncClient() as client:
        for _ in range(2):
            assert (await client.get(f"http://{address}/")).json() == [0, 1, 4, 9, 16]


@mixed_test
async def test_a_scope_ends_one_of_two_requests_on_an_http2_connection(certificates: Certificates) -> None:
    async def slow(request: Request) -> Response:
        await nursery.sleep(0.1)
        return PlainTextResponse("slow")

    app = Starlette(routes=[Route("/page", hello), Route("/slow", slow)])
    answers: list[str] = []

    async def ask(path: str, seconds: float) -> None:
        with nursery.move_on_after(seconds):
            answers.append((await client.get(path)).text)

    async with serving(app, certificates) as address:
        async with httpx.AsyncClient(
            base_url=f"https://{address}", http2=True, http1=False, verify=certificates.client
        ) as client:
            await client.get("/page")
            async with nursery.open_nursery() as children:
                children.start_soon(ask, "/slow", 0.03)
                children.start_soon(ask, "/slow", 5)
            assert answers == ["slow"]
            assert (await client.get("/page")).text == "hello from /page"


@mixed_test
async def test_a_client_that_leaves_does_not_end_the_server() -> None:
    async def slow(request: Request) -> Response:
        await nursery.sleep(0.1)
        return PlainTextResponse("slow")

    app = Starlette(routes=[Route("/page", hello), Route("/slow", slow)])
    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
        with nursery.move_on_after(0.03) as scope:
            await client.get("/slow")
        assert scope.cancelled_caught
        assert (await client.get("/page")).text == "hello from /page"


PROGRAM = """
import asyncio
import nursery

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    async with nursery.open_nursery() as children:
        children.start_soon(nursery.sleep, 0.001)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": type(asyncio.get_running_loop()).__module__.encode()})
"""


def test_the_command_runs_on_our_loop_and_ends_by_a_signal(tmp_path: Path) -> None:
    # hypercorn has no option for a loop of another make; our command puts ours behind asyncio's own functions.
    (tmp_path / "program.py").write_text(PROGRAM)
    port = free_port()
    arguments = [sys.executable, "-m", "nursery.compat", "-m", "hypercorn", "--bind", f"127.0.0.1:{port}"]
    # No workers: the program itself serves.
    arguments += ["--workers", "0", "program:app"]
    environment = with_the_checkout()
    environment["PYTHONPATH"] = f"{tmp_path}:{environment['PYTHONPATH']}"
    log = tmp_path / "log"
    with running(arguments, log, lambda: accepts(port), environment=environment) as program:
        assert httpx.get(f"http://127.0.0.1:{port}/").text == "nursery.compat.loop"
        program.send_signal(signal.SIGTERM)
        assert program.wait(10) == 0, log.read_text()
