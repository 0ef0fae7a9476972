"""What mypy says where compat meets a library that is typed with asyncio: each takes what the other has made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, assert_type

import nursery
from nursery import compat


class Library:
    """A library that knows asyncio alone."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lock: asyncio.Lock, ready: asyncio.Event) -> None:
        self.closed: asyncio.Future[None] = loop.create_future()
        self.lock, self.ready = lock, ready

    async def pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, jobs: asyncio.Queue[int]) -> None:
        sink.write(await source.read())
        jobs.put_nowait(1)

    async def watch(self, process: asyncio.subprocess.Process, within: asyncio.Timeout) -> int:
        return await process.wait()

    def keep(self, task: asyncio.Task[int], group: asyncio.TaskGroup) -> asyncio.Task[int]:
        return task

    def serve(self, protocol: Callable[[], asyncio.Protocol], server: asyncio.Server) -> asyncio.Transport:
        raise NotImplementedError

    def run(self, runner: asyncio.Runner) -> asyncio.TimerHandle:
        return runner.get_loop().call_later(5, print)


class Ours(compat.Protocol):
    pass


async def number() -> int:
    return 1


async def to_the_library() -> None:
    library = Library(compat.get_running_loop(), compat.Lock(), compat.Event())
    reader, writer = await compat.open_connection("localhost", 80)
    jobs: compat.Queue[int] = compat.Queue()
    await library.pump(reader, writer, jobs)
    process = await compat.create_subprocess_exec("ls")
    async with compat.timeout(5) as limit, compat.TaskGroup() as group:
        await library.watch(process, limit)
        library.keep(group.create_task(number()), group).cancel()
    library.serve(Ours, await compat.start_server(print, "localhost", 80))
    library.run(compat.Runner())
    futures: list[asyncio.Future[int]] = [compat.create_task(number()), compat.ensure_future(number())]
    await asyncio.gather(compat.shield(futures[0]), compat.gather(number(), number()))
    loops: list[asyncio.AbstractEventLoop] = [compat.new_event_loop(), compat.EventLoop(), compat.SelectorEventLoop()]
    asyncio.run(number(), debug=True)
    print(loops)


async def from_the_library(library: Library) -> None:
    task: compat.Task[int] = asyncio.create_task(number())
    future: compat.Future[None] = library.closed
    lock: compat.Lock = asyncio.Lock()
    event: compat.Event = library.ready
    limit: compat.Timeout = asyncio.timeout(5)
    server: compat.Server = await asyncio.start_server(print, "localhost", 80)
    another: compat.Server = await compat.get_running_loop().create_server(Ours, "localhost", 80)
    transport: compat.Transport = library.serve(asyncio.Protocol, server)
    handle: compat.TimerHandle | compat.Handle = asyncio.get_running_loop().call_later(5, print)
    loop: compat.AbstractEventLoop = asyncio.new_event_loop()
    assert_type(await compat.wait_for(task, 5), int)
    assert_type(await compat.gather(task, asyncio.sleep(1, "x")), tuple[int, str])
    done, _ = await compat.wait({task, asyncio.ensure_future(number())})
    assert_type(done, set[asyncio.Task[int]])
    condition = compat.Condition(lock)
    print(future, event, limit, another, transport, handle, loop, condition)


# Native code and asyncio's in one task


async def both() -> AsyncIterator[int]:
    async with nursery.open_nursery() as group, compat.TaskGroup() as tasks:
        group.start_soon(number_too, 5)
        task = tasks.create_task(number())
        with nursery.move_on_after(5):
            yield await task


async def number_too(number: int) -> None:
    await nursery.sleep(number)


async def opened() -> None:
    async with compat.open_loop(insist=5) as loop:
        assert_type(await asyncio.to_thread(len, "x"), int)
        assert_type(loop.time(), float)


def doors() -> None:
    assert_type(compat.run(number(), strict=True), int)
    compat.run(number(), strict="yes")  # type: ignore[arg-type]  # a bool
    compat.install()
    compat.install(5)  # type: ignore[call-arg]  # it takes nothing
    with compat.Runner(strict=True, loop_factory=compat.new_event_loop) as runner:
        assert_type(runner.run(number()), int)
    asyncio.run(number(), loop_factory=compat.new_event_loop)  # type: ignore[call-arg, unused-ignore]  # since 3.12
    compat.new_event_loop(insist="x")  # type: ignore[arg-type]  # text is no duration
    nursery.run(number_too, 5, loop=compat.new_event_loop())  # type: ignore[call-arg]  # a native run has no loop
    anything: Any = compat.nonsense  # type: ignore[attr-defined]  # there is no such name
    print(anything)
