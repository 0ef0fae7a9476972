"""A FastAPI application with a nursery that lives as long as the server, and one in each request.

    uvicorn --loop nursery.compat:new_event_loop --app-dir examples fastapi_app:app

    curl -X POST 127.0.0.1:8000/visits/ada
    curl 127.0.0.1:8000/visits
    curl 127.0.0.1:8000/slowest

FastAPI and uvicorn know nothing of nurseries: to them the handlers and the lifespan are asyncio code.
"""

# mypy: allow-untyped-decorators
# To the type checker everything of FastAPI is Any, installed or not.

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request

import nursery


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
    """Count visits in the background, from the start of the server to its end."""
    sender, receiver = nursery.open_memory_channel[str](100)
    visits: Counter[str] = Counter()

    async def count() -> None:
        async for name in receiver:
            visits[name] += 1

    async with nursery.open_nursery() as background:
        background.start_soon(count)
        async with sender:
            yield {"sender": sender, "visits": visits}
        # The channel is closed: what is still in it is counted, then the nursery is left.
    print(f"{visits.total()} visits", flush=True)


app = FastAPI(lifespan=lifespan)


@app.post("/visits/{name}")
async def visit(name: str, request: Request) -> str:
    """Pass the visitor on to the background; a full channel makes the client wait."""
    await request.state.sender.send(name)
    return f"welcome, {name}"


@app.get("/visits")
async def show(request: Request) -> dict[str, int]:
    """Return the counts."""
    return dict(request.state.visits)


@app.get("/slowest")
async def slowest() -> dict[str, bool]:
    """Wait for three things at once, for a tenth of a second at most."""
    finished = dict.fromkeys(("native", "asyncio", "stuck"), False)

    async def wait(name: str, seconds: float) -> None:
        # Either dialect will do, in a child of the nursery.
        await (nursery.sleep if name == "native" else asyncio.sleep)(seconds)
        finished[name] = True

    with nursery.move_on_after(0.1):
        async with nursery.open_nursery() as children:
            for name, seconds in (("native", 0.01), ("asyncio", 0.02), ("stuck", 60)):
                children.start_soon(wait, name, seconds)
    return finished
