"""Unmodified libraries in programs of the facade: `import asyncio` is replaced in the program, not in the libraries."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial, wraps
from typing import Any, ParamSpec

import aiohttp
import asyncpg
import httpx
import pytest
from aiohttp import web

import nursery
from nursery import compat as asyncio
from tests.libraries.foreign_http import ForeignServer
from tests.libraries.on_our_loop import PATIENCE, Reports, settle
from tests.libraries.postgresql import PostgreSQL

P = ParamSpec("P")


def facade_test(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a program of the facade: with tasks that start a turn later, with eager ones, and strictly."""

    @wraps(test)
    def running(*args: Any, how: str, **kwargs: Any) -> None:
        reports = Reports()

        async def guarded() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(reports)
            if how == "eager":
                loop.set_task_factory(asyncio.eager_task_factory)
            async with asyncio.timeout(PATIENCE):
                await test(*args, **kwargs)
                await settle()

        asyncio.run(guarded(), strict=how == "strict")
        reports.check()

    signature = inspect.signature(test)
    parameter = inspect.Parameter("how", inspect.Parameter.KEYWORD_ONLY)
    vars(running)["__signature__"] = signature.replace(parameters=[*signature.parameters.values(), parameter])
    all_ways: Callable[..., None] = pytest.mark.parametrize("how", ["lazy", "eager", "strict"])(running)
    return all_ways


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]) -> AsyncIterator[str]:
    """Serve one handler for all paths; gives the URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def one_connection() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1))


async def text(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as response:
        body: str = await response.text()
        return body


@facade_test
async def test_timeouts_end_a_request_and_the_pool_goes_on(foreign_server: ForeignServer) -> None:
    async with one_connection() as session:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await text(session, f"{foreign_server.url}/slow")
        assert await text(session, f"{foreign_server.url}/next") == "hello from /next"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(text(session, f"{foreign_server.url}/slow"), 0.02)
        assert await text(session, f"{foreign_server.url}/next") == "hello from /next"


@facade_test
async def test_a_task_group_that_fails_ends_its_requests_and_the_pool_goes_on(foreign_server: ForeignServer) -> None:
    async def fail_once_all_wait() -> None:
        await asyncio.gather(*(asyncio.to_thread(foreign_server.server.slow_requests.acquire) for _ in range(3)))
        raise ValueError("enough")

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=3)) as session:
        with pytest.RaisesGroup(ValueError):
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(text(session, f"{foreign_server.url}/slow"))
                group.create_task(fail_once_all_wait())
        answers = await asyncio.gather(*(text(session, f"{foreign_server.url}/{number}") for number in range(6)))
    assert answers == [f"hello from /{number}" for number in range(6)]


@facade_test
async def test_the_first_of_several_requests_wins(foreign_server: ForeignServer) -> None:
    if sys.version_info < (3, 12) and asyncio.get_running_loop().get_task_factory() is not None:
        pytest.skip("anyio, under httpx, knows of eager tasks from Python 3.12 on")
    limits = httpx.Limits(max_connections=3)
    async with httpx.AsyncClient(limits=limits, timeout=5) as client:
        tasks = [
            asyncio.create_task(client.get(f"{foreign_server.url}/{page}"), name=page) for page in ("slow", "a", "slow")
        ]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert [task.get_name() for task in done] == ["a"]
        for task in pending:
            task.cancel()
        assert all(
            isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*pending, return_exceptions=True)
        )
        # The pool has room for three again.
        answers = [
            (await each).text
            for each in asyncio.as_completed([client.get(f"{foreign_server.url}/{number}") for number in range(3)])
        ]
        assert sorted(answers) == [f"hello from /{number}" for number in range(3)]


@facade_test
async def test_handlers_and_workers_share_a_queue_and_an_event() -> None:
    queue: asyncio.Queue[tuple[str, asyncio.Future[str]]] = asyncio.Queue(2)
    opened = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        # In a task that aiohttp has made by itself, of the C class.
        await opened.wait()
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await queue.put((request.path, answer))
        return web.Response(text=await answer)

    async def worker() -> None:
        while True:
            path, answer = await queue.get()
            await asyncio.sleep(0)
            answer.set_result(f"worked on {path}")
            queue.task_done()

    async with serving(handler) as url, aiohttp.ClientSession() as session:
        workers = [asyncio.create_task(worker()) for _ in range(2)]
        asyncio.get_running_loop().call_later(0.01, opened.set)
        answers = await asyncio.gather(*(text(session, f"{url}/{number}") for number in range(20)))
        await queue.join()
        for each in workers:
            each.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    assert answers == [f"worked on /{number}" for number in range(20)]


@facade_test
async def test_our_streams_talk_to_a_server_of_aiohttp() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async with serving(handler) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        for body in (b"one", b"two" * 50_000):
            writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"Content-Length: %d\r\n" % len(body) in head
            assert await reader.readexactly(len(body)) == body
        writer.close()
        await writer.wait_closed()


@facade_test
async def test_a_shielded_request_goes_on_when_its_waiter_is_cancelled(foreign_server: ForeignServer) -> None:
    async with one_connection() as session:
        request = asyncio.create_task(text(session, f"{foreign_server.url}/slow"))

        async def wait() -> str:
            return await asyncio.shield(request)

        waiter = asyncio.create_task(wait())
        await asyncio.to_thread(foreign_server.server.slow_requests.acquire)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        foreign_server.server.released.set()
        assert await request == "hello from /slow"


@facade_test
async def test_a_query_is_cut_off_and_the_pool_goes_on(postgresql: PostgreSQL) -> None:
    limit = asyncio.Semaphore(2)

    async def ask(pool: Any, number: int) -> int:
        async with limit, pool.acquire() as connection:
            answer: int = await connection.fetchval("SELECT $1::int * 2", number)
            return answer

    async with asyncpg.create_pool(postgresql.url, min_size=2, max_size=2) as pool:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await pool.fetchval("SELECT pg_sleep(60)")
            task = asyncio.create_task(pool.fetchval("SELECT pg_sleep(60)"))
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await asyncio.gather(*(ask(pool, number) for number in range(10))) == [2 * n for n in range(10)]
        assert pool.get_idle_size() == 2


@facade_test
async def test_a_native_scope_inside_a_program_of_the_facade(foreign_server: ForeignServer) -> None:
    async with one_connection() as session:
        for _ in range(3):
            with nursery.move_on_after(0.02) as scope:
                async with asyncio.TaskGroup() as group:
                    group.create_task(text(session, f"{foreign_server.url}/slow"))
                    group.create_task(asyncio.sleep(60))
            assert scope.cancelled_caught
            assert await text(session, f"{foreign_server.url}/next") == "hello from /next"


@facade_test
async def test_a_thread_calls_the_client(foreign_server: ForeignServer) -> None:
    loop = asyncio.get_running_loop()
    async with one_connection() as session:

        def ask(number: int) -> str:
            said = asyncio.run_coroutine_threadsafe(text(session, f"{foreign_server.url}/{number}"), loop)
            return said.result(PATIENCE)

        answers = await asyncio.gather(*(loop.run_in_executor(None, partial(ask, number)) for number in range(5)))
    assert answers == [f"hello from /{number}" for number in range(5)]


def test_a_runner_keeps_a_session_from_one_run_to_the_next(foreign_server: ForeignServer) -> None:
    async def open_session() -> aiohttp.ClientSession:
        return one_connection()

    with asyncio.Runner() as runner:
        session = runner.run(open_session())
        for page in ("one", "two"):
            assert runner.run(text(session, f"{foreign_server.url}/{page}")) == f"hello from /{page}"
        runner.run(session.close())
    assert foreign_server.accepted == 1


def test_two_threads_each_have_a_loop_with_a_server_and_a_client() -> None:
    answers: dict[str, list[str]] = {}

    async def main(name: str) -> None:
        async def handler(request: web.Request) -> web.Response:
            await asyncio.sleep(0)
            return web.Response(text=f"{name} at {request.path}")

        async with serving(handler) as url, aiohttp.ClientSession() as session:
            answers[name] = await asyncio.gather(*(text(session, f"{url}/{number}") for number in range(10)))

    threads = [threading.Thread(target=lambda name=name: asyncio.run(main(name))) for name in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert answers == {name: [f"{name} at /{number}" for number in range(10)] for name in ("left", "right")}
