"""Dask's distributed: scheduler and workers are processes on our loop, the client is called by native tasks.

The way out when one machine is too small: a nursery holds the work, a cluster does it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from distributed import Client, Future

import nursery
from tests.libraries.dask_cluster import WORKERS
from tests.libraries.on_our_loop import asyncio_test, mixed_test


@asynccontextmanager
async def client(cluster: str) -> AsyncIterator[Client]:
    async with Client(cluster, asynchronous=True) as made:
        # It tries again until the scheduler has started.
        await made.wait_for_workers(WORKERS)
        yield made


def square(number: int) -> int:
    return number * number


async def ask(dask: Client, number: int) -> int:
    result: int = await dask.submit(square, number)
    return result


@asyncio_test
async def test_work_is_spread_and_results_are_gathered(cluster: str) -> None:
    async with client(cluster) as dask:
        squares: list[Future] = dask.map(square, range(20))
        assert await dask.gather(squares) == [number * number for number in range(20)]
        total = dask.submit(sum, squares)
        assert await total == 2470
        assert len(await dask.has_what()) == WORKERS


@asyncio_test
async def test_an_error_of_a_worker_is_raised_at_the_await(cluster: str) -> None:
    async with client(cluster) as dask:
        with pytest.raises(ZeroDivisionError):
            await dask.submit(divmod, 1, 0)


@asyncio_test
async def test_cancel_ends_a_wait_and_the_client_goes_on(cluster: str) -> None:
    async with client(cluster) as dask:
        future = dask.submit(time.sleep, 0.3)

        async def wait() -> None:
            await future

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await ask(dask, 7) == 49


@mixed_test
async def test_a_scope_ends_a_wait_and_the_client_goes_on(cluster: str) -> None:
    async with client(cluster) as dask:
        with nursery.move_on_after(0.05) as scope:
            await dask.submit(time.sleep, 0.3)
        assert scope.cancelled_caught
        assert await ask(dask, 8) == 64


@mixed_test
async def test_children_of_a_nursery_share_a_client(cluster: str) -> None:
    sender, receiver = nursery.open_memory_channel[int](0)

    async def child(number: int, results: nursery.MemorySendChannel[int]) -> None:
        async with results:
            await results.send(await ask(dask, number))

    async with client(cluster) as dask:
        async with nursery.open_nursery() as children:
            async with sender:
                for number in range(20, 40):
                    children.start_soon(child, number, sender.clone())
            squares = [square async for square in receiver]
    assert sorted(squares) == [number * number for number in range(20, 40)]


@mixed_test
async def test_a_childs_failure_ends_the_waits_of_the_others(cluster: str) -> None:
    async def wait(function: object, *arguments: object) -> None:
        await dask.submit(function, *arguments)

    async with client(cluster) as dask:
        with pytest.RaisesGroup(ZeroDivisionError):
            async with nursery.open_nursery() as children:
                children.start_soon(wait, time.sleep, 0.3)
                children.start_soon(wait, divmod, 2, 0)
        assert await ask(dask, 9) == 81


@mixed_test
async def test_a_callback_of_the_client_wakes_native_code(cluster: str) -> None:
    async with client(cluster) as dask:
        heard: list[object] = []
        told = nursery.Event()

        def on_event(event: tuple[object, object]) -> None:
            heard.append(event[1])
            told.set()

        dask.subscribe_topic("news", on_event)
        with nursery.fail_after(5):
            # The subscription is on its way.
            while not told.is_set():
                await dask.log_event("news", "hello")
                with nursery.move_on_after(0.05):
                    await told.wait()
        dask.unsubscribe_topic("news")
        assert heard[0] == "hello"
