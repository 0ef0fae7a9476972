"""The table of nursery/compat/cancellation.py, a test for each cell: who interrupts, and where the task stands.

Each cell is run in a task of ours, in a native child, and in a task of asyncio's own class.  What a body writes down:
the class of what was raised, whether asyncio clean-up then worked, and whether a native cancel point raised again.
"""

from __future__ import annotations

import asyncio as stdlib
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import pytest

import nursery
from nursery import compat as asyncio
from nursery.testing import MockClock

from .kinds import turns
from .two_loops import run, run_on

Log: TypeAlias = list[str]
Body: TypeAlias = Callable[[Log], Coroutine[Any, Any, None]]
Around: TypeAlias = Callable[[], AbstractContextManager[object]]
Row: TypeAlias = Callable[[str, Around, Body, Log], Awaitable[None]]

KINDS = ("ours", "native child", "asyncio's")


def shielded() -> AbstractContextManager[object]:
    return nursery.CancelScope(shield=True)



# Columns: where the task stands when it is interrupted


async def clean_up(exc: BaseException, log: Log) -> None:
    """Write down what was raised, and how clean-up goes."""
    log.append("Cancelled" if isinstance(exc, nursery.Cancelled) else "CancelledError")
    for wait in (asyncio.sleep(0), asyncio.sleep(0.001), asyncio.wait_for(asyncio.Lock().acquire(), 1)):
        await wait
    log.append("asyncio clean-up works")
    try:
        await nursery.lowlevel.checkpoint()
        log.append("native clean-up works")
    except asyncio.CancelledError:
        log.append("native clean-up is interrupted")


async def native_await(log: Log) -> None:
    try:
        await nursery.sleep_forever()
    except asyncio.CancelledError as exc:
        await clean_up(exc, log)
        raise


async def facade_await(log: Log) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError as exc:
        await clean_up(exc, log)
        raise


async def nursery_body(log: Log) -> None:
    async def child(wait: Callable[[], Awaitable[object]]) -> None:
        try:
            await wait()
        except asyncio.CancelledError as exc:
            log.append(f"child: {'Cancelled' if isinstance(exc, nursery.Cancelled) else 'CancelledError'}")
            raise

    try:
        async with nursery.open_nursery() as n:
            n.start_soon(child, nursery.sleep_forever)
            n.start_soon(child, lambda: asyncio.Event().wait())
            await asyncio.Event().wait()
    except asyncio.CancelledError as exc:
        # The nursery's own part is bare, never a group.
        log.append(f"nursery: {'Cancelled' if isinstance(exc, nursery.Cancelled) else 'CancelledError'}")
        raise
    except BaseExceptionGroup:
        log.append("nursery: group")
        raise


async def native_shield(log: Log) -> None:
    try:
        with nursery.CancelScope(shield=True):
            await nursery.sleep(0.005)
            await asyncio.sleep(0.005)
            log.append("in peace")
        await asyncio.sleep(1)
        log.append("not interrupted")
    except asyncio.CancelledError as exc:
        await clean_up(exc, log)
        raise


async def asyncio_shield(log: Log) -> None:
    cleaned = asyncio.Event()

    async def inner() -> None:
        await cleaned.wait()
        log.append("inner in peace")

    task = asyncio.create_task(inner())
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError as exc:
        await clean_up(exc, log)
        cleaned.set()
        await task
        raise


COLUMNS: dict[str, Body] = {
    "native await": native_await,
    "facade await": facade_await,
    "nursery body": nursery_body,
    "shield": native_shield,
    "asyncio.shield": asyncio_shield,
}


# Rows: who interrupts


async def in_a_task(kind: str, block: Callable[[], Awaitable[None]], meanwhile: Callable[[Any], None]) -> Any:
    """Run `block` in a task, call `meanwhile(task)` when it waits, and return the task when it has ended."""
    started: list[Any] = []

    async def wrapped() -> None:
        started.append(asyncio.current_task())
        await block()

    if kind == "native child":
        async with nursery.open_nursery() as n:
            n.start_soon(wrapped)
            await turns(6)
            meanwhile(started[0])
    else:
        task = spawn_of(kind)(wrapped())
        await turns(6)
        meanwhile(task)
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
    return started[0]


def spawn_of(kind: str) -> Callable[[Any], Any]:
    if kind == "asyncio's":
        return lambda coro: stdlib.Task(coro, loop=asyncio.get_running_loop())
    return lambda coro: asyncio.get_running_loop().create_task(coro)


