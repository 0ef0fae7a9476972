"""run_in_executor, and the end of the default thread pool."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from nursery import compat

from ..two_loops import LoopFactory, on_both, run_on


@on_both
def test_the_default_pool_is_made_at_the_first_call_and_libraries_find_it(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        before = loop._default_executor
        assert before is None
        assert await loop.run_in_executor(None, int, "7") == 7
        assert isinstance(loop._default_executor, ThreadPoolExecutor)
        name = await loop.run_in_executor(None, lambda: threading.current_thread().name)
        assert name.startswith("asyncio")

    run_on(loop_factory, main())


@on_both
def test_a_pool_of_ones_own_becomes_the_default(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "own") as pool:
            loop.set_default_executor(pool)
            name = await loop.run_in_executor(None, lambda: threading.current_thread().name)
            assert name.startswith("own")

    run_on(loop_factory, main())


@on_both
def test_only_a_thread_pool_can_be_the_default(loop_factory: LoopFactory) -> None:
    loop: Any = loop_factory()
    # From 3.14 on the default context leaves a process behind.
    with ProcessPoolExecutor(1, get_context("fork")) as pool:
        for no_pool in (pool, None, object()):
            with pytest.raises(TypeError, match="executor must be ThreadPoolExecutor instance"):
                loop.set_default_executor(no_pool)
    loop.close()


@on_both
def test_what_the_function_raises_comes_out_of_the_await(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="invalid literal"):
            await asyncio.get_running_loop().run_in_executor(None, int, "x")

    run_on(loop_factory, main())


@on_both
def test_the_shutdown_waits_for_the_calls_under_way_and_takes_no_more(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        go = threading.Event()
        call = loop.run_in_executor(None, go.wait, 5)
        shutdown = asyncio.create_task(loop.shutdown_default_executor())
        await asyncio.sleep(0.002)
        assert not shutdown.done()
        with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
            loop.run_in_executor(None, int)
        go.set()
        await shutdown
        assert await call is True
        await loop.shutdown_default_executor()

    run_on(loop_factory, main())


def test_the_shutdown_stops_waiting_at_its_time_limit() -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        go = threading.Event()
        call = loop.run_in_executor(None, go.wait, 5)
        with pytest.warns(RuntimeWarning, match=r"did not finishing joining its threads within 0\.005 seconds"):
            await loop.shutdown_default_executor(timeout=0.005)
        go.set()
        assert await call is True

    compat.run(main())


def test_a_shutdown_without_a_pool_ends_at_once() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().shutdown_default_executor()

    compat.run(main())


def test_a_loop_closed_during_the_shutdown_does_not_trouble_the_thread() -> None:
    loop = compat.new_event_loop()
    go = threading.Event()
    loop.run_until_complete(asyncio.sleep(0))
    # Other tests leave idle threads, which wait for work for some seconds.
    others = set(threading.enumerate())
    call = loop.run_in_executor(None, go.wait, 5)
    shutdown = loop.create_task(loop.shutdown_default_executor())
    loop.run_until_complete(asyncio.sleep(0.001))
    own = set(threading.enumerate()) - others
    loop.close()
    go.set()
    for thread in own:
        thread.join(5)
    assert shutdown.cancelled()
    del call
