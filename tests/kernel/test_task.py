"""The task record: names, states, frames, and what an untidy end clears up."""

from __future__ import annotations

import contextvars
import functools
import inspect
from collections.abc import AsyncIterator
from types import CoroutineType
from typing import Any

import pytest

import nursery
from nursery.lowlevel import Abort, Task, checkpoint, current_task, reschedule, wait_task_rescheduled

from .in_run import in_a_run


async def named() -> str:
    """Tell the name that the task got."""
    return current_task().name


@in_a_run
async def test_a_task_is_named_after_module_and_qualified_name() -> None:
    async def inner() -> None:
        names.append(current_task().name)

    names: list[str] = []
    async with nursery.open_nursery() as n:
        n.start_soon(inner)
    assert names == [f"{__name__}.test_a_task_is_named_after_module_and_qualified_name.<locals>.inner"]


def test_the_main_task_is_named_after_its_function() -> None:
    assert nursery.run(named) == f"{__name__}.named"


def test_partials_are_named_after_what_they_hold() -> None:
    assert nursery.run(functools.partial(functools.partial(named))) == f"{__name__}.named"


@in_a_run
async def test_a_name_can_be_given_and_need_not_be_text() -> None:
    async def inner() -> None:
        names.append(current_task().name)

    names: list[str] = []
    async with nursery.open_nursery() as n:
        n.start_soon(inner, name="given")
        n.start_soon(inner, name=named)
        n.start_soon(inner, name=functools.partial(named))
        n.start_soon(inner, name=object)
        n.start_soon(inner, name=3.5)
    assert names == ["given", f"{__name__}.named", f"{__name__}.named", "builtins.object", "3.5"]


@in_a_run
async def test_a_name_can_be_changed() -> None:
    task = current_task()
    task.name = "new name"
    assert task.name == "new name"
    assert "new name" in repr(task)


@in_a_run
async def test_a_callable_without_a_name_lends_its_repr() -> None:
    class Callable:
        async def __call__(self) -> None:
            names.append(current_task().name)

        def __repr__(self) -> str:
            return "<callable>"

    names: list[str] = []
    async with nursery.open_nursery() as n:
        n.start_soon(Callable())
    assert names == ["<callable>"]


@in_a_run
async def test_a_running_task_is_neither_parked_nor_ended() -> None:
    task = current_task()
    assert task.abort is None
    assert not task.ended
    assert task.runner.current is task


@in_a_run
async def test_a_sleeping_task_is_parked_and_an_ended_one_ended() -> None:
    tasks: list[Task] = []

    async def sleeper() -> None:
        tasks.append(current_task())
        await wait_task_rescheduled(lambda raise_cancel: Abort.SUCCEEDED)

    async with nursery.open_nursery() as n:
        n.start_soon(sleeper)
        await checkpoint()
        (task,) = tasks
        states = [(task.abort is not None, task in task.runner.queue, task.ended)]
        reschedule(task)
        states.append((task.abort is not None, task in task.runner.queue, task.ended))
    states.append((task.abort is not None, task in task.runner.queue, task.ended))
    assert states == [(True, False, False), (False, True, False), (False, False, True)]


@in_a_run
async def test_the_frames_of_a_sleeping_task_lead_from_its_function_to_the_trap() -> None:
    tasks: list[Task] = []

    async def inner() -> None:
        tasks.append(current_task())
        await nursery.sleep_forever()

    async def outer() -> None:
        await inner()

    async with nursery.open_nursery() as n:
        n.start_soon(outer)
        await checkpoint()
        names = [frame.f_code.co_name for frame, _line in tasks[0].iter_await_frames()]
        lines = [line for _frame, line in tasks[0].iter_await_frames()]
        n.cancel_scope.cancel()
    assert names[:3] == ["outer", "inner", "sleep_forever"]
    assert all(line > 0 for line in lines)


@in_a_run
async def test_the_frames_pass_through_async_generators_and_awaitable_objects() -> None:
    tasks: list[Task] = []

    async def generate() -> AsyncIterator[int]:
        tasks.append(current_task())
        await nursery.sleep(1000)
        yield 1

    class Awaitable:
        def __await__(self) -> Any:
            return iterate().__await__()

    async def iterate() -> None:
        async for _ in generate():
            pass

    async def outer() -> None:
        await Awaitable()

    async with nursery.open_nursery() as n:
        n.start_soon(outer)
        await checkpoint()
        names = [frame.f_code.co_name for frame, _line in tasks[0].iter_await_frames()]
        n.cancel_scope.cancel()
    assert names[:4] == ["outer", "iterate", "generate", "sleep"]


@in_a_run
async def test_an_ended_task_has_no_frames() -> None:
    tasks: list[Task] = []

    async def child() -> None:
        tasks.append(current_task())

    async with nursery.open_nursery() as n:
        n.start_soon(child)
    assert list(tasks[0].iter_await_frames()) == []


@in_a_run
async def test_the_context_of_a_task_is_the_one_its_code_sees() -> None:
    variable = contextvars.ContextVar[str]("variable")
    variable.set("set by the task")
    assert current_task().context[variable] == "set by the task"


@in_a_run
async def test_the_coroutine_of_a_task_is_the_one_that_runs() -> None:
    coro = current_task().coro
    assert isinstance(coro, CoroutineType)
    assert inspect.getcoroutinestate(coro) == inspect.CORO_RUNNING


@in_a_run
async def test_a_task_can_be_referred_to_weakly_and_dies_after_its_end() -> None:
    import gc
    import weakref

    references: list[weakref.ref[Task]] = []

    async def child() -> None:
        references.append(weakref.ref(current_task()))

    async with nursery.open_nursery() as n:
        n.start_soon(child)
    await checkpoint()
    gc.collect()
    assert references[0]() is None


@in_a_run
async def test_the_locals_of_a_cancelled_task_die_promptly_without_the_collector() -> None:
    import gc

    died: list[str] = []

    class Local:
        def __del__(self) -> None:
            died.append("died")

    async def sleeper() -> None:
        local = Local()  # noqa: F841  # its death is what counts
        await nursery.sleep_forever()

    gc.disable()
    try:
        async with nursery.open_nursery() as n:
            n.start_soon(sleeper)
            await checkpoint()
            n.cancel_scope.cancel()
        assert died == ["died"]
    finally:
        gc.enable()


@in_a_run
async def test_a_traceback_of_a_child_begins_in_the_childs_own_code() -> None:
    async def fail() -> None:
        raise ValueError

    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            n.start_soon(fail)
    traceback = caught.value.exceptions[0].__traceback__
    assert traceback is not None
    assert traceback.tb_frame.f_code.co_name == "fail"


@in_a_run
async def test_the_self_check_finds_an_alert_that_contradicts_the_scopes() -> None:
    task = current_task()
    task.alert = True
    with pytest.raises(nursery.InternalError, match="alert"):
        task.check()
    task.alert = False
    task.check()


@in_a_run
async def test_a_task_that_never_yields_but_is_stepped_last_keeps_strict_order() -> None:
    order: list[int] = []

    async def step(number: int, turns: int) -> None:
        for _ in range(turns):
            order.append(number)
            await checkpoint()

    async with nursery.open_nursery() as n:
        for number in range(3):
            n.start_soon(step, number, 3)
    assert order == [0, 1, 2] * 3
