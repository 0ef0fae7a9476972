"""What 3.14 and 3.15 have brought, and compat has on every version."""

# asyncio: 3.15
# mypy: disable-error-code="unused-awaitable"

import contextvars
import sys
from typing import assert_type

from nursery import compat as asyncio


async def number() -> int:
    return 1


async def eager() -> None:
    assert_type(asyncio.create_task(number(), name="x", eager_start=True), asyncio.Task[int])
    context = contextvars.copy_context()
    async with asyncio.TaskGroup() as group:
        assert_type(group.create_task(number(), context=context, eager_start=False), asyncio.Task[int])
        group.cancel()
    loop = asyncio.get_running_loop()
    assert_type(asyncio.eager_task_factory(loop, number(), eager_start=False), asyncio.Task[int])


async def graphs() -> None:
    graph = asyncio.capture_call_graph(depth=1, limit=5)
    assert_type(graph, asyncio.FutureCallGraph | None)
    if graph is not None:
        assert_type(graph.call_stack[0], asyncio.FrameCallGraphEntry)
        assert_type(graph.awaited_by[0].future.done(), bool)
    task = asyncio.create_task(number())
    asyncio.print_call_graph(task, file=sys.stderr)
    assert_type(asyncio.format_call_graph(task, limit=3), str)
    another = asyncio.create_task(number())
    asyncio.future_add_to_awaited_by(task, another)
    asyncio.future_discard_from_awaited_by(task, another)


async def wrong() -> None:
    asyncio.create_task(number(), eager_start="yes")  # type: ignore[arg-type]  # a bool
    asyncio.create_task(number(), eager=True)  # type: ignore[call-arg]  # there is no such option
    asyncio.format_call_graph(5)  # type: ignore[arg-type]  # no future
    async with asyncio.TaskGroup() as group:
        group.create_task(number(), eager_start="yes")  # type: ignore[arg-type]  # a bool
        group.cancel("now")  # type: ignore[call-arg]  # it takes no reason
