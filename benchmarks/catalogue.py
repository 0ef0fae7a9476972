"""Every workload, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.family import ASYNCIO_API, ECHO, KERNEL, Family
from benchmarks.systems import LOOPS_AND_COMPAT, Program, on_dialects, on_loops
from benchmarks.workloads import (
    asyncio_callbacks,
    asyncio_tasks,
    channel,
    echo,
    event,
    sleepers,
    spawn,
    switch,
    timeouts,
)


@dataclass(frozen=True, slots=True)
class Workload:
    """A program for each system that can run it. `operation` is what is counted.

    `clocks` are those that mean something: the wall time of a workload that sleeps does not.
    """

    name: str
    family: Family
    operation: str
    programs: Mapping[str, Program]
    clocks: tuple[str, ...] = ("wall", "cpu")


_ALL = (
    Workload(
        "switch-100",
        KERNEL,
        "one step of one of 100 tasks",
        on_dialects(switch.Switch(100).in_dialect) | on_loops(switch.Switch(100).in_asyncio),
    ),
    Workload(
        "switch-1",
        KERNEL,
        "one step of the only task",
        on_dialects(switch.Switch(1).in_dialect) | on_loops(switch.Switch(1).in_asyncio),
    ),
    Workload(
        "spawn",
        KERNEL,
        "a child spawned and finished, 1000 a nursery",
        on_dialects(spawn.in_dialect) | on_loops(spawn.in_asyncio),
    ),
    Workload(
        "timeout",
        KERNEL,
        "a timeout around a checkpoint",
        on_dialects(timeouts.Timeouts(0).in_dialect) | on_loops(timeouts.Timeouts(0).in_asyncio),
    ),
    Workload(
        "timeout-100k",
        KERNEL,
        "the same, with 100,000 other deadlines outstanding",
        on_dialects(timeouts.Timeouts(100_000).in_dialect) | on_loops(timeouts.Timeouts(100_000).in_asyncio),
    ),
    Workload(
        "sleepers",
        KERNEL,
        "a task spawned, asleep for up to a second and finished, 100,000 at once",
        on_dialects(sleepers.in_dialect) | on_loops(sleepers.in_asyncio),
        clocks=("cpu",),
    ),
    Workload(
        "event",
        KERNEL,
        "an event set in one task and seen by the other",
        on_dialects(event.in_dialect) | on_loops(event.in_asyncio),
    ),
    Workload(
        "channel",
        KERNEL,
        "an item through a memory channel or queue of 10",
        on_dialects(channel.in_dialect) | on_loops(channel.in_asyncio),
    ),
    *(
        Workload(
            f"echo-{kib}k-10",
            ECHO,
            f"a message of {kib} KiB there and back, 10 connections",
            echo.Echo(kib * 1024, 10).programs(),
        )
        for kib in (1, 10, 100)
    ),
    *(
        Workload(name, ASYNCIO_API, operation, on_loops(body, LOOPS_AND_COMPAT))
        for name, operation, body in (
            ("aio-sleep0", "await sleep(0)", asyncio_tasks.sleep0),
            ("aio-create-task", "await create_task(f())", asyncio_tasks.create_task),
            ("aio-gather-100", "one of 100 coroutines in gather()", asyncio_tasks.gather),
            ("aio-taskgroup-100", "one of 100 tasks in a TaskGroup", asyncio_tasks.taskgroup),
            ("aio-queue", "an item through a Queue of 10", channel.in_asyncio),
            ("aio-future", "await a Future set by call_soon()", asyncio_callbacks.future),
            ("aio-call-soon", "one of 100 callbacks", asyncio_callbacks.call_soon),
            (
                "aio-call-later-cancel",
                "call_later(30) and cancel()",
                asyncio_callbacks.call_later_cancel,
            ),
        )
    ),
)
WORKLOADS = {workload.name: workload for workload in _ALL}
