"""Futures of the facade: the loop's, asyncio's own, and those of threads."""

from __future__ import annotations

import asyncio as stdlib
import concurrent.futures
import contextvars
import gc
import weakref
from typing import Any

import pytest

from nursery import compat as asyncio

from .kinds import Spawn, in_both_kinds, turns
from .two_loops import run


@in_both_kinds
@pytest.mark.parametrize("own", [True, False])
def test_a_future_gives_its_end_to_everybody_who_awaits_it(spawn: Spawn, own: bool) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future() if own else asyncio.Future()
        assert isinstance(future, asyncio.Future)
        assert asyncio.isfuture(future)
        assert future.get_loop() is loop

        async def wait() -> int:
            return await future

        tasks = [spawn(wait()) for _ in range(2)]
        await turns(2)
        future.set_result(5)
        assert await asyncio.gather(*tasks) == [5, 5]
        assert await future == 5

    run(main())


def test_a_future_ends_once() -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        with pytest.raises(asyncio.InvalidStateError, match="not set"):
            future.result()
        with pytest.raises(asyncio.InvalidStateError, match="not set"):
            future.exception()
        future.set_result(1)
        with pytest.raises(asyncio.InvalidStateError):
            future.set_result(2)
        with pytest.raises(asyncio.InvalidStateError):
            future.set_exception(ValueError)
        assert not future.cancel()

    run(main())


def test_a_cancelled_future_cancels_who_awaits_it() -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()

        async def wait() -> None:
            await future

        task = asyncio.create_task(wait())
        await turns(1)
        future.cancel("why")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task
        assert task.cancelled()
        with pytest.raises(asyncio.CancelledError):
            future.exception()

    run(main())


def test_stop_iteration_cannot_be_set() -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(StopIteration)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await future

    run(main())


def test_an_error_that_nobody_retrieves_is_reported() -> None:
    async def main() -> None:
        messages: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: messages.append(context["message"]))
        for retrieved in (True, False):
            future = loop.create_future()
            future.set_exception(ValueError())
            if retrieved:
                future.exception()
            del future
            gc.collect()
        assert messages == ["Future exception was never retrieved"]

    run(main())


def test_done_callbacks_are_called_in_order_in_the_next_turn_and_may_be_removed() -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        called: list[str] = []

        def first(_: object) -> None:
            called.append("first")

        def removed(_: object) -> None:
            called.append("removed")

        future.add_done_callback(first)
        future.add_done_callback(removed)
        future.add_done_callback(removed)
        future.add_done_callback(lambda _: called.append("last"))
        assert future.remove_done_callback(removed) == 2
        future.set_result(None)
        assert called == []
        await turns(1)
        assert called == ["first", "last"]

    run(main())


@pytest.mark.parametrize("own", [True, False])
def test_each_done_callback_runs_in_its_context(own: bool) -> None:
    variable = contextvars.ContextVar("variable", default="none")

    async def main() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future() if own else asyncio.Future()
        seen: list[str] = []
        given = contextvars.copy_context()
        given.run(variable.set, "given")
        future.add_done_callback(lambda _: seen.append(variable.get()), context=given)
        variable.set("at registration")
        future.add_done_callback(lambda _: seen.append(variable.get()))
        variable.set("at the end")
        future.set_result(None)
        await turns(1)
        assert seen == ["given", "at registration"]

    run(main())


def test_a_done_callback_that_fails_is_reported_and_the_others_are_called() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        messages: list[str] = []
        loop.set_exception_handler(lambda _, context: messages.append(context["message"]))
        future = loop.create_future()
        called: list[object] = []

        def wrong(_: object) -> None:
            raise ValueError

        future.add_done_callback(wrong)
        future.add_done_callback(called.append)
        future.set_result(None)
        await turns(1)
        assert called == [future]
        assert len(messages) == 1
        assert messages[0].startswith("Exception in callback")

    run(main())


def test_what_is_no_exception_cannot_be_set() -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        bad: Any
        for bad in (5, "text", int):
            with pytest.raises(TypeError, match="invalid exception object"):
                future.set_exception(bad)
        assert not future.done()

    run(main())


def test_the_repr_of_a_future_tells_its_state() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        assert repr(future) == "<Future pending>"
        future.set_result("value")
        assert repr(future) == "<Future finished result='value'>"
        future = loop.create_future()
        future.cancel()
        assert repr(future) == "<Future cancelled>"
        future = loop.create_future()
        future.set_exception(ValueError(1))
        assert repr(future) == "<Future finished exception=ValueError(1)>"
        assert isinstance(future.exception(), ValueError)
        gathering = asyncio.gather(asyncio.sleep(0))
        assert repr(gathering).startswith("<_GatheringFuture pending")
        await gathering

    run(main())


def test_a_future_of_another_loop_cannot_be_awaited() -> None:
    other = asyncio.new_event_loop()
    future = other.create_future()

    async def main() -> None:
        with pytest.raises(RuntimeError, match="attached to a different loop"):
            await future

    run(main())
    other.close()


def test_futures_of_threads_may_be_wrapped() -> None:
    async def main() -> None:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            assert await asyncio.wrap_future(pool.submit(lambda: 5)) == 5
        native: concurrent.futures.Future[int] = concurrent.futures.Future()
        wrapped = asyncio.wrap_future(native)
        wrapped.cancel()
        await turns(2)
        assert native.cancelled()

    run(main())


def test_the_submodules_are_asyncios_names() -> None:
    from nursery.compat import coroutines, futures

    assert futures.Future is stdlib.Future
    assert futures.isfuture is stdlib.isfuture
    assert coroutines.iscoroutinefunction is stdlib.iscoroutinefunction
    with pytest.raises(AttributeError):
        getattr(futures, "no_such_name")  # noqa: B009  # mypy knows better

    async def function() -> None:
        pass

    given: Any = function()
    assert asyncio.iscoroutine(given)
    given.close()
    assert not asyncio.iscoroutine(iter([]))
    assert not asyncio.iscoroutine(number for number in range(0))


def test_a_failed_future_that_was_awaited_goes_without_the_collector() -> None:
    async def wait(future: asyncio.Future[None]) -> None:
        try:
            await future
        finally:
            del future

    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(ValueError())
        with pytest.raises(ValueError):
            await wait(future)
        gone = weakref.ref(future)
        del future
        assert gone() is None

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()
