"""Instruments: what they are told, in which order, and that a broken one harms nobody."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import nursery
from nursery.abc import Instrument
from nursery.kernel.current import current_runner
from nursery.kernel.runner import RunQueue, WatchedQueue
from nursery.lowlevel import Task, add_instrument, checkpoint, current_task, remove_instrument

from .in_run import in_a_run


class Recorder(Instrument):
    """Records every hook, with the task's short name."""

    def __init__(self) -> None:
        self.record: list[tuple[str, str]] = []

    def note(self, hook: str, task: Task | None = None) -> None:
        self.record.append((hook, "" if task is None else task.name.rpartition(".")[2]))

    def before_run(self) -> None:
        self.note("before_run")

    def after_run(self) -> None:
        self.note("after_run")

    def task_spawned(self, task: Task) -> None:
        self.note("spawned", task)

    def task_scheduled(self, task: Task) -> None:
        self.note("scheduled", task)

    def before_task_step(self, task: Task) -> None:
        self.note("before", task)

    def after_task_step(self, task: Task) -> None:
        self.note("after", task)

    def task_exited(self, task: Task) -> None:
        self.note("exited", task)

    def before_io_wait(self, timeout: float) -> None:
        self.note("before_io")

    def after_io_wait(self, timeout: float) -> None:
        self.note("after_io")

    def of(self, name: str) -> list[str]:
        """Return the hooks that concern the task called `name`."""
        return [hook for hook, who in self.record if who == name]


async def child() -> None:
    """Take two steps."""
    await checkpoint()


def test_a_task_is_spawned_scheduled_stepped_and_exits() -> None:
    recorder = Recorder()

    async def main() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(child)

    nursery.run(main, instruments=[recorder])
    assert recorder.of("child") == [
        "spawned",
        "scheduled",
        "before",
        "scheduled",
        "after",
        "before",
        "exited",
        "after",
    ]


def test_a_run_begins_with_before_run_and_ends_with_after_run() -> None:
    recorder = Recorder()
    nursery.run(child, instruments=[recorder])
    assert recorder.record[0] == ("before_run", "")
    assert recorder.record[-1] == ("after_run", "")
    assert [hook for hook, _ in recorder.record].count("before_run") == 1


def test_the_hooks_around_waiting_come_in_pairs_and_tell_the_timeout() -> None:
    timeouts: list[tuple[str, float]] = []

    class Watcher(Instrument):
        def before_io_wait(self, timeout: float) -> None:
            timeouts.append(("before", timeout))

        def after_io_wait(self, timeout: float) -> None:
            timeouts.append(("after", timeout))

    async def main() -> None:
        await nursery.sleep(0.004)

    nursery.run(main, instruments=[Watcher()])
    assert [name for name, _ in timeouts] == ["before", "after"] * (len(timeouts) // 2)
    assert all(before[1] == after[1] for before, after in zip(timeouts[::2], timeouts[1::2], strict=True))
    assert any(0 < timeout <= 0.004 for _, timeout in timeouts)


def test_every_living_task_is_spawned_and_exits_the_system_tasks_too() -> None:
    recorder = Recorder()
    nursery.run(child, instruments=[recorder])
    spawned = sorted(who for hook, who in recorder.record if hook == "spawned")
    exited = sorted(who for hook, who in recorder.record if hook == "exited")
    assert spawned == exited
    assert len(spawned) >= 3


def test_every_step_is_between_before_and_after() -> None:
    recorder = Recorder()

    async def main() -> None:
        async with nursery.open_nursery() as n:
            for _ in range(3):
                n.start_soon(child)

    nursery.run(main, instruments=[recorder])
    steps = [(hook, who) for hook, who in recorder.record if hook in ("before", "after")]
    for before, after in zip(steps[::2], steps[1::2], strict=True):
        assert (before[0], after[0], before[1]) == ("before", "after", after[1])


@in_a_run
async def test_an_instrument_can_be_added_and_removed_during_the_run() -> None:
    recorder = Recorder()
    await checkpoint()
    add_instrument(recorder)
    await checkpoint()
    remove_instrument(recorder)
    await checkpoint()
    name = current_task().name.rpartition(".")[2]
    assert recorder.of(name) in (
        ["scheduled", "after", "before"],
        ["after", "before"],
    )


@in_a_run
async def test_adding_twice_calls_once_and_removing_twice_is_a_key_error() -> None:
    recorder = Recorder()
    add_instrument(recorder)
    add_instrument(recorder)
    await checkpoint()
    remove_instrument(recorder)
    assert recorder.of(current_task().name.rpartition(".")[2]).count("before") == 1
    with pytest.raises(KeyError):
        remove_instrument(recorder)


@in_a_run
async def test_removing_what_was_never_added_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        remove_instrument(Recorder())


def test_outside_a_run_no_instrument_can_be_added() -> None:
    with pytest.raises(RuntimeError):
        add_instrument(Recorder())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_instrument_that_raises_is_removed_and_logged_and_the_run_goes_on(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []

    class Broken(Instrument):
        def before_task_step(self, task: Task) -> None:
            calls.append("called")
            raise error("broken instrument")

    healthy = Recorder()

    async def main() -> str:
        for _ in range(3):
            await checkpoint()
        return "went on"

    with caplog.at_level(logging.ERROR):
        assert nursery.run(main, instruments=[Broken(), healthy]) == "went on"
    assert calls == ["called"]
    (record,) = caplog.records
    assert record.name == "nursery.abc.Instrument"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], error)
    assert ("after_run", "") in healthy.record


