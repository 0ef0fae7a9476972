"""Every workload, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.family import ASYNCIO_API, DATAGRAMS, ECHO, KERNEL, OUTSIDE, WEB, Family
from benchmarks.systems import LOOPS_AND_COMPAT, PROTOCOL_LOOPS, Program, in_facade, on_dialects, on_loops
from benchmarks.wire import TLS, UNIX
from benchmarks.workloads import (
    asyncio_callbacks,
    asyncio_locks,
    asyncio_meetings,
    asyncio_tasks,
    asyncio_timeouts,
    channel,
    datagrams,
    echo,
    event,
    http,
    pipe,
    process_spawn,
    sleepers,
    spawn,
    switch,
    thread_hop,
    timeouts,
)


@dataclass(frozen=True, slots=True)
class Workload:
    """A program for each system that can run it. `operation` is what is counted.

    `clocks` are those that mean something: the wall time of a workload that sleeps does not.
    `needs` names what has to be there ("module:attribute"), besides the systems.
    """

    name: str
    family: Family
    operation: str
    programs: Mapping[str, Program]
    clocks: tuple[str, ...] = ("wall", "cpu")
    needs: tuple[str, ...] = ()


# The echo client waits with epoll.
_EPOLL = "select:epoll"

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
        on_dialects(channel.Channel(10).in_dialect) | on_loops(channel.Channel(10).in_asyncio),
    ),
    Workload(
        "channel-0",
        KERNEL,
        "an item handed over in a memory channel without room, or a queue of 1",
        on_dialects(channel.Channel(0).in_dialect) | on_loops(channel.Channel(0).in_asyncio),
    ),
    *(
        Workload(
            f"echo-{name}-{connections}",
            ECHO,
            f"a message of {size:,} bytes there and back, connections: {connections:,}",
            echo.Echo(size, connections).programs(),
            needs=(_EPOLL,),
        )
        for name, size in (("64b", 64), ("1k", 1024), ("10k", 10 * 1024), ("100k", 100 * 1024))
        for connections in (1, 10, 100, 1000)
    ),
    Workload(
        "echo-unix-1k-10",
        ECHO,
        "a message of 1 KiB there and back on Unix sockets, 10 connections",
        echo.Echo(1024, 10, UNIX).programs(),
        needs=(_EPOLL,),
    ),
    *(
        Workload(
            f"echo-tls-{kib}k-10",
            ECHO,
            f"a message of {kib} KiB there and back in TLS, 10 connections",
            echo.Echo(kib * 1024, 10, TLS).programs(),
            needs=(_EPOLL, "trustme:CA"),
        )
        for kib in (1, 10, 100)
    ),
    Workload(
        "echo-udp-1k-10",
        DATAGRAMS,
        "a datagram of 1 KiB there and back, 10 clients",
        datagrams.Datagrams(1024, 10).programs(),
        needs=(_EPOLL,),
    ),
    Workload(
        "http-aiohttp",
        WEB,
        "a request of one of wrk's 50 connections to a server of aiohttp",
        on_loops(http.aiohttp, LOOPS_AND_COMPAT),
        needs=("aiohttp.web:Application",),
    ),
    Workload(
        "http-uvicorn",
        WEB,
        "the same, to an application on uvicorn with h11",
        on_loops(http.uvicorn, LOOPS_AND_COMPAT),
        needs=("uvicorn:Server", "h11:Connection"),
    ),
    Workload(
        "thread-hop",
        OUTSIDE,
        "a function that does nothing, run in a thread",
        on_dialects(thread_hop.in_dialect)
        | on_loops(thread_hop.in_asyncio, LOOPS_AND_COMPAT)
        | {"epoll": thread_hop.in_epoll},
    ),
    Workload(
        "process-spawn",
        OUTSIDE,
        "a process that does nothing, with a pipe to its standard input",
        on_dialects(process_spawn.in_dialect) | on_loops(process_spawn.in_asyncio, LOOPS_AND_COMPAT),
        needs=("os:fork",),
    ),
    Workload(
        "process-spawn-no-input",
        OUTSIDE,
        "a process that does nothing, without pipes",
        on_dialects(process_spawn.in_dialect_no_input)
        | on_loops(process_spawn.in_asyncio_no_input, LOOPS_AND_COMPAT),
        needs=("os:fork",),
    ),
    Workload(
        "pipe-100m",
        OUTSIDE,
        "a megabyte from a child process, 100 each",
        on_dialects(pipe.in_dialect)
        | on_loops(pipe.in_asyncio_streams, LOOPS_AND_COMPAT)
        | on_loops(pipe.in_asyncio_protocol, PROTOCOL_LOOPS)
        | {"epoll": pipe.in_epoll},
        needs=("os:fork",),
    ),
    *(
        Workload(name, ASYNCIO_API, operation, in_facade(body) | on_loops(body, LOOPS_AND_COMPAT))
        for name, operation, body in (
            ("aio-sleep0", "await sleep(0)", asyncio_tasks.sleep0),
            ("aio-create-task", "await create_task(f())", asyncio_tasks.create_task),
            ("aio-gather-100", "one of 100 coroutines in gather()", asyncio_tasks.gather),
            ("aio-taskgroup-100", "one of 100 tasks in a TaskGroup", asyncio_tasks.taskgroup),
            ("aio-wait-100", "one of 100 tasks in wait()", asyncio_tasks.wait),
            ("aio-as-completed-100", "one of 100 coroutines in as_completed()", asyncio_tasks.as_completed),
            ("aio-queue", "an item through a Queue of 10", channel.Channel(10).in_asyncio),
            ("aio-queue-1", "an item through a Queue of 1", channel.Channel(1).in_asyncio),
            ("aio-lock", "a Lock that is free, taken and given back", asyncio_locks.Locks(1).in_asyncio),
            ("aio-lock-10", "the same by 10 tasks that hold it over a sleep(0)", asyncio_locks.Locks(10).in_asyncio),
            ("aio-event", "an Event set in one task and seen by the other", event.in_asyncio),
            ("aio-condition", "a ball passed between two tasks by a Condition", asyncio_meetings.condition),
            ("aio-barrier", "one of 10 tasks that meet at a Barrier", asyncio_meetings.barrier),
            (
                "aio-semaphore",
                "a Semaphore of 5, held over a sleep(0) by each of 10 tasks",
                asyncio_meetings.semaphore,
            ),
            ("aio-timeout", "timeout(30) around sleep(0)", timeouts.Timeouts(0).in_asyncio),
            ("aio-timeout-late", "timeout(0) that interrupts a wait", asyncio_timeouts.timeout_late),
            ("aio-wait-for", "wait_for() of a coroutine that returns at once", asyncio_timeouts.wait_for),
            ("aio-wait-for-future", "wait_for() of a Future set by call_soon()", asyncio_timeouts.wait_for_future),
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