async def scope_cancel(kind: str, around: Around, body: Body, log: Log) -> None:
    scope = nursery.CancelScope()

    async def block() -> None:
        with around():
            with scope:
                await body(log)
            log.append("absorbed" if scope.cancelled_caught else "not absorbed")

    task = await in_a_task(kind, block, lambda _: scope.cancel())
    log.append(f"cancelling {task.cancelling()}")


async def deadline(kind: str, around: Around, body: Body, log: Log) -> None:
    async def block() -> None:
        with around():
            with nursery.move_on_after(0.002) as scope:
                await body(log)
            log.append("absorbed" if scope.cancelled_caught else "not absorbed")

    task = await in_a_task(kind, block, lambda _: None)
    log.append(f"cancelling {task.cancelling()}")


async def task_cancel(kind: str, around: Around, body: Body, log: Log) -> None:
    async def block() -> None:
        with around():
            if around is shielded:
                # From inside the shield as well.
                this: Any = asyncio.current_task()
                asyncio.get_running_loop().call_later(0.001, this.cancel)
            await body(log)

    def meanwhile(task: Any) -> None:
        if around is not shielded:
            task.cancel("why")

    task = await in_a_task(kind, block, meanwhile)
    log.append("task cancelled" if task.cancelled() else "task not cancelled")
    log.append(f"cancelling {task.cancelling()}")


async def group_abort(kind: str, around: Around, body: Body, log: Log) -> None:
    """The task is one of the group's, and another one fails."""

    async def fail() -> None:
        await asyncio.sleep(0.002)
        raise ValueError

    loop = asyncio.get_running_loop()
    with around():
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                if kind == "asyncio's":
                    loop.set_task_factory(lambda loop, coro, **options: stdlib.Task(coro, loop=loop, **options))
                task = group.create_task(body(log))
                loop.set_task_factory(None)
                group.create_task(fail())
    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    log.append("task cancelled" if task.cancelled() else "task not cancelled")
    log.append(f"cancelling {task.cancelling()}")


async def group_abort_of_its_body(kind: str, around: Around, body: Body, log: Log) -> None:
    """The task has opened the group, and a task of the group fails."""

    async def fail() -> None:
        await asyncio.sleep(0.002)
        raise ValueError

    async def block() -> None:
        with around():
            with pytest.raises(ExceptionGroup) as caught:
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail())
                    await body(log)
            assert [type(error) for error in caught.value.exceptions] == [ValueError]
            log.append("group raised")

    task = await in_a_task(kind, block, lambda _: None)
    log.append(f"cancelling {task.cancelling()}")


def timeout_by(make: Callable[[float], Any]) -> Row:
    async def timeout(kind: str, around: Around, body: Body, log: Log) -> None:
        async def block() -> None:
            with around():
                try:
                    async with make(0.002):
                        await body(log)
                except TimeoutError:
                    log.append("TimeoutError")

        task = await in_a_task(kind, block, lambda _: None)
        log.append(f"cancelling {task.cancelling()}")

    return timeout


async def wait_for(kind: str, around: Around, body: Body, log: Log) -> None:
    async def block() -> None:
        with around():
            try:
                await asyncio.wait_for(body(log), 0.002)
            except TimeoutError:
                log.append("TimeoutError")

    task = await in_a_task(kind, block, lambda _: None)
    log.append(f"cancelling {task.cancelling()}")


ROWS: dict[str, Row] = {
    "scope cancel": scope_cancel,
    "deadline": deadline,
    "task.cancel()": task_cancel,
    "TaskGroup abort": group_abort,
    "TaskGroup abort of its body": group_abort_of_its_body,
    "timeout": timeout_by(asyncio.timeout),
    "asyncio's timeout": timeout_by(stdlib.timeout),
    "wait_for": wait_for,
}

LEVELS = ("scope cancel", "deadline")

# A TaskGroup has no native children.
CELLS = [
    (row, column, kind)
    for row in ROWS
    for column in COLUMNS
    for kind in KINDS
    if not (row == "TaskGroup abort" and kind == "native child")
]
each_cell = pytest.mark.parametrize(("row", "column", "kind"), CELLS, ids=map(" | ".join, CELLS))


