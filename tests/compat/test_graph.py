"""Who waits for whom: capture_call_graph and its kin, on every version of Python."""

from __future__ import annotations

import asyncio as stdlib
import io
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from nursery import compat as asyncio

from .kinds import Spawn, in_both_kinds, turns
from .two_loops import run


def names(graph: asyncio.FutureCallGraph) -> list[str]:
    return [entry.frame.f_code.co_name for entry in graph.call_stack]


def waiters(graph: asyncio.FutureCallGraph) -> set[str]:
    return {waiter.future.get_name() for waiter in graph.awaited_by}  # type: ignore[attr-defined]  # a task


async def inner(future: asyncio.Future[None]) -> None:
    await future


async def outer(future: asyncio.Future[None]) -> None:
    await inner(future)


@in_both_kinds
def test_the_graph_of_a_task_has_its_calls_and_who_awaits_it(spawn: Spawn) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        task = spawn(outer(future))

        async def wait() -> None:
            await task

        waiter = spawn(wait())
        waiter.set_name("waiter")
        await turns(3)
        graph = asyncio.capture_call_graph(task)
        assert graph is not None
        assert graph.future is task
        assert names(graph) == ["inner", "outer"]
        assert waiters(graph) == {"waiter"}
        assert names(graph.awaited_by[0]) == ["wait"]
        of_future = asyncio.capture_call_graph(future)
        assert of_future is not None
        assert of_future.call_stack == ()
        assert {id(each.future) for each in of_future.awaited_by} == {id(task)}
        future.set_result(None)
        await waiter
        assert asyncio.capture_call_graph(task).awaited_by == ()  # type: ignore[union-attr]  # of a task there is one

    run(main())


async def by_gather(task: asyncio.Task[None]) -> None:
    await asyncio.gather(task)


async def by_wait(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])


async def by_wait_for(task: asyncio.Task[None]) -> None:
    await asyncio.wait_for(task, 5)


async def by_shield(task: asyncio.Task[None]) -> None:
    await asyncio.shield(task)


async def by_as_completed(task: asyncio.Task[None]) -> None:
    async for _ in asyncio.as_completed([task]):
        pass


@in_both_kinds
@pytest.mark.parametrize("wait", [by_gather, by_wait, by_wait_for, by_shield, by_as_completed])
def test_who_waits_by_a_function_of_the_facade_is_seen(
    spawn: Spawn, wait: Callable[[Any], Awaitable[None]]
) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(outer(future))

        async def waiting() -> None:
            await wait(task)

        waiter = spawn(waiting())
        waiter.set_name("waiter")
        await turns(3)
        graph = asyncio.capture_call_graph(task)
        assert graph is not None
        if wait is by_as_completed and not hasattr(waiter, "runner"):
            # A C task waits there by a future that nobody names.
            assert len(graph.awaited_by) <= 1
        else:
            assert waiters(graph) == {"waiter"}
        future.set_result(None)
        await waiter

    run(main())


async def by_stdlib_gather(task: asyncio.Task[None]) -> None:
    await stdlib.gather(task)


async def by_stdlib_wait(task: asyncio.Task[None]) -> None:
    await stdlib.wait([task])


async def by_stdlib_shield(task: asyncio.Task[None]) -> None:
    await stdlib.shield(task)


@pytest.mark.parametrize("wait", [by_stdlib_gather, by_stdlib_wait, by_stdlib_shield])
def test_who_waits_by_a_function_of_asyncio_is_seen(wait: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(outer(future))
        waiter = asyncio.create_task(wait(task), name="waiter")
        await turns(3)
        # asyncio's own function, from 3.14 on, as well.
        for capture in {asyncio.capture_call_graph, getattr(stdlib, "capture_call_graph", asyncio.capture_call_graph)}:
            graph = capture(task)
            assert graph is not None
            assert graph.future is task
            assert names(graph) == ["inner", "outer"]
            assert waiters(graph) == {"waiter"}
        future.set_result(None)
        await waiter

    run(main())


def test_the_parent_of_a_group_waits_for_its_tasks() -> None:
    async def main() -> None:
        asyncio.current_task().set_name("parent")  # type: ignore[union-attr]  # there is one
        future = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(outer(future))
            await turns(1)
            graph = asyncio.capture_call_graph(task)
            assert graph is not None
            assert "parent" in waiters(graph)
            future.set_result(None)

    run(main())


def test_the_current_task_is_shown_from_where_it_is() -> None:
    async def main() -> None:
        def here() -> asyncio.FutureCallGraph | None:
            return asyncio.capture_call_graph()

        async def deep() -> None:
            graph = here()
            assert graph is not None
            assert graph.future is asyncio.current_task()
            assert names(graph)[:3] == ["here", "deep", "main"]
            assert names(asyncio.capture_call_graph(depth=2))[0] == "main"  # type: ignore[arg-type]  # there is one
            assert names(asyncio.capture_call_graph(limit=1)) == ["deep"]  # type: ignore[arg-type]  # there is one
            assert names(asyncio.capture_call_graph(limit=0)) == []  # type: ignore[arg-type]  # there is one

        await deep()

    asyncio.run(main())


def test_a_relation_may_be_told_by_hand() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        one, two = loop.create_future(), asyncio.create_task(turns(1), name="two")
        asyncio.future_add_to_awaited_by(one, two)
        graph = asyncio.capture_call_graph(one)
        assert graph is not None
        assert waiters(graph) == {"two"}
        asyncio.future_discard_from_awaited_by(one, two)
        assert asyncio.capture_call_graph(one).awaited_by == ()  # type: ignore[union-attr]  # of a future there is one
        await two

    run(main())


def test_the_text_of_a_graph_names_tasks_and_calls() -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(outer(future), name="named")
        await turns(1)
        text = asyncio.format_call_graph(task)
        assert text.startswith("* Task(name='named'")
        assert "in async outer()" in text
        file = io.StringIO()
        asyncio.print_call_graph(future, file=file)
        assert file.getvalue().startswith("* Future(")
        assert "+ Awaited by:" in file.getvalue()
        assert "named" in file.getvalue()
        future.set_result(None)
        await task
        assert "test_the_text" in asyncio.format_call_graph()

    asyncio.run(main())


def test_what_is_no_future_has_no_graph() -> None:
    bad: Any = 5
    with pytest.raises(TypeError, match=r"compatible with asyncio\.Future"):
        asyncio.capture_call_graph(bad)
    with pytest.raises(RuntimeError, match="outside of a running event loop"):
        asyncio.capture_call_graph()

    async def main() -> None:
        seen: list[object] = []
        asyncio.get_running_loop().call_soon(lambda: seen.append(asyncio.capture_call_graph()))
        await turns(1)
        assert seen == [None]
        loop = asyncio.get_running_loop()
        assert asyncio.capture_call_graph(stdlib.Future(loop=loop)) is not None

    run(main())
