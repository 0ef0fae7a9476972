"""What mypy says about starting tasks.  Each `type: ignore` is an error that it must find, each assert_type a fact."""

from __future__ import annotations

from typing import assert_type

import nursery
from nursery import TASK_STATUS_IGNORED, Nursery, TaskStatus
from nursery.lowlevel import RunToken, Task, spawn_system_task


async def two(number: int, text: str) -> bytes:
    return text.encode() * number


async def optional(number: int = 5) -> None:
    return None


def plain(number: int) -> None:
    return None


async def serve(port: int, *, task_status: TaskStatus[str] = TASK_STATUS_IGNORED) -> None:
    task_status.started(f"port {port}")


async def ready(*, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
    task_status.started()


async def wrong_report(*, task_status: TaskStatus[str]) -> None:
    task_status.started(5)  # type: ignore[arg-type]  # the status takes a str


async def missing_report(*, task_status: TaskStatus[str]) -> None:
    task_status.started()  # type: ignore[call-arg]  # only a TaskStatus[None] may leave the value out


async def start_soon(n: Nursery) -> None:
    n.start_soon(two, 3, "x")
    n.start_soon(two, 3, "x", name="named")
    n.start_soon(optional)
    n.start_soon(optional, 3)
    n.start_soon(two, "x", 3)  # type: ignore[arg-type]  # swapped
    n.start_soon(two, 3)  # type: ignore[arg-type]  # one too few
    n.start_soon(two, 3, "x", 4)  # type: ignore[arg-type]  # one too many
    n.start_soon(plain, 3)  # type: ignore[arg-type]  # not async
    n.start_soon(two(3, "x"))  # type: ignore[arg-type]  # a coroutine, not a function


async def start(n: Nursery) -> None:
    assert_type(await n.start(serve, 80), str)
    assert_type(await n.start(serve, 80, name="server"), str)
    assert_type(await n.start(ready), None)
    await n.start(serve, "80")  # type: ignore[misc]  # a str is no port
    await n.start(serve)  # type: ignore[arg-type]  # one too few
    await n.start(serve, 80, 81)  # type: ignore[arg-type]  # one too many
    await n.start(two, 3, "x")  # type: ignore[arg-type]  # reports nothing


def outside(token: RunToken) -> None:
    token.run_sync_soon(plain, 3)
    token.run_sync_soon(plain, 3, idempotent=True)
    token.run_sync_soon(plain)  # type: ignore[arg-type]  # one too few
    token.run_sync_soon(plain, "x")  # type: ignore[arg-type]  # a str is no int


def system() -> None:
    assert_type(spawn_system_task(two, 3, "x"), Task)
    spawn_system_task(two, 3)  # type: ignore[arg-type]  # one too few
    spawn_system_task(plain, 3)  # type: ignore[arg-type]  # not async


async def forgotten() -> None:
    nursery.sleep(1)  # type: ignore[unused-coroutine]  # without await nothing happens
    await nursery.sleep("1")  # type: ignore[arg-type]  # text is no duration
