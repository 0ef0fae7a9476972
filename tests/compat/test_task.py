"""The asyncio task on the kernel."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Generator
from typing import Any

import pytest

import nursery
from nursery import compat
from nursery.kernel.task import Task as KernelTask


async def answer() -> int:
    return 42


async def fail() -> None:
    raise ValueError("on purpose")


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_task_is_a_kernel_task_and_an_asyncio_task() -> None:
    async def main() -> None:
        task: Any = asyncio.current_task()
        assert isinstance(task, asyncio.Task)
        assert issubclass(type(task), KernelTask)
        assert asyncio.isfuture(task)
        assert nursery.lowlevel.current_task() is task

    compat.run(main())


def test_awaiting_a_task_returns_its_result() -> None:
    async def main() -> int:
        return await asyncio.create_task(answer())

    assert compat.run(main()) == 42


def test_awaiting_a_task_raises_its_exception_each_time() -> None:
    async def main() -> None:
        task = asyncio.create_task(fail())
        for _ in range(2):
            with pytest.raises(ValueError, match="on purpose"):
                await task
        assert isinstance(task.exception(), ValueError)

    compat.run(main())


def test_the_current_task_is_right_at_every_step_and_none_in_callbacks() -> None:
    seen: list[object] = []

    async def look() -> None:
        for _ in range(3):
            task: Any = asyncio.current_task()
            assert task is nursery.lowlevel.current_task()
            await asyncio.sleep(0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: seen.append(asyncio.current_task()))
        await asyncio.gather(look(), look())
        assert asyncio.current_task() in asyncio.all_tasks()

    compat.run(main())
    assert seen == [None]


def test_all_tasks_holds_those_that_live_and_no_task_of_the_kernel() -> None:
    async def main() -> None:
        child = asyncio.create_task(answer(), name="child")
        assert {task.get_name() for task in asyncio.all_tasks()} == {"child", "main"}
        await child
        assert {task.get_name() for task in asyncio.all_tasks()} == {"main"}

    with compat.Runner() as runner:
        loop = runner.get_loop()
        loop.run_until_complete(loop.create_task(main(), name="main"))


def test_a_native_child_is_an_asyncio_task_with_the_name_of_its_function() -> None:
    seen: list[Any] = []

    async def child() -> None:
        seen.append(asyncio.current_task())

    async def main() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(child)

    compat.run(main())
    assert isinstance(seen[0], asyncio.Task)
    assert seen[0].get_name().endswith("child")
    assert seen[0].done()


def test_unnamed_tasks_are_numbered_in_order_of_creation() -> None:
    async def main() -> None:
        first, second = asyncio.create_task(answer()), asyncio.create_task(answer())
        number = int(first.get_name().removeprefix("Task-"))
        assert second.get_name() == f"Task-{number + 1}"
        second.set_name(7)
        assert second.get_name() == "7"
        await asyncio.wait([first, second])

    compat.run(main())


def test_done_callbacks_and_waiters_run_in_the_order_of_their_registration() -> None:
    order: list[str] = []

    async def wait(task: asyncio.Task[int]) -> None:
        await task
        order.append("waiter")

    async def main() -> None:
        gate = asyncio.Event()
        task: asyncio.Task[Any] = asyncio.create_task(gate.wait())
        task.add_done_callback(lambda _: order.append("first"))
        waiter = asyncio.create_task(wait(task))
        await asyncio.sleep(0)
        task.add_done_callback(lambda _: order.append("last"))
        gate.set()
        await waiter
        await asyncio.sleep(0)

    compat.run(main())
    assert order == ["first", "waiter", "last"]


def test_a_done_callback_runs_in_its_context() -> None:
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="none")
    seen: list[str] = []

    async def main() -> None:
        task = asyncio.create_task(answer())
        context = contextvars.copy_context()
        context.run(var.set, "given")
        task.add_done_callback(lambda _: seen.append(var.get()), context=context)
        task.add_done_callback(lambda _: seen.append(var.get()))
        await task
        await asyncio.sleep(0)

    compat.run(main())
    assert seen == ["given", "none"]


def test_remove_done_callback_returns_how_many_it_removed() -> None:
    called: list[object] = []

    async def main() -> None:
        task = asyncio.create_task(answer())
        task.add_done_callback(called.append)
        task.add_done_callback(called.append)
        assert task.remove_done_callback(called.append) == 2
        assert task.remove_done_callback(called.append) == 0
        await task
        await asyncio.sleep(0)

    compat.run(main())
    assert called == []


def test_a_callback_added_to_a_finished_task_is_called_soon() -> None:
    async def main() -> None:
        task = asyncio.create_task(answer())
        await task
        called: list[object] = []
        task.add_done_callback(called.append)
        assert called == []
        await asyncio.sleep(0)
        assert called == [task]

    compat.run(main())


def test_an_error_that_nobody_asks_for_is_reported() -> None:
    reports: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))
        tasks = [asyncio.create_task(fail())]
        await turns(3)
        tasks.clear()
        gc.collect()

    compat.run(main())
    assert [report["message"] for report in reports] == ["Task exception was never retrieved"]
    assert isinstance(reports[0]["exception"], ValueError)
    assert isinstance(reports[0]["future"], asyncio.Task)


def test_an_error_that_was_asked_for_is_not_reported() -> None:
    reports: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))
        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        task.exception()
        del task
        gc.collect()

    compat.run(main())
    assert reports == []


def test_a_failed_task_does_not_cancel_its_siblings() -> None:
    async def main() -> int:
        sibling = asyncio.create_task(asyncio.sleep(0.001, 5))
        failing = asyncio.create_task(fail())
        await asyncio.wait([failing])
        failing.exception()
        return await sibling

    assert compat.run(main()) == 5


def test_a_task_without_a_reference_lives_on() -> None:
    done: list[int] = []

    async def work() -> None:
        await asyncio.sleep(0.001)
        done.append(1)

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.create_task(work())
        gc.collect()
        async with asyncio.timeout(10):
            while not done:
                await asyncio.sleep(0.001)

    compat.run(main())
    assert done == [1]


def test_a_finished_task_is_freed_without_the_garbage_collector() -> None:
    async def main() -> None:
        task = asyncio.create_task(answer())
        await task
        reference = weakref.ref(task)
        gc.disable()
        try:
            del task
            await turns(2)
            assert reference() is None
        finally:
            gc.enable()

    compat.run(main())


class BareYield:
    """An awaitable that yields what it is given."""

    def __init__(self, yielded: object) -> None:
        self.yielded = yielded

    def __await__(self) -> Generator[object, None, None]:
        yield self.yielded


def test_yielding_what_is_no_future_raises_at_the_await() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="Task got bad yield: 7"):
            await BareYield(7)
        await asyncio.sleep(0)

    compat.run(main())


def test_yielding_a_future_without_await_raises_at_the_yield() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="yield was used instead of yield from"):
            await BareYield(asyncio.get_running_loop().create_future())

    compat.run(main())


def test_a_task_cannot_await_itself() -> None:
    async def main() -> None:
        task: Any = asyncio.current_task()
        with pytest.raises(RuntimeError, match="cannot await on itself"):
            await task

    compat.run(main())


def test_awaiting_a_future_of_another_loop_raises() -> None:
    other = compat.new_event_loop()

    async def main() -> None:
        with pytest.raises(RuntimeError, match="attached to a different loop"):
            await other.create_future()

    compat.run(main())
    other.close()


def test_a_duck_typed_future_can_be_awaited() -> None:
    class Duck:
        _asyncio_future_blocking = False

        def __init__(self) -> None:
            self.inner: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def get_loop(self) -> asyncio.AbstractEventLoop:
            return self.inner.get_loop()

        def add_done_callback(self, fn: Any, *, context: Any = None) -> None:
            self.inner.add_done_callback(lambda _: fn(self), context=context)

        def cancel(self, msg: object = None) -> bool:
            return self.inner.cancel(msg)

        def __await__(self) -> Generator[Any, None, int]:
            if not self.inner.done():
                self._asyncio_future_blocking = True
                yield self
            return self.inner.result()

    async def main() -> int:
        duck = Duck()
        asyncio.get_running_loop().call_soon(duck.inner.set_result, 9)
        return await duck

    assert compat.run(main()) == 9


def test_what_is_no_coroutine_is_refused() -> None:
    async def main() -> None:
        not_a_coroutine: Any = 5
        with pytest.raises(TypeError, match="a coroutine was expected"):
            await asyncio.get_running_loop().create_task(not_a_coroutine)

    compat.run(main())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_exit_raised_in_a_task_leaves_the_loop(error: type[BaseException]) -> None:
    async def leave() -> None:
        raise error

    loop = compat.new_event_loop()
    task = loop.create_task(leave())
    with pytest.raises(error):
        loop.run_forever()
    assert isinstance(task.exception(), error)
    assert loop.run_until_complete(answer()) == 42
    loop.close()


def test_a_cancelled_task_says_so_and_raises_cancelled_error() -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(5))
        await asyncio.sleep(0)
        assert task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        assert task.cancelled()
        assert not task.cancel()
        with pytest.raises(asyncio.CancelledError):
            task.exception()

    compat.run(main())


def test_get_stack_shows_the_frame_of_a_waiting_task() -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(5))
        await asyncio.sleep(0)
        assert [frame.f_code.co_name for frame in task.get_stack()] == ["sleep"]
        assert "sleep" in repr(task)
        assert "pending" in repr(task)
        task.cancel()

    compat.run(main())


def test_what_libraries_read_is_there() -> None:
    async def main() -> None:
        task: Any = asyncio.create_task(asyncio.sleep(5))
        await asyncio.sleep(0)
        assert isinstance(task._fut_waiter, asyncio.Future)
        assert task._must_cancel is False
        assert task._loop is asyncio.get_running_loop()
        assert task._callbacks is None or task._callbacks == []
        task.add_done_callback(print)
        ((callback, context),) = task._callbacks
        assert callback is print
        assert isinstance(context, contextvars.Context)
        task.remove_done_callback(print)
        assert task.get_coro().cr_await is not None
        task._log_destroy_pending = False
        root: Any = asyncio.current_task()
        names = [callback.__name__ for callback, _ in root._callbacks]
        assert "_run_until_complete_cb" in names
        task.cancel()

    compat.run(main())


def test_a_hand_made_c_task_runs_on_the_loop() -> None:
    async def main() -> int:
        task = asyncio.Task(answer(), loop=asyncio.get_running_loop())
        assert await task == 42
        return await asyncio.Task(asyncio.sleep(0.001, 3), loop=asyncio.get_running_loop())

    assert compat.run(main()) == 3


def test_a_c_task_may_await_our_task_and_the_other_way_round() -> None:
    async def wait_for(task: asyncio.Task[int]) -> int:
        return await task + 1

    async def main() -> int:
        loop = asyncio.get_running_loop()
        ours = asyncio.create_task(asyncio.sleep(0.001, 1))
        theirs = asyncio.Task(wait_for(ours), loop=loop)
        return await asyncio.create_task(wait_for(theirs))

    assert compat.run(main()) == 3


def test_a_task_factory_gets_what_the_caller_gave() -> None:
    given: list[dict[str, Any]] = []

    def factory(loop: Any, coro: Any, **options: Any) -> Any:
        given.append(options)
        return asyncio.Task(coro, loop=loop, **options)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        await loop.create_task(answer())
        context = contextvars.copy_context()
        task = loop.create_task(answer(), name="named", context=context)
        await task
        assert task.get_name() == "named"

    compat.run(main())
    assert given[0] == {}
    assert "context" in given[1]


def test_a_context_that_is_none_is_refused_at_the_call() -> None:
    made = answer()
    wrong: Any = "no context"

    async def main() -> None:
        with pytest.raises(TypeError, match="Context was expected, got 'no context'"):
            _ = asyncio.get_running_loop().create_task(made, context=wrong)
        with pytest.raises(TypeError, match="Context was expected"):
            _ = compat.create_task(made, context=wrong)
        async with compat.TaskGroup() as group:
            with pytest.raises(TypeError, match="Context was expected"):
                group.create_task(made, context=wrong)

    compat.run(main())
    made.close()


def test_tasks_and_futures_take_attributes_of_their_users() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: list[Any] = [
            asyncio.create_task(asyncio.sleep(0)),
            loop.create_future(),
            asyncio.gather(),
            compat.shield(asyncio.sleep(0)),
        ]
        for promise in made:
            promise.mark = 1
            assert vars(promise) == {"mark": 1}
        await made[0]

    compat.run(main())


def test_a_coroutine_that_two_tasks_were_given_serves_the_first_as_in_asyncio() -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()

        async def wait() -> int:
            result: int = await future
            return result

        coro = wait()
        first, second = asyncio.create_task(coro), asyncio.create_task(coro)
        await turns(2)
        future.set_result(3)
        assert await first == 3
        with pytest.raises(RuntimeError, match="already awaited"):
            await second

    compat.run(main())


@pytest.mark.parametrize("wrong", [5, int])
def test_a_future_takes_nothing_but_an_exception_for_its_failure(wrong: Any) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        with pytest.raises(TypeError, match="invalid exception object"):
            future.set_exception(wrong)
        future.cancel()

    compat.run(main())


def test_a_failed_task_shows_itself_under_asyncios_name() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        shown: list[str] = []
        loop.set_exception_handler(lambda _, context: shown.append(type(context["future"]).__name__))
        failing: Any = asyncio.create_task(fail())
        del failing
        loop.create_future().set_exception(ValueError())
        await turns(3)
        assert sorted(shown) == ["Future", "Task"]

    compat.run(main())