def expected(row: str, column: str, kind: str) -> Log:
    """Return what the table says of a cell."""
    level = row in LEVELS
    end = {
        "scope cancel": ["absorbed", "cancelling 0"],
        "deadline": ["absorbed", "cancelling 0"],
        "task.cancel()": ["task cancelled", "cancelling 1"],
        "TaskGroup abort": ["task cancelled", "cancelling 1"],
        "TaskGroup abort of its body": ["group raised", "cancelling 0"],
        "timeout": ["TimeoutError", "cancelling 0"],
        "asyncio's timeout": ["TimeoutError", "cancelling 0"],
        "wait_for": ["TimeoutError", "cancelling 0"],
    }[row]
    # A task of asyncio's own class makes the exception itself in an asyncio await.
    raised = "Cancelled" if level else "CancelledError"
    in_asyncio = "CancelledError" if kind == "asyncio's" else raised
    native_again = "native clean-up is interrupted" if level else "native clean-up works"
    if column == "native await":
        return [raised, "asyncio clean-up works", native_again, *end]
    if column == "facade await":
        return [in_asyncio, "asyncio clean-up works", native_again, *end]
    if column == "nursery body":
        # The children are told by the nursery's scope, whoever interrupted the body.
        children = ["child: Cancelled", "child: Cancelled"]
        return [*children, f"nursery: {'group' if in_asyncio == 'Cancelled' else 'CancelledError'}", *end]
    if column == "shield":
        if kind == "asyncio's" and not level:
            # Its edges are asyncio's own, and nothing can hold them.
            return ["CancelledError", "asyncio clean-up works", native_again, *end]
        return ["in peace", in_asyncio, "asyncio clean-up works", native_again, *end]
    return [in_asyncio, "asyncio clean-up works", native_again, "inner in peace", *end]


def cell_of(row: str, column: str, kind: str, around: Around) -> Log:
    """Return what happens."""
    log: Log = []

    async def main() -> None:
        await ROWS[row](kind, around, COLUMNS[column], log)
        # Nothing is left over.
        await asyncio.sleep(0)
        await nursery.lowlevel.checkpoint()

    run(main())
    return log


@each_cell
def test_the_cell_of(row: str, column: str, kind: str) -> None:
    assert cell_of(row, column, kind, nullcontext) == expected(row, column, kind)


@each_cell
def test_inside_a_shield_the_same_as_without_it(row: str, column: str, kind: str) -> None:
    assert cell_of(row, column, kind, shielded) == expected(row, column, kind)


# Told once, and again


both_kinds = pytest.mark.parametrize("kind", ["ours", "asyncio's"])


@both_kinds
def test_a_second_scope_interrupts_clean_up_again(kind: str) -> None:
    log: Log = []

    async def body(outer: nursery.CancelScope, inner: nursery.CancelScope) -> None:
        with outer:
            with inner:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    log.append("told")
                    try:
                        await asyncio.Event().wait()
                    except asyncio.CancelledError:
                        log.append("told again")
                        await asyncio.sleep(0.001)
                        raise
        log.append("left")

    async def main() -> None:
        outer, inner = nursery.CancelScope(), nursery.CancelScope()
        task = spawn_of(kind)(body(outer, inner))
        await turns(3)
        inner.cancel()
        await turns(6)
        assert log == ["told"]
        outer.cancel()
        await task
        assert outer.cancelled_caught
        assert task.cancelling() == 0

    run(main())
    assert log == ["told", "told again", "left"]


@both_kinds
def test_task_cancel_interrupts_clean_up_again(kind: str) -> None:
    log: Log = []

    async def body(scope: nursery.CancelScope) -> None:
        with scope:
            try:
                await asyncio.Event().wait()
            finally:
                log.append("told")
                try:
                    await asyncio.Event().wait()
                finally:
                    log.append("cancelled")

    async def main() -> None:
        scope = nursery.CancelScope()
        task = spawn_of(kind)(body(scope))
        await turns(3)
        scope.cancel()
        await turns(6)
        task.cancel("edge")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1
        assert task.cancelled()

    run(main())
    assert log == ["told", "cancelled"]


def waits() -> dict[str, Callable[[], Awaitable[object]]]:
    """Return the waits of the facade, each of which lasts for ever."""

    async def held_lock() -> None:
        lock = asyncio.Lock()
        await lock.acquire()
        await lock.acquire()

    async def condition() -> None:
        condition = asyncio.Condition()
        async with condition:
            await condition.wait()

    async def queue_join() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()
        queue.put_nowait(1)
        await queue.join()

    async def full_queue() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        await queue.put(1)
        await queue.put(2)

    async def group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(nothing())

    async def nothing() -> None:
        await asyncio.get_running_loop().create_future()

    async def c_future() -> None:
        await stdlib.Future()

    async def completed() -> None:
        async for _ in asyncio.as_completed([nothing()]):
            pass

    return {
        "sleep": lambda: asyncio.sleep(60),
        "future": nothing,
        "future of asyncio's": c_future,
        "task": lambda: asyncio.create_task(nothing()),
        "event": lambda: asyncio.Event().wait(),
        "lock": held_lock,
        "condition": condition,
        "semaphore": lambda: asyncio.Semaphore(0).acquire(),
        "barrier": lambda: asyncio.Barrier(2).wait(),
        "get": lambda: asyncio.Queue().get(),
        "put": full_queue,
        "join": queue_join,
        "gather": lambda: asyncio.gather(nothing(), nothing()),
        "wait": lambda: asyncio.wait([asyncio.create_task(nothing())]),
        "wait_for": lambda: asyncio.wait_for(nothing(), 60),
        "as_completed": completed,
        "shield": lambda: asyncio.shield(nothing()),
        "group": group,
    }


