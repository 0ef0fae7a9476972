"""The locks of the facade: order, cancellation, hand-over, misuse."""

from __future__ import annotations

from typing import Any

import pytest

import nursery
from nursery import compat as asyncio

from .kinds import Spawn, in_both_kinds, turns
from .two_loops import run


class Acquirer:
    """Takes a lock in a task, and holds it until told to go on."""

    def __init__(self, lock: asyncio.Lock | asyncio.Semaphore, spawn: Spawn) -> None:
        self.got = False
        self._go_on = asyncio.Event()
        self._lock = lock
        self.task = spawn(self._run())

    async def _run(self) -> None:
        async with self._lock:
            self.got = True
            await self._go_on.wait()

    def go_on(self) -> None:
        self._go_on.set()


@in_both_kinds
def test_a_lock_is_handed_on_in_the_order_of_arrival(spawn: Spawn) -> None:
    async def main() -> None:
        lock = asyncio.Lock()
        first, second, third = (Acquirer(lock, spawn) for _ in range(3))
        await turns(3)
        assert (first.got, second.got, third.got) == (True, False, False)
        assert lock.locked()
        first.go_on()
        await turns(5)
        assert (second.got, third.got) == (True, False)
        second.go_on()
        third.go_on()
        await asyncio.gather(first.task, second.task, third.task)
        assert not lock.locked()

    run(main())


@in_both_kinds
def test_a_woken_task_that_is_cancelled_before_it_runs_loses_its_turn_to_the_next(spawn: Spawn) -> None:
    async def main() -> None:
        lock = asyncio.Lock()
        await lock.acquire()
        second, third = Acquirer(lock, spawn), Acquirer(lock, spawn)
        await turns(3)
        lock.release()
        second.task.cancel()
        await turns(5)
        assert second.task.cancelled()
        assert third.got
        third.go_on()
        await third.task
        assert not lock.locked()

    run(main())


def test_a_lock_that_was_released_but_not_taken_yet_is_not_stolen() -> None:
    async def main() -> None:
        lock = asyncio.Lock()
        await lock.acquire()
        waiter = Acquirer(lock, asyncio.create_task)
        await turns(1)
        lock.release()
        # The waiter has not run: asyncio calls the lock unlocked, and gives it to nobody else.
        assert not lock.locked()
        late = Acquirer(lock, asyncio.create_task)
        await turns(1)
        assert waiter.got
        assert not late.got
        waiter.go_on()
        late.go_on()
        await asyncio.gather(waiter.task, late.task)

    run(main())


def test_a_cancelled_wait_for_a_lock_holds_nothing() -> None:
    async def main() -> None:
        lock = asyncio.Lock()
        async with lock:
            waiter = Acquirer(lock, asyncio.create_task)
            await turns(1)
            waiter.task.cancel("why")
            with pytest.raises(asyncio.CancelledError, match="why"):
                await waiter.task
        assert not lock.locked()

    run(main())


def test_releasing_a_lock_that_is_not_held_is_refused() -> None:
    with pytest.raises(RuntimeError, match="not acquired"):
        asyncio.Lock().release()


LOCKS = (asyncio.Lock, asyncio.Semaphore, asyncio.BoundedSemaphore, asyncio.Condition)


@pytest.mark.parametrize("kind", LOCKS)
def test_a_subclass_may_change_how_it_is_taken_and_given_back(kind: Any) -> None:
    calls: list[str] = []

    class Own(kind):  # type: ignore[misc]  # each of them
        async def acquire(self) -> Any:
            calls.append("acquire")
            return await super().acquire()

        def release(self) -> None:
            calls.append("release")
            super().release()

    class Derived(Own):
        pass

    async def main() -> None:
        for own in (Own(), Derived()):
            async with own:
                assert own.locked()
            assert not own.locked()
            assert calls == ["acquire", "release"]
            calls.clear()

    run(main())


