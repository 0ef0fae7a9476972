"""spawn: a task with a handle."""

from __future__ import annotations

import gc
import threading

import pytest

import nursery
from nursery import Handle, TaskCancelledError, TaskFailedError
from nursery.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked


async def after(seconds: float, value: str) -> str:
    await nursery.sleep(seconds)
    return value


async def fail(seconds: float) -> str:
    await nursery.sleep(seconds)
    raise KeyError("the failure")


async def test_an_awaited_handle_gives_the_typed_value(autojump_clock: MockClock) -> None:
    async with nursery.open_nursery() as n:
        handle: Handle[str] = n.spawn(after, 2, "x")
        before = handle.status
        value: str = await handle
        assert value == "x"
        assert nursery.current_time() == 2
        assert (before, handle.status) == ("running", "returned")
        assert await handle == handle.value == "x"


async def test_the_value_is_there_after_the_nursery(autojump_clock: MockClock) -> None:
    async with nursery.open_nursery() as n:
        handles = [n.spawn(after, number, str(number)) for number in range(3)]
    assert [handle.value for handle in handles] == ["0", "1", "2"]
    with assert_checkpoints():
        assert await handles[0] == "0"


async def test_any_number_of_tasks_may_await_a_handle(autojump_clock: MockClock) -> None:
    got: list[str] = []

    async def wait(handle: Handle[str]) -> None:
        got.append(await handle)

    async with nursery.open_nursery() as n:
        handle = n.spawn(after, 1, "x")
        for _ in range(3):
            n.start_soon(wait, handle)
    assert got == ["x"] * 3


async def test_a_failure_is_raised_once_by_the_nursery(autojump_clock: MockClock) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            # Who waits inside the nursery is cut off by it, and adds no second error.
            await n.spawn(fail, 1)
    assert [repr(error) for error in caught.value.exceptions] == ["KeyError('the failure')"]


async def test_awaiting_a_failed_handle_outside_its_nursery_says_that_it_failed(autojump_clock: MockClock) -> None:
    handles: list[Handle[str]] = []

    async def other() -> None:
        with pytest.raises(TaskFailedError, match=r"KeyError.*its nursery raises that") as caught:
            await handles[0]
        assert isinstance(caught.value.failure, KeyError)
        assert caught.value.__cause__ is None

    async with nursery.open_nursery() as outer:
        with pytest.raises(ExceptionGroup):
            async with nursery.open_nursery() as n:
                handles.append(n.spawn(fail, 1))
                outer.start_soon(other)
        assert handles[0].status == "failed"
        with pytest.raises(TaskFailedError):
            await handles[0]
        with pytest.raises(TaskFailedError):
            _ = handles[0].value
        # Waiting for the end is another thing than asking for the value.
        with assert_checkpoints():
            await handles[0].wait()


async def test_a_failure_at_once_cancels_the_nursery_before_it_wakes_anybody() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            handle = n.spawn(fail, 0)
            for _ in range(3):
                n.start_soon(handle.wait)
            await handle
    assert [type(error) for error in caught.value.exceptions] == [KeyError]


async def test_a_handle_can_be_cancelled_alone(autojump_clock: MockClock) -> None:
    async with nursery.open_nursery() as n:
        doomed, spared = n.spawn(after, 5, "doomed"), n.spawn(after, 2, "spared")
        await nursery.sleep(1)
        doomed.cancel("not needed any more")
        with pytest.raises(TaskCancelledError, match="was cancelled"):
            await doomed
        assert nursery.current_time() == 1
        assert doomed.status == "cancelled"
        assert await spared == "spared"
        spared.cancel()
        assert await spared == "spared"


async def test_a_handle_cancelled_before_its_first_step_stops_at_the_first_checkpoint() -> None:
    async with nursery.open_nursery() as n:
        handle = n.spawn(after, 5, "x")
        handle.cancel()
        await handle.wait()
    assert handle.status == "cancelled"