@both_kinds
@pytest.mark.parametrize("name", waits())
def test_each_wait_of_the_facade_is_told_once_by_a_scope_and_works_in_clean_up(name: str, kind: str) -> None:
    log: Log = []

    async def body() -> None:
        with nursery.move_on_after(0.001) as scope:
            try:
                await waits()[name]()
            finally:
                log.append("told")
                try:
                    async with asyncio.timeout(0.002):
                        await waits()[name]()
                except TimeoutError:
                    log.append("waited in clean-up")
        assert scope.cancelled_caught
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # there is one

    async def main() -> None:
        await spawn_of(kind)(body())

    run(main())
    assert log == ["told", "waited in clean-up"]


@both_kinds
@pytest.mark.parametrize("name", waits())
def test_each_wait_of_the_facade_is_interrupted_by_an_edge_with_its_message(name: str, kind: str) -> None:
    async def body() -> None:
        await waits()[name]()

    async def main() -> None:
        task = spawn_of(kind)(body())
        await turns(6)
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1

    run(main())


@both_kinds
@pytest.mark.parametrize("order", ["scope first", "request first"])
@pytest.mark.parametrize("name", [*waits(), "native sleep", "native event"])
def test_a_request_is_not_lost_in_a_scope_that_is_cancelled_in_the_same_turn(name: str, order: str, kind: str) -> None:
    native: dict[str, Callable[[], Awaitable[object]]] = {
        "native sleep": nursery.sleep_forever,
        "native event": lambda: nursery.Event().wait(),
    }
    wait = (waits() | native)[name]

    async def body(scope: nursery.CancelScope) -> None:
        with scope:
            await wait()
        # In a native wait the scope comes first, and the request at the next await.
        await asyncio.sleep(0)

    async def main() -> None:
        scope = nursery.CancelScope()
        task = spawn_of(kind)(body(scope))
        await turns(6)
        for interrupt in (scope.cancel, task.cancel) if order == "scope first" else (task.cancel, scope.cancel):
            interrupt()
        await asyncio.wait([task])
        assert task.cancelled()
        assert task.cancelling() == 1

    run(main())


def test_a_task_that_swallowed_a_request_is_reached_by_a_scope_that_is_cancelled_later() -> None:
    log: Log = []

    async def inner() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                log.append("inner told")
                if len(log) == 2:
                    raise

    async def body(scope: nursery.CancelScope) -> None:
        with scope:
            await asyncio.create_task(inner())

    async def main() -> None:
        scope = nursery.CancelScope()
        task = asyncio.create_task(body(scope))
        await turns(6)
        task.cancel()
        await turns(6)
        assert not task.done()
        scope.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run(main())
    assert log == ["inner told", "inner told"]


# Native waits that cannot be interrupted, in a task of asyncio's own class, which throws its edges itself


def reports_to(messages: Log) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: messages.append(context["message"]))


@both_kinds
@pytest.mark.parametrize("order", ["scope first", "request first", "request twice"])
def test_a_nursery_that_is_interrupted_twice_while_it_waits_is_left_in_order(order: str, kind: str) -> None:
    log: Log = []

    async def child() -> None:
        with nursery.CancelScope(shield=True):
            await nursery.sleep(0.002)
            log.append("child")

    async def body(scope: nursery.CancelScope) -> None:
        with scope:
            async with nursery.open_nursery() as n:
                n.start_soon(child)
        await asyncio.sleep(0)

    async def main() -> None:
        reports_to(log)
        scope = nursery.CancelScope()
        task = spawn_of(kind)(body(scope))
        await turns(4)
        interrupts: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "scope first": (scope.cancel, task.cancel),
            "request first": (task.cancel, scope.cancel),
            "request twice": (task.cancel, task.cancel),
        }
        for interrupt in interrupts[order]:
            interrupt()
        await asyncio.wait([task])
        assert task.cancelled()

    run(main())
    assert log == ["child"]


@both_kinds
def test_an_empty_nursery_that_is_interrupted_at_its_end_is_left_in_order(kind: str) -> None:
    log: Log = []

    async def body() -> None:
        with nursery.CancelScope():
            async with nursery.open_nursery():
                asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)  # type: ignore[union-attr]  # there is one
        await nursery.lowlevel.checkpoint()
        log.append("not reached")

    async def main() -> None:
        reports_to(log)
        task = spawn_of(kind)(body())
        await asyncio.wait([task])
        assert task.cancelled()

    run(main())
    assert log == []


