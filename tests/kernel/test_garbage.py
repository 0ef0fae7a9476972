"""No cyclic garbage: what the kernel makes, reference counting alone takes away.

Each test runs its body twice in a run (the first time to fill caches), with the collector off, and then asks the
collector what it finds.  It must find nothing: garbage that waits for the collector is memory that a busy server
pays for with pauses.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator

import outcome
import pytest

import nursery
from nursery import CancelScope, TaskStatus
from nursery.lowlevel import (
    Abort,
    ParkingLot,
    Task,
    add_parking_lot_breaker,
    cancel_shielded_checkpoint,
    checkpoint,
    current_task,
    reschedule,
    wait_task_rescheduled,
)


@pytest.fixture(autouse=True)
def the_collector_is_off() -> Iterator[None]:
    """Leave the garbage to the test."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def found() -> list[str]:
    """Return what only the collector could take away."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    garbage = [f"{type(item).__name__}: {str(item)[:100]}" for item in gc.garbage]
    gc.garbage.clear()
    return garbage


def assert_clean(body: Callable[[], Awaitable[object]]) -> None:
    """Run `body` and fail if it leaves cyclic garbage behind."""

    async def main() -> list[str]:
        await body()
        await cancel_shielded_checkpoint()
        gc.collect()
        await body()
        await cancel_shielded_checkpoint()
        return found()

    assert nursery.run(main) == []


async def sleeper() -> None:
    """Sleep until cancelled."""
    await nursery.sleep_forever()


async def fail() -> None:
    """Raise."""
    raise ValueError("failed")


def test_spawning_and_finishing() -> None:
    async def body() -> None:
        async with nursery.open_nursery() as n:
            for _ in range(5):
                n.start_soon(checkpoint)

    assert_clean(body)


def test_an_empty_nursery() -> None:
    async def body() -> None:
        async with nursery.open_nursery():
            pass

    assert_clean(body)


def test_scopes_that_are_left_quietly() -> None:
    async def body() -> None:
        with CancelScope(), nursery.move_on_after(5), CancelScope(shield=True):
            await checkpoint()

    assert_clean(body)


def test_scopes_that_are_cancelled() -> None:
    async def body() -> None:
        with CancelScope() as scope:
            scope.cancel("reason")
            await checkpoint()

    assert_clean(body)


def test_cancelled_scopes_inside_cancelled_scopes() -> None:
    async def body() -> None:
        with CancelScope() as outer:
            with CancelScope() as inner:
                inner.cancel()
                outer.cancel()
                await checkpoint()

    assert_clean(body)


def test_timeouts_that_expire() -> None:
    async def body() -> None:
        with nursery.move_on_after(0.0001):
            await nursery.sleep_forever()

    assert_clean(body)


def test_fail_after_that_expires() -> None:
    async def body() -> None:
        try:
            with nursery.fail_after(0):
                await checkpoint()
        except nursery.TooSlowError:
            pass

    assert_clean(body)


def test_cancelling_children() -> None:
    async def body() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(sleeper)
            n.start_soon(sleeper)
            await checkpoint()
            n.cancel_scope.cancel()

    assert_clean(body)


def test_cancelling_from_outside_the_nursery() -> None:
    async def body() -> None:
        with CancelScope() as scope:
            async with nursery.open_nursery() as n:
                n.start_soon(sleeper)
                await checkpoint()
                scope.cancel()

    assert_clean(body)


def test_waiting_and_being_woken_with_values_and_errors() -> None:
    async def wait(tasks: list[Task]) -> None:
        tasks.append(current_task())
        try:
            await wait_task_rescheduled(lambda raise_cancel: Abort.SUCCEEDED)
        except ValueError:
            pass

    async def body() -> None:
        tasks: list[Task] = []
        async with nursery.open_nursery() as n:
            n.start_soon(wait, tasks)
            n.start_soon(wait, tasks)
            await checkpoint()
            reschedule(tasks[0], outcome.Value("value"))
            reschedule(tasks[1], outcome.Error(ValueError()))

    assert_clean(body)


def test_parking_unparking_and_breaking() -> None:
    async def park(lot: ParkingLot) -> None:
        try:
            await lot.park()
        except nursery.BrokenResourceError:
            pass

    async def breaker(lot: ParkingLot) -> None:
        add_parking_lot_breaker(current_task(), lot)

    async def body() -> None:
        lot = ParkingLot()
        async with nursery.open_nursery() as n:
            for _ in range(3):
                n.start_soon(park, lot)
            await checkpoint()
            lot.unpark()
            n.start_soon(breaker, lot)
        lot.broken_by.clear()

    assert_clean(body)


def test_children_that_fail() -> None:
    async def body() -> None:
        try:
            async with nursery.open_nursery() as n:
                n.start_soon(fail)
                n.start_soon(fail)
                n.start_soon(sleeper)
        except* ValueError:
            pass

    assert_clean(body)


def test_a_body_that_fails() -> None:
    async def body() -> None:
        try:
            async with nursery.open_nursery() as n:
                n.start_soon(sleeper)
                raise ValueError
        except* ValueError:
            pass

    assert_clean(body)


def test_failures_through_nested_nurseries() -> None:
    async def inner() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(fail)
            n.start_soon(sleeper)

    async def body() -> None:
        try:
            async with nursery.open_nursery() as n:
                n.start_soon(inner)
                n.start_soon(sleeper)
        except* ValueError:
            pass

    assert_clean(body)


def test_an_error_that_passes_through_a_cancelled_scope_in_a_group() -> None:
    async def fail_when_cancelled() -> None:
        try:
            await nursery.sleep_forever()
        finally:
            raise ValueError

    async def body() -> None:
        try:
            with CancelScope() as scope:
                async with nursery.open_nursery() as n:
                    n.start_soon(fail_when_cancelled)
                    n.start_soon(sleeper)
                    await checkpoint()
                    scope.cancel()
        except* ValueError:
            pass

    assert_clean(body)


def test_start_that_succeeds() -> None:
    async def service(*, task_status: TaskStatus[int]) -> None:
        task_status.started(5)
        await nursery.sleep_forever()

    async def body() -> None:
        async with nursery.open_nursery() as n:
            await n.start(service)
            n.cancel_scope.cancel()

    assert_clean(body)


def test_start_that_fails() -> None:
    async def service(*, task_status: TaskStatus[int]) -> None:
        raise ValueError

    async def body() -> None:
        async with nursery.open_nursery() as n:
            try:
                await n.start(service)
            except ValueError:
                pass

    assert_clean(body)


def test_start_that_is_cancelled() -> None:
    async def service(*, task_status: TaskStatus[int]) -> None:
        await nursery.sleep_forever()

    async def body() -> None:
        async with nursery.open_nursery() as n:
            with nursery.move_on_after(0.0001):
                await n.start(service)

    assert_clean(body)


def test_interrupts() -> None:
    import signal

    async def body() -> None:
        try:
            async with nursery.open_nursery() as n:
                n.start_soon(sleeper)
                await checkpoint()
                signal.raise_signal(signal.SIGINT)
        except* KeyboardInterrupt:
            pass

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert_clean(body)
    finally:
        signal.signal(signal.SIGINT, before)


async def nothing() -> None:
    """Do nothing."""


async def work() -> None:
    """Do a little of everything."""
    async with nursery.open_nursery() as n:
        n.start_soon(checkpoint)
        with nursery.move_on_after(0.0001):
            await nursery.sleep_forever()


@pytest.mark.parametrize("main", [nothing, work])
def test_a_whole_run(main: Callable[[], Awaitable[None]]) -> None:
    nursery.run(main)
    gc.collect()
    nursery.run(main)
    assert found() == []


def test_a_run_whose_main_fails() -> None:
    def run_it() -> None:
        try:
            nursery.run(fail)
        except ValueError:
            pass

    run_it()
    gc.collect()
    run_it()
    assert found() == []


def test_a_run_whose_child_fails() -> None:
    async def main() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(fail)
            n.start_soon(sleeper)

    def run_it() -> None:
        try:
            nursery.run(main)
        except* ValueError:
            pass

    run_it()
    gc.collect()
    run_it()
    assert found() == []
