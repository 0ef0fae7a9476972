"""Handles: what call_soon and its kin return, outside debug mode."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from nursery import compat
from nursery.compat.loop.callbacks import NO_HANDLE

from ..two_loops import LoopFactory, on_both, run_on


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = compat.new_event_loop()
    yield made
    made.close()


@on_both
def test_handles_are_asyncios(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        context = contextvars.copy_context()
        soon: Any = loop.call_soon(int, "7", context=context)
        later: Any = loop.call_later(5, int, "8", context=context)
        assert [isinstance(handle, asyncio.Handle) for handle in (soon, later)] == [True, True]
        assert [isinstance(handle, asyncio.TimerHandle) for handle in (soon, later)] == [False, True]
        for handle, argument in ((soon, "7"), (later, "8")):
            assert handle._context is context
            assert handle._loop is loop
            assert handle._callback is int
            assert handle._args == (argument,)
            assert not handle.cancelled()
            assert not handle._cancelled
            weakref.ref(handle)
            handle.cancel()
            handle.cancel()
            assert handle.cancelled()
            assert handle._cancelled
            assert handle._callback is None
        assert loop.time() < later.when() <= loop.time() + 5

    run_on(loop_factory, main())


@on_both
def test_the_repr_of_a_handle_names_its_callback(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        soon, later = loop.call_soon(main), loop.call_later(5, main)
        soon.cancel()
        assert repr(soon) == "<Handle cancelled>"
        assert repr(later).startswith(f"<TimerHandle when={later.when()} ")
        assert "main()" in repr(later)
        later.cancel()
        assert repr(later) == f"<TimerHandle cancelled when={later.when()}>"

    run_on(loop_factory, main())


def test_timers_can_be_compared_by_time() -> None:
    loop = compat.new_event_loop()
    first, second = loop.call_at(1, int), loop.call_at(2, int)
    assert first < second
    assert sorted([second, first]) == [first, second]
    assert first != loop.call_at(1, int)
    loop.close()


@on_both
def test_a_handle_forgets_what_it_held_when_it_is_cancelled(loop_factory: LoopFactory) -> None:
    class Held:
        pass

    loop = loop_factory()
    held = Held()
    watch = weakref.ref(held)
    handle = loop.call_later(30, print, held)
    del held
    handle.cancel()
    gc.collect()
    assert watch() is None
    loop.close()


def test_what_a_callback_held_is_free_in_the_same_turn() -> None:
    class Held:
        pass

    def ignore(*args: object) -> None:
        pass

    def look(watch: weakref.ref[Held], count: int) -> None:
        gone.append((count, watch() is None))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for count in range(4):
            held = Held()
            watch = weakref.ref(held)
            loop.call_soon(ignore, *[held] * count)
            del held
            loop.call_soon(look, watch, count)
            await asyncio.sleep(0)

    gone: list[tuple[int, bool]] = []
    compat.run(main())
    assert gone == [(0, True), (1, True), (2, True), (3, True)]


def test_what_a_future_that_wakes_a_task_is_answered_can_be_printed() -> None:
    assert NO_HANDLE.cancelled()
    assert repr(NO_HANDLE) == "<Handle cancelled>"


@on_both
def test_callbacks_get_their_arguments_however_many(loop_factory: LoopFactory) -> None:
    got: list[tuple[object, ...]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for count in range(4):
            loop.call_soon(lambda *args: got.append(args), *range(count))
        await asyncio.sleep(0)

    run_on(loop_factory, main())
    assert got == [(), (0,), (0, 1), (0, 1, 2)]


@on_both
def test_a_closed_loop_refuses_every_call(loop_factory: LoopFactory) -> None:
    loop: Any = loop_factory()
    loop.close()
    for debug in (False, True):
        loop.set_debug(debug)
        for method, *args in (
            ("call_soon", int),
            ("call_soon_threadsafe", int),
            ("call_later", 1, int),
            ("call_at", 1, int),
            ("run_in_executor", None, int),
            ("run_forever",),
        ):
            with pytest.raises(RuntimeError, match="Event loop is closed"):
                getattr(loop, str(method))(*args)
        coro = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            loop.create_task(coro)
        coro.close()


def test_many_threads_may_call_at_once() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        all_there = asyncio.Event()
        calls: list[int] = []

        def called() -> None:
            calls.append(threading.get_ident())
            if len(calls) == 800:
                all_there.set()

        def call() -> None:
            for _ in range(100):
                loop.call_soon_threadsafe(called)

        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        await all_there.wait()
        for thread in threads:
            thread.join()
        assert set(calls) == {threading.get_ident()}
        return len(calls)

    assert compat.run(main()) == 800


@on_both
def test_a_task_factory_gets_what_the_caller_gave(loop_factory: LoopFactory) -> None:
    got: list[dict[str, object]] = []

    def factory(loop: Any, coro: Any, **options: Any) -> Any:
        got.append(options)
        return asyncio.Task(coro, loop=loop, **options)

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        assert loop.get_task_factory() is factory
        context = contextvars.copy_context()
        await loop.create_task(asyncio.sleep(0))
        await loop.create_task(asyncio.sleep(0), context=context)
        named = loop.create_task(asyncio.sleep(0), name="named")
        await named
        assert named.get_name() == "named"
        assert got[0] == {}
        assert got[1] == {"context": context}
        loop.set_task_factory(None)
        assert loop.get_task_factory() is None

    run_on(loop_factory, main())


@on_both
def test_a_task_factory_has_to_be_callable(loop_factory: LoopFactory) -> None:
    loop: Any = loop_factory()
    with pytest.raises(TypeError, match="task factory must be a callable or None"):
        loop.set_task_factory("a word")
    loop.close()


def test_unknown_options_of_a_task_are_refused() -> None:
    async def main() -> None:
        coro = asyncio.sleep(0)
        loop: Any = asyncio.get_running_loop()
        with pytest.raises(TypeError, match="unexpected keyword"):
            loop.create_task(coro, colour="red")
        coro.close()

    compat.run(main())


@pytest.mark.skipif(sys.version_info < (3, 14), reason="so it is from 3.14 on")
def test_another_thread_that_cancels_a_running_callback_waits_for_its_end(loop: asyncio.AbstractEventLoop) -> None:
    began, order = threading.Event(), []

    def callback() -> None:
        began.set()
        time.sleep(0.01)
        order.append("callback")

    def cancel() -> None:
        began.wait()
        handle.cancel()
        order.append("cancelled")
        loop.call_soon_threadsafe(loop.stop)

    handle = loop.call_soon_threadsafe(callback)
    canceller = threading.Thread(target=cancel)
    canceller.start()
    loop.run_forever()
    canceller.join()
    assert order == ["callback", "cancelled"]
    assert handle.cancelled()


def test_what_another_thread_has_cancelled_is_not_called(loop: asyncio.AbstractEventLoop) -> None:
    called: list[int] = []
    handle = loop.call_soon_threadsafe(called.append, 1)
    handle.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    assert (called, handle.cancelled()) == ([], True)


def test_a_callback_from_another_thread_runs_in_its_context(loop: asyncio.AbstractEventLoop) -> None:
    variable = contextvars.ContextVar("variable", default=0)
    context = contextvars.copy_context()
    handle: Any = loop.call_soon_threadsafe(variable.set, 1, context=context)
    loop.run_until_complete(asyncio.sleep(0))
    assert (context[variable], variable.get()) == (1, 0)
    if hasattr(asyncio.Handle, "get_context"):
        assert handle.get_context() is context