@both_kinds
@pytest.mark.parametrize("woken", ["in this turn", "in the turn before"])
def test_what_a_native_wait_was_woken_with_is_not_lost_by_an_edge(woken: str, kind: str) -> None:
    log: Log = []

    async def body(receive: nursery.MemoryReceiveChannel[str]) -> None:
        log.append(await receive.receive())
        await nursery.lowlevel.checkpoint()
        log.append("not reached")

    async def main() -> None:
        send, receive = nursery.open_memory_channel[str](0)
        task = spawn_of(kind)(body(receive))
        await turns(4)
        send.send_nowait("item")
        if woken == "in the turn before":
            # The task of asyncio's class has a callback in the queue now, which steps it.
            asyncio.get_running_loop().call_soon(task.cancel)
            await turns(2)
        else:
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert task.cancelling() == 1

    run(main())
    assert log == ["item"]


def test_a_request_that_is_taken_back_during_a_native_wait_is_not_raised_after_it() -> None:
    async def child() -> None:
        with nursery.CancelScope(shield=True):
            await nursery.sleep(0.002)

    async def body(scope: nursery.CancelScope) -> str:
        with scope:
            async with nursery.open_nursery() as n:
                n.start_soon(child)
        await asyncio.sleep(0)
        return "in peace"

    async def main() -> None:
        scope = nursery.CancelScope()
        task = spawn_of("asyncio's")(body(scope))
        await turns(4)
        scope.cancel()
        task.cancel()
        assert task.uncancel() == 0
        assert await task == "in peace"

    run(main())


# Edges from inside a shield


@pytest.mark.parametrize("make", [asyncio.timeout, stdlib.timeout])
def test_a_timeout_inside_a_shield_is_not_held_back_by_it(make: Any) -> None:
    async def body() -> None:
        for _ in range(2):
            with nursery.CancelScope(shield=True):
                with nursery.CancelScope(shield=True):
                    with pytest.raises(TimeoutError):
                        async with make(0.001):
                            await asyncio.Event().wait()
                    with pytest.raises(TimeoutError):
                        async with make(0.001):
                            await nursery.sleep_forever()
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(asyncio.Event().wait(), 0.001)

    run(body())


def test_a_timeout_around_a_shield_is_held_back_until_it_ends() -> None:
    log: Log = []

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                with nursery.CancelScope(shield=True):
                    await asyncio.sleep(0.004)
                    log.append("in peace")
                await asyncio.sleep(0)
                log.append("not reached")

    run(main())
    assert log == ["in peace"]


def test_a_group_inside_a_shield_may_interrupt_its_body() -> None:
    async def fail() -> None:
        raise ValueError

    async def main() -> None:
        with nursery.CancelScope(shield=True):
            with pytest.raises(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail())
                    await asyncio.Event().wait()

    run(main())


async def by_wait_for(delay: float) -> None:
    await asyncio.wait_for(asyncio.Event().wait(), delay)


async def by_timeout(delay: float) -> None:
    async with asyncio.timeout(delay):
        await asyncio.Event().wait()


async def by_asyncios_timeout(delay: float) -> None:
    async with stdlib.timeout(delay):
        await nursery.sleep_forever()


async def by_fail_after(delay: float) -> None:
    with nursery.fail_after(delay):
        await asyncio.Event().wait()


time_limits = pytest.mark.parametrize("limit", [by_wait_for, by_timeout, by_asyncios_timeout, by_fail_after])


@time_limits
def test_an_edge_that_is_held_is_not_taken_for_the_timeouts_inside(limit: Callable[[float], Awaitable[None]]) -> None:
    log: Log = []

    async def body() -> None:
        this: Any = asyncio.current_task()
        try:
            with nursery.CancelScope(shield=True):
                for _ in range(2):
                    with pytest.raises((TimeoutError, nursery.TooSlowError)):
                        await limit(0.002)
                    # To the task itself the edge is not there yet.
                    log.append(f"cancelling {this.cancelling()}")
            await asyncio.sleep(0)
            log.append("not reached")
        except asyncio.CancelledError as exc:
            log.append(f"edge {exc.args}")
            assert this.cancelling() == 1
            raise

    async def main() -> None:
        task = asyncio.create_task(body())
        await turns(2)
        task.cancel("outer")
        assert task.cancelling() == 1
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1

    run(main())
    assert log == ["cancelling 0", "cancelling 0", "edge ('outer',)"]


