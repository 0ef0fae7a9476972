"""What mypy says about runs, scopes and run variables.  Each `type: ignore` is an error that it must find."""

from __future__ import annotations

from typing import Any, assert_type

import outcome

import nursery
from nursery import CancelScope
from nursery.lowlevel import RunVar, current_task, start_guest_run


async def two(number: int, text: str) -> bytes:
    return text.encode() * number


def plain() -> int:
    return 5


def results() -> None:
    assert_type(nursery.run(two, 3, "x"), bytes)
    assert_type(nursery.run(nursery.sleep, 1), None)
    nursery.run(two, 3)  # type: ignore[arg-type]  # one too few
    nursery.run(two, "x", 3)  # type: ignore[arg-type]  # swapped
    nursery.run(plain)  # type: ignore[arg-type]  # not async
    nursery.run(two, 3, "x", clock=5)  # type: ignore[arg-type]  # an int is no clock
    nursery.run(two, 3, "x", debug="yes")  # type: ignore[arg-type]  # debug is a bool


def guest(host: Any, done: list[outcome.Outcome[bytes]]) -> None:
    start_guest_run(two, 3, "x", run_sync_soon_threadsafe=host, done_callback=done.append)


async def scopes() -> None:
    with CancelScope() as scope:
        assert_type(scope, CancelScope)
        assert_type(scope.deadline, float)
        assert_type(scope.cancelled_caught, bool)
        scope.shield = "yes"  # type: ignore[assignment]  # shield is a bool
        scope.cancel(5)  # type: ignore[arg-type]  # a reason is text
    with nursery.fail_after(5) as limit:
        assert_type(limit, CancelScope)
    with nursery.open_nursery():  # type: ignore[attr-defined]  # needs async with
        pass
    assert_type(current_task().name, str)


async def variables() -> None:
    variable = RunVar[int]("variable", default=5)
    assert_type(variable.get(), int)
    token = variable.set(3)
    variable.reset(token)
    variable.set("x")  # type: ignore[arg-type]  # an int variable