def test_a_class_that_is_mixed_in_may_change_how_a_lock_is_taken() -> None:
    calls: list[str] = []

    class Noting:
        async def acquire(self) -> Any:
            calls.append("acquire")
            return await super().acquire()  # type: ignore[misc]  # the lock's

    class Noted(Noting, asyncio.Lock):
        pass

    async def main() -> None:
        async with Noted():
            assert calls == ["acquire"]

    run(main())


@pytest.mark.parametrize("kind", LOCKS)
def test_the_methods_of_async_with_may_be_awaited_by_hand_and_give_none(kind: Any) -> None:
    async def main() -> None:
        lock = kind()
        for _ in range(2):
            assert await lock.__aenter__() is None
            assert lock.locked()
            waiter = asyncio.create_task(lock.__aenter__())
            await turns(1)
            assert await lock.__aexit__(None, None, None) is None
            assert await waiter is None
            assert await lock.__aexit__(None, None, None) is None
            assert not lock.locked()

    run(main())


@pytest.mark.parametrize("kind", LOCKS)
def test_it_is_given_back_when_the_block_raises(kind: Any) -> None:
    async def main() -> None:
        lock = kind()
        with pytest.raises(ZeroDivisionError):
            async with lock:
                raise ZeroDivisionError
        assert not lock.locked()

    run(main())


def test_a_lock_released_inside_its_block_is_refused_at_the_end() -> None:
    async def main() -> None:
        lock = asyncio.Lock()
        with pytest.raises(RuntimeError, match="not acquired"):
            async with lock:
                lock.release()
        condition = asyncio.Condition()
        with pytest.raises(RuntimeError, match="not acquired"):
            async with condition:
                condition.release()

    run(main())


def test_a_lock_waited_for_on_one_loop_is_refused_on_another() -> None:
    lock = asyncio.Lock()

    async def contend() -> None:
        async with lock:
            waiter = Acquirer(lock, asyncio.create_task)
            await turns(1)
            waiter.go_on()
        await waiter.task

    run(contend())
    with pytest.raises(RuntimeError, match="bound to a different event loop"):
        run(contend())


def test_facade_objects_need_a_loop_of_ours_to_wait() -> None:
    import asyncio as stdlib

    async def main() -> None:
        await asyncio.Event().wait()

    with stdlib.Runner(loop_factory=stdlib.SelectorEventLoop) as runner:
        with pytest.raises(RuntimeError, match="needs a loop of its own"):
            runner.run(main())


def test_a_scope_ends_the_wait_for_a_lock_and_clean_up_may_take_it() -> None:
    async def main() -> None:
        lock = asyncio.Lock()
        await lock.acquire()
        cleaned = False
        with nursery.move_on_after(0.001) as scope:
            try:
                await lock.acquire()
            finally:
                asyncio.get_running_loop().call_soon(lock.release)
                async with lock:
                    cleaned = True
        assert scope.cancelled_caught
        assert cleaned
        assert not lock.locked()

    run(main())


def test_a_lock_that_was_offered_goes_before_a_scope() -> None:
    async def main() -> None:
        lock = asyncio.Lock()
        await lock.acquire()
        scope = nursery.CancelScope()

        async def take() -> bool:
            with scope:
                await lock.acquire()
                return True
            return False

        task = asyncio.create_task(take())
        await turns(1)
        lock.release()
        scope.cancel()
        assert await task
        assert lock.locked()

    run(main())


@pytest.mark.parametrize("kind", [asyncio.Lock, asyncio.Semaphore])
def test_a_plain_with_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError):
        with kind():
            pass


# Event


@in_both_kinds
def test_an_event_wakes_everybody_in_the_order_of_arrival(spawn: Spawn) -> None:
    async def main() -> None:
        event = asyncio.Event()
        woken: list[int] = []

        async def wait(number: int) -> None:
            assert await event.wait() is True
            woken.append(number)

        tasks = [spawn(wait(number)) for number in range(3)]
        await turns(2)
        assert not event.is_set()
        event.set()
        await asyncio.gather(*tasks)
        assert woken == [0, 1, 2]
        assert await event.wait() is True

    run(main())


