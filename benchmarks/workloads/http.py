"""Web servers that answer "Hello, world", asked by wrk on 50 connections at once; unmodified libraries on each loop."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable
from time import process_time_ns
from typing import Any

from benchmarks.expect import expect
from benchmarks.meter import Meter

CONNECTIONS = 50
# wrk counts in whole seconds.
SECONDS = 2
WARM_UP = 1
BODY = b"Hello, world"


async def ask(url: str, seconds: int) -> tuple[int, int]:
    """Have the server asked for so many seconds; return the number of answers and how long it took, in nanoseconds."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise NotImplementedError("no wrk on this machine")
    process = await asyncio.create_subprocess_exec(
        wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", url, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    said = re.search(rb"(\d+) requests in ([\d.]+)s", output)
    expect("what wrk reports", said is not None, True)
    assert said is not None
    expect("requests that failed", b"Non-2xx" in output or b"Socket errors" in output, False)
    return int(said[1]), int(float(said[2]) * 1e9)


async def measure(url: str, meter: Meter) -> None:
    """Ask, and count the server's CPU time, which is this process's."""
    await ask(url, WARM_UP)
    cpu = process_time_ns()
    answers, wall = await ask(url, SECONDS)
    meter.record(answers, wall, process_time_ns() - cpu)


async def aiohttp(meter: Meter) -> None:
    from aiohttp import web

    async def hello(request: web.Request) -> web.Response:
        return web.Response(body=BODY)

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await measure(f"http://127.0.0.1:{runner.addresses[0][1]}/", meter)
    finally:
        await runner.cleanup()


async def uvicorn(meter: Meter) -> None:
    from uvicorn import Config, Server

    async def app(scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        headers = [(b"content-length", b"%d" % len(BODY)), (b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": BODY})

    config = Config(app, port=0, lifespan="off", http="h11", access_log=False, log_level="error")
    server = Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        await measure(f"http://127.0.0.1:{port}/", meter)
    finally:
        server.should_exit = True
        await serving
