"""What 3.12 and 3.13 have brought, and compat has on every version."""

# asyncio: 3.13
# mypy: disable-error-code="unused-awaitable"

import ssl
import sys
from typing import Any, assert_type

from nursery import compat as asyncio


async def number() -> int:
    return 1


def factories() -> None:
    assert_type(asyncio.run(number(), loop_factory=asyncio.EventLoop), int)
    with asyncio.Runner(loop_factory=asyncio.EventLoop) as runner:
        runner.get_loop().set_task_factory(asyncio.eager_task_factory)
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.create_eager_task_factory(asyncio.Task))
    assert_type(asyncio.eager_task_factory(loop, number(), name="x"), asyncio.Task[int])


async def queues() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    queue.shutdown(immediate=True)
    try:
        await queue.get()
    except asyncio.QueueShutDown:
        pass
    last = asyncio.LifoQueue[int]()
    last.shutdown()
    first = asyncio.PriorityQueue[int]()
    first.shutdown()


async def earliest() -> None:
    tasks = [asyncio.create_task(number()) for _ in range(3)]
    async for task in asyncio.as_completed(tasks):
        assert_type(task, asyncio.Future[int])
        assert_type(await task, int)
    for each in asyncio.as_completed(tasks):
        assert_type(await each, int)


async def streams() -> None:
    reader, writer = await asyncio.open_connection("localhost", 80)
    assert_type(reader, asyncio.StreamReader)
    assert_type(await reader.readuntil((b"\r\n", b"\n")), bytes)
    await writer.start_tls(ssl.create_default_context(), ssl_shutdown_timeout=5)
    server = await asyncio.start_server(handle, "localhost", 80)
    if sys.version_info >= (3, 13):
        server.close_clients()
        server.abort_clients()
    await asyncio.create_subprocess_exec("ls", process_group=0)


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil((b"\r\n", b"\n"))
    await writer.start_tls(ssl.create_default_context(), ssl_shutdown_timeout=5)


async def tasks() -> None:
    task = asyncio.create_task(number())
    if sys.version_info >= (3, 12):
        print(task.get_context(), task.get_coro())
    assert_type(asyncio.current_task(), asyncio.Task[Any] | None)


async def wrong() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    queue.shutdown("now")  # type: ignore[arg-type]  # a bool
    reader, _ = await asyncio.open_connection("localhost", 80)
    await reader.readuntil(("x",))  # type: ignore[arg-type]  # bytes