def test_instruments_are_called_in_the_order_in_which_they_were_given() -> None:
    order: list[str] = []

    class Named(Instrument):
        def __init__(self, name: str) -> None:
            self.name = name

        def before_run(self) -> None:
            order.append(self.name)

    nursery.run(child, instruments=[Named("a"), Named("b"), Named("c")])
    assert order == ["a", "b", "c"]


def test_an_instrument_need_not_derive_from_the_interface() -> None:
    seen: list[str] = []

    class Duck:
        def task_exited(self, task: Task) -> None:
            seen.append(task.name.rpartition(".")[2])

    duck: Any = Duck()
    nursery.run(child, instruments=[duck])
    assert "child" in seen


def test_an_instrument_with_a_hook_that_cannot_be_called_is_refused() -> None:
    class Wrong(Instrument):
        before_run = 5  # type: ignore[assignment]  # the misuse under test

    with pytest.raises(TypeError, match="cannot be called"):
        nursery.run(child, instruments=[Wrong()])


def test_an_instrument_that_removes_itself_in_a_hook_does_not_confuse_the_others() -> None:
    class Once(Instrument):
        calls = 0

        def before_task_step(self, task: Task) -> None:
            self.calls += 1
            remove_instrument(self)

    once, recorder = Once(), Recorder()
    nursery.run(child, instruments=[once, recorder])
    assert once.calls == 1
    assert recorder.of("child").count("before") == 2


def test_an_instrument_may_add_another_one_in_a_hook() -> None:
    recorder = Recorder()

    class Adder(Instrument):
        def before_run(self) -> None:
            add_instrument(recorder)

    nursery.run(child, instruments=[Adder()])
    assert recorder.of("child").count("before") == 2


@in_a_run
async def test_a_run_without_instruments_uses_the_plain_queue() -> None:
    assert current_runner().instruments is None
    assert type(current_runner().queue) is RunQueue


def test_a_run_with_instruments_uses_the_watched_queue() -> None:
    async def main() -> type:
        return type(current_runner().queue)

    assert nursery.run(main, instruments=[Instrument()]) is WatchedQueue


def test_a_cancelled_task_is_seen_to_exit() -> None:
    recorder = Recorder()

    async def sleeper() -> None:
        await nursery.sleep_forever()

    async def main() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(sleeper)
            await checkpoint()
            n.cancel_scope.cancel()

    nursery.run(main, instruments=[recorder])
    assert recorder.of("sleeper")[-2:] == ["exited", "after"]
