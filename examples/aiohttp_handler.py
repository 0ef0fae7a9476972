"""An aiohttp server whose handler opens a nursery: it asks three sources at once and answers with what came in time.

    python examples/aiohttp_handler.py

The server, the three sources and the client are unmodified aiohttp; the deadline and the nursery are ours. When the
deadline passes, the requests that are still on their way are cancelled, and their connections are closed.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

import nursery
from nursery import compat

DELAYS = {"fast": 0.0, "slower": 0.01, "stuck": 60.0}

SESSION = web.AppKey("SESSION", aiohttp.ClientSession)
SOURCES = web.AppKey("SOURCES", str)


async def source(request: web.Request) -> web.Response:
    """Answer after a while."""
    name = request.match_info["name"]
    await asyncio.sleep(DELAYS[name])
    return web.Response(text=f"news from {name}")


async def front_page(request: web.Request) -> web.Response:
    """Collect what the sources say within half a second."""
    session, sources = request.app[SESSION], request.app[SOURCES]
    headlines: list[str] = []

    async def ask(name: str) -> None:
        async with session.get(f"{sources}/{name}") as response:
            headlines.append(await response.text())

    with nursery.move_on_after(0.5) as scope:
        async with nursery.open_nursery() as children:
            for name in DELAYS:
                children.start_soon(ask, name)
    return web.json_response({"headlines": headlines, "complete": not scope.cancelled_caught})


@contextlib.asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve an application on a free port, and give its URL."""
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def main() -> None:
    sources, front = web.Application(), web.Application()
    sources.router.add_get("/{name}", source)
    front.router.add_get("/", front_page)
    async with aiohttp.ClientSession() as session, serving(sources) as url:
        front[SESSION], front[SOURCES] = session, url
        async with serving(front) as url, session.get(url) as response:
            page = await response.json()
    for headline in page["headlines"]:
        print(headline)
    print(f"complete: {page['complete']}")


if __name__ == "__main__":
    compat.run(main())