async def test_a_task_that_returns_although_it_was_cancelled_has_returned() -> None:
    async def stubborn() -> str:
        try:
            await nursery.sleep_forever()
        except nursery.Cancelled:
            return "done all the same"

    async with nursery.open_nursery() as n:
        handle = n.spawn(stubborn)
        await wait_all_tasks_blocked()
        handle.cancel()
        assert await handle == "done all the same"


async def test_a_task_that_fails_while_it_is_cancelled_has_failed() -> None:
    async def clumsy() -> None:
        try:
            await nursery.sleep_forever()
        finally:
            raise ValueError("clean-up")

    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            handle = n.spawn(clumsy)
            await wait_all_tasks_blocked()
            handle.cancel()
    assert handle.status == "failed"
    assert [str(error) for error in caught.value.exceptions] == ["clean-up"]


async def test_a_handle_of_a_cancelled_nursery_is_cancelled() -> None:
    async def children() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(nursery.sleep_forever)
            n.start_soon(nursery.sleep_forever)

    async with nursery.open_nursery() as n:
        handles = [n.spawn(after, 1, "x"), n.spawn(children)]
        await wait_all_tasks_blocked()
        n.cancel_scope.cancel()
    assert [handle.status for handle in handles] == ["cancelled", "cancelled"]
    with pytest.raises(TaskCancelledError):
        await handles[0]


async def test_cancelling_who_awaits_does_not_cancel_the_task(autojump_clock: MockClock) -> None:
    async with nursery.open_nursery() as n:
        handle = n.spawn(after, 2, "x")
        with nursery.move_on_after(1) as scope:
            await handle
        assert scope.cancelled_caught
        assert handle.status == "running"
        assert await handle == "x"


async def test_a_task_cannot_await_itself() -> None:
    handles: list[Handle[None]] = []

    async def navel_gazing() -> None:
        with pytest.raises(RuntimeError, match="waits for its own end"):
            await handles[0]

    async with nursery.open_nursery() as n:
        handles.append(n.spawn(navel_gazing))


async def test_there_is_no_value_before_the_end() -> None:
    async with nursery.open_nursery() as n:
        handle = n.spawn(after, 0, "x")
        with pytest.raises(RuntimeError, match="no value yet"):
            _ = handle.value


async def test_names_and_reprs() -> None:
    async with nursery.open_nursery() as n:
        plain, named = n.spawn(after, 0, "x"), n.spawn(after, 0, "x", name="Nora")
        assert plain.name == "tests.kernel.test_handle.after"
        assert repr(named) == "<Handle of task 'Nora', running>"
        assert {task.name for task in n.child_tasks} == {plain.name, "Nora"}
    assert repr(named) == "<Handle of task 'Nora', returned>"


async def test_misuse_is_refused_at_the_call() -> None:
    async with nursery.open_nursery() as n:
        with pytest.raises(TypeError, match="got the coroutine object"):
            _ = n.spawn(after(1, "x"))  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            _ = n.spawn(after, 1)  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(TypeError, match="is it a plain function"):
            _ = n.spawn(len, "abc")  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(TypeError, match="no public constructor"):
            _ = Handle[int]()
        assert not n.child_tasks
    with pytest.raises(RuntimeError, match="closed to new arrivals"):
        _ = n.spawn(after, 1, "x")


async def test_spawning_from_another_thread_is_refused() -> None:
    errors: list[BaseException] = []

    async with nursery.open_nursery() as n:

        def elsewhere() -> None:
            try:
                _ = n.spawn(after, 1, "x")
            except RuntimeError as exc:
                errors.append(exc)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert len(errors) == 1


async def test_a_failed_handle_leaves_no_cyclic_garbage() -> None:
    async def program() -> None:
        try:
            async with nursery.open_nursery() as n:
                await n.spawn(fail, 0)
        except ExceptionGroup:
            pass

    await program()
    gc.collect()
    flags = gc.get_debug()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        await program()
        gc.collect()
        leaked = [item for item in gc.garbage if isinstance(item, Handle | BaseException)]
    finally:
        gc.set_debug(flags)
        gc.garbage.clear()
    assert not leaked
