"""Nurseries: where children are born, where their failures go, and when the block is left."""

from __future__ import annotations

import contextvars
import functools
import threading
import types
from collections.abc import AsyncIterator, Awaitable, Generator
from typing import Any, cast

import pytest

import nursery
from nursery import CancelScope, Nursery
from nursery.lowlevel import cancel_shielded_checkpoint, checkpoint, current_task

from .in_run import in_a_run, in_virtual_time

# Waiting for children


@in_a_run
async def test_the_block_ends_after_the_last_child() -> None:
    order: list[str] = []

    async def child(steps: int) -> None:
        for _ in range(steps):
            await checkpoint()
        order.append(f"child of {steps}")

    async with nursery.open_nursery() as n:
        n.start_soon(child, 3)
        n.start_soon(child, 1)
        order.append("body")
    order.append("after")
    assert order == ["body", "child of 1", "child of 3", "after"]


@in_a_run
async def test_children_take_their_first_step_in_a_later_turn_and_in_order_of_birth() -> None:
    order: list[int] = []

    async def child(number: int) -> None:
        order.append(number)

    async with nursery.open_nursery() as n:
        for number in range(5):
            n.start_soon(child, number)
        assert order == []
    assert order == [0, 1, 2, 3, 4]


@in_a_run
async def test_a_child_may_start_siblings_while_the_parent_waits_in_its_exit() -> None:
    ran: list[str] = []

    async def child(depth: int) -> None:
        ran.append(f"depth {depth}")
        if depth < 3:
            await checkpoint()
            n.start_soon(child, depth + 1)

    async with nursery.open_nursery() as n:
        n.start_soon(child, 0)
    assert ran == ["depth 0", "depth 1", "depth 2", "depth 3"]


@in_a_run
async def test_a_closed_nursery_takes_no_new_children() -> None:
    async with nursery.open_nursery() as n:
        pass
    with pytest.raises(RuntimeError, match="closed to new arrivals"):
        n.start_soon(nursery.sleep, 0)
    with pytest.raises(RuntimeError, match="closed to new arrivals"):
        await n.start(cast(Any, nursery.sleep), 0)


@in_a_run
async def test_an_empty_nursery_is_left_through_a_schedule_point() -> None:
    order: list[str] = []

    async def other() -> None:
        order.append("other")

    async with nursery.open_nursery() as outer:
        outer.start_soon(other)
        async with nursery.open_nursery():
            pass
        order.append("after the empty one")
    assert order == ["other", "after the empty one"]


@in_a_run
async def test_leaving_an_empty_nursery_is_no_cancel_point() -> None:
    with CancelScope() as scope:
        scope.cancel()
        async with nursery.open_nursery():
            pass
        reached = True
    assert reached
    assert not scope.cancelled_caught


@in_a_run
async def test_entering_a_nursery_is_no_checkpoint() -> None:
    order: list[str] = []

    async def other() -> None:
        order.append("other")

    async with nursery.open_nursery() as outer:
        outer.start_soon(other)
        manager = nursery.open_nursery()
        await manager.__aenter__()
        order.append("entered")
        await manager.__aexit__(None, None, None)
    assert order == ["entered", "other"]


# Failures


@in_a_run
async def test_an_error_of_the_body_is_wrapped_in_a_group() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery():
            raise ValueError("body")
    assert [repr(e) for e in caught.value.exceptions] == ["ValueError('body')"]


@in_a_run
async def test_an_error_of_a_single_child_is_wrapped_in_a_group() -> None:
    async def fail() -> None:
        raise KeyError("child")

    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            n.start_soon(fail)
    assert [repr(e) for e in caught.value.exceptions] == ["KeyError('child')"]


@in_a_run
async def test_errors_of_body_and_children_leave_in_one_group_in_the_order_they_happened() -> None:
    async def fail(number: int) -> None:
        raise ValueError(number)

    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            n.start_soon(fail, 1)
            n.start_soon(fail, 2)
            raise ValueError(0)
    assert [e.args for e in caught.value.exceptions] == [(0,), (1,), (2,)]


@in_a_run
async def test_a_failing_child_cancels_body_and_siblings() -> None:
    cancelled: list[str] = []

    async def sibling() -> None:
        try:
            await nursery.sleep_forever()
        except nursery.Cancelled:
            cancelled.append("sibling")
            raise

    async def fail() -> None:
        raise ValueError

    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            n.start_soon(sibling)
            n.start_soon(fail)
            try:
                await nursery.sleep_forever()
            except nursery.Cancelled:
                cancelled.append("body")
                raise
    assert sorted(cancelled) == ["body", "sibling"]
    assert [type(e) for e in caught.value.exceptions] == [ValueError]


