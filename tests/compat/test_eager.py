"""Eager tasks: their first step is run by whoever makes them."""

from __future__ import annotations

import asyncio as stdlib
import contextvars
import gc
import weakref
from typing import Any

import pytest

import nursery
from nursery import compat as asyncio

from .kinds import turns
from .two_loops import run


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


def test_the_first_step_is_run_at_once_as_the_current_task() -> None:
    log: list[object] = []

    async def body() -> str:
        log.append(asyncio.current_task())
        log.append(nursery.lowlevel.current_task())
        await asyncio.sleep(0)
        log.append("second step")
        return "done"

    async def main() -> None:
        maker: object = asyncio.current_task()
        task = asyncio.create_task(body(), name="eager", eager_start=True)
        assert log == [task, task]
        assert asyncio.current_task() is maker
        current: object = nursery.lowlevel.current_task()
        assert current is maker
        assert await task == "done"

    run(main())


def test_a_task_that_ends_in_its_first_step_costs_no_turn() -> None:
    async def body() -> int:
        return 5

    async def fail() -> None:
        raise ValueError

    async def main() -> None:
        task = asyncio.create_task(body(), eager_start=True)
        assert task.done()
        assert task.result() == 5
        assert task.get_coro() is None
        assert task not in asyncio.all_tasks()
        failed = asyncio.create_task(fail(), eager_start=True)
        assert isinstance(failed.exception(), ValueError)
        assert "finished" in repr(task)

    run(main())


def test_every_kind_of_first_wait_is_known() -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        event = nursery.Event()

        async def on_future() -> str:
            return str(await future)

        async def on_native() -> str:
            await event.wait()
            return "native"

        async def on_yield() -> str:
            await asyncio.sleep(0)
            return "yield"

        async def on_c_future() -> str:
            c_future: asyncio.Future[str] = asyncio.Future()
            asyncio.get_running_loop().call_soon(c_future.set_result, "c")
            return await c_future

        bodies = (on_future, on_native, on_yield, on_c_future)
        tasks = [asyncio.create_task(body(), eager_start=True) for body in bodies]
        future.set_result("future")
        event.set()
        assert await asyncio.gather(*tasks) == ["future", "native", "yield", "c"]

    run(main())


def test_an_eager_task_may_be_cancelled_after_its_first_step() -> None:
    async def main() -> None:
        task = asyncio.create_task(forever(), eager_start=True)
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task

    run(main())


def test_keyboard_interrupt_in_the_first_step_reaches_the_maker() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        with pytest.raises(KeyboardInterrupt):
            _task = asyncio.create_task(interrupted(), eager_start=True)
        await turns(1)

    run(main())


def test_the_factory_makes_every_task_eager_unless_told_otherwise() -> None:
    async def body() -> int:
        return 5

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        assert asyncio.create_task(body()).done()
        assert loop.create_task(body(), name="named").get_name() == "named"
        assert asyncio.ensure_future(body()).done()
        assert list(await asyncio.gather(body(), body())) == [5, 5]
        lazy = asyncio.create_task(body(), eager_start=False)
        assert not lazy.done()
        await lazy

    run(main())


def test_a_factory_may_have_a_task_class_of_its_own() -> None:
    made: list[str] = []

    class Noted(stdlib.Task):  # type: ignore[type-arg]  # of whatever
        def __init__(self, coro: Any, **options: Any) -> None:
            made.append(str(options.pop("eager_start")))
            super().__init__(coro, **options)

    async def body() -> int:
        return 5

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.create_eager_task_factory(Noted))
        task = asyncio.create_task(body())
        assert isinstance(task, Noted)
        assert await task == 5
        assert made == ["True"]

    run(main())


def test_a_class_that_hands_everything_on_is_eager_on_every_version() -> None:
    class Named(stdlib.Task):  # type: ignore[type-arg]  # of whatever
        pass

    log: list[str] = []

    async def at_once() -> int:
        log.append("at once")
        assert asyncio.current_task() is not maker[0]
        return 5

    async def later() -> int:
        log.append("first step")
        await asyncio.sleep(0)
        return 6

    async def fail() -> None:
        raise ValueError

    maker: list[Any] = []

    async def main() -> None:
        maker.append(asyncio.current_task())
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.create_eager_task_factory(Named))
        task = asyncio.create_task(at_once(), name="named")
        assert isinstance(task, Named)
        assert task.done()
        assert task.get_name() == "named"
        assert asyncio.current_task() is maker[0]
        other = asyncio.create_task(later())
        assert log == ["at once", "first step"]
        assert not other.done()
        assert [await task, await other] == [5, 6]
        with pytest.raises(ValueError):
            await asyncio.create_task(fail())
        lazy = asyncio.create_task(later(), eager_start=False)
        assert log == ["at once", "first step"]
        assert await lazy == 6

    run(main())


def test_a_task_made_while_the_loop_does_not_run_starts_with_the_others() -> None:
    async def body() -> int:
        return 5

    loop = asyncio.EventLoop()
    task = loop.create_task(body(), eager_start=True)
    assert not task.done()
    assert loop.run_until_complete(task) == 5
    loop.close()


def test_the_first_step_runs_in_the_context_given() -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    async def body() -> str:
        variable.set("inside")
        return variable.get()

    async def main() -> None:
        context = contextvars.copy_context()
        assert await asyncio.create_task(body(), context=context, eager_start=True) == "inside"
        assert context[variable] == "inside"
        assert variable.get() == "outside"

    run(main())


@pytest.mark.parametrize("module", [asyncio, stdlib], ids=["facade", "asyncio"])
def test_an_eager_task_that_failed_goes_without_the_collector(module: Any) -> None:
    factory = getattr(module, "eager_task_factory", None)
    if factory is None:
        pytest.skip("new in 3.12")

    async def fail() -> None:
        raise ValueError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        task = loop.create_task(fail())
        assert isinstance(task.exception(), ValueError)
        gone = weakref.ref(task)
        del task
        assert gone() is None

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()