def test_a_library_that_looks_whether_an_edge_is_under_way_sees_none_that_is_held() -> None:
    """anyio does not interrupt a task of which it reads that."""

    async def body() -> None:
        this: Any = asyncio.current_task()
        this.cancel()
        assert this._must_cancel
        with nursery.CancelScope(shield=True):
            assert not this._must_cancel
            await asyncio.sleep(0)
            this.uncancel()
        await asyncio.sleep(0)
        this.cancel()
        with nursery.CancelScope(shield=True):
            pass
        await asyncio.sleep(0)

    async def main() -> None:
        task = asyncio.create_task(body())
        await asyncio.wait([task])
        assert task.cancelled()

    run(main())


@time_limits
def test_a_timeout_around_a_shield_is_not_taken_for_those_inside(limit: Callable[[float], Awaitable[None]]) -> None:
    log: Log = []

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                with nursery.CancelScope(shield=True):
                    with pytest.raises((TimeoutError, nursery.TooSlowError)):
                        await limit(0.004)
                    log.append("inner")
                    await asyncio.sleep(0)
                    log.append("in peace")
                await asyncio.sleep(0)
                log.append("not reached")
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # there is one

    run(main())
    assert log == ["inner", "in peace"]


def test_each_of_three_timeouts_with_shields_between_them_raises_in_its_place() -> None:
    log: Log = []

    async def body() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.003):
                with nursery.CancelScope(shield=True):
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.002):
                            with nursery.CancelScope(shield=True):
                                with pytest.raises(TimeoutError):
                                    async with asyncio.timeout(0.001):
                                        with nursery.CancelScope(shield=True):
                                            await asyncio.sleep(0.006)
                                            log.append("innermost shield")
                                        await asyncio.sleep(0)
                                        log.append("not reached")
                                await asyncio.sleep(0)
                                log.append("middle shield")
                            await asyncio.sleep(0)
                            log.append("not reached")
                    await asyncio.sleep(0)
                    log.append("outermost shield")
                await asyncio.sleep(0)
                log.append("not reached")
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # there is one
        await asyncio.sleep(0)

    run(body())
    assert log == ["innermost shield", "middle shield", "outermost shield"]