@in_a_run
async def test_nested_nurseries_give_nested_groups() -> None:
    async def fail() -> None:
        raise ValueError

    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery():
            async with nursery.open_nursery() as inner:
                inner.start_soon(fail)
    (inner_group,) = caught.value.exceptions
    assert isinstance(inner_group, ExceptionGroup)
    assert type(inner_group.exceptions[0]) is ValueError


@in_a_run
async def test_a_base_exception_of_a_child_leaves_in_a_base_exception_group() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(BaseExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            n.start_soon(leave)
    assert not isinstance(caught.value, ExceptionGroup)
    assert type(caught.value.exceptions[0]) is SystemExit


@in_a_run
async def test_stop_iteration_of_a_body_travels_in_the_group() -> None:
    for error in (StopIteration, StopAsyncIteration):
        with pytest.raises(ExceptionGroup) as caught:
            async with nursery.open_nursery():
                raise error
        assert type(caught.value.exceptions[0]) is error


@in_a_run
async def test_a_finished_body_waits_on_though_its_surroundings_are_cancelled() -> None:
    order: list[str] = []

    async def stubborn() -> None:
        with CancelScope(shield=True):
            for _ in range(3):
                await checkpoint()
        order.append("child")

    with CancelScope() as scope:
        async with nursery.open_nursery() as n:
            n.start_soon(stubborn)
            scope.cancel()
        order.append("left")
    assert order == ["child", "left"]


@in_a_run
async def test_a_raised_error_in_a_child_loses_neither_cause_nor_context() -> None:
    async def fail() -> None:
        try:
            raise KeyError("context")
        except KeyError:
            raise ValueError from OSError("cause")

    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            n.start_soon(fail)
    (error,) = caught.value.exceptions
    assert isinstance(error.__cause__, OSError)
    assert isinstance(error.__context__, KeyError)


@in_a_run
async def test_two_children_that_fail_do_not_become_each_others_context() -> None:
    async def fail(number: int) -> None:
        raise ValueError(number)

    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            n.start_soon(fail, 1)
            n.start_soon(fail, 2)
    assert [e.__context__ for e in caught.value.exceptions] == [None, None]


@in_a_run
async def test_leaving_a_nursery_makes_no_loop_in_the_context_chain() -> None:
    async def fail() -> None:
        raise ValueError

    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            n.start_soon(fail)
            raise KeyError
    for error in (caught.value, *caught.value.exceptions):
        seen: set[int] = set()
        link: BaseException | None = error
        while link is not None:
            assert id(link) not in seen
            seen.add(id(link))
            link = link.__context__


@in_a_run
async def test_a_group_raised_in_the_body_is_not_flattened() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery():
            raise ExceptionGroup("mine", [ValueError()])
    (inner,) = caught.value.exceptions
    assert isinstance(inner, ExceptionGroup)
    assert inner.message == "mine"


@in_a_run
async def test_an_error_during_the_siblings_cancellation_joins_the_group() -> None:
    async def fail() -> None:
        raise ValueError

    async def fail_in_clean_up() -> None:
        try:
            await nursery.sleep_forever()
        finally:
            raise OSError

    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            n.start_soon(fail_in_clean_up)
            n.start_soon(fail)
    assert {type(e) for e in caught.value.exceptions} == {ValueError, OSError}


@in_a_run
async def test_a_child_that_leaks_a_cancelled_of_another_scope_passes_it_on() -> None:
    async def catch_and_keep() -> None:
        with CancelScope() as scope:
            scope.cancel()
            try:
                await checkpoint()
            except nursery.Cancelled as exc:
                kept.append(exc)

    async def leak() -> None:
        raise kept[0]

    kept: list[nursery.Cancelled] = []
    await catch_and_keep()
    # The nursery's scope is cancelled by the failure and so owns what its child raised.
    async with nursery.open_nursery() as n:
        n.start_soon(leak)
    assert n.cancel_scope.cancelled_caught


# Introspection


@in_a_run
async def test_child_tasks_are_those_that_are_alive() -> None:
    async def child() -> None:
        await checkpoint()

    async with nursery.open_nursery() as n:
        assert n.child_tasks == frozenset()
        n.start_soon(child)
        (task,) = n.child_tasks
        assert task.parent_nursery is n
        await checkpoint()
        await checkpoint()
        assert n.child_tasks == frozenset()
    assert n.parent_task is current_task()


@in_a_run
async def test_a_task_lists_its_open_nurseries_outermost_first() -> None:
    task = current_task()
    async with nursery.open_nursery() as outer:
        async with nursery.open_nursery() as inner:
            assert task.child_nurseries == [outer, inner]
        assert task.child_nurseries == [outer]
    assert task.child_nurseries == []


@in_a_run
async def test_the_repr_counts_children_and_says_when_closed() -> None:
    async with nursery.open_nursery() as n:
        n.start_soon(checkpoint)
        assert "1 children" in repr(n)
    assert "closed" in repr(n)


# Contexts


@in_a_run
async def test_a_child_gets_a_copy_of_the_context_of_whoever_starts_it() -> None:
    variable = contextvars.ContextVar[str]("variable", default="unset")
    seen: list[str] = []

    async def child() -> None:
        seen.append(variable.get())
        variable.set("child's own")

    async def starter(n: Nursery) -> None:
        variable.set("starter")
        n.start_soon(child)

    async with nursery.open_nursery() as n:
        variable.set("parent")
        n.start_soon(child)
        n.start_soon(starter, n)
    assert seen == ["parent", "starter"]
    assert variable.get() == "parent"


@in_a_run
async def test_the_function_itself_is_called_in_the_childs_context() -> None:
    variable = contextvars.ContextVar[str]("variable", default="unset")

    def make_coroutine() -> Awaitable[None]:
        variable.set("set by the call")
        return checkpoint()

    async with nursery.open_nursery() as n:
        n.start_soon(make_coroutine)
    assert variable.get() == "unset"


# Misuse


@in_a_run
async def test_a_plain_with_block_says_to_use_async_with() -> None:
    with pytest.raises(RuntimeError, match="async with open_nursery"):
        with nursery.open_nursery():  # type: ignore[attr-defined]  # the misuse under test
            pass


def test_nursery_cannot_be_subclassed() -> None:
    with pytest.raises(TypeError):
        type("Mine", (Nursery,), {})


@in_a_run
async def test_a_coroutine_object_in_place_of_a_function_is_explained() -> None:
    async def child() -> None:
        pass

    async with nursery.open_nursery() as n:
        with pytest.raises(TypeError, match="coroutine object"):
            n.start_soon(cast(Any, child()))


@in_a_run
async def test_things_that_cannot_be_called_are_explained() -> None:
    async with nursery.open_nursery() as n:
        with pytest.raises(TypeError, match="expected an async function, got 5"):
            n.start_soon(cast(Any, 5))


@in_a_run
async def test_a_plain_function_is_explained() -> None:
    def plain() -> int:
        return 3

    async with nursery.open_nursery() as n:
        with pytest.raises(TypeError, match="plain function"):
            n.start_soon(cast(Any, plain))


@in_a_run
async def test_an_async_generator_function_is_explained() -> None:
    async def generate() -> AsyncIterator[int]:
        yield 1

    async with nursery.open_nursery() as n:
        with pytest.raises(TypeError, match="async generator"):
            n.start_soon(cast(Any, generate))


@in_a_run
async def test_a_plain_generator_function_is_refused() -> None:
    def generate() -> Generator[None, None, None]:
        yield

    async with nursery.open_nursery() as n:
        with pytest.raises(TypeError, match="expected an async function"):
            n.start_soon(cast(Any, generate))


@in_a_run
async def test_an_asyncio_future_is_recognised_and_explained() -> None:
    class FutureLike:
        _asyncio_future_blocking = False

    async with nursery.open_nursery() as n:
        with pytest.raises(TypeError, match="asyncio future"):
            n.start_soon(cast(Any, FutureLike))


@in_a_run
async def test_a_wrong_number_of_arguments_is_reported_at_the_call() -> None:
    async def child(argument: int) -> None:
        pass

    async with nursery.open_nursery() as n:
        with pytest.raises(TypeError, match="missing 1 required positional"):
            n.start_soon(cast(Any, child))
        assert n.child_tasks == frozenset()


@in_a_run
async def test_a_type_error_inside_the_call_is_not_explained_away() -> None:
    def broken() -> Awaitable[None]:
        raise TypeError("from within")

    async with nursery.open_nursery() as n:
        with pytest.raises(TypeError, match="from within"):
            n.start_soon(broken)


@in_a_run
async def test_a_refused_function_leaves_the_nursery_as_it_was() -> None:
    async with nursery.open_nursery() as n:
        with pytest.raises(TypeError):
            n.start_soon(cast(Any, None))
        assert n.child_tasks == frozenset()
        assert not n.cancel_scope.cancel_called


@in_a_run
async def test_partials_lambdas_and_methods_can_be_started() -> None:
    ran: list[str] = []

    class Service:
        async def serve(self, name: str) -> None:
            ran.append(name)

    async with nursery.open_nursery() as n:
        n.start_soon(functools.partial(Service().serve, "partial"))
        n.start_soon(lambda: Service().serve("lambda"))
        n.start_soon(Service().serve, "method")
    assert ran == ["partial", "lambda", "method"]


@in_a_run
async def test_a_generator_marked_by_types_coroutine_can_be_started() -> None:
    ran: list[str] = []

    @types.coroutine
    def marked() -> Generator[Any, Any, None]:
        yield from checkpoint().__await__()
        ran.append("marked")

    async with nursery.open_nursery() as n:
        n.start_soon(marked)
    assert ran == ["marked"]


@in_a_run
async def test_a_coroutine_of_another_make_can_be_started() -> None:
    class Foreign:
        """What a compiled coroutine looks like: the protocol, but not the type."""

        def __init__(self) -> None:
            self.inner = checkpoint()

        def send(self, value: None) -> object:
            return self.inner.send(value)

        def throw(self, *args: Any) -> object:
            return self.inner.throw(*args)

        def close(self) -> None:
            self.inner.close()

        def __await__(self) -> Generator[Any, Any, None]:
            return self.inner.__await__()

    ran: list[str] = []

    def start() -> Any:
        ran.append("started")
        return Foreign()

    async with nursery.open_nursery() as n:
        n.start_soon(start)
    assert ran == ["started"]


@in_a_run
async def test_leaving_a_nursery_in_another_task_than_its_own_is_an_error() -> None:
    manager = nursery.open_nursery()
    errors: list[BaseException] = []

    async def leave() -> None:
        try:
            await manager.__aexit__(None, None, None)
        except RuntimeError as exc:
            errors.append(exc)

    await manager.__aenter__()
    async with nursery.open_nursery() as n:
        n.start_soon(leave)
    await manager.__aexit__(None, None, None)
    assert len(errors) == 1


@in_a_run
async def test_leaving_a_nurserys_own_scope_by_hand_raises_at_once() -> None:
    async with nursery.open_nursery() as n:
        with pytest.raises(RuntimeError, match="belongs to a nursery"):
            n.cancel_scope.__exit__(None, None, None)
        n.start_soon(checkpoint)


# The scope of a nursery


@in_virtual_time
async def test_a_nurserys_scope_takes_a_deadline() -> None:
    start = nursery.current_time()
    async with nursery.open_nursery() as n:
        n.cancel_scope.deadline = start + 2
        n.start_soon(nursery.sleep_forever)
    assert nursery.current_time() == start + 2
    assert n.cancel_scope.cancelled_caught


@in_virtual_time
async def test_a_deadline_acts_on_a_parent_that_waits_in_the_exit() -> None:
    with nursery.move_on_after(3) as scope:
        async with nursery.open_nursery() as n:
            n.start_soon(nursery.sleep_forever)
    assert scope.cancelled_caught


@in_a_run
async def test_cancelling_one_nursery_leaves_its_sibling_alone() -> None:
    async def until_told(turns: int) -> None:
        for _ in range(turns):
            await checkpoint()

    async with nursery.open_nursery() as first:
        async with nursery.open_nursery() as second:
            second.start_soon(nursery.sleep_forever)
            first.start_soon(until_told, 5)
            await cancel_shielded_checkpoint()
            second.cancel_scope.cancel()
        assert not first.cancel_scope.cancel_called
        assert len(first.child_tasks) == 1


@in_a_run
async def test_starting_a_child_from_a_foreign_thread_is_refused() -> None:
    errors: list[BaseException] = []

    def foreign() -> None:
        try:
            n.start_soon(checkpoint)
        except RuntimeError as exc:
            errors.append(exc)

    async with nursery.open_nursery() as n:
        thread = threading.Thread(target=foreign)
        thread.start()
        thread.join()
        assert n.child_tasks == frozenset()
    assert len(errors) == 1