def test_an_event_that_is_cleared_at_once_has_woken_all_the_same() -> None:
    async def main() -> None:
        event = asyncio.Event()
        task = asyncio.create_task(event.wait())
        await turns(1)
        event.set()
        event.clear()
        assert await task is True
        assert not event.is_set()

    run(main())


# Condition


@in_both_kinds
def test_notify_wakes_as_many_as_said_and_each_holds_the_lock(spawn: Spawn) -> None:
    async def main() -> None:
        condition = asyncio.Condition()
        woken: list[int] = []

        async def wait(number: int) -> None:
            async with condition:
                await condition.wait()
                assert condition.locked()
                woken.append(number)

        tasks = [spawn(wait(number)) for number in range(4)]
        await turns(3)
        async with condition:
            condition.notify(2)
        await turns(5)
        assert woken == [0, 1]
        async with condition:
            condition.notify_all()
        await asyncio.gather(*tasks)
        assert woken == [0, 1, 2, 3]

    run(main())


@in_both_kinds
def test_a_notified_task_that_is_cancelled_passes_the_news_on(spawn: Spawn) -> None:
    async def main() -> None:
        condition = asyncio.Condition()
        woken: list[int] = []

        async def wait(number: int) -> None:
            async with condition:
                await condition.wait()
                woken.append(number)

        tasks = [spawn(wait(number)) for number in range(2)]
        await turns(3)
        async with condition:
            condition.notify(1)
            tasks[0].cancel()
        await tasks[1]
        assert woken == [1]
        assert tasks[0].cancelled()

    run(main())


@in_both_kinds
def test_a_cancelled_wait_holds_the_lock_again_when_it_raises(spawn: Spawn) -> None:
    async def main() -> None:
        condition = asyncio.Condition()
        held: list[bool] = []

        async def wait() -> None:
            async with condition:
                try:
                    await condition.wait()
                finally:
                    held.append(condition.locked())

        task = spawn(wait())
        await turns(2)
        async with condition:
            task.cancel()
            await turns(3)
            # It cannot have it while we hold it.
            assert held == []
            # Cancelled a second time, it insists.
            task.cancel("again")
            await turns(3)
            assert held == []
        with pytest.raises(asyncio.CancelledError, match="again"):
            await task
        assert held == [True]
        assert not condition.locked()

    run(main())


def test_wait_for_asks_after_each_notification_and_returns_what_was_true() -> None:
    async def main() -> None:
        condition = asyncio.Condition()
        items: list[int] = []

        async def wait() -> list[int]:
            async with condition:
                return await condition.wait_for(lambda: items)

        task = asyncio.create_task(wait())
        await turns(1)
        async with condition:
            condition.notify()
        await turns(3)
        assert not task.done()
        async with condition:
            items.append(1)
            condition.notify()
        assert await task == [1]

    run(main())


def test_a_condition_whose_lock_is_not_held_refuses_to_wait_and_to_notify() -> None:
    async def main() -> None:
        condition = asyncio.Condition()
        with pytest.raises(RuntimeError, match="un-acquired lock"):
            await condition.wait()
        with pytest.raises(RuntimeError, match="un-acquired lock"):
            condition.notify()
        with pytest.raises(RuntimeError, match="un-acquired lock"):
            condition.notify_all()

    run(main())


def test_conditions_may_share_a_lock() -> None:
    async def main() -> None:
        lock = asyncio.Lock()
        one, two = asyncio.Condition(lock), asyncio.Condition(lock)
        async with one:
            assert two.locked()

    run(main())


# Semaphore


@in_both_kinds
def test_a_semaphore_lets_as_many_in_as_it_has_permits(spawn: Spawn) -> None:
    async def main() -> None:
        semaphore = asyncio.Semaphore(2)
        acquirers = [Acquirer(semaphore, spawn) for _ in range(4)]
        await turns(3)
        assert [each.got for each in acquirers] == [True, True, False, False]
        assert semaphore.locked()
        acquirers[1].go_on()
        await turns(5)
        assert [each.got for each in acquirers] == [True, True, True, False]
        for each in acquirers:
            each.go_on()
        await asyncio.gather(*(each.task for each in acquirers))
        assert not semaphore.locked()

    run(main())


