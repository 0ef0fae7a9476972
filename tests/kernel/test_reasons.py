"""Why was I cancelled?  Each Cancelled knows who asked, in which words and from where."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable

import pytest

import nursery
from nursery import Cancelled, CancelScope
from nursery.lowlevel import checkpoint, current_task, enable_ki_protection, spawn_system_task

from .in_run import in_a_run, in_virtual_time


class Victim:
    """A task that sleeps until it is cancelled, and keeps the exception's facts."""

    def __init__(self) -> None:
        self.facts: tuple[str, str | None, str | None] | None = None

    async def sleep(self) -> None:
        try:
            await nursery.sleep_forever()
        except Cancelled as exc:
            self.facts = (exc.source, exc.reason, exc.source_task)
            raise


@in_a_run
async def test_an_explicit_cancel_tells_the_reason_and_the_asking_task() -> None:
    victim = Victim()
    async with nursery.open_nursery() as n:
        n.start_soon(victim.sleep)
        await checkpoint()
        n.cancel_scope.cancel("no longer needed")
    assert victim.facts == ("explicit", "no longer needed", repr(current_task()))


@in_a_run
async def test_an_explicit_cancel_without_a_reason_has_none() -> None:
    with CancelScope() as scope:
        scope.cancel()
        with pytest.raises(Cancelled) as caught:
            await checkpoint()
    assert (caught.value.source, caught.value.reason) == ("explicit", None)


@in_virtual_time
async def test_a_deadline_is_named_as_the_source() -> None:
    victim = Victim()
    with nursery.move_on_after(1):
        await victim.sleep()
    assert victim.facts is not None
    assert victim.facts[0] == "deadline"
    assert victim.facts[2] is None


@in_virtual_time
async def test_a_deadline_seen_through_cancel_called_is_named_as_the_source() -> None:
    with CancelScope(deadline=nursery.current_time() - 1) as scope:
        assert scope.cancel_called
        with pytest.raises(Cancelled) as caught:
            await checkpoint()
    assert caught.value.source == "deadline"


@in_a_run
async def test_a_failed_sibling_is_named_with_its_error() -> None:
    victim = Victim()

    async def fail() -> None:
        raise ValueError("the culprit's error")

    with pytest.raises(ExceptionGroup):
        async with nursery.open_nursery() as n:
            n.start_soon(victim.sleep)
            n.start_soon(fail)
    assert victim.facts is not None
    source, reason, task = victim.facts
    assert source == "nursery"
    assert "the culprit's error" in (reason or "")
    assert "fail" in (task or "")


@in_a_run
async def test_a_failed_body_is_named_with_its_error() -> None:
    victim = Victim()
    with pytest.raises(ExceptionGroup):
        async with nursery.open_nursery() as n:
            n.start_soon(victim.sleep)
            await checkpoint()
            raise ValueError("the body's error")
    assert victim.facts is not None
    source, reason, task = victim.facts
    assert source == "nursery"
    assert "the body's error" in (reason or "")
    assert task == repr(current_task())


@in_a_run
async def test_a_nursery_left_by_its_parents_end_is_named() -> None:
    victim = Victim()

    async def untidy(n: nursery.Nursery) -> None:
        manager = nursery.open_nursery()
        inner = await manager.__aenter__()
        inner.start_soon(victim.sleep)
        await checkpoint()

    with pytest.raises(ExceptionGroup):
        async with nursery.open_nursery() as n:
            n.start_soon(untidy, n)
            n.start_soon(nursery.sleep, 0.01)
    for _ in range(3):
        await checkpoint()
    assert victim.facts is not None
    assert victim.facts[0] == "nursery"


def test_a_system_task_is_told_that_the_run_shuts_down() -> None:
    victim = Victim()

    async def main() -> None:
        spawn_system_task(victim.sleep)
        await checkpoint()

    nursery.run(main)
    assert victim.facts is not None
    assert victim.facts[0] == "shutdown"
    assert victim.facts[1] is not None


def test_a_keyboard_interrupt_that_ends_a_nursery_is_named() -> None:
    import signal

    victim = Victim()

    @enable_ki_protection
    async def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(victim.sleep)
            n.start_soon(interrupt)

    with pytest.raises(BaseExceptionGroup) as caught:
        nursery.run(main)
    assert caught.group_contains(KeyboardInterrupt)
    assert victim.facts is not None
    assert victim.facts[0] == "KeyboardInterrupt"


@in_a_run
async def test_the_first_reason_is_not_overwritten_by_a_later_failure() -> None:
    victim = Victim()

    async def fail_in_clean_up() -> None:
        try:
            await nursery.sleep_forever()
        finally:
            raise ValueError

    with pytest.raises(ExceptionGroup):
        async with nursery.open_nursery() as n:
            n.start_soon(fail_in_clean_up)
            n.start_soon(victim.sleep)
            await checkpoint()
            n.cancel_scope.cancel("the first")
    assert victim.facts is not None
    assert victim.facts[1] == "the first"


@in_a_run
async def test_a_cancelled_inner_scope_keeps_its_own_reason_under_a_cancelled_outer_one() -> None:
    with CancelScope() as outer:
        with CancelScope() as inner:
            inner.cancel("inner's")
            outer.cancel("outer's")
            with pytest.raises(Cancelled) as caught:
                await checkpoint()
    assert caught.value.reason in ("inner's", "outer's")
    assert caught.value.source == "explicit"


@in_a_run
async def test_a_grandchild_is_told_the_reason_given_at_the_top() -> None:
    victim = Victim()

    async def child() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(victim.sleep)

    async with nursery.open_nursery() as n:
        n.start_soon(child)
        await checkpoint()
        await checkpoint()
        n.cancel_scope.cancel("from the top")
    assert victim.facts is not None
    assert victim.facts[1] == "from the top"


def _explicit(scope: CancelScope) -> None:
    scope.cancel("shown in the traceback")


def _deadline(scope: CancelScope) -> None:
    scope.deadline = nursery.current_time() - 1


@pytest.mark.parametrize(
    ("cancel", "text"), [(_explicit, "shown in the traceback"), (_deadline, "deadline")]
)
def test_the_reason_is_shown_in_tracebacks(cancel: Callable[[CancelScope], None], text: str) -> None:
    shown: list[str] = []

    async def main() -> None:
        with CancelScope() as scope:
            cancel(scope)
            try:
                await checkpoint()
            except Cancelled as exc:
                shown.extend(traceback.format_exception(exc))
                raise

    nursery.run(main)
    assert text in shown[-1]
    assert "Cancelled" in shown[-1]


@pytest.mark.parametrize("wait", [checkpoint, nursery.sleep_forever, nursery.lowlevel.checkpoint_if_cancelled])
def test_every_kind_of_cancel_point_tells_the_reason(wait: Callable[[], Awaitable[object]]) -> None:
    async def main() -> str | None:
        with CancelScope() as scope:
            scope.cancel("the reason")
            try:
                await wait()
            except Cancelled as exc:
                return exc.reason
        return "not raised"

    assert nursery.run(main) == "the reason"
