"""Scopes and nurseries left in the wrong order or not at all: said loudly, and nothing is lost or hangs."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack

import pytest

import nursery
from nursery import CancelScope, Nursery
from nursery.lowlevel import checkpoint

from .in_run import in_a_run


@in_a_run
async def test_leaving_an_outer_scope_first_raises_and_names_both() -> None:
    outer, inner = CancelScope(), CancelScope()
    outer.__enter__()
    inner.__enter__()
    with pytest.raises(RuntimeError, match="still within its child"):
        outer.__exit__(None, None, None)
    inner.__exit__(None, None, None)
    await checkpoint()


@in_a_run
async def test_after_a_scope_was_closed_over_another_the_task_goes_on_outside_both() -> None:
    surrounding = CancelScope()
    with surrounding:
        outer, inner = CancelScope(), CancelScope()
        outer.__enter__()
        inner.__enter__()
        with pytest.raises(RuntimeError):
            outer.__exit__(None, None, None)
        inner.__exit__(None, None, None)
        await checkpoint()
        surrounding.cancel()
        await checkpoint()
        pytest.fail("the surrounding scope lost its hold")
    assert surrounding.cancelled_caught


@in_a_run
async def test_the_error_under_way_becomes_the_context_of_the_complaint() -> None:
    outer, inner = CancelScope(), CancelScope()
    outer.__enter__()
    inner.__enter__()
    error = KeyError("under way")
    with pytest.raises(RuntimeError) as caught:
        outer.__exit__(KeyError, error, None)
    assert caught.value.__context__ is error
    inner.__exit__(None, None, None)


@in_a_run
async def test_a_scope_left_in_another_task_than_it_was_entered_in_raises() -> None:
    scope = CancelScope()
    errors: list[str] = []

    async def leave() -> None:
        try:
            scope.__exit__(None, None, None)
        except RuntimeError as exc:
            errors.append(str(exc))

    scope.__enter__()
    async with nursery.open_nursery() as n:
        n.start_soon(leave)
    scope.__exit__(None, None, None)
    assert len(errors) == 1
    assert "unrelated" in errors[0]
    await checkpoint()


@in_a_run
async def test_children_inside_a_scope_that_was_closed_over_them_are_cancelled() -> None:
    ended: list[str] = []

    async def child() -> None:
        try:
            await nursery.sleep_forever()
        except nursery.Cancelled:
            ended.append("cancelled")
            raise

    with pytest.raises((RuntimeError, ExceptionGroup)):
        scope = CancelScope()
        scope.__enter__()
        async with nursery.open_nursery() as n:
            n.start_soon(child)
            await checkpoint()
            scope.__exit__(None, None, None)
    assert ended == ["cancelled"]
    await checkpoint()


@in_a_run
async def test_an_exit_stack_that_closes_scopes_out_of_order_raises_once_and_unwinds() -> None:
    outer, inner = CancelScope(), CancelScope()
    with pytest.raises(RuntimeError, match="stack corrupted"), ExitStack() as stack:
        outer.__enter__()
        inner.__enter__()
        stack.push(inner)
        stack.push(outer)
    await checkpoint()


@in_a_run
async def test_nurseries_left_in_the_wrong_order_raise_and_end_all_children() -> None:
    ended: list[str] = []

    async def child(name: str) -> None:
        try:
            await nursery.sleep_forever()
        finally:
            ended.append(name)

    managers = [nursery.open_nursery(), nursery.open_nursery()]
    with pytest.raises((RuntimeError, BaseExceptionGroup)):
        async with AsyncExitStack() as stack:
            first = await managers[0].__aenter__()
            second = await managers[1].__aenter__()
            stack.push_async_exit(managers[1].__aexit__)
            stack.push_async_exit(managers[0].__aexit__)
            first.start_soon(child, "first")
            second.start_soon(child, "second")
            await checkpoint()
            first.cancel_scope.cancel()
    assert sorted(ended) == ["first", "second"]
    await checkpoint()


@in_a_run
async def test_a_task_that_ends_inside_a_nursery_fails_with_an_explanation() -> None:
    async def untidy() -> None:
        manager = nursery.open_nursery()
        n = await manager.__aenter__()
        n.start_soon(nursery.sleep_forever)

    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            n.start_soon(untidy)
    (error,) = caught.value.exceptions
    assert isinstance(error, RuntimeError)
    assert "nursery stack corrupted" in str(error).lower()


@in_a_run
async def test_the_error_of_a_task_that_ends_inside_a_nursery_becomes_the_context() -> None:
    async def untidy() -> None:
        await nursery.open_nursery().__aenter__()
        raise KeyError("its own error")

    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            n.start_soon(untidy)
    (error,) = caught.value.exceptions
    assert isinstance(error.__context__, KeyError)


def test_the_children_of_an_abandoned_nursery_are_cancelled_and_waited_for_before_the_run_ends() -> None:
    ended: list[str] = []

    async def orphan() -> None:
        try:
            await nursery.sleep_forever()
        finally:
            with CancelScope(shield=True):
                for _ in range(5):
                    await checkpoint()
            ended.append("orphan")

    async def untidy() -> None:
        n = await nursery.open_nursery().__aenter__()
        n.start_soon(orphan)
        await checkpoint()

    async def main() -> None:
        with pytest.raises(ExceptionGroup):
            async with nursery.open_nursery() as n:
                n.start_soon(untidy)

    nursery.run(main)
    assert ended == ["orphan"]


def test_the_main_task_may_be_the_untidy_one() -> None:
    ended: list[str] = []

    async def orphan() -> None:
        try:
            await nursery.sleep_forever()
        finally:
            ended.append("orphan")

    async def main() -> None:
        n = await nursery.open_nursery().__aenter__()
        n.start_soon(orphan)
        await checkpoint()

    with pytest.raises(RuntimeError, match=r"(?i)nursery stack corrupted"):
        nursery.run(main)
    assert ended == ["orphan"]


def test_an_error_of_an_orphan_is_logged_and_not_lost(caplog: pytest.LogCaptureFixture) -> None:
    async def orphan() -> None:
        try:
            await nursery.sleep_forever()
        finally:
            raise ValueError("the orphan's error")

    async def main() -> None:
        n = await nursery.open_nursery().__aenter__()
        n.start_soon(orphan)
        await checkpoint()

    with caplog.at_level(logging.ERROR), pytest.raises(RuntimeError):
        nursery.run(main)
    assert "the orphan's error" in caplog.text


@in_a_run
async def test_an_abandoned_nursery_takes_no_new_children() -> None:
    nurseries: list[Nursery] = []

    async def untidy() -> None:
        nurseries.append(await nursery.open_nursery().__aenter__())

    with pytest.raises(ExceptionGroup):
        async with nursery.open_nursery() as n:
            n.start_soon(untidy)
    with pytest.raises(RuntimeError, match="closed"):
        nurseries[0].start_soon(checkpoint)


@in_a_run
async def test_a_task_that_ends_inside_a_scope_is_no_tragedy() -> None:
    async def untidy() -> None:
        CancelScope().__enter__()

    async with nursery.open_nursery() as n:
        n.start_soon(untidy)


@in_a_run
async def test_a_child_that_closes_its_nurserys_scope_cannot() -> None:
    errors: list[BaseException] = []

    async def child(n: Nursery) -> None:
        try:
            n.cancel_scope.__exit__(None, None, None)
        except RuntimeError as exc:
            errors.append(exc)

    async with nursery.open_nursery() as n:
        n.start_soon(child, n)
    assert len(errors) == 1


@in_a_run
async def test_a_generator_that_yields_inside_a_scope_and_is_closed_late_raises_a_clear_error() -> None:
    async def generate() -> AsyncIterator[int]:
        with CancelScope():
            yield 1

    first, second = generate().__aiter__(), generate().__aiter__()
    await first.__anext__()
    await second.__anext__()
    with pytest.raises(RuntimeError, match="stack corrupted"):
        await first.aclose()  # type: ignore[attr-defined]  # an async generator is more than an iterator
    await second.aclose()  # type: ignore[attr-defined]  # as above
    await checkpoint()


@in_a_run
async def test_a_task_whose_surrounding_scope_vanished_says_so_when_it_ends() -> None:
    async def child() -> None:
        await checkpoint()

    with pytest.raises((RuntimeError, BaseExceptionGroup)) as caught:
        scope = CancelScope()
        scope.__enter__()
        async with nursery.open_nursery() as n:
            n.start_soon(child)
            scope.__exit__(None, None, None)
    assert "stack corrupted" in repr(caught.value) or caught.group_contains(RuntimeError, match="stack corrupted")


def test_misnesting_leaves_the_kernels_tables_whole() -> None:
    async def main() -> None:
        for _ in range(3):
            scopes = [CancelScope(relative_deadline=50) for _ in range(4)]
            for scope in scopes:
                scope.__enter__()
            with pytest.raises(RuntimeError):
                scopes[1].__exit__(None, None, None)
            await checkpoint()
            for scope in (scopes[3], scopes[2]):
                scope.__exit__(None, None, None)
            scopes[0].__exit__(None, None, None)
            await checkpoint()

    nursery.run(main, debug=True)