@in_both_kinds
def test_a_permit_offered_to_a_cancelled_task_goes_to_the_next(spawn: Spawn) -> None:
    async def main() -> None:
        semaphore = asyncio.Semaphore(0)
        first, second = Acquirer(semaphore, spawn), Acquirer(semaphore, spawn)
        await turns(3)
        semaphore.release()
        first.task.cancel()
        await turns(5)
        assert second.got
        second.go_on()
        await second.task
        assert not semaphore.locked()

    run(main())


def test_a_semaphore_is_locked_until_the_task_that_was_woken_has_run() -> None:
    async def main() -> None:
        semaphore = asyncio.Semaphore(0)
        task = asyncio.create_task(semaphore.acquire())
        await turns(1)
        semaphore.release()
        semaphore.release()
        assert semaphore.locked()
        await task
        assert not semaphore.locked()

    run(main())


def test_a_negative_number_of_permits_is_refused() -> None:
    with pytest.raises(ValueError, match=">= 0"):
        asyncio.Semaphore(-1)
    with pytest.raises(ValueError, match=">= 0"):
        asyncio.BoundedSemaphore(-1)


def test_a_bounded_semaphore_refuses_more_permits_than_it_had() -> None:
    async def main() -> None:
        semaphore = asyncio.BoundedSemaphore(1)
        async with semaphore:
            pass
        with pytest.raises(ValueError, match="too many times"):
            semaphore.release()

    run(main())


# Barrier


@in_both_kinds
def test_a_barrier_opens_when_enough_have_come_and_closes_again(spawn: Spawn) -> None:
    async def main() -> None:
        barrier = asyncio.Barrier(3)
        for _ in range(2):
            tasks = [spawn(barrier.wait()) for _ in range(2)]
            await turns(3)
            assert barrier.n_waiting == 2
            tasks.append(spawn(barrier.wait()))
            assert sorted(await asyncio.gather(*tasks)) == [0, 1, 2]
            assert barrier.n_waiting == 0

    run(main())


def test_reset_sends_away_who_waits_and_the_barrier_is_as_new() -> None:
    async def main() -> None:
        barrier = asyncio.Barrier(2)
        task = asyncio.create_task(barrier.wait())
        await turns(1)
        await barrier.reset()
        with pytest.raises(asyncio.BrokenBarrierError):
            await task
        assert not barrier.broken
        assert sorted(await asyncio.gather(barrier.wait(), barrier.wait())) == [0, 1]

    run(main())


def test_abort_breaks_the_barrier_for_good() -> None:
    async def main() -> None:
        barrier = asyncio.Barrier(2)
        task = asyncio.create_task(barrier.wait())
        await turns(1)
        await barrier.abort()
        with pytest.raises(asyncio.BrokenBarrierError):
            await task
        assert barrier.broken
        with pytest.raises(asyncio.BrokenBarrierError):
            await barrier.wait()

    run(main())


def test_a_cancelled_task_leaves_the_barrier_to_the_others() -> None:
    async def main() -> None:
        barrier = asyncio.Barrier(2)
        task = asyncio.create_task(barrier.wait())
        await turns(1)
        task.cancel()
        await turns(2)
        assert barrier.n_waiting == 0
        async with asyncio.TaskGroup() as group:
            group.create_task(barrier.wait())
            async with barrier as entered:
                # typeshed says the barrier itself.
                position: object = entered
                assert position in (0, 1)

    run(main())


def test_a_barrier_for_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="parties"):
        asyncio.Barrier(0)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (asyncio.Lock, "[unlocked]"),
        (asyncio.Event, "[unset]"),
        (asyncio.Condition, "[unlocked]"),
        (lambda: asyncio.Semaphore(3), "[unlocked, value:3]"),
        (lambda: asyncio.Barrier(2), "[filling, waiters:0/2]"),
    ],
)
def test_their_repr_tells_the_state(made: Any, text: str) -> None:
    assert text in repr(made())
