"""Assertions about checkpoints: did the block pass one, or none?

Invariant: while at least one assertion is open in a task, `task.count` is one and the same object; the outermost
assertion put it there and takes it away.  The kernel counts logical points, so an operation that was allowed to skip
its yield is counted as what it promises to be.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from ..kernel.current import current_task

if TYPE_CHECKING:
    from ..kernel.task import Task


class _Points:
    """The points that one task has passed since counting began."""

    __slots__ = ("cancel_points", "schedule_points")

    def __init__(self) -> None:
        self.cancel_points = 0
        self.schedule_points = 0


class _CheckpointAssertion:
    """The context manager behind both assertions."""

    __slots__ = ("_before", "_expected", "_outermost", "_task")

    def __init__(self, expected: bool) -> None:
        self._expected = expected
        self._task: Task | None = None

    def __enter__(self) -> None:
        if self._task is not None:
            raise RuntimeError("this assertion is in use already: make a new one for each block")
        self._task = task = current_task()
        self._outermost = task.count is None
        if task.count is None:
            task.count = _Points()
            task.refresh()
        self._before = (task.count.cancel_points, task.count.schedule_points)

    def __exit__(
        self, etype: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        task, self._task = self._task, None
        assert task is not None
        assert task.count is not None
        cancel_points = task.count.cancel_points - self._before[0]
        schedule_points = task.count.schedule_points - self._before[1]
        if self._outermost:
            task.count = None
            task.refresh()
        passed = f"it passed {cancel_points} cancel points and {schedule_points} schedule points"
        if self._expected:
            if exc is None and not (cancel_points and schedule_points):
                raise AssertionError(f"assert_checkpoints block did not yield! ({passed}, each must be at least 1)")
        elif cancel_points or schedule_points:
            raise AssertionError(f"assert_no_checkpoints block yielded! ({passed})")


def assert_checkpoints() -> AbstractContextManager[None]:
    """Return a context manager that raises AssertionError unless its block passes a checkpoint or raises.

    At least one cancel point and one schedule point must be passed, by the task itself.

    Example::

        with nursery.testing.assert_checkpoints():
            await nursery.sleep(0)

    Source: trio's documentation, `trio.testing.assert_checkpoints`.
    """
    return _CheckpointAssertion(True)


def assert_no_checkpoints() -> AbstractContextManager[None]:
    """Return a context manager that raises AssertionError if its block passes a cancel or a schedule point.

    Example::

        send, receive = nursery.open_memory_channel[int](1)
        with nursery.testing.assert_no_checkpoints():
            send.send_nowait(1)

    Source: trio's documentation, `trio.testing.assert_no_checkpoints`.
    """
    return _CheckpointAssertion(False)


__all__ = ["assert_checkpoints", "assert_no_checkpoints"]