def test_a_timeout_that_was_held_to_its_end_leaves_nothing_behind() -> None:
    async def body() -> str:
        with nursery.CancelScope(shield=True):
            async with asyncio.timeout(0.001) as limit:
                with nursery.CancelScope(shield=True):
                    await asyncio.sleep(0.003)
                # No await: it is left before it can raise.
            assert limit.expired()
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "in peace"

    async def main() -> None:
        assert await body() == "in peace"
        task = asyncio.create_task(body())
        await turns(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1

    run(main())


@pytest.mark.parametrize("make", [asyncio.TaskGroup, stdlib.TaskGroup], ids=["ours", "asyncio's"])
def test_a_group_inside_a_shield_does_not_take_a_held_edge_for_its_own(make: Any) -> None:
    log: Log = []

    async def fail() -> None:
        await asyncio.sleep(0.001)
        raise ValueError

    async def body() -> None:
        try:
            with nursery.CancelScope(shield=True):
                for in_body in (True, False):
                    with pytest.raises(ExceptionGroup):
                        async with make() as group:
                            group.create_task(fail())
                            if in_body:
                                await asyncio.Event().wait()
                    await asyncio.sleep(0.001)
                    await nursery.lowlevel.checkpoint()
                    log.append("in peace")
            await asyncio.sleep(0)
            log.append("not reached")
        except asyncio.CancelledError as exc:
            log.append(f"edge {exc.args}")
            raise

    async def main() -> None:
        task = asyncio.create_task(body())
        await turns(2)
        task.cancel("outer")
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert log == ["in peace", "in peace", "edge ('outer',)"]


def test_a_child_may_cancel_its_parent_inside_the_parents_shield() -> None:
    log: Log = []

    async def main() -> None:
        parent: Any = asyncio.current_task()

        async def child() -> None:
            parent.cancel("by the child")

        with nursery.CancelScope(shield=True):
            task = asyncio.create_task(child())
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as exc:
                log.append(str(exc))
                parent.uncancel()
            await task

    run(main())
    assert log == ["by the child"]


def test_a_nursery_inside_a_shield_that_fails_with_an_edge_raises_the_edge_later_and_inside() -> None:
    log: Log = []

    async def fail_in_clean_up() -> None:
        try:
            await nursery.sleep_forever()
        finally:
            raise ValueError

    async def main() -> None:
        with nursery.CancelScope(shield=True):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    with pytest.raises(ExceptionGroup):
                        async with nursery.open_nursery() as n:
                            n.start_soon(fail_in_clean_up)
                    log.append("group")
                    await asyncio.sleep(0)
                    log.append("not reached")

    run(main())
    assert log == ["group"]


def test_uncancel_takes_a_held_edge_back() -> None:
    async def body() -> str:
        with nursery.CancelScope(shield=True):
            await asyncio.sleep(0.003)
        await asyncio.sleep(0)
        return "in peace"

    async def main() -> None:
        task = asyncio.create_task(body())
        await turns(2)
        task.cancel()
        assert task.uncancel() == 0
        assert await task == "in peace"

    run(main())


# Time limits of both dialects in each other


@both_kinds
@pytest.mark.parametrize("limit", [by_wait_for, by_timeout, by_asyncios_timeout])
@pytest.mark.parametrize("first", ["inner", "outer"])
def test_an_asyncio_time_limit_inside_move_on_after(
    first: str, limit: Callable[[float], Awaitable[None]], kind: str
) -> None:
    log: Log = []

    async def body() -> None:
        with nursery.move_on_after(0.002 if first == "outer" else 1) as scope:
            try:
                await limit(0.002 if first == "inner" else 1)
            except TimeoutError:
                log.append("TimeoutError")
            await asyncio.sleep(0)
            log.append("goes on")
        log.append("moved on" if scope.cancelled_caught else "not cancelled")
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # there is one

    async def main() -> None:
        await spawn_of(kind)(body())

    run(main())
    assert log == (["TimeoutError", "goes on", "not cancelled"] if first == "inner" else ["moved on"])


@both_kinds
@pytest.mark.parametrize("make", [asyncio.timeout, stdlib.timeout], ids=["ours", "asyncio's"])
@pytest.mark.parametrize("first", ["inner", "outer"])
def test_move_on_after_inside_an_asyncio_timeout(first: str, make: Any, kind: str) -> None:
    log: Log = []

    async def body() -> None:
        try:
            async with make(0.002 if first == "outer" else 1):
                with nursery.move_on_after(0.002 if first == "inner" else 1) as scope:
                    await asyncio.Event().wait()
                log.append("moved on" if scope.cancelled_caught else "not cancelled")
                await asyncio.sleep(0)
        except TimeoutError:
            log.append("TimeoutError")
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # there is one

    async def main() -> None:
        await spawn_of(kind)(body())

    run(main())
    assert log == (["moved on"] if first == "inner" else ["TimeoutError"])


@pytest.mark.parametrize("outer", ["scope", "timeout"])
def test_of_time_limits_that_are_over_at_once_the_outer_one_ends_its_block(outer: str) -> None:
    log: Log = []

    async def in_a_scope() -> None:
        with nursery.move_on_at(nursery.current_time() - 1) as scope:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() - 1):
                await asyncio.Event().wait()
            log.append("not reached")
        log.append("absorbed" if scope.cancelled_caught else "not absorbed")

    async def in_a_timeout() -> None:
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() - 1):
                with nursery.move_on_at(nursery.current_time() - 1):
                    await asyncio.Event().wait()
                await asyncio.sleep(0)
                log.append("not reached")
        except TimeoutError:
            log.append("TimeoutError")

    async def main() -> None:
        await (in_a_scope() if outer == "scope" else in_a_timeout())
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # there is one
        await asyncio.sleep(0)
        await nursery.lowlevel.checkpoint()

    run(main())
    assert log == ["absorbed" if outer == "scope" else "TimeoutError"]


@pytest.mark.parametrize("outer", ["move_on_after", "timeout"])
def test_an_inner_timeout_that_is_over_in_the_outer_ones_clean_up_gives_way_to_it(outer: str) -> None:
    log: Log = []

    async def block() -> None:
        try:
            async with asyncio.timeout(2):
                try:
                    await asyncio.Event().wait()
                finally:
                    log.append("clean-up")
                    await asyncio.sleep(5)
        except TimeoutError:
            log.append("inner")
        await asyncio.sleep(0)
        log.append("not reached")

    async def main() -> None:
        if outer == "move_on_after":
            with nursery.move_on_after(1) as scope:
                await block()
            assert scope.cancelled_caught
        else:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await block()
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # there is one

    run_on(lambda: asyncio.EventLoop(MockClock(autojump_threshold=0)), main(), seconds=60)
    assert log == ["clean-up"]


@pytest.mark.parametrize("outer", ["move_on_after", "timeout"])
def test_a_timeout_that_is_begun_in_clean_up_limits_it(outer: str) -> None:
    log: Log = []

    async def block() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2):
                    await asyncio.Event().wait()
            log.append("limited")

    async def main() -> None:
        if outer == "move_on_after":
            with nursery.move_on_after(1) as scope:
                await block()
            assert scope.cancelled_caught
        else:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await block()

    run_on(lambda: asyncio.EventLoop(MockClock(autojump_threshold=0)), main(), seconds=60)
    assert log == ["limited"]


def test_a_timeout_outlives_the_loop_that_was_open_when_it_began() -> None:
    log: Log = []

    async def child(task_status: nursery.TaskStatus[None]) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.003):
                task_status.started()
                await nursery.sleep_forever()
        await nursery.lowlevel.checkpoint()
        log.append("over")

    async def main() -> None:
        async with nursery.open_nursery() as n:
            async with asyncio.open_loop():
                await n.start(child)

    nursery.run(main)
    assert log == ["over"]


def test_a_timeout_waits_for_a_child_that_shields_itself() -> None:
    log: Log = []

    async def child() -> None:
        with nursery.CancelScope(shield=True):
            await asyncio.sleep(0.004)
            log.append("in peace")
        await nursery.lowlevel.checkpoint()
        log.append("not reached")

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                async with nursery.open_nursery() as n:
                    n.start_soon(child)

    run(main())
    assert log == ["in peace"]


# Groups of both makes


@both_kinds
def test_a_task_of_a_group_that_fails_ends_the_nursery_in_the_groups_body(kind: str) -> None:
    ended: Log = []

    async def fail() -> None:
        await asyncio.sleep(0.001)
        raise ValueError

    async def child() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("child")

    async def body() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                async with nursery.open_nursery() as n:
                    n.start_soon(child)
        assert [type(error) for error in caught.value.exceptions] == [ValueError]
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # there is one
        await asyncio.sleep(0)

    async def main() -> None:
        await spawn_of(kind)(body())

    run(main())
    assert ended == ["child"]


@both_kinds
def test_a_native_child_that_fails_ends_the_group_in_the_nurserys_body(kind: str) -> None:
    ended: Log = []

    async def fail() -> None:
        await nursery.sleep(0.001)
        raise ValueError

    async def child() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("child")

    async def body() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with nursery.open_nursery() as n:
                n.start_soon(fail)
                async with asyncio.TaskGroup() as group:
                    group.create_task(child())
        assert [type(error) for error in caught.value.exceptions] == [ValueError]
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # there is one
        await asyncio.sleep(0)

    async def main() -> None:
        await spawn_of(kind)(body())

    run(main())
    assert ended == ["child"]


@both_kinds
@pytest.mark.parametrize("outer", ["group", "nursery"])
def test_an_edge_ends_groups_of_both_makes_in_each_other(outer: str, kind: str) -> None:
    ended: Log = []

    async def child(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def group_in_nursery() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(child, "native")
            async with asyncio.TaskGroup() as group:
                group.create_task(child("asyncio"))

    async def nursery_in_group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child("asyncio"))
            async with nursery.open_nursery() as n:
                n.start_soon(child, "native")

    async def main() -> None:
        task = spawn_of(kind)(group_in_nursery() if outer == "nursery" else nursery_in_group())
        await turns(6)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert not isinstance(caught.value, nursery.Cancelled)
        assert task.cancelled()

    run(main())
    assert sorted(ended) == ["asyncio", "native"]


@both_kinds
def test_a_cancellation_that_nobody_asked_this_task_for_leaves_the_nursery_whose_body_raised_it(kind: str) -> None:
    log: Log = []

    async def child() -> None:
        try:
            await nursery.sleep_forever()
        finally:
            log.append("child")

    async def body() -> None:
        other = asyncio.create_task(asyncio.Event().wait())
        asyncio.get_running_loop().call_later(0.001, other.cancel)
        with nursery.CancelScope() as scope:
            async with nursery.open_nursery() as n:
                n.start_soon(child)
                await asyncio.gather(other)
        assert not scope.cancelled_caught
        log.append("not reached")

    async def main() -> None:
        task = spawn_of(kind)(body())
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert log == ["child"]


@both_kinds
def test_a_scope_ends_groups_of_both_makes_in_each_other(kind: str) -> None:
    ended: Log = []

    async def child(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    async def body() -> None:
        with nursery.move_on_after(0.001) as scope:
            async with asyncio.TaskGroup() as group:
                group.create_task(child("asyncio"))
                async with nursery.open_nursery() as n:
                    n.start_soon(child, "native")
                    async with asyncio.TaskGroup() as innermost:
                        innermost.create_task(child("innermost"))
        assert scope.cancelled_caught
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # there is one

    async def main() -> None:
        await spawn_of(kind)(body())

    run(main())
    assert sorted(ended) == ["asyncio", "innermost", "native"]
